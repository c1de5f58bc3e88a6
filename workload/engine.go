package workload

import (
	"path"
	"slices"
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
	cwd    string
	args   []string
}

func programOf(p *event.Process) program {
	prog := program{exe: base(p.Exe), args: p.Args, cwd: p.CWD}
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

// pythonArgs finds the module or script among an interpreter's own options. Short ones may be
// written together (-Im module).
func pythonArgs(prog *program) {
	args := prog.args
	prog.args = nil
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-", a == "--version", a == "--help":
			return
		case strings.HasPrefix(a, "--"):
			continue
		case !strings.HasPrefix(a, "-"):
			prog.script, prog.args = a, args[i+1:]
			return
		}
		at := strings.IndexAny(a[1:], "cmXW") + 1
		if at == 0 {
			continue
		}
		value := a[at+1:]
		if value == "" && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch a[at] {
		case 'm':
			prog.module, prog.args = value, args[i+1:]
			return
		case 'c':
			return
		}
	}
}

func isPython(name string) bool {
	rest, ok := strings.CutPrefix(name, "python")
	if !ok {
		rest, ok = strings.CutPrefix(name, "pypy")
	}
	return ok && strings.Trim(rest, "0123456789.dt") == ""
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// byBinary knows the engines that are programs of their own.
func byBinary(prog program) identity {
	if isPython(prog.exe) {
		return byTitle(prog.title)
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
	case "text-embeddings-router":
		return identity{engine: "tei", kind: event.Inference}
	case "local-ai":
		if first == "" || first == "run" || strings.HasPrefix(first, "-") {
			return identity{engine: "localai", kind: event.Inference}
		}
	case "server":
		if m, _ := flagValue(prog.args, "-m", "--model"); strings.HasSuffix(m, ".gguf") {
			return identity{engine: "llama.cpp", kind: event.Inference}
		}
	case "raylet", "gcs_server":
		return identity{engine: "ray", kind: event.Training, part: prog.exe == "raylet"}
	case "java":
		if slices.Contains(prog.args, "org.pytorch.serve.ModelServer") {
			return identity{engine: "torchserve", kind: event.Inference}
		}
	}
	return identity{}
}

// byTitle knows the workers that give themselves a title.
func byTitle(title string) identity {
	switch before, _, _ := strings.Cut(title, "::"); before {
	case title: // no title
	case "ray":
		if strings.HasPrefix(title, "ray::ServeReplica") || strings.HasPrefix(title, "ray::ProxyActor") {
			return identity{engine: "ray", kind: event.Inference, part: true}
		}
		return identity{engine: "ray", kind: event.Training, part: true}
	case "VLLM":
		return identity{engine: "vllm", kind: event.Inference, part: true}
	case "sglang":
		return identity{engine: "sglang", kind: event.Inference, part: true}
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
	case m == "jupyter", m == "accelerate", m == "ray", m == "sglang", m == "lmdeploy", m == "mlflow", m == "litellm":
		return subcommand(prog, m)
	case below("lmdeploy.serve"):
		return identity{engine: "lmdeploy", kind: event.Inference}
	case below("tensorrt_llm.commands.serve"):
		return identity{engine: "tensorrt-llm", kind: event.Inference}
	case below("huggingfaceserver", "sklearnserver", "xgbserver", "lgbserver"):
		return identity{engine: "kserve", kind: event.Inference}
	case below("fastchat.serve"):
		return identity{engine: "fastchat", kind: event.Inference}
	case below("ts.model_service_worker"):
		return identity{engine: "torchserve", kind: event.Inference, part: true}
	}
	return identity{}
}

// byScript knows the engines started by a console script or a file of the engine itself.
func byScript(prog program) identity {
	switch name := base(prog.script); name {
	case "vllm", "sglang", "jupyter", "ray", "accelerate", "lmdeploy", "mlflow", "serve", "litellm":
		return subcommand(prog, name)
	case "trtllm-serve":
		return identity{engine: "tensorrt-llm", kind: event.Inference}
	case "main.py":
		if dir := path.Dir(path.Join(prog.cwd, prog.script)); base(dir) == "ComfyUI" || path.IsAbs(prog.script) && base(path.Dir(prog.script)) == "ComfyUI" {
			return identity{engine: "comfyui", kind: event.Inference}
		}
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
	if name == "litellm" && !has(prog.args, "--version") && !has(prog.args, "--help") {
		return identity{engine: "litellm", kind: event.Inference}
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
	case "lmdeploy serve":
		return identity{engine: "lmdeploy", kind: event.Inference}
	case "mlflow models":
		if has(prog.args, "serve") {
			return identity{engine: "mlflow", kind: event.Inference}
		}
	case "mlflow server", "mlflow ui":
		return identity{engine: "mlflow", kind: event.Training}
	case "serve run":
		return identity{engine: "ray", kind: event.Inference}
	}
	return identity{}
}
