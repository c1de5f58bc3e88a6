package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Checkpoint asks a training job to write down where it stands, before it is held or ended.
const Checkpoint Kind = "checkpoint"

type checkpoint struct {
	h     Host
	stuck *atomic.Int32 // looks under way
}

// NewCheckpoint returns the act that asks a job for a checkpoint, by a signal that it takes.
func NewCheckpoint(h Host) Action { return checkpoint{h, new(atomic.Int32)} }

func (checkpoint) Kind() Kind   { return Checkpoint }
func (checkpoint) Class() Class { return Observe }

const (
	checkpointWait = 30 * time.Second
	checkpointMost = 50 * time.Second // an agent has a minute for an act
	checkpointLook = 200 * time.Millisecond
	checkpointStay = 2 * time.Second // that files stay as they are, when they are written
	checkpointSeen = 10_000          // files that are looked at
)

// checkpointSignals are those that frameworks and schedulers ask for a checkpoint by. A process that
// takes none of them would end by it. HUP is not among them: what is written in Go or Java has a handler
// for it that its author knows nothing of, and ends by it.
var checkpointSignals = map[string]unix.Signal{"USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "CONT": unix.SIGCONT}

// asking is a request, read.
type asking struct {
	signal unix.Signal
	word   string
	dir    string
	wait   time.Duration
}

func readAsking(r *Request) (asking, error) {
	a := asking{word: "USR1", dir: r.Params["dir"], wait: checkpointWait}
	if err := params(r, "signal", "dir", "wait"); err != nil {
		return a, err
	}
	if w := r.Params["signal"]; w != "" {
		a.word = strings.TrimPrefix(w, "SIG")
	}
	var ok bool
	if a.signal, ok = checkpointSignals[a.word]; !ok {
		return a, fmt.Errorf("%w: signal %q: want USR1, USR2 or CONT", ErrInvalid, oneLine(a.word, 64))
	}
	if w := r.Params["wait"]; w != "" {
		d, err := time.ParseDuration(w)
		if err != nil || d < time.Second || d > checkpointMost {
			return a, fmt.Errorf("%w: wait %q: want 1s to %s", ErrInvalid, oneLine(w, 64), checkpointMost)
		}
		a.wait = d
	}
	if a.dir != "" && (!filepath.IsAbs(a.dir) || len(a.dir) > maxPath || strings.ContainsRune(a.dir, 0)) {
		return a, fmt.Errorf("%w: dir %q: want the whole path of the directory of checkpoints, as the job sees it", ErrInvalid, oneLine(a.dir, 100))
	}
	return a, nil
}

// takes reports whether a process has a handler for a signal: without one the signal would end it.
func takes(pid int, s unix.Signal) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits&(1<<(uint(s)-1)) != 0
		}
	}
	return false
}

// find returns the processes of a request that take its signal.
func (c checkpoint) find(r *Request) (asking, Target, []Process, error) {
	a, err := readAsking(r)
	if err != nil {
		return a, r.Target, nil, err
	}
	t, all, err := pin(c.h, r.Target)
	if err != nil {
		return a, t, nil, err
	}
	var out []Process
	for _, p := range all {
		if takes(p.PID, a.signal) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return a, t, nil, fmt.Errorf("%w: none of the %s takes SIG%s, which would end those without a handler: ask the job another way", ErrInvalid, processes(len(all)), a.word)
	}
	return a, t, out, nil
}

// Plan says who would be asked.
func (c checkpoint) Plan(_ context.Context, r *Request) (*Plan, error) {
	a, t, all, err := c.find(r)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: t, Class: Observe, Hits: hits(all), Effects: []string{
		fmt.Sprintf("%s of %s that have a handler for it get SIG%s; the others are left alone", processes(len(all)), t, a.word),
	}}
	if a.dir == "" {
		p.Effects = append(p.Effects, fmt.Sprintf("it is given %s; whether a checkpoint was written cannot be told without dir", a.wait))
	} else {
		p.Effects = append(p.Effects, fmt.Sprintf("it has %s to write new files to %s, and to leave them as they are", a.wait, oneLine(a.dir, 200)))
	}
	return p, nil
}

// stamp is a file as it was looked at.
type stamp struct {
	size int64
	at   time.Time
}

// filesBelow lists the files below a directory as a process sees it. Symbolic links below it are not
// followed. What is looked at is bounded, as whoever is in the container may fill it with names; a
// file system that does not answer is left behind when ctx ends.
func (c checkpoint) filesBelow(ctx context.Context, pid int, dir string) (map[string]stamp, error) {
	if n := c.stuck.Load(); n >= maxStuck {
		return nil, fmt.Errorf("%d looks at earlier checkpoints hang: no more are begun", n)
	}
	type answer struct {
		files map[string]stamp
		err   error
	}
	came := make(chan answer, 1)
	c.stuck.Add(1)
	go func() {
		defer c.stuck.Add(-1)
		files, err := listBelow(ctx, pid, dir)
		came <- answer{files, err}
	}()
	select {
	case a := <-came:
		return a.files, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("looking at checkpoints: %w", ctx.Err())
	}
}

