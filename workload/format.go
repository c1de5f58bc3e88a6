package workload

import "strings"

// format is the format of a model or dataset file, by the file's ending.
type format uint8

const (
	formatNone format = iota
	safetensors
	gguf
	pickle
	onnx
	engine
	keras
	numpy
	parquet
	rawBinary
	formats
)

var formatNames = [formats]string{
	safetensors: "safetensors", gguf: "gguf", pickle: "pickle", onnx: "onnx", engine: "tensorrt", keras: "keras",
	numpy: "numpy", parquet: "parquet", rawBinary: "bin",
}

// formatOf reads the ending of a path, in lower or upper case.
func formatOf(path string) format {
	i := strings.LastIndexByte(path, '.')
	if i < 0 || len(path)-i > len(".safetensors") {
		return formatNone
	}
	ext := path[i+1:]
	for _, f := range [...]struct {
		ext string
		f   format
	}{
		{"safetensors", safetensors},
		{"gguf", gguf},
		{"pt", pickle},
		{"pth", pickle},
		{"pkl", pickle},
		{"onnx", onnx},
		{"engine", engine},
		{"keras", keras},
		{"h5", keras},
		{"npz", numpy},
		{"parquet", parquet},
		{"bin", rawBinary},
	} {
		if strings.EqualFold(ext, f.ext) {
			return f.f
		}
	}
	return formatNone
}

// dataset reports whether files of this format hold data rather than weights.
func (f format) dataset() bool { return f == parquet || f == numpy }
