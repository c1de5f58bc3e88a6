package workload

import (
	"path"
	"strings"

	"picket/event"
)

// identity is what a process's command line says of the AI work that it does.
type identity struct {
	engine string
	kind   event.WorkloadKind
	name   string   // what people call it
	model  string   // model path or name from the arguments
	models []string // every model argument
	data   []string // dataset arguments
	part   bool     // a part of the engine that its main process starts, not one that stands alone
}

// recognise says which AI engine p runs, by executable and arguments. A program that merely
// names an engine (grep vllm, pip install vllm) is none: what counts is the program that runs.
func recognise(p *event.Process) (identity, bool) {
	prog := programOf(p)
	var id identity
	switch {
	case prog.module != "":
		id = byModule(prog)
	case prog.script != "":
		id = byScript(prog)
	default:
		id = byBinary(prog)
	}
	if id.engine == "" {
		return identity{}, false
	}
	id.arguments(prog)
	return id, true
}

// program is a command line taken apart.
type program struct {
	exe    string // last part of the executable's path
	title  string // argv[0]
	module string // python -m module
	script string // path of the script, where the executable is an interpreter
	args   []string
}

func programOf(p *event.Process) program {
	prog := program{exe: base(p.Exe), args: p.Args}
	if prog.exe == "" {
		prog.exe = base(p.Invoked)
	}
	if len(p.Args) > 0 {
		prog.title = p.Args[0]
		prog.args = p.Args[1:]
		if prog.exe == "" {
			prog.exe = base(prog.title)
		}
	}
	if !isPython(prog.exe) {
		return prog
	}
	if p.Script && base(prog.title) == base(p.Invoked) && !isPython(base(prog.title)) {
		prog.script = p.Invoked // arguments as they were passed to execve
		return prog
	}
	pythonArgs(&prog)
	return prog
}

// pythonArgs finds the module or script among an interpreter's own options.
func pythonArgs(prog *program) {
	for i := 0; i < len(prog.args); i++ {
		a := prog.args[i]
		switch {
		case a == "-m":
			if i+1 < len(prog.args) {
				prog.module = prog.args[i+1]
				prog.args = prog.args[i+2:]
				return
			}
		case a == "-c", a == "-", a == "--version", a == "--help":
			prog.args = nil
			return
		case a == "-X", a == "-W":
			i++
		case strings.HasPrefix(a, "-m") && len(a) > 2:
			prog.module, prog.args = a[2:], prog.args[i+1:]
			return
		case !strings.HasPrefix(a, "-"):
			prog.script, prog.args = a, prog.args[i+1:]
			return
		}
	}
	prog.args = nil
}

