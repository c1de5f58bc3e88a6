package artifact

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// msg writes fields: a number and what it holds, by turns.
func msg(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		num := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		}
	}
	return b
}

func onnxCases() []fileCase {
	tensor := func(location string) []byte {
		return msg(1, 4, 2, 1, 8, "w", 13, msg(1, "location", 2, location), 13, msg(1, "offset", 2, "0"), 14, 1)
	}
	model := func(graph []byte) []byte { return msg(1, 8, 2, "pytorch", 7, graph, 8, msg(2, 17)) }
	node := msg(1, "x", 2, "y", 4, "Relu", 7, "")
	file := func(about string, b []byte, want Verdict, rule, says string) fileCase {
		return fileCase{"x.onnx " + about, b, want, rule, says}
	}
	cases := []fileCase{
		file("plain", model(msg(1, node, 2, "g", 5, msg(1, 4, 2, 1, 8, "w", 9, []byte{1, 2, 3, 4}))), Clean, "", ""),
		file("any order", msg(8, msg(2, 17), 7, msg(1, node), 1, 8), Clean, "", ""),
		file("data beside it", model(msg(5, tensor("weights/model.data"))), Clean, "", ""),
		file("operator of a library", model(msg(1, msg(4, "Shell", 7, "evil"))), Unknown, "onnx-domain", "evil"),
		file("in a function", append(model(msg(1, node)), msg(25, msg(1, "f", 7, msg(4, "X", 7, "evil")))...), Unknown, "onnx-domain", "evil"),
		file("in a branch", model(msg(1, msg(4, "If", 5, msg(1, "then_branch", 6, msg(5, tensor("/etc/shadow")))))), Malicious, "onnx-external-data", "shadow"),
		file("in an attribute", model(msg(1, msg(4, "Constant", 5, msg(1, "value", 5, tensor("../x"))))), Malicious, "onnx-external-data", "../x"),
		file("sparse", model(msg(15, msg(1, tensor("../x")))), Malicious, "onnx-external-data", "../x"),
		file("training", append(model(msg(1, node)), msg(20, msg(2, msg(5, tensor("../x"))))...), Malicious, "onnx-external-data", "../x"),
		file("broken inside", model(msg(1, "\xff\xff\xff")), Failed, "malformed", "onnx"),
	}
	for _, l := range []string{"/etc/passwd", "a/../../b", `..\b`, `C:\b`, "https://x/y"} {
		cases = append(cases, file("data at "+strings.ReplaceAll(l, "/", "|"), model(msg(5, tensor(l))), Malicious, "onnx-external-data", ""))
	}
	deep := msg(1, node)
	for range protoDepth {
		deep = msg(1, msg(5, msg(6, deep)))
	}
	return append(cases, file("too deep", model(deep), Failed, "malformed", "in each other"))
}

func TestONNX(t *testing.T) { judge(t, "onnx", onnxCases()) }

func tensorflowNode(op string) []byte {
	return msg(1, "n", 2, op, 3, "input", 5, msg(1, "T", 2, msg(6, 1)))
}

func savedModelCases() []fileCase {
	file := func(about string, graph []byte, want Verdict, rule, says string) fileCase {
		return fileCase{"saved_model.pb " + about, msg(1, 1, 2, msg(1, msg(4, "serve"), 2, graph)), want, rule, says}
	}
	hidden := func(op string) []byte {
		return msg(1, tensorflowNode("PartitionedCall"), 2, msg(1, msg(1, msg(1, "f"), 3, tensorflowNode("Identity"), 3, tensorflowNode(op))))
	}
	return []fileCase{
		file("plain", msg(1, tensorflowNode("MatMul"), 1, tensorflowNode("RestoreV2")), Clean, "", ""),
		file("function", hidden("Relu"), Clean, "", ""),
		file("writes", msg(1, tensorflowNode("WriteFile")), Malicious, "tensorflow-op", "WriteFile"),
		file("reads in a function", hidden("ReadFile"), Malicious, "tensorflow-op", "ReadFile"),
		file("Python in a function", hidden("EagerPyFunc"), Malicious, "tensorflow-op", "EagerPyFunc"),
		file("lists", hidden("MatchingFiles"), Suspicious, "tensorflow-op", "MatchingFiles"),
		file("broken", []byte{0xff}, Failed, "malformed", "savedmodel"),
		{"saved_model.pb without a version", msg(2, msg(2, msg(1, msg(1, "a", 2, "Const"), 1, msg(1, "b", 2, "PyFunc")))), Malicious, "tensorflow-op", "PyFunc"},
	}
}

func TestSavedModel(t *testing.T) { judge(t, "savedmodel", savedModelCases()) }

func TestTensorFlowGraph(t *testing.T) {
	judge(t, "tensorflow-graph", []fileCase{
		{"frozen.pb plain", msg(1, tensorflowNode("Const"), 1, tensorflowNode("MatMul"), 4, msg(1, 27)), Clean, "", ""},
		{"frozen.pb writes", msg(1, tensorflowNode("Const"), 1, tensorflowNode("WriteFile"), 4, msg(1, 27)), Malicious, "tensorflow-op", "WriteFile"},
	})
}

func FuzzProto(f *testing.F) {
	fuzzScan(f, "x.onnx", append(append(onnxCases(), savedModelCases()...), coreMLCases()...))
}
