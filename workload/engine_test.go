package workload

import (
	"strings"
	"testing"

	"picket/event"
)

// ran is a process that runs a command line by an executable.
func ran(exe, line string) *event.Process {
	p := &event.Process{PID: 100, StartBoot: 1000, Exe: exe, Invoked: exe, Cmdline: line, Args: strings.Fields(line)}
	return p
}

func TestEnginesAreRecognised(t *testing.T) {
	const py = "/usr/bin/python3.11"
	for _, tt := range []struct {
		exe, line          string
		engine, kind, name string
		model              string
	}{
		{py, "python3 -m vllm.entrypoints.openai.api_server --model /models/llama-3", "vllm", "inference", "llama-3", "/models/llama-3"},
		{py, "/usr/bin/python3 /usr/local/bin/vllm serve meta-llama/Llama-3-8B --port 8000", "vllm", "inference", "meta-llama/Llama-3-8B", "meta-llama/Llama-3-8B"},
		{py, "python -u -X dev -m vllm.entrypoints.cli.main serve /m/q --served-model-name qwen", "vllm", "inference", "qwen", "/m/q"},
		{py, "python3 /opt/vllm/entrypoints/openai/api_server.py --model=/m/x", "vllm", "inference", "x", "/m/x"},
		{py, "VLLM::EngineCore", "vllm", "inference", "vllm", ""},
		{"/opt/tritonserver/bin/tritonserver", "tritonserver --model-repository=/models", "triton", "inference", "models", "/models"},
		{"/opt/tritonserver/bin/tritonserver", "tritonserver --model-store /m/repo", "triton", "inference", "repo", "/m/repo"},
		{"/usr/local/bin/text-generation-launcher", "text-generation-launcher --model-id bigscience/bloom", "tgi", "inference", "bigscience/bloom", "bigscience/bloom"},
		{py, "/usr/bin/python3 /opt/conda/bin/text-generation-server serve bigscience/bloom", "tgi", "inference", "tgi", ""},
		{"/usr/bin/ollama", "ollama serve", "ollama", "inference", "ollama", ""},
		{"/usr/bin/ollama", "/usr/bin/ollama runner --model /root/.ollama/models/blobs/sha256-00 --port 1", "ollama", "inference", "ollama", "/root/.ollama/models/blobs/sha256-00"},
		{"/usr/local/bin/llama-server", "llama-server -m /models/llama-3-8b/model.gguf", "llama.cpp", "inference", "llama-3-8b", "/models/llama-3-8b/model.gguf"},
		{"/app/server", "./server --model mistral-7b.Q4.gguf", "llama.cpp", "inference", "mistral-7b.Q4", "mistral-7b.Q4.gguf"},
		{py, "python -m llama_cpp.server --model /m/a.gguf", "llama.cpp", "inference", "a", "/m/a.gguf"},
		{py, "python3 -m sglang.launch_server --model-path /m/x", "sglang", "inference", "x", "/m/x"},
		{py, "/usr/bin/python3 /usr/local/bin/ray start --head", "ray", "training", "ray", ""},
		{"/usr/lib/ray/raylet", "/usr/lib/ray/raylet --raylet_socket_name=x", "ray", "training", "ray", ""},
		{py, "ray::Trainer.step", "ray", "training", "ray", ""},
		{"/usr/lib/jvm/bin/java", "java -Xmx1g org.pytorch.serve.ModelServer --model-store /m/store", "torchserve", "inference", "store", "/m/store"},
		{py, "python /usr/local/bin/torchserve --start --model-store /m/store", "torchserve", "inference", "store", "/m/store"},
		{py, "/usr/bin/python3 /usr/local/bin/jupyter-lab --ip=0.0.0.0", "jupyter", "notebook", "jupyter", ""},
		{py, "python3 /usr/local/bin/jupyter notebook", "jupyter", "notebook", "jupyter", ""},
		{py, "python -m jupyterlab", "jupyter", "notebook", "jupyter", ""},
		{py, "/usr/bin/python -m ipykernel_launcher -f /run/kernel.json", "jupyter", "notebook", "jupyter", ""},
		{py, "python3 /usr/local/bin/torchrun --nproc_per_node=8 train.py --model /m/base", "torchrun", "training", "base", "/m/base"},
		{py, "python -m torch.distributed.run --nnodes 2 finetune.py", "torchrun", "training", "finetune", ""},
		{py, "python3 /usr/local/bin/deepspeed --num_gpus 8 pretrain.py", "deepspeed", "training", "pretrain", ""},
		{py, "python3 /usr/local/bin/accelerate launch sft.py", "accelerate", "training", "sft", ""},
		{py, "python -m accelerate.commands.launch sft.py", "accelerate", "training", "sft", ""},
		{py, "/usr/bin/python3 /opt/venv/bin/lmdeploy serve api_server /m/internlm", "lmdeploy", "inference", "internlm", "/m/internlm"},
		{py, "python3 -m lmdeploy serve api_server internlm/internlm2-chat-7b", "lmdeploy", "inference", "internlm/internlm2-chat-7b", "internlm/internlm2-chat-7b"},
		{py, "python3 /usr/local/bin/trtllm-serve /m/engine --port 8000", "tensorrt-llm", "inference", "tensorrt-llm", ""},
		{py, "python3 /opt/ComfyUI/main.py --listen 0.0.0.0", "comfyui", "inference", "comfyui", ""},
		{py, "python3 /usr/local/bin/mlflow server --host 0.0.0.0", "mlflow", "training", "mlflow", ""},
		{py, "python3 /usr/local/bin/mlflow models serve -m runs:/1/model", "mlflow", "inference", "mlflow", ""},
		{py, "python3 /usr/local/bin/serve run app:deployment", "ray", "inference", "ray", ""},
		{py, "ray::ServeReplica:default:LLM", "ray", "inference", "ray", ""},
		{py, "python3 /usr/local/bin/litellm --config /etc/litellm.yaml", "litellm", "inference", "litellm", ""},
		{py, "python3 -m huggingfaceserver --model_dir /mnt/models", "kserve", "inference", "models", "/mnt/models"},
		{"/usr/local/bin/text-embeddings-router", "text-embeddings-router --model-id BAAI/bge-large", "tei", "inference", "BAAI/bge-large", "BAAI/bge-large"},
		{"/usr/bin/local-ai", "local-ai run", "localai", "inference", "localai", ""},
		{"/opt/conda/bin/python3.12", "python3.12 -m vllm.entrypoints.api_server", "vllm", "inference", "vllm", ""},
	} {
		id, ok := recognise(ran(tt.exe, tt.line))
		if !ok || id.engine != tt.engine || string(id.kind) != tt.kind || id.name != tt.name || id.model != tt.model {
			t.Errorf("%s: %+v, %v", tt.line, id, ok)
		}
	}
}

