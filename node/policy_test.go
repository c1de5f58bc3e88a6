package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picket/event"
	"picket/policy"
)

// policed is a node's policies with one file, and a cgroup of our own that it selects.
type policed struct {
	*policies
	file, group, dir string
	mu               sync.Mutex
	events           []event.Event
}

func newPoliced(t *testing.T, rest string) *policed {
	t.Helper()
	if os.Geteuid() != 0 {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "root") {
			t.Fatal("needs root to load eBPF programs")
		}
		t.Skip("needs root to load eBPF programs")
	}
	p := &policed{group: fmt.Sprintf("/picket-node-test-%d", os.Getpid())}
	p.dir = unified(t) + p.group
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if os.Remove(p.dir) == nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("the cgroup could not be removed")
	})
	cfg := Default()
	cfg.Data = t.TempDir()
	files := filepath.Join(cfg.Data, "policies")
	for _, d := range []string{files, cfg.dir("agent")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Policy.Files, p.file = []string{files}, filepath.Join(files, "box.yml")
	p.write(t, rest)
	p.policies = newPolicies(cfg, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	p.reload(ctx)
	if len(p.wrong) > 0 {
		t.Fatal(p.wrong)
	}
	done := make(chan error, 1)
	go func() {
		done <- p.enforcer.Run(ctx, func(e *event.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, *e)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *policed) write(t *testing.T, rest string) {
	t.Helper()
	src := "name: box\nselect: {cgroup: " + p.group + "}\nexpires: never\n" + rest
	if err := os.WriteFile(p.file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unified(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			return strings.Fields(before)[4]
		}
	}
	t.Skip("no cgroup v2")
	return ""
}

// dial connects from inside the cgroup and reports whether that worked.
func (p *policed) dial(t *testing.T, to string) bool {
	t.Helper()
	dir, err := os.Open(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	host, port, _ := net.SplitHostPort(to)
	cmd := exec.Command("bash", "-c", "echo x > /dev/tcp/"+host+"/"+port)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd.Run() == nil
}

func TestPoliciesFollowTheirFiles(t *testing.T) {
	p := newPoliced(t, "mode: enforce\negress: {allow: []}\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Addr().String()
	try := func(what string, want bool) {
		t.Helper()
		if got := p.dial(t, to); got != want {
			t.Errorf("%s: connected %t, want %t", what, got, want)
		}
	}
	change := func(rest string) {
		t.Helper()
		p.write(t, rest)
		p.reload(t.Context())
	}
	try("before the workload was seen", true)
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group})
	try("enforced", false)
	if err := SetPolicyMode(p.cfg, "box", "observe", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("observed by command", true)
	if err := SetPolicyMode(p.cfg, "box", "enforce", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("enforced by command", false)
	if err := StopEnforcing(p.cfg); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("stopped", true)
	if err := ResumeEnforcing(p.cfg); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("resumed", false)
	change("mode: enforce\negress: {allow: [loopback]}\n")
	try("allowed by the changed file", true)
	change("mode: enforce\negress: {allow: [10.0.0.0/8]}\n")
	try("denied by the changed file", false)
	change("mode: enforce\negress: {alow: []}\n")
	try("a mistake keeps what was", false)
	if s, err := ReadPolicyStatus(p.cfg); err != nil || len(s.Refused) == 0 || !strings.Contains(s.Refused[0], "unknown key \"alow\"") || len(s.Policies) != 1 || !s.Policies[0].Enforce || !slices.Equal(s.Policies[0].Cgroups, []string{p.group}) {
		t.Errorf("status %+v %v", s, err)
	}
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("the file is gone", true)
	if n := p.enforcer.Programs(); len(n) != 0 {
		t.Errorf("%v are attached for no policy", n)
	}
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		i := slices.IndexFunc(p.events, func(e event.Event) bool { return e.Net.Remote.String() == to && e.Policy.Action == "denied" })
		seen := slices.ContainsFunc(p.events, func(e event.Event) bool { return e.Policy.Action == "seen" })
		p.mu.Unlock()
		if i >= 0 && seen {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("no violation was told")
		}
	}
}

func TestAPolicyThatCannotBeEnforcedSaysSo(t *testing.T) {
	p := newPoliced(t, "mode: enforce\negress: {allow: []}\n")
	p.lacks = slices.DeleteFunc(p.lacks, func(c event.Capability) bool { return c.Name == "enforce-models" })
	p.write(t, "mode: enforce\nmodels: {read-only: true, paths: [/models]}\n")
	p.reload(t.Context())
	if len(p.wrong) != 1 || !strings.Contains(p.wrong[0], "box.yml:1:1: policy box cannot be enforced on this kernel: writing in a model directory is seen and not stopped") {
		t.Errorf("got %q", p.wrong)
	}
	if r := p.applied["box"]; r.Egress == nil || !r.Enforce {
		t.Errorf("the last good policy is not in use: %+v", r)
	}
	none := []event.Capability{{Name: "enforce-egress", Detail: "refused"}}
	list, err := policy.Parse("x", []byte("name: x\nselect: {container: x}\nmode: enforce\nexpires: never\negress: {allow: []}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Enforceable(list[0], none); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestProtectSaysWhetherItHolds(t *testing.T) {
	p := newPoliced(t, "egress: {allow: []}\n")
	p.cfg.Policy.Protect = true
	p.apply()
	held := p.enforcer.Rungs()["protect"] == "task_kill"
	if told := slices.ContainsFunc(p.wrong, func(w string) bool { return strings.HasPrefix(w, "policy.protect: signals to Picket") }); told == held {
		t.Errorf("protected %v, and told %q", held, p.wrong)
	}
}

func TestWritingInAModelDirectoryIsSeen(t *testing.T) {
	p := newPoliced(t, "models: {read-only: true, paths: [/models]}\n")
	proc := &event.Process{PID: 1 << 30, CgroupPath: p.group + "/below"}
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group})
	v := p.breach(&event.Event{Kind: event.FileWrite, Process: proc, File: event.File{Path: "/models/llama/x.gguf"}})
	if v == nil || *v.Policy != (event.Policy{Name: "box", Rule: "models", Action: "seen", Rung: "sys_exit"}) || v.Kind != event.PolicyViolation {
		t.Errorf("got %+v", v)
	}
	for _, e := range []event.Event{
		{Kind: event.FileWrite, Process: proc, File: event.File{Path: "/modelsx"}},
		{Kind: event.FileRead, Process: proc, File: event.File{Path: "/models/x"}},
		{Kind: event.FileWrite, Process: &event.Process{CgroupPath: "/other"}, File: event.File{Path: "/models/x"}},
	} {
		if v := p.breach(&e); v != nil {
			t.Errorf("%+v is a violation: %+v", e.File, v)
		}
	}
	if got := p.models(); !slices.Equal(got, []string{"/models/"}) {
		t.Errorf("models %q", got)
	}
}

func TestLoadingAnUnsignedModelIsSeen(t *testing.T) {
	p := newPoliced(t, "models: {require: signed, paths: [/models]}\n")
	proc := &event.Process{PID: 1 << 30, CgroupPath: p.group + "/below"}
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group})
	seen := func(path, use, signature string, proc *event.Process) *event.Event {
		return p.breach(&event.Event{
			Kind: event.ModelSeen, Process: proc, File: event.File{Path: path}, Artifact: &event.Artifact{Use: use, Verdict: "clean", Signature: signature},
		})
	}
	for _, signature := range []string{event.Unsigned, event.Invalid, event.Untrusted} {
		v := seen("/models/a/x.pt", event.UseRead, signature, proc)
		if v == nil || *v.Policy != (event.Policy{Name: "box", Rule: "models", Action: "seen", Rung: "model.seen"}) || !strings.Contains(v.Breach(), "loaded /models/a/x.pt, which is "+signature) {
			t.Errorf("%s: got %+v", signature, v)
		}
	}
	if seen("/models/a/x.pt", event.UseRead, event.Signed, proc) != nil || seen("/models/a/x.pt", event.UseWritten, event.Unsigned, proc) != nil ||
		seen("/other/x.pt", event.UseRead, event.Unsigned, proc) != nil || seen("/models/a/x.pt", event.UseRead, event.Unsigned, &event.Process{CgroupPath: "/other"}) != nil {
		t.Error("one that is signed, written, elsewhere or of another workload is a violation")
	}
}

// TestAModelSignedByAnotherIdentityIsSeen: that somebody trusted signed it is not enough where a policy says who.
func TestAModelSignedByAnotherIdentityIsSeen(t *testing.T) {
	p := newPoliced(t, "models: {require: signed, by: [release@example.org]}\n")
	proc := &event.Process{PID: 1 << 30, CgroupPath: p.group}
	p.meet(proc)
	for signer, want := range map[string]bool{
		"identity release@example.org (https://accounts.example)": false, "identity release@example.org.evil (https://accounts.example)": true,
		"key sha256:00": true, "certificate of CN=release@example.org": true,
	} {
		v := p.breach(&event.Event{
			Kind: event.ModelSeen, Process: proc, File: event.File{Path: "/m/x.pt"}, Artifact: &event.Artifact{Use: event.UseRead, Verdict: "clean", Signature: event.Signed, Signer: signer},
		})
		if (v != nil) != want {
			t.Errorf("%s: %+v", signer, v)
		}
		if v != nil && !strings.Contains(v.Breach(), "loaded /m/x.pt, which is signed by "+signer) {
			t.Errorf("%s: %s", signer, v.Breach())
		}
	}
}

func TestASubjectCannotTalkItselfFree(t *testing.T) {
	p := newPoliced(t, "mode: enforce\negress: {allow: []}\n")
	loose := filepath.Join(filepath.Dir(p.file), "loose.yml")
	if err := os.WriteFile(loose, []byte("name: aa-loose\nselect: {engine: vllm}\negress: {allow: [loopback]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group})
	p.meet(&event.Process{PID: 1 << 30, CgroupPath: p.group, Workload: &event.Workload{Engine: "vllm"}})
	for id, b := range p.bound {
		if b.name != "box" {
			t.Errorf("cgroup %d went over to %s", id, b.name)
		}
	}
	if len(p.bound) != 1 {
		t.Errorf("bound %+v", p.bound)
	}
}
