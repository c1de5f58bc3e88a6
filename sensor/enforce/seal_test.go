package enforce

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// withoutLSM skips a test of what is used where there is no LSM.
func (r *told) withoutLSM(t *testing.T) {
	t.Helper()
	if r.listens() == nil {
		t.Skip("LSM works here, which is the better rung")
	}
}

// sealedBox is a container that runs, with a volume at /models and a directory of its own at /own.
type sealedBox struct {
	id, state, volume, cgroup string
	pid                       int
}

func newSealed(t *testing.T) *sealedBox {
	t.Helper()
	runc, err := exec.LookPath("runc")
	require(t, "runc", err == nil, "needs runc: apt install runc")
	busybox, err := os.ReadFile("/bin/busybox")
	require(t, "runc", err == nil, "needs busybox: apt install busybox-static")
	bundle := t.TempDir()
	b := &sealedBox{id: fmt.Sprintf("picket-seal-%d", os.Getpid()), state: bundle + "/state", volume: bundle + "/volume"}
	for _, d := range []string{b.volume, bundle + "/rootfs/bin", bundle + "/rootfs/proc", bundle + "/rootfs/models", bundle + "/rootfs/own", bundle + "/rootfs/fixed"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"volume/weights": "good", "rootfs/own/weights": "good", "rootfs/bin/busybox": string(busybox)} {
		if err := os.WriteFile(filepath.Join(bundle, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "sleep", "mkdir", "rm", "mv", "chmod", "touch", "ln", "cat"} {
		if err := os.Symlink("busybox", bundle+"/rootfs/bin/"+name); err != nil {
			t.Fatal(err)
		}
	}
	conf := map[string]any{
		"ociVersion": "1.0.2",
		"process":    map[string]any{"args": []string{"/bin/sleep", "600"}, "cwd": "/", "env": []string{"PATH=/bin"}, "user": map[string]int{"uid": 0, "gid": 0}},
		"root":       map[string]any{"path": "rootfs"},
		"mounts": []map[string]any{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/models", "type": "bind", "source": b.volume, "options": []string{"bind", "rw"}},
			{"destination": "/fixed", "type": "bind", "source": b.volume, "options": []string{"bind", "ro"}},
		},
		"linux": map[string]any{"namespaces": []map[string]string{{"type": "mount"}, {"type": "pid"}}},
	}
	js, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle+"/config.json", js, 0o600); err != nil {
		t.Fatal(err)
	}
	start := exec.Command(runc, "--root", b.state, "run", "--detach", "--bundle", bundle, b.id)
	said, err := os.Create(bundle + "/said") // a pipe would stay open with the container
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	start.Stdout, start.Stderr = said, said
	t.Cleanup(func() { _ = exec.Command(runc, "--root", b.state, "delete", "--force", b.id).Run() })
	if err := start.Run(); err != nil {
		out, _ := os.ReadFile(bundle + "/said")
		t.Fatalf("runc: %v: %s", err, out)
	}
	var st struct{ Pid int }
	out, err := exec.Command(runc, "--root", b.state, "state", b.id).Output()
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.pid = st.Pid
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", b.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			b.cgroup = strings.TrimSpace(path)
		}
	}
	return b
}

// tries is what a shell in the container does to a directory, one line a way.
const tries = `cd /; for d in /models /own; do
(echo evil >$d/weights) 2>/dev/null && echo $d written
(echo evil >>$d/../$d/weights) 2>/dev/null && echo $d appended
(: >$d/new) 2>/dev/null && echo $d created
(: >/proc/1/root$d/new2) 2>/dev/null && echo $d created by proc
mkdir $d/dir 2>/dev/null && echo $d mkdir
chmod 777 $d/weights 2>/dev/null && echo $d chmod
touch -d 2000-01-01 $d/weights 2>/dev/null && echo $d touch
ln $d/weights /link$$ 2>/dev/null && echo $d linked out
mv $d/weights $d/moved 2>/dev/null && echo $d moved
rm -f $d/weights $d/moved 2>/dev/null && echo $d removed
done; (: >/tmpfile) && echo beside; true`

