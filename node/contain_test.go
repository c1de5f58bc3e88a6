package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"picket/respond/action"
	"picket/sensor/enforce"
)

func TestAWorkloadIsFrozenAndGoesOn(t *testing.T) {
	a := newActor(t)
	cmd, file := a.sleeper(t, "")
	beside, besideFile := a.sleeper(t, "")
	if !advances(t, file) {
		t.Fatal("it does not run before")
	}
	for name, target := range map[string]action.Target{"cgroup": {Cgroup: a.group}, "lineage": lineageOf(cmd.Process.Pid)} {
		plan, err := a.ask(t, action.Command{Op: action.OpPlan, Request: &action.Request{ID: "x", Kind: action.Freeze, By: "alice", Target: target}})
		if err != nil || !slices.ContainsFunc(plan.Plan.Hits, func(h string) bool { return strings.HasPrefix(h, strconv.Itoa(cmd.Process.Pid)+" bash") }) || plan.Plan.Undo == "" {
			t.Errorf("%s: plan %+v %v", name, plan.Plan, err)
		}
		if !advances(t, file) {
			t.Fatal("a plan froze it")
		}
		res := a.do(t, &action.Request{ID: "freeze-" + name, Kind: action.Freeze, Target: target}, action.Done)
		if left := time.Until(res.Until); left < 9*time.Minute || left > 10*time.Minute {
			t.Errorf("%s: until %s", name, res.Until)
		}
		if advances(t, file) {
			t.Errorf("%s: it goes on", name)
		}
		if advances(t, besideFile) != (name == "lineage") {
			t.Errorf("%s: what runs beside it is not as it was", name)
		}
		v, err := a.ask(t, action.Command{Op: action.OpVerify, Request: &action.Request{ID: "freeze-" + name}})
		if err != nil || !v.Holds {
			t.Errorf("%s: %+v %v", name, v, err)
		}
		a.undo(t, "freeze-"+name)
		if !advances(t, file) || !advances(t, besideFile) {
			t.Errorf("%s: it stands still", name)
		}
		for _, pid := range []int{cmd.Process.Pid, beside.Process.Pid} {
			if got := cgroupOf(t, pid); got != a.group {
				t.Errorf("%s: %d was left in %s", name, pid, got)
			}
		}
	}
}

func TestKillReachesWhatWasMeant(t *testing.T) {
	a := newActor(t)
	one, file := a.sleeper(t, "")
	two, twoFile := a.sleeper(t, "")
	a.sleeper(t, "/c")
	res := a.do(t, &action.Request{ID: "k1", Kind: action.Kill, Target: action.Target{Process: &action.ProcessPin{PID: one.Process.Pid}}}, action.Done)
	if !advances(t, file) {
		t.Error("what it started ended with it")
	}
	again := a.do(t, &action.Request{ID: "k1", Kind: action.Kill, Target: action.Target{Process: &action.ProcessPin{PID: one.Process.Pid}}}, action.Done)
	if !again.At.Equal(res.At) {
		t.Errorf("done again: %+v, %+v", res, again)
	}
	a.do(t, &action.Request{ID: "k2", Kind: action.Kill, Target: lineageOf(two.Process.Pid)}, action.Done)
	if advances(t, twoFile) {
		t.Error("what it started lives")
	}
	if dirs, _ := filepath.Glob(a.root + a.group + "/picket-*"); len(dirs) > 0 {
		t.Errorf("left %q", dirs)
	}
	a.do(t, &action.Request{ID: "k3", Kind: action.Kill, Target: action.Target{Cgroup: a.group}}, action.Done)
	if b, err := os.ReadFile(a.root + a.group + "/cgroup.events"); err != nil || !strings.Contains(string(b), "populated 0") {
		t.Errorf("%s %v", b, err)
	}
	if _, err := a.ask(t, action.Command{Op: action.OpUndo, Request: &action.Request{ID: "k3", By: "alice"}}); !errors.Is(err, action.ErrInvalid) {
		t.Errorf("a kill is taken back: %v", err)
	}
}

