package node

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"picket/respond/action"
)

// A shell in a cgroup of its own has a device file of NVIDIA's number open. Excluded from GPUs it opens
// none any more and makes no further device file of one, other devices it opens, what was open stays
// open, and what is undone is as before. No driver needs to be there: where opening is allowed, the
// kernel says that there is none.
func TestExcludeGPU(t *testing.T) {
	a := newActor(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil { // without nodev
		t.Skip("cannot mount tmpfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for name, dev := range map[string][2]uint32{"nvidia0": {195, 0}, "nvidiactl": {195, 255}, "renderD128": {226, 128}, "null": {1, 3}} {
		if err := unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o600, int(unix.Mkdev(dev[0], dev[1]))); err != nil {
			t.Skip("devices cannot be made here: ", err)
		}
	}
	if err := os.Mkdir(a.root+a.group+"/job", 0o755); err != nil {
		t.Fatal(err)
	}
	cg, err := os.Open(a.root + a.group + "/job")
	if err != nil {
		t.Fatal(err)
	}
	defer cg.Close()
	cmd := exec.Command("bash", "-c", `while read -r what file; do
		case $what in
		open) (exec 3<"$file") 2>&1 | sed 's/.*: //' | head -1; echo "end" ;;
		make) mknod "$file" c 195 7 2>&1 | sed 's/.*: //'; rm -f "$file"; echo "end" ;;
		esac
	done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cg.Fd()), Setsid: true}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	ask := func(what, name string) string {
		t.Helper()
		if _, err := in.Write([]byte(what + " " + filepath.Join(dir, name) + "\n")); err != nil {
			t.Fatal(err)
		}
		said := ""
		for lines.Scan() && lines.Text() != "end" {
			said += lines.Text()
		}
		return said
	}
	const refused = "Operation not permitted"
	free := func(when string, wants ...string) {
		t.Helper()
		for _, name := range []string{"nvidia0", "nvidiactl", "renderD128"} {
			if said := ask("open", name); said == refused {
				t.Errorf("%s: %s is not opened: %s", when, name, said)
			}
		}
		if said := ask("make", "other"); said != "" {
			t.Errorf("%s: no device file is made: %s", when, said)
		}
	}
	free("before")
	if t.Failed() {
		t.Skip("devices of GPUs cannot be opened in a cgroup here, without Picket")
	}

	target := lineageOf(cmd.Process.Pid)
	p, err := a.ask(t, action.Command{Op: action.OpPlan, Request: &action.Request{Kind: action.ExcludeGPU, Target: target}})
	if err != nil || !strings.Contains(strings.Join(p.Plan.Effects, " "), "none of them has a GPU open now") || !strings.Contains(strings.Join(p.Plan.Effects, " "), "is not reset") || p.Plan.Class != action.Reversible {
		t.Fatalf("%+v %v", p.Plan, err)
	}
	a.do(t, &action.Request{ID: "x1", Kind: action.ExcludeGPU, Target: target}, action.Done)
	for _, name := range []string{"nvidia0", "nvidiactl", "renderD128"} {
		if said := ask("open", name); said != refused {
			t.Errorf("%s is opened: %q", name, said)
		}
	}
	if said := ask("make", "other"); said != refused {
		t.Errorf("a device file of a GPU is made: %q", said)
	}
	if said := ask("open", "null"); said != "" {
		t.Errorf("null is not opened: %s", said)
	}
	if v, err := a.ask(t, action.Command{Op: action.OpVerify, Request: &action.Request{ID: "x1", Kind: action.ExcludeGPU, Target: target}}); err != nil || !v.Holds {
		t.Errorf("%+v %v", v, err)
	}
	a.undo(t, "x1")
	free("after it was undone")
	if c := cgroupOf(t, cmd.Process.Pid); c != a.group+"/job" {
		t.Errorf("the process is in %s", c)
	}

	// The next agent holds on to what an earlier one did.
	a.do(t, &action.Request{ID: "x2", Kind: action.ExcludeGPU, Target: action.Target{Cgroup: a.group + "/job"}}, action.Done)
	a.stop()
	free("without an agent")
	a.start(t)
	if _, err := a.ask(t, action.Command{Op: action.OpUndo, Request: &action.Request{ID: "none", By: "x"}}); err == nil { // settled by then
		t.Error("an act that never was is undone")
	}
	if said := ask("open", "nvidia0"); said != refused {
		t.Errorf("after the agent was started anew nvidia0 is opened: %q", said)
	}
	a.undo(t, "x2")
	free("at the end")
}