func TestAScriptIsRecognisedByHowItWasCalled(t *testing.T) {
	p := ran("/usr/bin/python3.11", "vllm serve /m/x")
	p.Invoked, p.Script = "/usr/local/bin/vllm", true
	if id, ok := recognise(p); !ok || id.engine != "vllm" || id.model != "/m/x" {
		t.Errorf("%+v, %v", id, ok)
	}
}

func TestFalseFriendsAreNot(t *testing.T) {
	const py = "/usr/bin/python3"
	for exe, lines := range map[string][]string{
		"/usr/bin/grep": {"grep -r vllm ."}, "/usr/bin/vim": {"vim vllm.py"}, "/usr/bin/cat": {"cat /usr/local/bin/vllm"},
		"/usr/bin/man": {"man ollama serve"}, "/usr/bin/bash": {"bash -c vllm serve x", "bash /usr/local/bin/torchrun"},
		"/usr/bin/docker":      {"docker run vllm/vllm-openai --model x", "docker exec c tritonserver"},
		"/usr/bin/kubectl":     {"kubectl logs deploy/vllm"},
		"/usr/bin/apt-get":     {"apt-get install llama-server"},
		"/usr/bin/ollama":      {"ollama pull llama3", "ollama run llama3", "ollama list", "ollama"},
		"/usr/sbin/server":     {"server --config x", "server -m x"},
		"/usr/lib/jvm/java":    {"java -jar ModelServer.jar"},
		"/usr/bin/nodejupyter": {"nodejupyter lab"},
		"/usr/bin/pythonista":  {"pythonista -m vllm.entrypoints.api_server"},
		py: {
			"python3 vllm.py", "python3 -m pip install vllm", "python3 /usr/bin/pip install sglang", "python3 /usr/local/bin/vllm --version",
			"python3 /usr/local/bin/vllm bench throughput", "python3 -c import.vllm -m vllm.entrypoints.api_server", "python3 -m pytest vllm/entrypoints/test.py",
			"python3 /usr/local/bin/jupyter nbconvert a.ipynb", "python3 /usr/local/bin/jupyter --version", "python3 /usr/local/bin/accelerate config",
			"python3 /usr/local/bin/ray status", "python3 /usr/local/bin/torchserve --stop", "python3 -m vllmx", "python3", "python3 -", "python3 -m",
			"python3 -m http.server --model x", "python3 train_torchrun.py", "python3 -m torch.utils.collect_env",
		},
	} {
		for _, line := range lines {
			if id, ok := recognise(ran(exe, line)); ok {
				t.Errorf("%s (%s) was taken for %s", line, exe, id.engine)
			}
		}
	}
}