func isPython(name string) bool {
	rest, ok := strings.CutPrefix(name, "python")
	if !ok {
		rest, ok = strings.CutPrefix(name, "pypy")
	}
	return ok && strings.Trim(rest, "0123456789.dt") == ""
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// byBinary knows the engines that are programs of their own, and workers that give themselves a
// title.
func byBinary(prog program) identity {
	for prefix, engine := range map[string]string{"ray::": "ray", "VLLM::": "vllm", "sglang::": "sglang"} {
		if strings.HasPrefix(prog.title, prefix) && isPython(prog.exe) {
			return identity{engine: engine, kind: event.Inference, part: true}
		}
	}
	first := ""
	if len(prog.args) > 0 {
		first = prog.args[0]
	}
	switch prog.exe {
	case "tritonserver":
		return identity{engine: "triton", kind: event.Inference}
	case "triton_python_backend_stub":
		return identity{engine: "triton", kind: event.Inference, part: true}
	case "text-generation-launcher":
		return identity{engine: "tgi", kind: event.Inference}
	case "text-generation-router":
		return identity{engine: "tgi", kind: event.Inference, part: true}
	case "ollama":
		if first == "serve" || first == "start" || first == "runner" {
			return identity{engine: "ollama", kind: event.Inference, part: first == "runner"}
		}
	case "ollama_llama_server":
		return identity{engine: "ollama", kind: event.Inference, part: true}
	case "llama-server":
		return identity{engine: "llama.cpp", kind: event.Inference}
	case "server":
		if m, _ := flagValue(prog.args, "-m", "--model"); strings.HasSuffix(m, ".gguf") {
			return identity{engine: "llama.cpp", kind: event.Inference}
		}
	case "raylet", "gcs_server":
		return identity{engine: "ray", kind: event.Training, part: prog.exe == "raylet"}
	case "java":
		for _, a := range prog.args {
			if a == "org.pytorch.serve.ModelServer" {
				return identity{engine: "torchserve", kind: event.Inference}
			}
		}
	}
	return identity{}
}

// byModule knows the engines started as python -m module.
func byModule(prog program) identity {
	m := prog.module
	below := func(pkgs ...string) bool {
		for _, p := range pkgs {
			if m == p || strings.HasPrefix(m, p+".") {
				return true
			}
		}
		return false
	}
	switch {
	case m == "vllm", below("vllm.entrypoints.cli"):
		return subcommand(prog, "vllm")
	case below("vllm.entrypoints"):
		return identity{engine: "vllm", kind: event.Inference}
	case below("sglang.launch_server", "sglang.srt"):
		return identity{engine: "sglang", kind: event.Inference}
	case below("llama_cpp.server"):
		return identity{engine: "llama.cpp", kind: event.Inference}
	case below("text_generation_server"):
		return identity{engine: "tgi", kind: event.Inference, part: true}
	case below("torch.distributed.run", "torch.distributed.launch", "torch.distributed.elastic"):
		return identity{engine: "torchrun", kind: event.Training}
	case below("deepspeed.launcher"):
		return identity{engine: "deepspeed", kind: event.Training}
	case below("accelerate.commands.launch"):
		return identity{engine: "accelerate", kind: event.Training}
	case below("ipykernel_launcher", "ipykernel"):
		return identity{engine: "jupyter", kind: event.Notebook, part: true}
	case below("jupyterlab", "notebook", "jupyter_server", "nbclassic"):
		return identity{engine: "jupyter", kind: event.Notebook}
	case m == "jupyter", m == "accelerate", m == "ray", m == "sglang":
		return subcommand(prog, m)
	case below("ts.model_service_worker"):
		return identity{engine: "torchserve", kind: event.Inference, part: true}
	}
	return identity{}
}

// byScript knows the engines started by a console script or a file of the engine itself.
func byScript(prog program) identity {
	switch name := base(prog.script); name {
	case "vllm", "sglang", "jupyter", "ray", "accelerate":
		return subcommand(prog, name)
	case "torchrun":
		return identity{engine: "torchrun", kind: event.Training}
	case "deepspeed", "deepspeed.pt":
		return identity{engine: "deepspeed", kind: event.Training}
	case "accelerate-launch":
		return identity{engine: "accelerate", kind: event.Training}
	case "text-generation-server":
		return identity{engine: "tgi", kind: event.Inference, part: true}
	case "jupyter-lab", "jupyter-notebook", "jupyter-server", "jupyterhub-singleuser", "jupyter-labhub":
		return identity{engine: "jupyter", kind: event.Notebook}
	case "ipykernel_launcher.py":
		return identity{engine: "jupyter", kind: event.Notebook, part: true}
	case "model_service_worker.py":
		return identity{engine: "torchserve", kind: event.Inference, part: true}
	case "torchserve":
		if has(prog.args, "--start") && !has(prog.args, "--stop") {
			return identity{engine: "torchserve", kind: event.Inference}
		}
	case "default_worker.py":
		if strings.Contains(prog.script, "/ray/") {
			return identity{engine: "ray", kind: event.Training, part: true}
		}
	}
	switch {
	case strings.Contains(prog.script, "/vllm/entrypoints/"):
		return identity{engine: "vllm", kind: event.Inference}
	case strings.Contains(prog.script, "/sglang/launch_server.py"):
		return identity{engine: "sglang", kind: event.Inference}
	case strings.Contains(prog.script, "/torch/distributed/run.py"), strings.Contains(prog.script, "/torch/distributed/launch.py"):
		return identity{engine: "torchrun", kind: event.Training}
	}
	return identity{}
}

// subcommand reads what a console script was asked to do: vllm serve works, vllm --version does not.
func subcommand(prog program, name string) identity {
	sub := ""
	for _, a := range prog.args {
		if !strings.HasPrefix(a, "-") {
			sub = a
			break
		}
	}
	switch name + " " + sub {
	case "vllm serve", "vllm run-batch":
		return identity{engine: "vllm", kind: event.Inference}
	case "sglang serve":
		return identity{engine: "sglang", kind: event.Inference}
	case "jupyter lab", "jupyter notebook", "jupyter server", "jupyter kernel":
		return identity{engine: "jupyter", kind: event.Notebook}
	case "ray start":
		return identity{engine: "ray", kind: event.Training}
	case "accelerate launch":
		return identity{engine: "accelerate", kind: event.Training}
	}
	return identity{}
}

// Flags that name a model or a dataset. -m is a model for llama.cpp only.
var (
	modelFlags = []string{
		"--model", "--model-path", "--model_path", "--model-id", "--model-repository", "--model-store", "--model-dir",
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
	for _, a := range args {
		if a == want {
			return true
		}
	}
	return false
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
