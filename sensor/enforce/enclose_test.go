package enforce

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// container makes a cgroup of v1 as Docker names one, in a hierarchy that this host has, until the
// test ends.
func (b *box) container(t *testing.T) (cgroup, procs string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at, kind, ok := strings.Cut(line, " - cgroup "); ok && strings.Contains(kind, "pids") {
			cgroup = fmt.Sprintf("/docker/%064x", os.Getpid())
			dir := strings.Fields(at)[4] + cgroup
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Skip("no cgroup of v1 can be made here: ", err)
			}
			t.Cleanup(func() {
				for range 200 {
					if os.Remove(dir) == nil {
						_ = os.Remove(filepath.Dir(dir)) // another's may lie beside
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
				t.Errorf("%s could not be removed", dir)
			})
			return cgroup, dir + "/cgroup.procs"
		}
	}
	t.Skip("no cgroup v1 with pids here: not a hybrid host")
	return "", ""
}

// inside starts a shell in the container, as a runtime does: in v2 it is where we are.
func (b *box) inside(t *testing.T, procs, text string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("bash", "-c", "echo $$ > "+procs+"; "+text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	speak(t, cmd, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd
}

// members are the processes of the container by v1, with their cgroup in v2.
func members(t *testing.T, file string) (out []Process) {
	t.Helper()
	pids, err := procs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if p, err := processOf(pid); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// A container that only v1 tells apart gets a cgroup in v2 while it forks all the time, is under a
// policy there, and is back where it was in the end.
func TestEnclose(t *testing.T) {
	r := newTold(t)
	b := &box{Cgroups: r.Cgroups}
	if own, err := processOf(os.Getpid()); err != nil || own.Cgroup != "/" {
		t.Skipf("this test runs in %s of v2, and not in its root: %v", own.Cgroup, err)
	}
	cgroup, file := b.container(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.inside(t, file, "for i in 1 2 3; do while :; do (sleep 0.001); done & done; sleep 0.05; echo; wait")
	for range 10 {
		if err := r.Enclose(cgroup); err != nil {
			t.Fatal(err)
		}
		list := members(t, file)
		if len(list) < 4 {
			t.Fatalf("members: %v", list)
		}
		for _, p := range list {
			if p.Cgroup != cgroup {
				t.Fatalf("%+v got away", p)
			}
		}
		if !r.Enclosed(cgroup) || r.Enclosed("") || r.Enclosed("/none") {
			t.Error("what is enclosed is not told from what is not")
		}
		if err := r.Disclose(cgroup); err != nil {
			t.Fatal(err)
		}
		for _, p := range members(t, file) {
			if p.Cgroup != "/" {
				t.Fatalf("%+v is not back", p)
			}
		}
		if _, err := os.Stat(r.root + "/docker"); err == nil {
			t.Fatal("a cgroup that was made is left")
		}
	}

	// Under a policy, what a runtime starts in it later is taken in when it is seen.
	if err := r.Enclose(cgroup); err != nil {
		t.Fatal(err)
	}
	r.bind(t, cgroup, "box", Rules{Enforce: true, Egress: &Egress{}})
	later := b.inside(t, file, "echo; sleep 60; :")
	if p, err := processOf(later.Process.Pid); err != nil || p.Cgroup != "/" {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := r.Enclose(cgroup); err != nil {
		t.Fatal(err)
	}
	if p, err := processOf(later.Process.Pid); err != nil || p.Cgroup != cgroup {
		t.Errorf("%+v, %v", p, err)
	}
	if got := r.act(t, cgroup, "dial", "tcp4", l.Addr().String()); got != eperm {
		t.Errorf("a connection out of the container: %s", got)
	}
	id, err := r.ID(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	r.Release(id)
	if err := r.Disclose(cgroup); err != nil {
		t.Error(err)
	}
}

func TestEncloseRefuses(t *testing.T) {
	b := newBox(t)
	for _, bad := range []string{"", "/", "docker", "/docker/..", "/docker/", strings.Repeat("/x", maxLevels+1)} {
		if err := b.Enclose(bad); err == nil {
			t.Errorf("%q was enclosed", bad)
		}
	}
	nobody := fmt.Sprintf("/docker/%064x", os.Getpid())
	if err := b.Enclose(nobody); err == nil || !strings.Contains(err.Error(), "no process of it is in the root") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(b.root + nobody); err == nil {
		t.Error("a cgroup is left for nobody")
	}
	if err := b.Disclose(b.group); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(b.root + b.group); err != nil {
		t.Errorf("a cgroup that Picket did not make is gone: %v", err)
	}
	if list, err := b.Processes(b.group); err != nil || slices.ContainsFunc(list, func(p Process) bool { return p.PID == os.Getpid() }) {
		t.Errorf("%v, %v", list, err)
	}
}
