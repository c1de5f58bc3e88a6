package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"picket/sigma"
)

// names are the fields that an event has, by number.
type names []string

var schema = names{ // as many as fields
	"Image", "CommandLine", "ParentImage", "ParentCommandLine", "CurrentDirectory", "User", "LogonId", "ProcessId", "ParentProcessId",
	"OriginalFileName", "ProcessGuid", "Computer", "ContainerId", "UserId", "TargetFilename", "DestinationIp", "DestinationPort",
	"DestinationHostname", "SourceIp", "SourcePort", "Protocol", "Initiated", "QueryName", "QueryResults",
}

// Field implements sigma.Schema.
func (n names) Field(name string) (uint16, bool) {
	for i, s := range n {
		if s == name {
			return uint16(i), true
		}
	}
	return 0, false
}

// Searched implements sigma.Searched.
func (n names) Searched(id uint16) bool {
	return !strings.HasSuffix(n[id], "Id") || n[id] == "ContainerId"
}

// typed is an event whose fields have fixed places, as Picket's have.
type typed struct {
	source []sigma.Logsource
	kinds  [fields]sigma.Kind
	texts  [fields]string
	counts [fields]int64
}

const fields = 24

// Value implements sigma.Event.
func (e *typed) Value(id uint16) sigma.Value {
	return sigma.Value{Kind: e.kinds[id], Str: e.texts[id], Int: e.counts[id]}
}

// Extra implements sigma.Event.
func (e *typed) Extra(string) sigma.Value { return sigma.Value{} }

// Plain says that there is no field outside the schema.
func (e *typed) Plain() bool { return true }

// Logsources implements sigma.Event.
func (e *typed) Logsources() []sigma.Logsource { return e.source }

// EachText implements sigma.Event.
func (e *typed) EachText(visit func(id uint16, text string) bool) {
	for i, kind := range e.kinds {
		if kind == sigma.Text && !visit(uint16(i), e.texts[i]) {
			return
		}
	}
}

func (e *typed) text(field, s string) {
	id, _ := schema.Field(field)
	e.kinds[id], e.texts[id] = sigma.Text, s
}

func (e *typed) number(field string, n int) {
	id, _ := schema.Field(field)
	e.kinds[id], e.counts[id] = sigma.Integer, int64(n)
}

// shapes are command lines of ordinary work on an AI cluster; # is a number, @ a name.
var shapes = []struct{ image, parent, args string }{
	{"/usr/bin/python3.11", "/usr/bin/bash", "python3 -m vllm.entrypoints.openai.api_server --model /models/@-#b --tensor-parallel-size # --port 80## --max-model-len #####"},
	{"/opt/conda/bin/python3.10", "/usr/bin/slurmstepd", "torchrun --nproc_per_node=8 --nnodes=# --rdzv_endpoint=node#:29500 train.py --config configs/@.yaml --checkpoint-dir /mnt/ckpt/run-####"},
	{"/opt/conda/bin/python3.10", "/opt/conda/bin/python3.10", "/opt/conda/bin/python3.10 -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=#, pipe_handle=##) --multiprocessing-fork"},
	{"/usr/bin/git", "/usr/bin/make", "git fetch origin --prune --tags refs/heads/@-####:refs/remotes/origin/@-####"},
	{"/usr/bin/nvidia-smi", "/usr/bin/dcgm-exporter", "nvidia-smi --query-gpu=utilization.gpu,memory.used,power.draw --format=csv,noheader,nounits -i #"},
	{"/usr/bin/bash", "/usr/sbin/sshd", "bash -c cd /home/@/project-## && source .venv/bin/activate && python eval.py --split test --seed ####"},
	{"/usr/bin/rsync", "/usr/bin/bash", "rsync -a --partial /mnt/datasets/@/shard-#####.tar node##:/scratch/@/"},
	{"/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus", "/usr/bin/g++-12", "cc1plus -quiet -I /usr/local/cuda/include -D_FORTIFY_SOURCE=2 -O3 @_kernel_##.cpp -o /tmp/cc######.s"},
	{"/usr/bin/kubelet", "/usr/lib/systemd/systemd", "kubelet --config=/var/lib/kubelet/config.yaml --node-ip=10.#.#.## --pod-infra-container-image=registry.k8s.io/pause:3.9"},
	{"/usr/bin/runc", "/usr/bin/containerd-shim-runc-v2", "runc --root /run/containerd/runc/k8s.io --log /run/containerd/io.containerd.runtime.v2.task/k8s.io/@####/log.json exec @####"},
	{"/usr/bin/du", "/usr/bin/bash", "du -sh /mnt/ckpt/run-####/@"},
	{"/usr/bin/grep", "/usr/bin/bash", "grep -rn loss= /var/log/slurm/job-######.out"},
	{"/usr/bin/find", "/usr/sbin/cron", "find /scratch/@ -name *.tmp -mtime +# -print"},
	{"/usr/bin/curl", "/opt/conda/bin/python3.10", "curl -s --max-time ## http://10.#.#.##:8000/v1/completions -H content-type: application/json"},
	{"/usr/bin/tar", "/usr/bin/bash", "tar -cf /scratch/@/ckpt-#####.tar -C /mnt/ckpt/run-#### model.safetensors optimizer.pt"},
	{"/usr/bin/ps", "/usr/bin/top", "ps -eo pid,ppid,pcpu,rss,args --sort -pcpu"},
}

