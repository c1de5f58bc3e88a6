// Contain measures how long it takes from a command in a container to the container's standing still, or
// being cut off, where a rule of mode auto answers: the whole way over kernel, agent, server, playbook and
// agent.
//
//	go build -o bin/contain ./bench/contain && bin/contain -picket bin/picket
//
// Each round is a container of its own that runc starts. It runs a command that a rule is about, and its
// cgroup is looked at until it is frozen. An agent holds at most twenty workloads a minute, so that the
// rounds keep their distance.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picket/api/client"
	"picket/bench/rig"
	"picket/event"
	"picket/respond"
	"picket/respond/action"
)

// book holds what an incident is about, by one act.
const book = `{"type": "playbook", "spec_version": "cacao-2.0", "id": "playbook--00000000-0000-4000-8000-000000000001", "name": "Hold",
 "created_by": "identity--00000000-0000-4000-8000-000000000001", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
 "workflow_start": "start--00000000-0000-4000-8000-000000000001",
 "workflow": {
  "start--00000000-0000-4000-8000-000000000001": {"type": "start", "on_completion": "action--00000000-0000-4000-8000-000000000001"},
  "action--00000000-0000-4000-8000-000000000001": {"type": "action", "name": "Hold it", "agent": "security-category--00000000-0000-4000-8000-000000000001", "on_completion": "end--00000000-0000-4000-8000-000000000001",
   "commands": [{"type": "openc2-http", "command": "POST /x HTTP/1.1", "headers": {"Content-Type": ["application/json"]},
    "content": "{\"action\": \"ACTION\", \"target\": {\"x-picket\": {\"entity\": \"container\"}}, \"args\": {\"duration\": 600000, \"x-picket\": {\"act\": \"ACT\"}}}"}]},
  "end--00000000-0000-4000-8000-000000000001": {"type": "end"}},
 "agent_definitions": {"security-category--00000000-0000-4000-8000-000000000001": {"type": "security-category", "name": "Picket", "category": ["endpoint"]}}}
`

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	rounds := flag.Int("rounds", 30, "containers")
	act := flag.String("act", "freeze", "freeze or isolate")
	flag.Parse()
	if err := run(*picket, action.Kind(*act), *rounds); err != nil {
		log.Fatal("contain: ", err)
	}
}

func run(picket string, act action.Kind, rounds int) (err error) {
	word := map[action.Kind]string{action.Freeze: "contain", action.Isolate: "deny"}[act]
	if word == "" {
		return fmt.Errorf("-act %s: want freeze or isolate", act)
	}
	dir, err := rig.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temp directory
	books := filepath.Join(dir, "playbooks")
	text := strings.NewReplacer("ACTION", word, "ACT", string(act)).Replace(book)
	threats, err := rig.Canary(dir)
	err = errors.Join(err, os.Mkdir(books, 0o755), os.WriteFile(filepath.Join(books, "hold.json"), []byte(text), 0o644)) //nolint:gosec // the server's user reads them
	if err != nil {
		return err
	}
	p, err := rig.Start(picket, fmt.Sprintf("detect: {threats: [%s], noisy: 1000000}\nrespond: {playbooks: [%s], rules: [{name: hold, playbook: hold, mode: auto, rules: [canary], limit: 100000}]}\n", threats, books))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	c, err := p.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := stream{at: map[string]said{}}
	go func() {
		if err := c.Stream(ctx, client.StreamOptions{}, seen.take); ctx.Err() == nil {
			log.Print("contain: the stream ended: ", err)
		}
	}()
	b, err := newBundle(dir)
	if err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // start-up is not what is measured
	var all times
	for n := range rounds {
		began := time.Now()
		one, err := b.round(ctx, c, &seen, act, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		all = append(all, one)
		time.Sleep(time.Until(began.Add(3100 * time.Millisecond)))
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d containers, load average %s", act, rounds, load)
	all.print("from the command in the kernel", func(r round) time.Duration { return r.held.Sub(r.event) })
	all.print("from the finding on the stream", func(r round) time.Duration { return r.held.Sub(r.stream) })
	all.print("the finding itself, from kernel to stream", func(r round) time.Duration { return r.stream.Sub(r.event) })
	all.print("from kernel to the run's opening", func(r round) time.Duration { return r.opened.Sub(r.event) })
	all.print("from the run's opening to the act's end", func(r round) time.Duration { return r.done.Sub(r.opened) })
	return nil
}

// round is when what happened in one round.
type round struct{ event, stream, opened, done, held time.Time }

type times []round

func (t times) print(what string, of func(round) time.Duration) {
	var all []time.Duration
	for _, r := range t {
		all = append(all, of(r))
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1000 }
	fmt.Printf("%s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, longest %.1f ms\n", what, at(0.5), at(0.9), at(0.99), at(1))
}

// stream remembers when findings came, by the word in the command that they are about.
type stream struct {
	mu sync.Mutex
	at map[string]said
}

type said struct{ event, stream time.Time }

func (s *stream) take(m client.Message) error {
	now := time.Now()
	var f event.Finding
	if m.Event != "finding" || json.Unmarshal(m.Data, &f) != nil || f.Rule.Name != "canary" || len(f.Processes) == 0 {
		return nil
	}
	for word := range strings.FieldsSeq(f.Processes[0].Cmdline) {
		s.mu.Lock()
		if _, again := s.at[word]; !again && strings.HasPrefix(word, "canary-") {
			s.at[word] = said{f.Time, now}
		}
		s.mu.Unlock()
	}
	return nil
}

func (s *stream) of(word string) (said, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[word]
	return at, ok
}

// bundle is what runc starts containers of: a shell that waits for a file, and then runs a command.
type bundle struct{ dir, cgroups string }

func newBundle(dir string) (*bundle, error) {
	b := &bundle{dir: filepath.Join(dir, "bundle")}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("it takes runc and busybox-static: %w", err)
	}
	root := filepath.Join(b.dir, "rootfs")
	err = errors.Join(os.MkdirAll(root+"/bin", 0o755), os.Mkdir(root+"/proc", 0o755), os.Mkdir(root+"/go", 0o755),
		os.WriteFile(root+"/bin/busybox", busybox, 0o755)) //nolint:gosec // a program
	for _, name := range []string{"sh", "sleep", "true"} {
		err = errors.Join(err, os.Symlink("busybox", root+"/bin/"+name))
	}
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			b.cgroups = strings.Fields(before)[4]
		}
	}
	if err == nil && b.cgroups == "" {
		err = errors.New("it takes cgroup v2")
	}
	return b, err
}

