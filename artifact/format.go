package artifact

import "bytes"

// format is a kind of file that is known.
type format struct {
	name  string
	sniff func(head []byte, p *part) bool // by the first 4 KiB, or what there is of them; the name decides nothing alone
	scan  func(s *scan, p *part)
}

// formats are tried in order; all that fit are scanned, as a file may be two things at once.
func formats() []format {
	return append([]format{
		pickleFormat(),
		zipFormat(),
		tarFormat(),
		{"gzip", magic("\x1f\x8b\x08"), scanGzip},
		{"bzip2", looksBzip2, scanBzip2},
		{"xz", magic("\xfd7zXZ\x00"), scanXZ},
		{"lzma", looksLZMA, scanLZMA},
		{"zlib", looksZlib, scanZlib},
		{"zfile", magic("ZF0x"), scanZFile},
		{"zstd", framed("\x28\xb5\x2f\xfd"), scanZstd},
		{"lz4", framed("\x04\x22\x4d\x18", "\x02\x21\x4c\x18"), scanLZ4},
		{"7z", magic("7z\xbc\xaf\x27\x1c"), scanSeven},
		{"npy", magic("\x93NUMPY"), scanNumpy},
		safetensorsFormat(), ggufFormat(), hdf5Format(), templateFormat(), configFormat(), yamlFormat(),
		onnxFormat(), savedModelFormat(), frozenFormat(), coreMLFormat(),
	}, codeFormats()...)
}

// magic tells a format by the bytes it begins with.
func magic(m string) func([]byte, *part) bool {
	return func(head []byte, _ *part) bool { return bytes.HasPrefix(head, []byte(m)) }
}
