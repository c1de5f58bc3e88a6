package workload

import (
	"path"
	"slices"
	"strings"

	"picket/event"
)

// Flags that name a model or a dataset. -m is a model for llama.cpp only.
var (
	modelFlags = []string{
		"--model", "--model-path", "--model_path", "--model-id", "--model-repository", "--model-store", "--model-dir", "--model_dir",
		"--model_name_or_path", "--model-name-or-path", "--base_model", "--base-model", "--checkpoint", "--ckpt",
	}
	dataFlags = []string{
		"--dataset", "--dataset-path", "--dataset_path", "--dataset_name", "--data", "--data-path", "--data_path",
		"--data-dir", "--data_dir", "--train-data", "--train_data", "--train_file",
	}
)

// arguments fills in the model, the datasets and the name.
func (id *identity) arguments(prog program) {
	flags := modelFlags
	if id.engine == "llama.cpp" {
		flags = append([]string{"-m"}, modelFlags...)
	}
	id.models = flagValues(prog.args, flags...)
	id.data = flagValues(prog.args, dataFlags...)
	if id.engine == "vllm" || id.engine == "sglang" {
		if m := positional(prog.args, "serve"); m != "" {
			id.models = append([]string{m}, id.models...)
		}
	}
	if id.engine == "lmdeploy" {
		if m := positional(prog.args, "api_server"); m != "" {
			id.models = append([]string{m}, id.models...)
		}
	}
	if len(id.models) > 0 {
		id.model = clip(id.models[0])
	}
	id.name = id.engine
	if id.model != "" {
		id.name = modelName(id.model)
	} else if id.kind == event.Training {
		if s := trainScript(prog.args); s != "" {
			id.name = s
		}
	}
	if n, ok := flagValue(prog.args, "--served-model-name", "--alias", "--name"); ok && id.kind == event.Inference {
		id.name = clip(n)
	}
}

const maxName = 256

func clip(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

// positional returns the argument right behind a subcommand: the model of vllm serve MODEL.
func positional(args []string, sub string) string {
	for i, a := range args {
		if a == sub && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			return args[i+1]
		}
	}
	return ""
}

// trainScript returns the name of the script that a launcher runs.
func trainScript(args []string) string {
	for i, a := range args {
		if strings.HasSuffix(a, ".py") && !strings.HasPrefix(a, "-") {
			return clip(strings.TrimSuffix(base(a), ".py"))
		}
		if (a == "-m" || a == "--module") && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			return clip(args[i+1])
		}
	}
	return ""
}

func has(args []string, want string) bool {
	return slices.Contains(args, want)
}

func flagValue(args []string, names ...string) (string, bool) {
	if v := flagValues(args, names...); len(v) > 0 {
		return v[0], true
	}
	return "", false
}

// flagValues returns the values given to any of the flags, as --flag value or --flag=value.
func flagValues(args []string, names ...string) []string {
	var out []string
	for i, a := range args {
		name, value, eq := strings.Cut(a, "=")
		if !has(names, name) || len(out) >= 16 {
			continue
		}
		if !eq {
			if i+1 >= len(args) || strings.HasPrefix(args[i+1], "-") {
				continue
			}
			value = args[i+1]
		}
		if value != "" {
			out = append(out, value)
		}
	}
	return out
}

// modelName makes of a model's path or hub name what people call it.
func modelName(model string) string {
	if !strings.HasPrefix(model, "/") && !strings.HasPrefix(model, ".") && formatOf(model) == formatNone {
		return clip(model) // a name of a hub: org/model
	}
	if name := hubName(model); name != "" {
		return clip(name)
	}
	model = path.Clean(model)
	if strings.HasSuffix(model, "/.ollama/models") || strings.Contains(model, ollamaBlob) {
		return "ollama"
	}
	name := base(model)
	if formatOf(name) != formatNone {
		name = strings.TrimSuffix(name, path.Ext(name))
		if generic(name) {
			name = base(path.Dir(model))
		}
	}
	for dir := path.Dir(model); strings.Trim(name, "0123456789") == "" && dir != "/" && dir != "."; dir = path.Dir(dir) {
		name = base(dir) // triton's version folders
	}
	if name == "" || name == "/" || name == "." {
		return clip(model)
	}
	return clip(name)
}

// generic reports whether a weight file's name says nothing about its model.
func generic(stem string) bool {
	for _, g := range [...]string{"model", "pytorch_model", "weights", "consolidated", "ggml-model", "checkpoint", "adapter_model", "tf_model", "params"} {
		if rest, ok := strings.CutPrefix(stem, g); ok && (rest == "" || rest[0] == '-' || rest[0] == '.') {
			return true
		}
	}
	return false
}

// hubName reads the name out of a hub cache's folder: models--org--name.
func hubName(p string) string {
	for part := range strings.SplitSeq(p, "/") {
		for _, prefix := range [...]string{"models--", "datasets--"} {
			if rest, ok := strings.CutPrefix(part, prefix); ok {
				return strings.Replace(rest, "--", "/", 1)
			}
		}
	}
	return ""
}
