// Package cuda sees what processes do through NVIDIA's library libcuda: how much they copy from GPUs
// to the host, which code they load onto them, and memory of GPUs that they share.
//
// Its programs stand at functions of the library, in every copy of it that a process runs code of.
// Bytes are counted in the kernel; an event is made of them once a minute. It is off unless the
// configuration asks for it: each call that is looked at costs its caller the time that Measure tells.
package cuda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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

const drainEvery = 5 * time.Second

var _ [unsafe.Sizeof(uprobe.Who{})]byte = [unsafe.Sizeof(cudaCall{}.Who)]byte{} // they are the same

// Options sets up a Sensor. The zero value finds libraries, and knows no memory of processes.
type Options struct {
	Log  *slog.Logger
	Host string // name put on events
	// Memory says how much of GPUs' memory a process holds, where somebody knows.
	Memory func(pid uint32) (bytes int64, known bool)
	// Each puts every probe by itself, as kernels before 6.6 need it.
	Each bool
	// Driver are patterns of the libraries that the host's driver brought; nil: where it puts them.
	Driver []string
	Every  time.Duration // how often counts are read; 0: 5 s
}

// Sensor watches libcuda.
type Sensor struct {
	opt      Options
	log      *slog.Logger
	coll     *ebpf.Collection
	ring     *ringbuf.Reader
	set      *uprobe.Set
	together bool
	told     chan *event.Event // of libraries

	mu        sync.Mutex
	libraries map[uint32]library
	last      uint32
	hosts     atomic.Int32

	meters  map[caller]*meter // of the one goroutine that reads counts
	modules modules           // of the one that reads records, as are the handles
	handles handles

	untold, odd atomic.Uint64
}

// caller is a process.
type caller struct {
	tgid  uint32
	start uint64
}

// Open loads the programs. Run puts them on the libraries that processes use.
func Open(o Options) (*Sensor, error) {
	o.Every = cmp.Or(o.Every, drainEvery)
	if o.Driver == nil {
		o.Driver = driver
	}
	s := &Sensor{
		opt: o, log: o.Log, together: uprobe.Together() && !o.Each, told: make(chan *event.Event, 64),
		libraries: map[uint32]library{}, meters: map[caller]*meter{}, modules: newModules(), handles: newHandles(),
	}
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
	if s.ring, err = ringbuf.NewReader(s.coll.Maps["records"]); err != nil {
		return fmt.Errorf("read the ring of calls of libcuda: %w", err)
	}
	s.set, err = uprobe.New(uprobe.Options{Log: s.log, Match: libraryName, Known: s.opt.Driver, Attach: s.attach})
	return err
}

// load loads the programs and makes their maps.
func load(together bool) (*ebpf.Collection, error) {
	spec, err := loadCuda()
	if err != nil {
		return nil, fmt.Errorf("read the built-in eBPF object: %w", err)
	}
	uprobe.Prepare(spec, together)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load the programs for libcuda: %w", err)
	}
	return coll, nil
}

// Measure says what a call that is counted costs its caller on this host, by how its function begins.
func Measure() ([]uprobe.Cost, error) {
	together := uprobe.Together()
	coll, err := load(together)
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return uprobe.Measure(coll.Programs["on_count"], toHost|3<<8, together)
}

// RunTime measures as Measure does, and returns how often the kernel ran the program and for how long, by
// its own clock.
func RunTime() (runs uint64, took time.Duration, err error) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return 0, 0, err
	}
	defer stats.Close() //nolint:errcheck // it ends with this program
	together := uprobe.Together()
	coll, err := load(together)
	if err != nil {
		return 0, 0, err
	}
	defer coll.Close()
	prog := coll.Programs["on_count"]
	if _, err := uprobe.Measure(prog, toHost|3<<8, together); err != nil {
		return 0, 0, err
	}
	is, err := prog.Stats()
	if err != nil {
		return 0, 0, err
	}
	return is.RunCount, is.Runtime, nil
}

// Meet tells of a file that a process mapped to run it.
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

// Run calls handle for each event until ctx ends; what was counted by then is told of before. Two
// calls of it may be under way at a time.
func (s *Sensor) Run(ctx context.Context, handle func(*event.Event)) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop() // an error of the ring is told now, not when ctx ends
	all.Go(func() { s.set.Run(ctx) })
	all.Go(func() { s.count(ctx, handle) })
	if err := uprobe.Follow(ctx, s.ring, s.decode, &s.odd, handle); err != nil {
		return fmt.Errorf("read the ring of calls of libcuda: %w", err)
	}
	return nil
}

// count reads the counts again and again, and tells of libraries.
func (s *Sensor) count(ctx context.Context, handle func(*event.Event)) {
	tick := time.NewTicker(s.opt.Every)
	defer tick.Stop()
	for {
		select {
		case e := <-s.told:
			handle(e)
		case now := <-tick.C:
			s.drain(now, handle)
		case <-ctx.Done():
			s.drain(time.Now(), handle)
			return
		}
	}
}

func (s *Sensor) tell(e *event.Event) {
	select {
	case s.told <- e:
	default:
		s.untold.Add(1)
	}
}

// decode reads a record; nil for one that cannot be.
func (s *Sensor) decode(raw []byte) *event.Event {
	var c cudaCall
	if len(raw) < int(unsafe.Sizeof(c)) {
		return nil
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)), raw)
	name := nameOf(c.Name)
	if name == "" || int(c.Len) > len(c.Data) {
		return nil
	}
	l := s.libraryOf(c.File)
	w := (*uprobe.Who)(unsafe.Pointer(&c.Who))
	e := w.Event(event.CUDACall, s.opt.Host)
	e.CUDA = &event.CUDA{Call: name, Library: l.path, Private: l.private}
	data := c.Data[:c.Len]
	switch who := (caller{w.Tgid, w.Start}); c.What {
	case module:
		e.CUDA.Module = s.modules.look(who, e.Time, c.Address, data)
	case moduleFile:
		e.CUDA.Module = event.CUDAModule{Format: "file", File: uprobe.Plain(data)}
		s.modules.seen(who, e.Time, &e.CUDA.Module, "file "+e.CUDA.Module.File)
	case export:
		s.handles.given(data, who)
	case open:
		if from, ok := s.handles.taken(data); ok {
			e.CUDA.Peer.PID = from.tgid
		}
	}
	return e
}

// Missed is what was not seen or told of: records that had no room, processes that were not counted,
// libraries that could not be attached to, and modules of which nothing more is remembered.
func (s *Sensor) Missed() uint64 {
	return uprobe.Lost(s.coll) + s.set.Missed() + s.untold.Load() + s.odd.Load() + s.modules.missed.Load()
}

// Capabilities says what is watched.
func (s *Sensor) Capabilities() []event.Capability {
	held, wrong := s.set.Held(), s.set.Wrong()
	c := event.Capability{Name: "cuda", OK: len(wrong) == 0, Detail: "no process uses libcuda yet"}
	if len(held) > 0 {
		c.Detail = fmt.Sprintf("%d libraries; %s: %s", len(held), held[0].Path, held[0].Detail)
	}
	for path, err := range wrong {
		c.Detail = fmt.Sprintf("%s is not watched: %v", path, err)
	}
	return []event.Capability{c}
}

// Held returns the libraries that are watched.
func (s *Sensor) Held() []uprobe.Held { return s.set.Held() }

// running reports whether a process is there.
func running(pid uint32) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}