func (b *sealedBox) sh(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("runc", "--root", b.state, "exec", b.id, "/bin/sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestModelsOfAContainerAreSealed(t *testing.T) {
	r := newTold(t)
	r.withoutLSM(t)
	b := newSealed(t)
	own := fmt.Sprintf("/proc/%d/root/own", b.pid)
	mounts := func() int {
		m, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", b.pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(m), "\n")
	}
	was, before, inside := mounts(), picture(t, b.volume), picture(t, own)
	id := r.bind(t, b.cgroup, "box", Rules{Enforce: true, Models: []string{"/models", "/own", "/missing"}})
	if got := r.Rungs()["models"]; got != "mount_setattr" {
		t.Errorf("rung %q", got)
	}
	if err := r.Refresh(); err != nil {
		t.Error(err)
	}
	if n := mounts() - was; n != 2 {
		t.Errorf("%d mounts for two directories", n)
	}
	if got := b.sh(t, tries); got != "beside" {
		t.Errorf("sealed: %s", got)
	}
	b.toldOf(t, r)
	_ = b.sh(t, "rm /other")
	if d := cmp.Diff(before, picture(t, b.volume)); d != "" {
		t.Errorf("the volume changed:\n%s", d)
	}
	if d := cmp.Diff(inside, picture(t, own)); d != "" {
		t.Errorf("the container's directory changed:\n%s", d)
	}
	if err := os.WriteFile(b.volume+"/host", nil, 0o644); err != nil {
		t.Errorf("on the host: %v", err)
	}

	// An agent that is killed leaves the mounts; the next one takes them over, and lets go of them.
	r.Enforcer.mu.Lock()
	for _, x := range r.bound {
		x.sealed = nil
	}
	r.Enforcer.mu.Unlock()
	r.bind(t, b.cgroup, "box", Rules{Enforce: true, Models: []string{"/models", "/own"}})
	if n := mounts() - was; n != 2 {
		t.Errorf("taken over, %d mounts", n)
	}
	r.Release(id)
	if n := mounts() - was; n != 0 {
		t.Errorf("released, %d mounts are left", n)
	}
	if got := b.sh(t, tries); !strings.Contains(got, "/models written") || !strings.Contains(got, "/own removed") || strings.Count(got, "\n") < 15 {
		t.Errorf("released: %s", got)
	}
}

// toldOf checks what is told of a directory that is sealed, by whatever way it is reached, and that
// what another read-only mount refuses is not told.
func (b *sealedBox) toldOf(t *testing.T, r *told) {
	t.Helper()
	_ = b.sh(t, "cd /models; (echo evil >relative) 2>/dev/null; ln -s /models /other; (echo evil >/other/link) 2>/dev/null; (echo evil >/fixed/x) 2>/dev/null; cd /; mkdir models/below 2>/dev/null; true")
	for _, file := range []string{"/models/weights", "/models/new", "/models/dir", "/own/new", "/models/relative", "/models/link", "/models/below"} {
		e := r.wait(t, file, func(e *event.Event) bool {
			return e.File.Path == file || e.File.Path == "/other/link" && file == "/models/link"
		})
		if d := cmp.Diff(&event.Policy{Name: "box", Rule: "models", Action: "denied", Rung: "mount_setattr"}, e.Policy); d != "" {
			t.Errorf("%s: %s", file, d)
		}
		if e.Process.PID == 0 || e.Process.StartBoot == 0 || e.Process.CgroupID == 0 {
			t.Errorf("%s by %+v", file, e.Process)
		}
	}
	if r.Counts()["mount_setattr denied"] == 0 {
		t.Errorf("counts %v", r.Counts())
	}
	r.number()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if strings.HasPrefix(e.File.Path, "/fixed") {
			t.Errorf("another read-only mount is told as ours: %+v", e.File)
		}
	}
}

func TestASealIsForWorkloadsWithMountsOfTheirOwn(t *testing.T) {
	r := newTold(t)
	r.withoutLSM(t)
	g := r.group(t, "")
	sleep := r.command(t, g, "/bin/sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	for start := time.Now(); time.Since(start) < 5*time.Second; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(r.root + g + "/cgroup.procs"); len(b) > 0 {
			break
		}
	}
	if err := r.Apply("box", Rules{Enforce: true, Models: []string{t.TempDir()}}); err != nil {
		t.Fatal(err)
	}
	err := r.Bind(Target{Cgroup: g}, "box")
	if err == nil || !strings.Contains(err.Error(), "shares the host's mounts") {
		t.Errorf("got %v", err)
	}
	if len(r.Bound()) != 0 {
		t.Error("it is bound, and not enforced")
	}
}

// In a container a program that may not run is refused, and no process is killed for it; what
// fanotify is not asked about is.
func TestProgramsOfAContainerAreRefused(t *testing.T) {
	gated(t)
	r := newTold(t)
	r.withoutLSM(t)
	b := newSealed(t)
	copied := fmt.Sprintf("/proc/%d/root/own/tool/busybox", b.pid)
	program, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = os.Mkdir(filepath.Dir(copied), 0o755)
	}
	if err == nil {
		err = os.WriteFile(copied, program, 0o755)
	}
	if err == nil {
		err = os.WriteFile(fmt.Sprintf("/proc/%d/root/own/ours.sh", b.pid), []byte("#!/bin/busybox sh\necho script\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	id := r.bind(t, b.cgroup, "box", Rules{Enforce: true, Exec: []string{"/bin/busybox", "/own/ours.sh"}})
	if len(r.execGates) != 1 {
		t.Fatal("nothing is asked")
	}
	if got := b.sh(t, "/own/tool/busybox true 2>/dev/null; echo $?; /bin/busybox true; echo $?; /own/ours.sh"); got != "126\n0\nscript" {
		t.Errorf("got %q, want EPERM, which a shell tells by 126", got)
	}
	e := r.wait(t, "exec", func(e *event.Event) bool { return strings.HasSuffix(e.File.Path, "/own/tool/busybox") })
	if d := cmp.Diff(&event.Policy{Name: "box", Rule: "exec", Action: "denied", Rung: "fanotify"}, e.Policy); d != "" {
		t.Error(d)
	}
	// By a mount that is not the container's nothing is asked, and the program is killed.
	if err := r.command(t, b.cgroup, filepath.Dir(b.volume)+"/rootfs/own/tool/busybox", "true").Run(); !r.killed(err) {
		t.Errorf("by a mount of the host: %v", err)
	}
	r.wait(t, "killed", func(e *event.Event) bool { return e.Policy.Action == "killed" && e.Policy.Rung == "sched_process_exec" })
	r.Release(id)
	if len(r.execGates) != 0 {
		t.Error("it is asked still")
	}
	if got := b.sh(t, "/own/tool/busybox true; echo $?"); got != "0" {
		t.Errorf("released: %s", got)
	}
}
