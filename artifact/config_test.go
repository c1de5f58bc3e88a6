package artifact

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func configCases() []fileCase {
	c := func(about, text string, want Verdict, rule, says string) fileCase {
		return fileCase{"config.json " + about, []byte(text), want, rule, says}
	}
	template := func(t string) string { b, _ := json.Marshal(t); return string(b) }
	keras := func(object string) string {
		return `{"module":"keras","class_name":"Sequential","config":{"name":"m","layers":[{"module":"keras.layers","class_name":"TimeDistributed","config":{"layer":` + object + `}}]}}`
	}
	k := func(about, object string, want Verdict, says string) fileCase {
		rule := "keras-object"
		if want == Clean {
			rule = ""
		}
		return c("Keras, "+about, keras(object), want, rule, says)
	}
	return []fileCase{
		c("model", `{"architectures":["LlamaForCausalLM"],"hidden_size":4096,"rope_scaling":null,"trust_remote_code":false}`, Clean, "", ""),
		c("tokenizer", `{"added_tokens_decoder":{"0":{"content":"<unk>"}},"chat_template":`+template(chatTemplate)+`}`, Clean, "", ""),
		c("list", `[1, {"a": []}]`, Clean, "", ""),
		c("auto_map", `{"auto_map":{"AutoModel":"modeling_x.Model"}}`, Unknown, "remote-code", "modeling_x"),
		c("auto_map of tokenizers", `{"auto_map":{"AutoTokenizer":["tokenization_x.T",null]}}`, Unknown, "remote-code", "tokenization_x"),
		c("auto_map elsewhere", `{"auto_map":{"AutoModel":"other/model--modeling_x.Model"}}`, Suspicious, "remote-code", "other/model"),
		c("trust", `{"trust_remote_code": true}`, Suspicious, "remote-code", ""),
		c("template", `{"chat_template":`+template("{{ x.__class__ }}")+`}`, Malicious, "template-inner", "__class__"),
		c("template escaped", `{"chat_templat\u0065":"{{ x.\u005f_class__ }}"}`, Malicious, "template-inner", "__class__"),
		c("templates with names", `{"chat_template":[{"name":"default","template":"{{ x }}"},{"name":"tools","template":"{{ x.__class__ }}"}]}`, Malicious, "template-inner", ""),
		c("second of two templates", `{"chat_template":"{{ x.__class__ }}","chat_template":"{{ x }}"}`, Malicious, "template-inner", ""),
		c("target", `{"a":{"_target_":"os.system","_args_":["id"]}}`, Malicious, "target", "os.system"),
		c("target through another", `{"_target_":"torch.os.system"}`, Malicious, "target", "torch.os.system"),
		c("target of a stranger", `{"_target_":"evil.Model"}`, Unknown, "target", "evil"),
		c("targets of models", `[{"_target_":"nemo.collections.asr.Model"},{"_target_":"torch.nn.Linear"}]`, Clean, "", ""),
		c("handler", `{"model":{"modelName":"m","handler":"h.py:run"},"archiverVersion":"0.9"}`, Unknown, "handler", "h.py"),
		c("handler of the server", `{"model":{"modelName":"m","handler":"image_classifier"}}`, Clean, "", ""),
		c("handler outside", `{"model":{"handler":"../../x.py"}}`, Malicious, "handler", "x.py"),
		c("lines", "{\"a\":1}\n{\"a\":2}\n", Clean, "", ""),
		c("a line of many", "{\"a\":1}\n{\"_target_\":\"os.system\"}\n", Malicious, "target", "os.system"),
		c("lines and noise", "{\"a\":1}\nx\n", Failed, "malformed", "out of place"),
		c("broken", `{"a":1,}`, Failed, "malformed", "out of place"),
		c("broken behind an issue", `{"_target_":"os.system",`, Malicious, "target", "os.system"),
		k("plain", `{"module":"keras.layers","class_name":"Dense","config":{"activation":"relu"},"registered_name":null}`, Clean, ""),
		k("initializer", `{"module":"keras.initializers","class_name":"GlorotUniform","config":{"seed":null}}`, Clean, ""),
		k("activation", `{"module":"keras.activations","class_name":"function","config":"gelu"}`, Clean, ""),
		k("Lambda deep inside", `{"module":"keras.layers","class_name":"Lambda","config":{"function":{"class_name":"__lambda__","config":{"code":"4wEA"}}}}`, Malicious, "Lambda"),
		k("Lambda of a function", `{"module":"keras.layers","class_name":"Lambda","config":{"function":"f"}}`, Suspicious, "Lambda"),
		k("Lambda of Keras 2", `{"class_name":"Lambda","config":{"function":["4wEA",null,null],"function_type":"lambda"}}`, Malicious, "Lambda"),
		k("module of the system", `{"module":"os","class_name":"function","config":"system"}`, Malicious, "os.system"),
		k("class after the module", `{"config":"run","class_name":"function","module":"subprocess"}`, Malicious, "subprocess.run"),
		k("get_file", `{"module":"keras.utils","class_name":"function","config":"get_file"}`, Malicious, "get_file"),
		k("stranger", `{"module":"evil.layers","class_name":"X","config":{}}`, Unknown, "evil"),
		k("registered", `{"module":null,"class_name":"X","config":{},"registered_name":"Mine>X"}`, Unknown, "Mine"),
		k("function of the program", `{"module":"builtins","class_name":"function","config":"relu6x","registered_name":"function"}`, Unknown, "relu6x"),
		k("eval", `{"module":"builtins","class_name":"eval","config":{}}`, Malicious, "eval"),
		k("built-in function", `{"module":"builtins","class_name":"function","config":"exec","registered_name":"function"}`, Malicious, "exec"),
		k("loader of numpy", `{"module":"numpy","class_name":"function","config":"load"}`, Malicious, "numpy.load"),
		k("PyTorch", `{"module":"keras.layers","class_name":"TorchModuleWrapper","config":{"module":"gAJ9"}}`, Suspicious, "TorchModuleWrapper"),
		c("Keras, vocabulary", keras(`{"module":"keras.layers","class_name":"StringLookup","config":{"vocabulary":"/etc/passwd"}}`), Malicious, "vocabulary-path", "passwd"),
		c("Keras, vocabulary in it", keras(`{"module":"keras.layers","class_name":"StringLookup","config":{"vocabulary":["a","b"]}}`), Clean, "", ""),
	}
}

