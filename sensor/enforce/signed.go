package enforce

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// Signed says which model files a workload may load.
type Signed struct {
	Dirs []string // in which it is asked
	By   []string // identities, one of which must have signed; none: anybody who is trusted
	Hold bool     // who opens a file that is not judged yet waits for that, and does not get it where that takes too long
}

// Places are the directories in which it is asked. Who opens a file of a snapshot in a cache of Hugging Face
// opens that which a link leads to, among the blobs beside the snapshots.
func (s *Signed) Places() []string {
	out := slices.Clone(s.Dirs)
	for _, dir := range s.Dirs {
		if repo, ok := strings.CutSuffix(path.Dir(path.Clean(dir)), "/snapshots"); ok && !slices.Contains(out, repo+"/blobs") {
			out = append(out, repo+"/blobs")
		}
	}
	return out
}

// Opening is a model file that a process is about to read.
type Opening struct {
	PID                     uint32
	Path                    string // as its mounts have it
	Dev, Ino                uint64 // as stat has them
	Size, Modified, Changed int64  // bytes, and Unix nanoseconds
}

// Judgment is what is known of a model file. The zero value says that it is being found out.
type Judgment struct {
	Known, Allowed bool
	Artifact       event.Artifact // of one that is not allowed
}

const (
	// holdMost is how long who opens a file waits for it to be judged: less than it takes supervisors and
	// health checks to give a server up.
	holdMost   = 30 * time.Second
	maxPending = 64 // that wait at one gate: each holds a descriptor of ours
	settleEach = 50 * time.Millisecond
)

// gateSigned has the kernel ask before a file in a model directory is opened by a workload that may load
// signed ones only. Others, and who opens a file to write it, pass at once.
func (e *Enforcer) gateSigned(id uint64, b *binding) error {
	p := e.policies[b.name]
	if p == nil || !p.rules.Enforce || p.rules.Signed == nil || e.judge == nil {
		return ungate(e.signedGates, id)
	}
	g := e.signedGates[id]
	if g != nil && g.closed() { // an answer took too long: from now on it is asked again
		delete(e.signedGates, id)
		g = nil
	}
	if g == nil {
		var err error
		if g, err = e.newGate(unix.FAN_REPORT_TID); err != nil {
			return fmt.Errorf("models: %w", err)
		}
		e.signedGates[id] = g
	}
	s := p.rules.Signed
	rules := &gateRules{policy: b.name, rule: event.RuleModels, cgroups: []string{b.target.Cgroup}, until: p.rules.Until}
	rules.judge = func(pid, fd int) ruling { return rules.mayLoad(pid, fd, s, e.judge) }
	g.rules.Store(rules)
	var all []error
	for _, dir := range s.Places() {
		fd, _, err := askedDir(b.dir, dir)
		if err != nil || fd < 0 {
			all = append(all, err)
			continue
		}
		if err := g.markTree(fd); err != nil {
			all = append(all, fmt.Errorf("models: ask who opens files in %s: %w", dir, err))
		}
		_ = unix.Close(fd)
	}
	return errors.Join(all...)
}

// closed reports whether a gate lets everybody pass for good.
func (g *gate) closed() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// mayLoad rules on a thread that opens a file. Where it cannot be told who that is or what it opens, it may.
func (r *gateRules) mayLoad(tid, fd int, s *Signed, judge func(Opening, *Signed) Judgment) ruling {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 || !r.holds(tid) || onlyWrites(tid) {
		return ruling{allowed: true}
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return ruling{allowed: true}
	}
	is := judge(Opening{groupOf(uint32(tid)), path, st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, s)
	switch {
	case is.Known && is.Allowed, !is.Known && !s.Hold:
		return ruling{allowed: true}
	case is.Known:
		return ruling{artifact: &is.Artifact}
	}
	return ruling{later: true, artifact: &event.Artifact{Use: event.UseRead, Refusal: fmt.Sprintf("it is not judged yet, and %v are the most that is waited for that", holdMost)}}
}

// onlyWrites reports whether the call in which a thread waits opens a file for writing alone. It goes by
// registers, which nobody changes meanwhile: a call that keeps its flags in memory counts as a reader's.
func onlyWrites(tid int) bool {
	for range 8 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
		if err != nil {
			return false
		}
		fields := strings.Fields(string(b))
		if fields[0] == "running" { // it asked a moment ago, and does not wait yet
			time.Sleep(50 * time.Microsecond)
			continue
		}
		number, err := strconv.ParseInt(fields[0], 10, 64)
		at, ok := openFlags[number]
		if err != nil || !ok || at+1 >= len(fields) {
			return false
		}
		flags, err := strconv.ParseUint(fields[at+1], 0, 64)
		return err == nil && flags&unix.O_ACCMODE == unix.O_WRONLY
	}
	return false
}

// groupOf is the process of a thread, or its own number where it is gone.
func groupOf(tid uint32) uint32 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	_, after, _ := strings.Cut(string(b), "\nTgid:")
	line, _, _ := strings.Cut(after, "\n")
	if n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 32); err == nil {
		return uint32(n)
	}
	return tid
}

// pending is an open that waits for its file to be judged.
type pending struct {
	fd    int32
	pid   uint32
	until time.Time
}

// putOff has an open wait. It reports false where too many do.
func (g *gate) putOff(p pending) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.put) >= g.most {
		return false
	}
	g.put = append(g.put, p)
	if !g.settler {
		g.settler = true
		go g.settle()
	}
	return true
}

// settle rules on those that wait until none does. Of a gate that is closed the kernel let them go.
func (g *gate) settle() {
	tick := time.NewTicker(settleEach)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-g.ended:
			ended = true
		case <-tick.C:
		}
		g.mu.Lock()
		waiting := slices.Clone(g.put)
		g.mu.Unlock()
		var done []pending
		for _, p := range waiting {
			g.settles.Store(time.Now().UnixNano())
			if ended {
				_ = unix.Close(int(p.fd)) // nothing was written
				done = append(done, p)
			} else if g.settleOne(p) {
				done = append(done, p)
			}
			g.settles.Store(0)
		}
		g.mu.Lock()
		g.put = slices.DeleteFunc(g.put, func(p pending) bool { return slices.Contains(done, p) })
		if len(g.put) == 0 {
			g.settler = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}

// settleOne rules on one that waits, and reports whether it waits no more.
func (g *gate) settleOne(p pending) bool {
	rules := g.rules.Load()
	is := rules.judge(int(p.pid), int(p.fd))
	if is.later && time.Now().Before(p.until) {
		return false
	}
	g.reply(rules, is, p.fd, p.pid)
	return true
}