func listBelow(ctx context.Context, pid int, dir string) (map[string]stamp, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return nil, fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	defer root.Close() //nolint:errcheck // only read from
	rel := strings.TrimPrefix(filepath.Clean(dir), "/")
	if rel == "" {
		rel = "."
	}
	out := map[string]stamp{}
	left := checkpointSeen
	for todo := []string{rel}; len(todo) > 0 && left > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		// A FIFO may have taken the place of a directory.
		d, err := root.OpenFile(at, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
		if err != nil && at == rel {
			return nil, fmt.Errorf("looking at checkpoints: %w", err)
		}
		if err != nil {
			continue // what vanishes meanwhile was no checkpoint
		}
		for left > 0 && ctx.Err() == nil {
			some, err := d.ReadDir(min(left, 256))
			left -= len(some)
			for _, e := range some {
				name := filepath.Join(at, e.Name())
				if e.IsDir() {
					todo = append(todo, name)
				} else if st, err := root.Lstat(name); err == nil && st.Mode().IsRegular() {
					out[name] = stamp{st.Size(), st.ModTime()}
				}
			}
			if err != nil || len(some) == 0 {
				break
			}
		}
		_ = d.Close() // only read from
	}
	return out, ctx.Err()
}

// changed returns the files that are new, or are others than before.
func changed(before, now map[string]stamp) map[string]stamp {
	out := map[string]stamp{}
	for name, s := range now {
		if was, ok := before[name]; (!ok || was != s) && s.size > 0 {
			out[name] = s
		}
	}
	return out
}

// Do asks, and waits for as long as it may take.
func (c checkpoint) Do(ctx context.Context, r *Request) (*Result, error) {
	a, _, all, err := c.find(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.wait)
	defer cancel()
	var before map[string]stamp
	if a.dir != "" {
		if before, err = c.filesBelow(ctx, all[0].PID, a.dir); err != nil {
			return nil, err
		}
	}
	asked := 0
	for _, p := range all {
		if signalOne(p, a.signal) {
			asked++
		}
	}
	if asked == 0 {
		return nil, fmt.Errorf("the processes have ended: %w", ErrGone)
	}
	said := fmt.Sprintf("SIG%s went to %s", a.word, processes(asked))
	if a.dir == "" {
		<-ctx.Done()
		return &Result{State: Done, Detail: said + "; whether a checkpoint was written cannot be told"}, nil
	}
	files, ok := c.await(ctx, all[0].PID, a.dir, before)
	if !ok {
		return &Result{State: Failed, Detail: fmt.Sprintf("%s; no checkpoint was whole in %s within %s", said, oneLine(a.dir, 200), a.wait)}, nil
	}
	var bytes int64
	for _, s := range files {
		bytes += s.size
	}
	return &Result{State: Done, Detail: fmt.Sprintf("%s; %s with %d bytes were written to %s", said, count(len(files), "file", "files"), bytes, oneLine(a.dir, 200))}, nil
}

// await returns the files of a checkpoint when they stay as they are.
func (c checkpoint) await(ctx context.Context, pid int, dir string, before map[string]stamp) (map[string]stamp, bool) {
	var last map[string]stamp
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(checkpointLook):
		}
		now, err := c.filesBelow(ctx, pid, dir)
		if err != nil {
			return nil, false
		}
		files := changed(before, now)
		if len(files) == 0 || len(changed(last, files)) > 0 || len(files) != len(last) {
			last, since = files, time.Now()
			continue
		}
		if time.Since(since) >= checkpointStay {
			return files, true
		}
	}
}

// signalOne signals the very process that was found.
func signalOne(p Process, s unix.Signal) bool {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle
	if !sameLife("", &ProcessPin{PID: p.PID, Start: p.Start}) || !takes(p.PID, s) {
		return false
	}
	return unix.PidfdSendSignal(fd, s, nil, 0) == nil
}

// Verify cannot tell whether a signal of before was heeded.
func (checkpoint) Verify(context.Context, *Request) (bool, string, error) {
	return false, "", errors.New("whether a job heeded a signal of before cannot be told: look at its checkpoints")
}

func (checkpoint) Undo(context.Context, *Request) (*Result, error) {
	return &Result{State: Undone, Detail: "a checkpoint stays"}, nil
}