// An agent that was killed while it killed says what can be told, and never kills again.
func TestWhatBecameOfAKill(t *testing.T) {
	a := newActor(t)
	kill := action.NewKill(a.host)
	pinned := func(target action.Target) *action.Request {
		t.Helper()
		p, err := kill.Plan(t.Context(), &action.Request{Kind: action.Kill, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		return &action.Request{Kind: action.Kill, Target: p.Target}
	}
	verify := func(what string, r *action.Request, holds, told bool) {
		t.Helper()
		is, detail, err := kill.Verify(t.Context(), r)
		if is != holds || (err == nil) != told {
			t.Errorf("%s: %t %q %v", what, is, detail, err)
		}
	}
	cmd, file := a.sleeper(t, "")
	one, lineage, group := pinned(action.Target{Process: &action.ProcessPin{PID: cmd.Process.Pid}}), pinned(lineageOf(cmd.Process.Pid)), pinned(action.Target{Cgroup: a.group})
	verify("a process that lives", one, false, true)
	verify("a lineage that lives", lineage, false, true)
	verify("a cgroup with processes", group, false, false)
	cgroups, err := a.host.Gather(lineage.Target.Process.PID, lineage.Target.Process.Start)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.host.KillProcess(one.Target.Process.PID, one.Target.Process.Start); err != nil {
		t.Fatal(err)
	}
	verify("a process that is gone", one, true, true)
	if !advances(t, file) {
		t.Fatal("what it started is gone too")
	}
	verify("a lineage of which some live", lineage, false, false)
	if _, err := a.host.Kill(cgroups[0]); err != nil {
		t.Fatal(err)
	}
	verify("a lineage that is gone", lineage, true, true)
	verify("a cgroup without processes", group, true, true)
	if err := a.host.Scatter(cgroups); err != nil {
		t.Fatal(err)
	}
	group.Target.CgroupID++
	verify("a cgroup that was made anew", group, true, true)
}

func TestAnotherLifeIsNeverHit(t *testing.T) {
	a := newActor(t)
	cmd, file := a.sleeper(t, "")
	p, err := a.host.Process(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := a.host.Members(a.group)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]action.Target{
		"number":  {Process: &action.ProcessPin{PID: p.PID, Start: p.Start - 1}},
		"lineage": {Process: &action.ProcessPin{PID: p.PID, Start: p.Start - 1}, Lineage: true},
		"boot":    {Process: &action.ProcessPin{BootID: "another", PID: p.PID, Start: p.Start}},
		"none":    {Process: &action.ProcessPin{PID: 1 << 22}},
		"cgroup":  {Cgroup: a.group, CgroupID: id + 1},
		"path":    {Cgroup: a.group + "/none"},
		"box":     {Container: "0123456789abcdef"},
	} {
		a.do(t, &action.Request{ID: name, Kind: action.Kill, Target: target}, action.Gone)
	}
	if !advances(t, file) {
		t.Error("it was hit")
	}
}

func TestWhatTheHostNeedsIsRefused(t *testing.T) {
	a := newActor(t)
	n := 0
	for _, kind := range []action.Kind{action.Kill, action.Freeze, action.Isolate, action.Cut} {
		for _, target := range []action.Target{
			lineageOf(1),
			lineageOf(os.Getpid()),
			lineageOf(os.Getppid()),
			{Cgroup: "/"},
			{Cgroup: cgroupOf(t, os.Getpid())},
			{Cgroup: "/system.slice"},
			{Cgroup: "/init.scope"},
		} {
			n++
			a.do(t, &action.Request{ID: fmt.Sprint(n), Kind: kind, Target: target}, action.Refused)
		}
	}
	for _, target := range []action.Target{
		{},
		{Cgroup: "x"},
		{Cgroup: a.group + "/../.."},
		{Cgroup: a.group + "/"},
		{Cgroup: a.group + "/../../../../etc"},
		{Cgroup: a.group + "\x00"},
		{Container: "../x"},
		{Container: "*"},
		{Cgroup: a.group, Process: &action.ProcessPin{PID: 5}},
		{Process: &action.ProcessPin{PID: -1}},
		{Cgroup: a.group, Lineage: true},
		{Cgroup: a.group, Address: "x"},
		{File: &action.FilePin{Path: "/x"}},
	} {
		r := &action.Request{ID: "bad", Kind: action.Kill, By: "alice", Target: target}
		if out, err := a.ask(t, action.Command{Op: action.OpDo, Request: r}); !errors.Is(err, action.ErrInvalid) {
			t.Errorf("%+v: %+v %v", target, out.Result, err)
		}
	}
	if _, err := a.ask(t, action.Command{Op: action.OpDo, Request: &action.Request{ID: "alone", Kind: action.Freeze, By: "alice", Target: action.Target{Process: &action.ProcessPin{PID: 1 << 22}}}}); err == nil || !strings.Contains(err.Error(), "--lineage") {
		t.Errorf("a process alone is frozen: %v", err)
	}
}

func TestWhatWasHeldIsHeldOnAfterARestart(t *testing.T) {
	a := newActor(t)
	cmd, file := a.sleeper(t, "")
	_, over := a.sleeper(t, "/over")
	a.do(t, &action.Request{ID: "on", Kind: action.Freeze, TTL: time.Hour, Target: lineageOf(cmd.Process.Pid)}, action.Done)
	a.do(t, &action.Request{ID: "off", Kind: action.Freeze, TTL: time.Second, Target: action.Target{Cgroup: a.group + "/over"}}, action.Done)
	a.stop()
	if !advances(t, file) || !advances(t, over) {
		t.Error("it stands still without an agent")
	}
	time.Sleep(time.Second) // the time of one is over meanwhile
	// As an agent leaves it that was killed with its keeper.
	if err := os.WriteFile(a.root+a.group+"/over/cgroup.freeze", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	list := func() map[string]action.State {
		out, err := a.ask(t, action.Command{Op: action.OpList})
		if err != nil {
			t.Fatal(err)
		}
		is := map[string]action.State{}
		for _, r := range out.Records {
			is[r.Request.ID] = r.Result.State
		}
		return is
	}
	for start := time.Now(); list()["off"] != action.Undone; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%v", list())
		}
	}
	if list()["on"] != action.Done || advances(t, file) {
		t.Errorf("it is not held on: %v", list())
	}
	if !advances(t, over) {
		t.Error("what is over is held")
	}
	a.undo(t, "on")
	if !advances(t, file) || cgroupOf(t, cmd.Process.Pid) != a.group {
		t.Error("it was not put back")
	}
}

func TestAContainerIsFoundByItsID(t *testing.T) {
	a := newActor(t)
	id := strings.Repeat("0123456789abcdef", 4)
	cmd, file := a.sleeper(t, "/docker-"+id+".scope")
	a.sleeper(t, "/docker-"+id+".scope/inner/cri-"+strings.Repeat("f", 64)+"/docker-"+id+".scope") // a name of its own choice
	for _, as := range []string{id, id[:12]} {
		a.do(t, &action.Request{ID: "c" + as[:20%len(as)], Kind: action.Freeze, Target: action.Target{Container: as}}, action.Done)
		if advances(t, file) {
			t.Errorf("%s: it goes on", as)
		}
		a.undo(t, "c"+as[:20%len(as)])
	}
	if _, err := a.host.Container(id[:11]); !errors.Is(err, action.ErrGone) {
		t.Errorf("a part of an id: %v", err)
	}
	_ = cmd
}

// A container that runc started is known by its id, and frozen, cut off and ended as a whole.
func TestARealContainer(t *testing.T) {
	a := newActor(t)
	runc, err := exec.LookPath("runc")
	if err == nil {
		_, err = os.Stat("/bin/busybox")
	}
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "runc") {
			t.Fatal("needs runc and busybox-static")
		}
		t.Skip("needs runc and busybox-static")
	}
	bundle := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = errors.Join(os.MkdirAll(bundle+"/rootfs/bin", 0o755), os.Mkdir(bundle+"/rootfs/proc", 0o755), os.Mkdir(bundle+"/rootfs/out", 0o755))
	}
	if err == nil {
		err = errors.Join(os.WriteFile(bundle+"/rootfs/bin/busybox", busybox, 0o755), os.Symlink("busybox", bundle+"/rootfs/bin/sh"), os.Symlink("busybox", bundle+"/rootfs/bin/sleep"))
	}
	if err != nil {
		t.Fatal(err)
	}
	js, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"process":    map[string]any{"args": []string{"/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /out/n; sleep 0.01; done"}, "cwd": "/", "env": []string{"PATH=/bin"}, "user": map[string]int{"uid": 0, "gid": 0}},
		"root":       map[string]any{"path": "rootfs"},
		"mounts":     []map[string]any{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":      map[string]any{"namespaces": []map[string]string{{"type": "mount"}, {"type": "pid"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle+"/config.json", js, 0o600); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("picket-act-%d", os.Getpid())
	start := exec.Command(runc, "--root", bundle+"/state", "run", "--detach", "--bundle", bundle, id)
	said, err := os.Create(bundle + "/said") // a pipe would stay open with the container
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	start.Stdout, start.Stderr = said, said
	t.Cleanup(func() { _ = exec.Command(runc, "--root", bundle+"/state", "delete", "--force", id).Run() })
	if err := start.Run(); err != nil {
		out, _ := os.ReadFile(bundle + "/said")
		t.Fatalf("runc: %v: %s", err, out)
	}
	file := bundle + "/rootfs/out/n"
	if !advances(t, file) {
		t.Fatal("the container does not run")
	}
	a.do(t, &action.Request{ID: "f", Kind: action.Freeze, Target: action.Target{Container: id}}, action.Done)
	if advances(t, file) {
		t.Error("the container goes on")
	}
	a.undo(t, "f")
	if !advances(t, file) {
		t.Error("the container stands still")
	}
	a.do(t, &action.Request{ID: "k", Kind: action.Kill, Target: action.Target{Container: id}}, action.Done)
	if advances(t, file) {
		t.Error("the container lives")
	}
}

