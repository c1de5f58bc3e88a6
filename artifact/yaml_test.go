package artifact

import (
	"strings"
	"testing"
)

func yamlCases() []fileCase {
	c := func(about, text string, want Verdict, rule, says string) fileCase {
		return fileCase{"model_config.yaml " + about, []byte(text), want, rule, says}
	}
	return []fileCase{
		c("plain", "name: m\nencoder:\n  _target_: nemo.collections.asr.modules.ConformerEncoder\n  layers: [1, 2]\n", Clean, "", ""),
		c("target", "name: m\ntokenizer:\n  _target_: os.system\n  _args_: [id]\n", Malicious, "target", "os.system"),
		c("target in a list", "callbacks:\n- _target_: subprocess.Popen\n", Malicious, "target", "subprocess"),
		c("target through another", "a: {\"_target_\": torch.hub.load}\n", Malicious, "target", "torch.hub"),
		c("target quoted", "\"_t\\x61rget_\": builtins.eval\n", Malicious, "target", "eval"),
		c("target of a stranger", "_target_: evil.Model\n", Unknown, "target", "evil"),
		c("second document", "a: 1\n---\n_target_: os.system\n", Malicious, "target", "os.system"),
		c("behind an anchor", "a: &x {_target_: os.system}\nb: *x\n", Malicious, "target", "os.system"),
		c("target by an alias", "a: &x os.system\nb:\n  _target_: *x\n", Malicious, "target", "os.system"),
		c("target under an alias", "a: &k _target_\nb:\n  *k : os.system\n", Malicious, "target", "os.system"),
		c("classes by an alias", "a: &m {AutoModel: modeling_x.Model}\nauto_map: *m\n", Unknown, "remote-code", ""),
		c("target behind lines of Python", "a: |\n  import os\n  import sys\n_target_: os.system\n", Malicious, "target", "os.system"),
		c("object applied", "a: !!python/object/apply:os.system [id]\n", Malicious, "yaml-object", "os.system"),
		c("object in full", "a: !<tag:yaml.org,2002:python/object/new:subprocess.Popen> [[id]]\n", Malicious, "yaml-object", "Popen"),
		c("tuple", "a: !!python/tuple [1, 2]\n", Clean, "", ""),
		c("key of a type", "? !!python/object/apply:os.system [id]\n: 1\n", Malicious, "yaml-object", "os.system"),
		c("remote code", "auto_map:\n  AutoModel: modeling_x.Model\n", Unknown, "remote-code", "modeling_x"),
		c("trust", "trust_remote_code: True\n", Suspicious, "remote-code", ""),
		c("template", "chat_template: '{{ x.__class__ }}'\n", Malicious, "template-inner", "__class__"),
		c("broken", "a: [1\nb: 2\n", Failed, "malformed", "yaml"),
		{"data in one line", []byte("model: {_target_: os.system}\n"), Malicious, "target", "os.system"},
		{"README.md about one", []byte("# Use\n- put\n  _target_: [x there\n"), Unsupported, "unsupported", "no YAML"},
		{"data without a name", []byte("x: 1\ny:\n  _target_: os.system\n"), Malicious, "target", "os.system"},
	}
}

func TestYAML(t *testing.T) { judge(t, "yaml", yamlCases()) }

// TestNeMo: the configuration lies in a tar beside the weights.
func TestNeMo(t *testing.T) {
	config := "encoder:\n  _target_: subprocess.call\n"
	weights := string(zipped(t, "m/data.pkl", string(pickled(proto4, "}.")), "m/version", "3\n"))
	r := scanBytes("m.nemo", tarred(t, "./model_config.yaml", config, "./model_weights.ckpt", weights), Options{})
	if r.Verdict != Malicious || !has(r, "target", "subprocess.call") || strings.Join(r.Formats, " ") != "tar yaml zip torch pickle" || has(r, "zip-leading", "") {
		t.Errorf("%v %v %+v", r.Verdict, r.Formats, r.Issues)
	}
}

func FuzzYAML(f *testing.F) { fuzzScan(f, "x.yaml", yamlCases()) }