func TestModelNames(t *testing.T) {
	for path, want := range map[string]string{
		"/models/llama-3-8b": "llama-3-8b", "/models/llama-3-8b/": "llama-3-8b", "/m/llama/model-00001-of-00002.safetensors": "llama",
		"/m/phi.gguf": "phi", "/repo/resnet/1": "resnet", "/repo/resnet/1/model.onnx": "resnet", "org/name": "org/name",
		"/root/.cache/huggingface/hub/models--org--name/snapshots/abc": "org/name", "/": "/", "": "", "/0": "0",
	} {
		if got := modelName(path); got != want {
			t.Errorf("modelName(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestModelDirectories(t *testing.T) {
	for file, want := range map[string]string{
		"/models/llama/model.safetensors":         "/models/llama",
		"/models/x.gguf":                          "/models",
		"/tmp/x.gguf":                             "/tmp/x.gguf",
		"/home/ann/x.pt":                          "/home/ann/x.pt",
		"/out/run1/checkpoint-500/model.pt":       "/out/run1",
		"/out/run1/global_step10/mp_rank_00.pt":   "/out/run1",
		"/repo/resnet/1/model.onnx":               "/repo/resnet",
		"/c/hub/models--a--b/blobs/00ff":          "/c/hub/models--a--b",
		"/c/hub/datasets--a--b/snapshots/x/y.npz": "/c/hub/datasets--a--b",
		"/data/checkpoint-1/a.pt":                 "/data/checkpoint-1",
	} {
		if got := modelDir(file); got != want {
			t.Errorf("modelDir(%q) = %q, want %q", file, got, want)
		}
	}
	for _, p := range []string{"/", "relative", "/usr/lib/python3/dist-packages/x", "/opt/v/site-packages/sklearn/x", "/opt/v/lib/python3.11/site-packages", "/usr/local/lib/python3.11/dist-packages", "/proc/1/root", "/etc/x", "/dev/null", "/home"} {
		if learnable(p) {
			t.Errorf("%s must not be learned", p)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("/usr/bin/python3", "python3\x00-m\x00vllm.entrypoints.api_server\x00--model\x00/m")
	f.Add("/usr/bin/python3", "-m")
	f.Add("", "\x00")
	f.Fuzz(func(t *testing.T, exe, line string) {
		p := &event.Process{Exe: exe, Invoked: exe, Script: true, Args: strings.Split(line, "\x00")}
		id, _ := recognise(p)
		if len(id.name) > maxName || len(id.model) > maxName {
			t.Errorf("name %d, model %d bytes", len(id.name), len(id.model))
		}
		for _, m := range id.models {
			modelName(m)
			modelDir("/" + m)
		}
	})
}
