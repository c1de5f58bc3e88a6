package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/detect/profile"
	"picket/node"
)

// A server that poses as vLLM is learned. Frozen, its profile tells of the program that the server has
// never run, and not of the one that it ran before; it outlives the agent, and is forgotten on demand.
func TestWhatAServerNeverDidIsToldOnceItsProfileIsFrozen(t *testing.T) {
	p := newProgram(t)
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("needs /usr/bin/python3: it poses as the server")
	}
	serve := filepath.Join(p.dir, "venv/bin/vllm")
	write(t, serve, `
import subprocess, sys
held = open(sys.argv[2] + "/model.safetensors", "rb")
print("ready", flush=True)
for line in sys.stdin:
    subprocess.run(line.split())
    print("done", flush=True)
`)
	write(t, filepath.Join(p.dir, "models/m/model.safetensors"), "weights")
	p.start()
	name := fmt.Sprintf("served-%d", time.Now().UnixNano())
	cmd := exec.Command(python, serve, "serve", filepath.Join(p.dir, "models/m"), "--served-model-name", name)
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
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	run := func(command string) {
		if _, err := in.Write([]byte(command + "\n")); err != nil || !lines.Scan() {
			t.Fatal(err)
		}
	}
	mine := func() *profile.Profile {
		list, _ := node.ReadProfiles(p.cfg) // asked again
		for _, one := range list {
			if one.Engine == "vllm" && one.Name == name {
				return one
			}
		}
		return nil
	}
	usual, unusual := linked(t, "usual-tool"), linked(t, "unusual-tool")
	run(usual)
	p.until(2*time.Minute, "the server's profile is kept", func() bool {
		is := mine()
		return is != nil && is.State() == "learning" && is.Items["program"][usual].Count == 1 && is.Items["model"][filepath.Join(p.dir, "models")].Count > 0
	})
	id := mine().ID
	p.picket("profile", "freeze", id[:8])
	p.until(20*time.Second, "the profile is frozen", func() bool { return mine().State() == "frozen" })
	again := func(what string) {
		before, _ := p.findings("program_unusual")
		run(usual)
		run(unusual)
		p.until(40*time.Second, what, func() bool {
			list, err := p.findings("program_unusual")
			return err == nil && len(list) > len(before) && strings.Contains(list[0].Summary, unusual)
		})
		list, err := p.findings("program_unusual")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if strings.Contains(f.Summary, "ran "+usual) {
				t.Errorf("what is usual: %s", f.Summary)
			}
		}
	}
	again("the unusual program is told")
	p.stop(syscall.SIGTERM)
	p.start()
	if is := mine(); is == nil || is.State() != "frozen" || is.Strange["program:"+unusual].Count != 1 {
		t.Fatalf("after the agent was started anew: %+v", is)
	}
	for want, args := range map[string][]string{
		name: {"profile"}, "usual-tool": {"profile", "show", id}, `"frozen": true`: {"profile", "show", id, "--output", "json"},
	} {
		if said := p.picket(args...); !strings.Contains(said, want) {
			t.Errorf("picket %v does not say %s:\n%s", args, want, said)
		}
	}
	var list []profile.Profile
	if err := json.Unmarshal([]byte(p.picket("profile", "list", "--output", "json")), &list); err != nil || len(list) == 0 {
		t.Errorf("%v: %d profiles", err, len(list))
	}
	p.picket("profile", "forget", id)
	run(usual)
	p.until(20*time.Second, "the profile is learned anew", func() bool { is := mine(); return is == nil || is.State() == "learning" })
}
