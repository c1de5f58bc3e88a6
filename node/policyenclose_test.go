package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/event"
)

// v1Container starts a shell in a cgroup of v1 that is named as Docker does, and in the root of v2.
// It returns the cgroup and the file that puts a process there.
func v1Container(t *testing.T) (cgroup, procs string, pid int) {
	t.Helper()
	dir := ""
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if at, kind, ok := strings.Cut(line, " - cgroup "); ok && strings.Contains(kind, "pids") {
			dir = strings.Fields(at)[4]
		}
	}
	if dir == "" || !inCgroup("/proc/self/root", "/") {
		t.Skip("not a hybrid host, or this test is not in the root of cgroup v2")
	}
	cgroup = fmt.Sprintf("/docker/%064x", os.Getpid()+1<<32)
	if err := os.MkdirAll(dir+cgroup, 0o755); err != nil {
		t.Skip("no cgroup of v1 can be made here: ", err)
	}
	t.Cleanup(func() {
		for range 200 {
			if os.Remove(dir+cgroup) == nil {
				_ = os.Remove(dir + filepath.Dir(cgroup)) // another's may lie beside
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("the cgroup of v1 could not be removed")
	})
	procs = dir + cgroup + "/cgroup.procs"
	return cgroup, procs, inContainer(t, procs)
}

// inContainer starts a process in a container by v1, as docker exec does.
func inContainer(t *testing.T, procs string) int {
	t.Helper()
	cmd := exec.Command("bash", "-c", "echo $$ > "+procs+"; echo; sleep 60; :")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A container in the root of cgroup v2 is bound by a cgroup that it gets, with what comes into it
// later, and is let go of with the policy.
func TestAContainerInTheRootOfV2IsBound(t *testing.T) {
	p := newPoliced(t, "mode: enforce\negress: {allow: []}\n")
	cgroup, procs, first := v1Container(t)
	id := filepath.Base(cgroup)
	src := "name: box\nselect: {container: " + id[:12] + "*" + id[60:] + "}\nexpires: never\nmode: enforce\negress: {allow: []}\n"
	if err := os.WriteFile(p.file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	meet := func(pid int) {
		t.Helper()
		p.meet(&event.Process{PID: uint32(pid), CgroupID: p.top, CgroupPath: cgroup, Container: &event.Container{ID: id, Cgroup: cgroup}})
	}
	at := func(pid int) string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		_, v2, _ := strings.Cut(string(b), "0::")
		return strings.TrimSpace(v2)
	}
	meet(first)
	if got := at(first); got != cgroup {
		t.Fatalf("it is in %s; refused: %q", got, p.wrong)
	}
	s, err := ReadPolicyStatus(p.cfg)
	if err != nil || len(s.Policies) != 1 || !slices.Equal(s.Policies[0].Cgroups, []string{cgroup}) || !slices.Equal(s.Enclosed, []string{cgroup}) {
		t.Errorf("status %+v, %v", s, err)
	}
	second := inContainer(t, procs)
	if got := at(second); got != "/" {
		t.Fatalf("a process that comes later is in %s", got)
	}
	meet(second)
	third := inContainer(t, procs)
	p.prune() // it was not seen
	for _, pid := range []int{first, second, third} {
		if got := at(pid); got != cgroup {
			t.Errorf("process %d is in %s", pid, got)
		}
	}
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	for _, pid := range []int{first, second, third} {
		if got := at(pid); got != "/" {
			t.Errorf("without a policy, process %d is in %s", pid, got)
		}
	}
	if _, err := os.Stat(unified(t) + cgroup); err == nil {
		t.Error("its cgroup is left")
	}

	// A policy that comes later finds it, though nothing happens in it.
	p.prune()
	if err := os.WriteFile(p.file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	if got := at(first); got != cgroup {
		t.Errorf("a policy that came later: it is in %s; refused: %q", got, p.wrong)
	}
	for _, pid := range []int{first, second, third} {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	for start := time.Now(); len(p.bound) > 0; p.prune() {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("it has ended, and is bound: %+v", p.bound)
		}
	}
	if _, err := os.Stat(unified(t) + cgroup); err == nil {
		t.Error("the cgroup of a container that has ended is left")
	}
}
