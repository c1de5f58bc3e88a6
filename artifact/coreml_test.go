package artifact

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// coreMLCases are models as coremltools lays them out: a version, a description, and one kind.
func coreMLCases() []fileCase {
	about := msg(1, msg(1, "x"), 10, msg(1, "y"))
	model := func(kind int, what []byte) []byte { return msg(1, 7, 2, about, kind, what) }
	layer := func(kind int, what []byte) []byte { return msg(1, msg(1, "l", 2, "x", 3, "y", kind, what)) }
	text := func(s string) []byte { return msg(2, msg(1, msg(1, 2)), 3, msg(1, msg(4, msg(1, s)))) } // a value
	program := func(ops ...any) []byte {
		block := []byte{}
		for _, op := range ops {
			block = append(block, msg(3, op)...)
		}
		return model(502, msg(1, 1, 2, msg(1, "main", 2, msg(2, "CoreML5", 3, msg(1, "CoreML5", 2, block)))))
	}
	weights := func(file string) []byte {
		return msg(1, "const", 5, msg(1, "name", 2, text("w")), 5, msg(1, "val", 2, msg(2, msg(1, msg(1, 11)), 5, msg(1, file, 2, 64))))
	}
	file := func(about string, b []byte, want Verdict, rule, says string) fileCase {
		return fileCase{"x.mlmodel " + about, b, want, rule, says}
	}
	custom := layer(500, msg(10, "EvilLayer", 40, "does more"))
	return []fileCase{
		file("trees", model(302, msg(1, msg(1, "t"))), Clean, "", ""),
		file("network", model(500, layer(230, msg(1, 3))), Clean, "", ""),
		file("network with a layer of the program's", model(500, custom), Unknown, "coreml-custom", "EvilLayer"),
		file("classifier with one", model(403, custom), Unknown, "coreml-custom", "EvilLayer"),
		file("one in a branch", model(500, layer(605, msg(1, layer(230, nil), 2, custom))), Unknown, "coreml-custom", "EvilLayer"),
		file("one in a loop", model(500, layer(615, msg(2, "c", 4, custom))), Unknown, "coreml-custom", "EvilLayer"),
		file("one in a pipeline", model(202, msg(1, model(500, custom))), Unknown, "coreml-custom", "EvilLayer"),
		file("one in a pipeline of a classifier", model(200, msg(1, msg(1, model(500, custom)))), Unknown, "coreml-custom", "EvilLayer"),
		file("model of a class", model(555, msg(10, "EvilModel")), Unknown, "coreml-custom", "EvilModel"),
		file("another model beside it", model(556, msg(1, msg(1, msg(1, "Features.mlmodelc"), 2, msg(1, ".")))), Clean, "", ""),
		file("another model elsewhere", model(556, msg(1, msg(1, msg(1, "x.mlmodelc"), 2, msg(1, ".:/tmp")))), Malicious, "coreml-path", "tmp"),
		file("program", program(weights("@model_path/weights/weight.bin"), msg(1, "conv", 2, msg(1, "x", 2, msg(1, msg(1, "w"))))), Clean, "", ""),
		file("program with weights elsewhere", program(weights("@model_path/../../secret")), Malicious, "coreml-path", "secret"),
		file("program with weights at a place", program(weights("/etc/shadow")), Malicious, "coreml-path", "shadow"),
		file("program with an argument elsewhere", program(msg(1, "conv", 2, msg(1, "x", 2, msg(1, msg(2, msg(5, msg(1, "../x"))))))), Malicious, "coreml-path", "x"),
		file("program with a layer of the program's", program(msg(1, "cond", 4, msg(3, msg(1, "custom_layer", 5, msg(1, "class_name", 2, text("EvilOp")))))), Unknown, "coreml-custom", "EvilOp"),
		file("broken inside", model(500, []byte{0xff, 0xff}), Failed, "malformed", "Core ML"),
	}
}

func TestCoreML(t *testing.T) { judge(t, "coreml", coreMLCases()) }

// A package is a directory: its model and its manifest are files like others.
func TestCoreMLPackage(t *testing.T) {
	model := coreMLCases()[2].data
	z := zipped(t, "x.mlpackage/Manifest.json", `{"fileFormatVersion": "1.0.0"}`, "x.mlpackage/Data/com.apple.CoreML/model.mlmodel", string(model))
	if r := scanBytes("x.zip", z, Options{}); r.Verdict != Unknown || !has(r, "coreml-custom", "EvilLayer") {
		t.Errorf("%v %+v", r.Verdict, r.Issues)
	}
}

// elf is the beginning of a file of native code for a machine.
func elf(kind, machine byte) string {
	return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + string([]byte{kind, 0, machine, 0}) + strings.Repeat("\x00", 44)
}

func tensorRTCases() []fileCase {
	pe := make([]byte, 0x84)
	copy(pe, "MZ")
	binary.LittleEndian.PutUint32(pe[0x3c:], 0x80)
	copy(pe[0x80:], "PE\x00\x00")
	plan := func(parts ...string) []byte { return []byte("ftrt\x00\x00\x00\x00" + strings.Join(parts, "")) }
	json := `{"stride": 32}`
	about := append(binary.LittleEndian.AppendUint32(nil, uint32(len(json))), json...)
	far := func(n int) string { return strings.Repeat("weights ", n/8) + strings.Repeat("w", n%8) }
	cases := []fileCase{
		{"x.engine with kernels alone", plan(elf(2, machineCUDA), far(100)), Unsupported, "unsupported", "GPU"},
		{"x.engine with a plugin", plan(far(1000), elf(3, 62)), Suspicious, "tensorrt-host-code", "ELF"},
		{"x.engine with a plugin for arm64", plan(far(1000), elf(3, 183)), Suspicious, "tensorrt-host-code", "ELF"},
		{"x.engine with a plugin for Windows", plan(far(1000), string(pe)), Suspicious, "tensorrt-host-code", "Windows"},
		{"x.engine behind words about it", append(about, plan(elf(3, 62))...), Suspicious, "tensorrt-host-code", "ELF"},
		{"x.engine with letters", plan(far(500), "\x7fELF", far(500), "MZ", far(500)), Unsupported, "unsupported", "GPU"},
	}
	for _, at := range []int{pieceSize - 9, pieceSize - 8, pieceSize - 12, pieceSize - tailNative - 8, 3*pieceSize - 3000} { // where pieces meet
		cases = append(cases, fileCase{"x.engine with a plugin far in", plan(far(at), elf(3, 62), far(pieceSize)), Suspicious, "tensorrt-host-code", "ELF"})
	}
	return cases
}

func TestTensorRT(t *testing.T) {
	judge(t, "tensorrt", tensorRTCases())
	many := []byte("ftrt" + strings.Repeat(elf(3, 62)+strings.Repeat("x", 5000), 300))
	r := scanBytes("x.engine", many, Options{})
	found := 0
	for _, i := range r.Issues {
		if i.Rule == "tensorrt-host-code" {
			if !bytes.HasPrefix(many[i.Offset:], []byte("\x7fELF")) {
				t.Errorf("nothing begins at %d", i.Offset)
			}
			found++
		}
	}
	if found != hostMost {
		t.Errorf("%d libraries are told, want %d", found, hostMost)
	}
}

func FuzzTensorRT(f *testing.F) { fuzzScan(f, "x.engine", tensorRTCases()) }