var people = []string{"llama", "mistral", "alice", "whisper", "bob", "qwen", "gemma", "eval", "sweep", "carol", "vision", "diffusion"}

// fill writes numbers and names into a shape.
func fill(r *rand.Rand, shape string) string {
	var b strings.Builder
	for i := range len(shape) {
		switch shape[i] {
		case '#':
			b.WriteByte(byte('0' + r.IntN(10)))
		case '@':
			b.WriteString(people[r.IntN(len(people))])
		default:
			b.WriteByte(shape[i])
		}
	}
	return b.String()
}

func process(r *rand.Rand) *typed {
	s := shapes[r.IntN(len(shapes))]
	e := &typed{source: []sigma.Logsource{{Category: "process_creation", Product: "linux"}}}
	e.text("Image", s.image)
	e.text("CommandLine", fill(r, s.args))
	e.text("ParentImage", s.parent)
	e.text("ParentCommandLine", fill(r, s.parent+" --job ######"))
	e.text("CurrentDirectory", fill(r, "/home/@/project-##"))
	e.text("User", people[r.IntN(len(people))])
	e.text("OriginalFileName", s.image[strings.LastIndexByte(s.image, '/')+1:])
	e.text("ProcessGuid", fill(r, "################"))
	e.text("Computer", fill(r, "node##"))
	e.text("ContainerId", fill(r, "############"))
	for _, f := range []string{"ProcessId", "ParentProcessId", "LogonId", "UserId"} {
		e.number(f, 1000+r.IntN(60000))
	}
	return e
}

func processEvents(r *rand.Rand, n int) []sigma.Event {
	var out []sigma.Event
	for range n {
		out = append(out, process(r))
	}
	return out
}

// mixedEvents are 70 % processes, 15 % files, 10 % connections and 5 % names asked for.
func mixedEvents(r *rand.Rand, n int) []sigma.Event {
	var out []sigma.Event
	for range n {
		e := process(r)
		switch p := r.IntN(100); {
		case p < 70:
		case p < 85:
			e.source = []sigma.Logsource{{Category: "file_event", Product: "linux"}}
			e.text("TargetFilename", fill(r, "/mnt/ckpt/run-####/@/shard-#####.safetensors"))
		case p < 95:
			e.source = []sigma.Logsource{{Category: "network_connection", Product: "linux"}}
			e.text("DestinationIp", fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)))
			e.number("DestinationPort", 1+r.IntN(65535))
			e.text("Protocol", "tcp")
		default:
			e.source = []sigma.Logsource{{Category: "dns_query", Product: "linux"}}
			e.text("QueryName", fill(r, "@-##.@.svc.cluster.local"))
		}
		if e.source[0].Category != "process_creation" { // they have no command line
			for _, f := range []string{"CommandLine", "ParentCommandLine"} {
				id, _ := schema.Field(f)
				e.kinds[id], e.texts[id] = sigma.Absent, ""
			}
		}
		out = append(out, e)
	}
	return out
}
