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
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"picket/event"
	"picket/sensor/uprobe"
)

var _ [unsafe.Sizeof(uprobe.Who{})]byte = [unsafe.Sizeof(pythonAudit{}.Who)]byte{} // they are the same

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
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop() // an error of the ring is told now, not when ctx ends
	all.Go(func() { s.set.Run(ctx) })
	if err := uprobe.Follow(ctx, s.ring, s.decode, &s.odd, handle); err != nil {
		return fmt.Errorf("read the ring of audit events: %w", err)
	}
	return nil
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
	w := (*uprobe.Who)(unsafe.Pointer(&a.Who))
	e := w.Event(event.PythonAudit, s.opt.Host)
	e.Count, e.Python = w.Count, &event.Python{Event: events[a.Event].name}
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
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c))), len(c))
	return uprobe.Plain(b[:min(int(n), len(c))]), int(n) >= len(c)-1
}

// Missed is what was not seen or told of: records that had no room, events past what is told of a
// process in a second, and interpreters that could not be attached to.
func (s *Sensor) Missed() uint64 {
	return uprobe.Lost(s.coll) + s.set.Missed() + s.odd.Load()
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