// round has one container run its command, and waits until it is held.
func (b *bundle) round(ctx context.Context, c *client.Client, seen *stream, act action.Kind, n int) (r round, err error) {
	word := fmt.Sprintf("canary-%d-%d", n, time.Now().UnixNano())
	sum := sha256.Sum256([]byte(word))
	id := hex.EncodeToString(sum[:])
	config, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"args": []string{"/bin/sh", "-c", fmt.Sprintf("while [ ! -e /go/%d ]; do sleep 0.02; done; read word < /go/%[1]d; /bin/true $word; while :; do sleep 0.02; done", n)},
			"cwd":  "/", "env": []string{"PATH=/bin"}, "user": map[string]int{"uid": 0, "gid": 0},
		},
		"root":   map[string]any{"path": "rootfs"},
		"mounts": []map[string]any{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":  map[string]any{"namespaces": []map[string]string{{"type": "mount"}, {"type": "pid"}}},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "config.json"), config, 0o600)
	}
	if err != nil {
		return r, err
	}
	runc := func(args ...string) error {
		out, err := os.Create(filepath.Join(b.dir, "said")) // a pipe would stay open with the container
		if err != nil {
			return err
		}
		defer out.Close() //nolint:errcheck // it is only read when runc fails
		cmd := exec.CommandContext(ctx, "runc", append([]string{"--root", filepath.Join(b.dir, "state")}, args...)...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("runc %s: %w: %s", args[0], err, text)
		}
		return nil
	}
	pidFile := filepath.Join(b.dir, "pid")
	if err := runc("run", "--detach", "--pid-file", pidFile, "--bundle", b.dir, id); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, runc("delete", "--force", id)) }()
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return r, err
	}
	time.Sleep(300 * time.Millisecond) // a container that has just started is looked into by the agent
	file := filepath.Join(b.dir, "rootfs/go", fmt.Sprint(n))
	if err := errors.Join(os.WriteFile(file+".new", []byte(word+"\n"), 0o600), os.Rename(file+".new", file)); err != nil {
		return r, err
	}
	if act == action.Freeze {
		if r.held, err = b.frozen(string(pid)); err != nil {
			return r, err
		}
	}
	at := said{}
	if err := rig.Until(20*time.Second, "the finding", func() (ok bool, _ error) { at, ok = seen.of(word); return ok, nil }); err != nil {
		return r, err
	}
	r.event, r.stream = at.event, at.stream
	run, err := b.over(ctx, c, id)
	if err != nil {
		return r, err
	}
	r.opened = run.Opened
	if r.done, err = done(ctx, c, run); err != nil {
		return r, err
	}
	if act != action.Freeze {
		r.held = r.done
	}
	if _, err := c.UndoRun(ctx, run.ID); err != nil { // so that runc can end it
		return r, err
	}
	return r, nil
}

// frozen waits until the cgroup of a process stands still. The kernel says when: to look again and again
// would take the time of those who are measured.
func (b *bundle) frozen(pid string) (time.Time, error) {
	groups, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return time.Time{}, err
	}
	_, path, _ := strings.Cut("\n"+string(groups), "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	events, err := os.Open(filepath.Join(b.cgroups, path, "cgroup.events"))
	if err != nil {
		return time.Time{}, err
	}
	defer events.Close() //nolint:errcheck // it was only read
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		text := make([]byte, 64)
		n, err := events.ReadAt(text, 0)
		now := time.Now()
		if strings.Contains(string(text[:n]), "frozen 1") {
			return now, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return now, err
		}
		fds := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}} //nolint:gosec // a descriptor is small
		if _, err := unix.Poll(fds, 1000); err != nil && !errors.Is(err, unix.EINTR) {
			return now, err
		}
	}
	return time.Time{}, errors.New("it was not frozen within 20 s")
}

// over returns the run about a container when it is over.
func (b *bundle) over(ctx context.Context, c *client.Client, container string) (out respond.Run, err error) {
	return out, rig.Until(20*time.Second, "the run", func() (bool, error) {
		runs, err := c.Runs(ctx, "", 20)
		for _, r := range runs {
			for _, a := range r.Plan.Acts {
				if a.Target.Container == container && r.State == respond.Succeeded {
					out = r
					return true, err
				}
			}
		}
		return false, err
	})
}

// done is when the agent said that a run's act was done.
func done(ctx context.Context, c *client.Client, run respond.Run) (time.Time, error) {
	records, err := c.Records(ctx, run.ID)
	for _, r := range records {
		var res action.Result
		if r.What == "outcome" && json.Unmarshal(r.Data, &res) == nil && res.State == action.Done {
			return res.At, nil
		}
	}
	return time.Time{}, errors.Join(err, fmt.Errorf("run %s did nothing", run.ID))
}