func TestTheSocketIsRootsAlone(t *testing.T) {
	a := newActor(t)
	st, err := os.Stat(actSocket(a.cfg))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	c, err := net.Dial("unix", actSocket(a.cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go c.Write([]byte(strings.Repeat("x", maxCommand+10))) // more than is read
	var out action.Answer
	if err := json.NewDecoder(c).Decode(&out); err != nil || out.Why != "invalid" {
		t.Errorf("%+v %v", out, err)
	}
	a.stop()
	if _, err := a.ask(t, action.Command{Op: action.OpList}); err == nil || !strings.Contains(err.Error(), "no agent runs on this data directory") {
		t.Errorf("%v", err)
	}
}

func TestADamagedJournalKeepsTheAgentFromActingAlone(t *testing.T) {
	cfg := Default()
	cfg.Data, cfg.Host = t.TempDir(), "h"
	if err := errors.Join(os.Mkdir(cfg.dir("agent"), 0o700), os.WriteFile(filepath.Join(cfg.dir("agent"), "actions.journal"), []byte("junk\njunk\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	a := openActs(cfg, slog.New(slog.DiscardHandler), func() (*enforce.Enforcer, error) { return nil, errors.New("none") }, nil, nil)
	var out action.Answer
	if err := json.Unmarshal(a.answer(t.Context(), []byte(`{"op":"list"}`)), &out); err != nil || !strings.Contains(out.Error, "actions.journal:1: the entry is damaged") {
		t.Errorf("%+v %v", out, err)
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
}

// What an act takes from the request on the agent's socket to the answer, journal included.
func BenchmarkDo(b *testing.B) {
	for _, kind := range []action.Kind{action.Freeze, action.Isolate} {
		b.Run(string(kind), func(b *testing.B) {
			a := newActor(b)
			a.sleeper(b, "")
			a.do(b, &action.Request{ID: "warm", Kind: kind, Target: action.Target{Cgroup: a.group}}, action.Done)
			a.undo(b, "warm")
			n := 0
			for b.Loop() {
				n++
				r := &action.Request{ID: fmt.Sprint(n), Kind: kind, Target: action.Target{Cgroup: a.group}}
				a.do(b, r, action.Done)
				b.StopTimer()
				a.undo(b, r.ID)
				b.StartTimer()
			}
		})
	}
}
