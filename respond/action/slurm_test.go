package action

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/respond/kubetest"
)

// newSlurm starts a cluster of one node on loopback: munged, slurmctld, slurmd. It returns its node.
func newSlurm(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("Slurm takes a while to start: not in -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("slurmd needs root")
	}
	for _, name := range []string{"munged", "slurmctld", "slurmd", "scontrol", "sbatch"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("there is no Slurm to test with: tools/setup.sh slurm installs it")
		}
	}
	dir, err := os.MkdirTemp("", "slurm") //nolint:usetesting // short, and open: the path of munge's socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"", "state", "spool"} {
		_ = os.Mkdir(filepath.Join(dir, d), 0o755)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 128)
	_, _ = rand.Read(key)
	write(t, filepath.Join(dir, "munge.key"), string(key))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	node, _, _ := strings.Cut(host, ".")
	write(t, filepath.Join(dir, "slurm.conf"), fmt.Sprintf(`ClusterName=test
SlurmctldHost=%[1]s(127.0.0.1)
SlurmctldPort=%[3]s
SlurmdPort=%[4]s
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge.sock
SlurmUser=root
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/ctld.pid
SlurmdPidFile=%[2]s/d.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
NodeName=%[1]s NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
`, node, dir, kubetest.FreePort(t), kubetest.FreePort(t)))
	t.Setenv("SLURM_CONF", filepath.Join(dir, "slurm.conf"))
	daemon := func(name string, args ...string) {
		log, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			b, _ := os.ReadFile(log.Name())
			if t.Failed() {
				t.Logf("%s said: …%s", name, b[max(0, len(b)-1000):])
			}
		})
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	daemon("munged", "--foreground", "--force", "--socket="+at("munge.sock"), "--key-file="+at("munge.key"), "--pid-file="+at("munge.pid"), "--log-file="+at("munge.log"), "--seed-file="+at("seed"))
	until(t, time.Minute, "munge listens", func() bool { _, err := os.Stat(at("munge.sock")); return err == nil })
	daemon("slurmctld", "-D")
	daemon("slurmd", "-D")
	until(t, 2*time.Minute, "the node is idle", func() bool {
		out, _ := exec.Command("sinfo", "-h", "-o", "%T").CombinedOutput()
		return strings.TrimSpace(string(out)) == "idle"
	})
	return node
}

func submit(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"--parsable", "--output=/dev/null", "--requeue", "--job-name=x UserId=root JobState=PENDING Priority=0"}, args...)
	out, err := exec.Command("sbatch", append(args, "--wrap", "sleep 600")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return strings.TrimSpace(string(out))
}

