package enforce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// patience is how long an answer may take. A gate that takes longer opens for good: nobody waits for
// Picket without end.
const patience = 2 * time.Second

// gate answers the kernel whether files may be opened or run. Whoever opens one waits for the answer, so it
// takes no lock that is held elsewhere, and asks /proc only. When it closes, and when this process
// ends, by whatever means, the kernel takes all that wait for allowed.
type gate struct {
	f       *os.File
	rules   atomic.Pointer[gateRules]
	since   atomic.Int64  // when the answer under way was begun, in Unix nanoseconds; 0 for none
	settles atomic.Int64  // as since, of those that were put off
	ended   chan struct{} // when it is closed the watch ends
	shut    func() error
	e       *Enforcer

	mu      sync.Mutex
	told    map[uint32]*again // by process
	put     []pending         // off
	most    int               // of those
	settler bool              // it runs
}

// gateRules is for whom a gate is open.
type gateRules struct {
	policy  string
	rule    string    // of event.Policy
	cgroups []string  // and those below
	until   time.Time // from then on it is for all; zero for never
	judge   func(pid, fd int) ruling
}

// ruling is what becomes of who opens a file. The zero value is a refusal.
type ruling struct {
	allowed  bool
	later    bool            // it is not known yet: ask again
	artifact *event.Artifact // the file that is refused, where that is why; may be nil
}

// again is what a process was refused since it was last told.
type again struct {
	last time.Time
	more uint32
}

// openGate makes a fanotify group: with unix.FAN_REPORT_TID its questions name threads.
func openGate(flags uint) (int, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS|flags,
		unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE|unix.O_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("fanotify with permissions: %w", err)
	}
	return fd, nil
}

// tryGate reports whether the kernel asks before a file is opened.
func tryGate() error {
	fd, err := openGate(0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	dir, err := os.MkdirTemp("", "picket-gate-")
	if err != nil {
		return err
	}
	defer os.Remove(dir) //nolint:errcheck // it is empty
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, dir); err != nil {
		return fmt.Errorf("fanotify with permissions: %w", err)
	}
	return nil
}

func (e *Enforcer) newGate(flags uint) (*gate, error) {
	fd, err := openGate(flags)
	if err != nil {
		return nil, err
	}
	g := &gate{f: os.NewFile(uintptr(fd), "fanotify"), ended: make(chan struct{}), e: e, told: map[uint32]*again{}, most: maxPending}
	g.shut = sync.OnceValue(func() error {
		close(g.ended)
		return g.f.Close()
	})
	go g.loop()
	go g.watch()
	return g, nil
}

// close lets everybody through.
func (g *gate) close() error { return g.shut() }

// mark makes the kernel ask.
func (g *gate) mark(flags uint, mask uint64, dir int, path string) error {
	conn, err := g.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("fanotify: %w", err)
	}
	var marked error
	if err := conn.Control(func(fd uintptr) {
		marked = unix.FanotifyMark(int(fd), unix.FAN_MARK_ADD|flags, mask, dir, path)
	}); err != nil {
		return errors.New("an answer took too long, and since then it is open to all: apply the policy again")
	}
	if marked != nil {
		return fmt.Errorf("fanotify: %w", marked)
	}
	return nil
}

// watch opens the gate where an answer does not come.
func (g *gate) watch() {
	tick := time.NewTicker(patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-g.ended:
			return
		case now := <-tick.C:
			if late(&g.since, now) || late(&g.settles, now) {
				g.e.log.Error("fanotify lets everybody pass: an answer took too long", "policy", g.rules.Load().policy, "error", g.close())
				return
			}
		}
	}
}

// late reports whether what began then takes longer than anybody waits for.
func late(began *atomic.Int64, now time.Time) bool {
	since := began.Load()
	return since != 0 && now.UnixNano()-since > int64(patience)
}

// A message of fanotify is length, version, reserved, length of the rest, mask, descriptor, pid.
const messageSize = 24

// loop answers. It ends when f is closed.
func (g *gate) loop() {
	buf := make([]byte, 64*messageSize)
	for {
		n, err := g.f.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // a file could not be opened for us, and the kernel has refused it to who asked
			continue
		}
		for b := buf[:n]; len(b) >= messageSize; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < messageSize || size > len(b) {
				break
			}
			g.since.Store(time.Now().UnixNano())
			g.answer(binary.NativeEndian.Uint64(b[8:]), int32(binary.NativeEndian.Uint32(b[16:])), binary.NativeEndian.Uint32(b[20:]))
			g.since.Store(0)
			b = b[size:]
		}
	}
}

func (g *gate) answer(mask uint64, fd int32, pid uint32) {
	if fd < 0 {
		return
	}
	if mask&(unix.FAN_OPEN_PERM|unix.FAN_OPEN_EXEC_PERM) == 0 {
		_ = unix.Close(int(fd)) // nothing was written
		return
	}
	rules, is := g.rules.Load(), ruling{allowed: true}
	if rules != nil && pid != g.e.self.Self && int32(pid) > 1 {
		is = rules.judge(int(pid), int(fd))
	}
	if is.later && g.putOff(pending{fd, pid, time.Now().Add(holdMost)}) {
		return
	}
	g.reply(rules, is, fd, pid)
}

// reply lets a process go on, with its file or without.
func (g *gate) reply(rules *gateRules, is ruling, fd int32, pid uint32) {
	defer unix.Close(int(fd)) //nolint:errcheck // nothing was written
	var ev *event.Event
	if !is.allowed {
		ev = g.violation(rules, is, int(fd), pid)
	}
	reply := binary.NativeEndian.AppendUint32(nil, uint32(fd))
	reply = binary.NativeEndian.AppendUint32(reply, map[bool]uint32{true: unix.FAN_ALLOW, false: unix.FAN_DENY}[is.allowed])
	if _, err := g.f.Write(reply); err != nil || ev == nil {
		return // it was killed, or the gate was closed, and it went on
	}
	select {
	case g.e.denials <- ev:
	default:
		g.e.untold.Add(1)
	}
}

// violation says who was refused what. The process waits for us, so all of it is there. It returns
// nil for what was told of less than a second ago, which is counted and told with the next.
func (g *gate) violation(rules *gateRules, is ruling, fd int, pid uint32) *event.Event {
	g.e.refusedOpens.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(g.told) > 4096 {
		clear(g.told)
	}
	was := g.told[pid]
	if was == nil {
		was = &again{}
		g.told[pid] = was
	}
	if was.more++; now.Sub(was.last) < time.Second {
		return nil
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may have no name
	file, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	ev := &event.Event{
		Kind: event.PolicyViolation, Time: now, Host: g.e.host, Count: was.more,
		Policy:   &event.Policy{Name: rules.policy, Rule: rules.rule, Action: event.ActionDenied, Rung: gatedBy},
		Process:  &event.Process{PID: groupOf(pid), TID: pid, Comm: strings.TrimSuffix(string(comm), "\n"), LoginUID: ^uint32(0)},
		Artifact: is.artifact,
	}
	ev.File.Path = file
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		ev.File.Ino, ev.File.Dev, ev.File.Size = st.Ino, uint64(unix.Major(st.Dev))<<20|uint64(unix.Minor(st.Dev)), st.Size
	}
	was.last, was.more = now, 0
	return ev
}