func TestConfig(t *testing.T) { judge(t, "json", configCases()) }

// TestConfigIsFoundBehindSpace: the name does not matter, nor do bytes that JSON passes over.
func TestConfigIsFoundBehindSpace(t *testing.T) {
	r := scanBytes("data", []byte(strings.Repeat(" \n", 1000)+`{"_target_":"os.system"}`), Options{})
	if r.Verdict != Malicious {
		t.Errorf("got %v %v", r.Verdict, r.Issues)
	}
}

func FuzzConfig(f *testing.F) { fuzzScan(f, "config.json", configCases()) }

// TestConfigInArchives: Keras and TorchServe keep theirs in an archive.
func TestConfigInArchives(t *testing.T) {
	for name, member := range map[string]string{
		"config.json":            `{"module":"os","class_name":"function","config":"system"}`,
		"MAR-INF/MANIFEST.json":  `{"model":{"handler":"../../x.py"}}`,
		"tokenizer_config.json":  `{"chat_template":"{{ x.__class__ }}"}`,
		"chat_template.jinja":    `{{ x.__class__ }}`,
		"assets/saved_model.pb":  string(msg(1, 1, 2, msg(2, msg(1, tensorflowNode("WriteFile"))))),
		"model/model.safetensor": string(msg(1, 8, 7, msg(5, msg(13, msg(1, "location", 2, "/etc/shadow"))))),
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(member))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r := scanBytes("model.keras", b.Bytes(), Options{})
		if r.Verdict != Malicious || !strings.HasSuffix(r.Issues[0].Part, "!"+name) {
			t.Errorf("%s: got %v %v %+v", name, r.Verdict, r.Formats, r.Issues)
		}
	}
}