// Against a real Slurm: jobs and nodes are held, ended and set back as they were.
func TestSlurm(t *testing.T) {
	node := newSlurm(t)
	dir := t.TempDir()
	acts, err := NewSlurm(SlurmOptions{Dir: filepath.Join(dir, "was"), Conf: os.Getenv("SLURM_CONF")})
	if err != nil {
		t.Fatal(err)
	}
	l := opened(t, acts...)
	c := &testCluster{t: t, local: l}
	of := func(kind, name string) Target {
		return Target{Object: &ObjectPin{Of: Slurm, Kind: kind, Name: name}}
	}
	s := acts[0].(*slurmJob).s
	state := func(id string) *jobNow {
		t.Helper()
		j, err := s.job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}

	running := submit(t)
	until(t, time.Minute, "a job runs", func() bool { return state(running).State == "RUNNING" })
	waiting, held := submit(t, "--begin=now+1hour"), submit(t, "--hold")

	c.act("h1", HoldJob, of("job", waiting), nil)
	if !state(waiting).held() {
		t.Errorf("%+v", state(waiting))
	}
	c.undo("h1")
	if state(waiting).held() {
		t.Errorf("it is held still: %+v", state(waiting))
	}
	c.act("h2", HoldJob, of("job", held), nil)
	c.undo("h2")
	if !state(held).held() {
		t.Error("a job that was held before was released by undo")
	}
	c.act("h3", ReleaseJob, of("job", held), nil)
	c.undo("h3")

	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} { // acts of two runs end in any order
		for _, x := range order {
			c.act("h"+order[0]+x, HoldJob, of("job", waiting), nil)
			c.act("d"+order[0]+x, DrainNode, of("node", node), nil)
		}
		for i, x := range []string{"a", "b"} {
			c.undo("h" + order[0] + x)
			c.undo("d" + order[0] + x)
			if _, now, err := (&slurmNode{s, DrainNode}).find(t.Context(), &Request{Target: of("node", node)}); err != nil || now.drains() != (i == 0) || state(waiting).held() != (i == 0) {
				t.Errorf("%v: after %d of them: %+v %+v %v", order, i+1, now, state(waiting), err)
			}
		}
	}

	const n = "n"
	drains := func() *nodeNow {
		t.Helper()
		_, now, err := (&slurmNode{s, DrainNode}).find(t.Context(), &Request{Target: of("node", node)})
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	c.act(n+"1", DrainNode, of("node", node), nil)
	if now := drains(); !now.drains() || now.Reason != "picket act n1" {
		t.Errorf("%+v", now)
	}
	c.undo(n + "1")
	if now := drains(); now.drains() {
		t.Errorf("%+v", now)
	}
	c.act(n+"2", DrainNode, of("node", node), nil)
	if out, err := exec.Command("scontrol", "update", "NodeName="+node, "State=DRAIN", "Reason=a bad fan").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if res := c.undo(n + "2"); !strings.Contains(res.Detail, "somebody else") || !drains().drains() {
		t.Errorf("another's drain was undone: %s", res.Detail)
	}
	c.act(n+"3", ResumeNode, of("node", node), nil)
	c.undo(n + "3")
	if now := drains(); !now.drains() || now.Reason != "a bad fan" {
		t.Errorf("not as it was: %+v", now)
	}
	c.act(n+"4", ResumeNode, of("node", node), nil)

	p, _ := c.act("r1", RequeueJob, of("job", running), nil)
	if p.Class != Destructive || !strings.Contains(p.Hits[0], "RUNNING") {
		t.Errorf("%+v", p)
	}
	pin := p.Target.Object.UID
	until(t, time.Minute, "it waits anew", func() bool { return state(running).State == "PENDING" })
	if holds, said, err := l.Verify(t.Context(), &Request{ID: "r1"}); !holds || err != nil {
		t.Errorf("a job that waits anew: %v %s %v", holds, said, err)
	}
	again := of("job", running) // as it was planned before it was requeued, by whomever
	again.Object.UID = pin
	if _, err := l.Plan(t.Context(), &Request{Kind: HoldJob, Target: again}); !errors.Is(err, ErrGone) {
		t.Errorf("what was requeued is held by a plan of before: %v", err)
	}
	again.Object.UID = strings.Replace(pin, " of user ", " of user 1", 1)
	if _, err := l.Plan(t.Context(), &Request{Kind: CancelJob, Target: again}); !errors.Is(err, ErrGone) {
		t.Errorf("another user's job is cancelled: %v", err)
	}
	again.Object.UID = pin
	c.act("c1", CancelJob, again, nil)
	until(t, time.Minute, "it has ended", func() bool { j, err := s.job(t.Context(), running); return err != nil || j.over() })

	stale := of("job", held)
	stale.Object.UID = pin
	for _, x := range []struct {
		kind Kind
		t    Target
		is   error
		says string
	}{
		{CancelJob, stale, ErrGone, "another one now"},
		{CancelJob, of("job", "999999"), ErrGone, "there is no job"},
		{CancelJob, of("job", "1;reboot"), ErrInvalid, "names no single job"},
		{CancelJob, of("job", "--user=root"), ErrInvalid, "names no single job"},
		{CancelJob, of("job", "1,2"), ErrInvalid, "names no single job"},
		{DrainNode, of("node", "ALL"), ErrInvalid, "names no single node"},
		{DrainNode, of("node", "vm[1-9]"), ErrInvalid, "names no single node"},
		{DrainNode, of("node", "no-such-node"), ErrGone, "there is no node"},
		{ReleaseJob, of("job", waiting), ErrInvalid, "not held"},
		{DrainNode, of("job", waiting), ErrInvalid, "wants a node"},
	} {
		if _, err := l.Plan(t.Context(), &Request{Kind: x.kind, Target: x.t}); !errors.Is(err, x.is) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s of %s: %v", x.kind, x.t, err)
		}
	}
}
