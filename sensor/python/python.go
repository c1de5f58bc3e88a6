// Package python hears what Python interpreters say of themselves: the audit events of PEP 578, such as
// which class a pickle names, what is run by os.system and which library is loaded.
//
// Its program stands where the interpreter raises them, in each interpreter that a process runs. An
// interpreter that was built with static probes (Debian's is) tells of all events; of others those are
// seen that C code raises. It is off unless the configuration asks for it.
package python

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"picket/event"
	"picket/sensor/uprobe"
)

// hold is how old an event is before it is told: the start of its process comes over another ring.
const hold = 30 * time.Millisecond

// Options sets up a Sensor. The zero value finds interpreters.
type Options struct {
	Log  *slog.Logger
	Host string // name put on events
	// Each puts every probe by itself, as kernels before 6.6 need it.
	Each bool
	// Known are patterns of the host's own interpreters; nil: where they usually are.
	Known []string
}

// Sensor hears interpreters.
type Sensor struct {
	opt      Options
	log      *slog.Logger
	coll     *ebpf.Collection
	ring     *ringbuf.Reader
	set      *uprobe.Set
	together bool

	mu   sync.Mutex
	used map[uint32]bool // numbers of places

	odd atomic.Uint64
}

// Open loads the program. Run puts it on the host's interpreters and those that run.
func Open(o Options) (*Sensor, error) {
	if o.Known == nil {
		o.Known = known
	}
	s := &Sensor{opt: o, log: o.Log, together: uprobe.Together() && !o.Each, used: map[uint32]bool{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sensor) open() (err error) {
	if s.coll, err = load(s.together); err != nil {
		return err
	}
	for i, e := range events {
		var key [24]byte
		copy(key[:], e.name)
		if err := s.coll.Maps["names"].Put(key, pythonWanted{Event: uint32(i), Limit: e.limit, First: e.first, Second: e.second}); err != nil {
			return fmt.Errorf("ask for audit events: %w", err)
		}
	}
	if s.ring, err = ringbuf.NewReader(s.coll.Maps["records"]); err != nil {
		return fmt.Errorf("read the ring of audit events: %w", err)
	}
	s.set, err = uprobe.New(uprobe.Options{Log: s.log, Match: name.MatchString, Known: s.opt.Known, Attach: s.attach})
	return err
}

// load loads the program and makes its maps.
func load(together bool) (*ebpf.Collection, error) {
	spec, err := loadPython()
	if err != nil {
		return nil, fmt.Errorf("read the built-in eBPF object: %w", err)
	}
	uprobe.Prepare(spec, together)
	spec.Maps["places"].MaxEntries = maxPlaces
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load the program for Python: %w", err)
	}
	return coll, nil
}

// Measure says what an audit event costs its interpreter on this host where nobody asks for it, by how
// the function begins. Static probes are nops. What one that is told of costs more is not measured.
func Measure() ([]uprobe.Cost, error) {
	together := uprobe.Together()
	coll, err := load(together)
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return uprobe.Measure(coll.Programs["on_audit"], 0, together)
}

// Meet tells of a file that a process started or mapped to run it.
func (s *Sensor) Meet(pid uint32, path string, dev, ino uint64) { s.set.Meet(pid, path, dev, ino) }

// Close takes all probes away. A Run that is under way must have ended.
func (s *Sensor) Close() error {
	var all []error
	if s.set != nil {
		all = append(all, s.set.Close())
	}
	if s.ring != nil {
		all = append(all, s.ring.Close())
	}
	if s.coll != nil {
		s.coll.Close()
	}
	return errors.Join(all...)
}

// Run calls handle for each event until ctx ends.
func (s *Sensor) Run(ctx context.Context, handle func(*event.Event)) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.set.Run(ctx) })
	defer context.AfterFunc(ctx, func() { _ = s.ring.Flush() })() // a deadline would wait for the read
	var rec ringbuf.Record
	for {
		err := s.ring.ReadInto(&rec)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ringbuf.ErrFlushed) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the ring of audit events: %w", err)
		}
		e := s.decode(rec.RawSample)
		if e == nil {
			s.odd.Add(1)
			continue
		}
		if young := hold - time.Since(e.Time); young > 0 {
			time.Sleep(min(young, hold))
		}
		handle(e)
	}
}

// decode reads a record; nil for one that cannot be.
func (s *Sensor) decode(raw []byte) *event.Event {
	var a pythonAudit
	if len(raw) < int(unsafe.Sizeof(a)) {
		return nil
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&a)), unsafe.Sizeof(a)), raw)
	if int(a.Event) >= len(events) {
		return nil
	}
	offset := time.Now().UnixNano() - int64(bootNow())
	wall := func(boot uint64) time.Time { return time.Unix(0, offset+int64(boot)) }
	w := &a.Who
	e := &event.Event{
		Kind: event.PythonAudit, Time: wall(w.Time), Host: s.opt.Host, Count: w.Count,
		Process: &event.Process{
			PID: w.Tgid, TID: w.Tid, PPID: w.Ppid, StartBoot: w.Start, PStart: w.ParentStart, Start: wall(w.Start),
			CgroupID: w.Cgroup, Comm: unix.ByteSliceToString(chars(w.Comm[:])), LoginUID: ^uint32(0),
		},
		Python: &event.Python{Event: events[a.Event].name},
	}
	first, cut := textIn(a.Text[0][:], a.Len[0])
	second, also := textIn(a.Text[1][:], a.Len[1])
	e.Truncated = cut || also
	switch {
	case events[a.Event].second == 0:
		e.Python.Argument = first
	case first != "" && second != "":
		e.Python.Argument = first + "." + second
	}
	return e
}

// textIn returns what a process wrote, fit for people to read, and whether it may have been cut.
func textIn(c []int8, n uint16) (string, bool) {
	b := chars(c)[:min(int(n), len(c))]
	out := []rune(string(b))
	for i, r := range out {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			out[i] = '?'
		}
	}
	return string(out), int(n) >= len(c)-1
}

func chars(c []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c))), len(c))
}

// Missed is what was not seen or told of: records that had no room, events past what is told of a
// process in a second, and interpreters that could not be attached to.
func (s *Sensor) Missed() (n uint64) {
	for i := range uint32(2) { // RING and TABLE
		var per []uint64
		_ = s.coll.Maps["lost"].Lookup(i, &per) // it is an array
		for _, x := range per {
			n += x
		}
	}
	return n + s.set.Missed() + s.odd.Load()
}

// Capabilities says what is heard.
func (s *Sensor) Capabilities() []event.Capability {
	held, wrong := s.set.Held(), s.set.Wrong()
	c := event.Capability{Name: "python", OK: len(wrong) == 0, Detail: "no interpreter runs yet"}
	if len(held) > 0 {
		c.Detail = fmt.Sprintf("%d interpreters; %s by %s", len(held), held[0].Path, held[0].Detail)
	}
	for path, err := range wrong {
		c.Detail = fmt.Sprintf("%s is not heard: %v", path, err)
	}
	return []event.Capability{c}
}

// Held returns the interpreters that are heard.
func (s *Sensor) Held() []uprobe.Held { return s.set.Held() }

// bootNow is the time since boot.
func bootNow() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}
