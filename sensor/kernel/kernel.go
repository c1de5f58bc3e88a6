// Package kernel sees what runs on this host through eBPF: programs that start and end, files
// that are opened and changed, connections and how much goes over them.
//
// It loads only what its Demand asks for, says in Probe what a kernel cannot do, and counts
// exactly what it had to drop.
package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// Why a sensor cannot open at all. Anything less is a Capability that is not OK.
var (
	ErrNotRoot = errors.New("loading eBPF programs needs root: run with sudo, or grant CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH and CAP_SYS_RESOURCE")
	ErrNoBTF   = errors.New("the kernel carries no BTF type information (/sys/kernel/btf/vmlinux): run a kernel built with CONFIG_DEBUG_INFO_BTF, as those of Debian 12 and Ubuntu 24.04 are")
	ErrLocked  = errors.New("the kernel refuses eBPF programs even to root: look at /sys/kernel/security/lockdown (confidentiality mode forbids them) and at seccomp or LSM policy of a surrounding container")
)

// Options configures a Sensor. The zero value watches everything but reads, without log or metrics.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Host       string // name put on events
	Demand     Demand
	IO         IO
	// Pins is a directory of a bpf file system (PinDir). The sensor's programs and maps stay there when
	// this process is killed, and the next sensor of the same directory goes on with them. Empty
	// means that they end with the process.
	Pins string
	// SelfPID is the process whose files and connections are not reported. 0 means our own.
	SelfPID int
}

// Demand says what anyone needs to hear of. What nobody needs costs nothing.
type Demand struct {
	Kinds map[event.Kind]bool // nil means all
	// Paths are prefixes of the paths whose creation and writing is reported; "/etc/" ends with a
	// slash, or it means /etcetera too. Empty means all.
	Paths []string
	// Sockets are beginnings of the paths of sockets of the host, and of names with @ before them, to
	// which connections are reported. Those to event.RuntimeSockets are in any case; "" means all.
	Sockets []string
	// MapOnce tells of a file that is mapped to be run once a second for each control group.
	MapOnce bool
}

func (d Demand) wants(k event.Kind) bool { return d.Kinds == nil || d.Kinds[k] }

// Sensor turns what the kernel saw into events.
type Sensor struct {
	log  *slog.Logger
	host string

	maps     map[string]*ebpf.Map
	programs []*ebpf.Program
	names    []string        // of programs
	running  map[string]bool // programs by name
	paths    beginnings
	sockets  beginnings
	links    []link.Link
	linked   []linked // what they lead to
	pins     *pins    // nil: they end with the process
	hands    hands
	rings    [2]*ringbuf.Reader
	wake     atomic.Pointer[waker] // of Run
	caps     []event.Capability
	counting atomic.Bool // a program counts into tallies

	seen    []*event.Process
	known   map[event.Key]bool // of seen, until the rings have passed its time
	seenEnd uint64

	decoder  decoder
	made     []table  // what the programs read, as it was made
	tampered []string // what Check is to say
	watcher  *watcher
	witness  atomic.Pointer[witness]
	sent     sentFlows
	prefixes atomic.Pointer[[]string] // of Demand.Paths
	mu       sync.Mutex               // settings
	settings typedSettings
	counts   counters
	closed   sync.Once
}

// Open loads the programs that opts.Demand needs, attaches them and lists the processes that run
// already. A program that this kernel refuses is left out and told of by Capabilities.
func Open(opts Options) (*Sensor, error) {
	if err := usable(); err != nil {
		return nil, err
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.SelfPID == 0 {
		opts.SelfPID = os.Getpid()
	}
	s := &Sensor{log: opts.Log, host: opts.Host, known: map[event.Key]bool{}, running: map[string]bool{}}
	s.settings = typedSettings{Self: uint32(opts.SelfPID), Kinds: opts.Demand.bits(), MapOnce: opts.Demand.mapOnce()}
	io := opts.IO.orDefault()
	s.settings.IoMin, s.settings.IoStep = io.MinSize, uint64(io.Step)
	if err := s.open(opts); err != nil {
		if s.pins != nil {
			err = errors.Join(err, s.pins.giveUp())
			s.pins = nil
		}
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sensor) open(opts Options) error {
	spec, variant, err := programs()
	if err != nil {
		return err
	}
	if err := s.takeMaps(spec, opts.Pins); err != nil {
		return err
	}
	if err := s.setPaths(opts.Demand.Paths); err != nil {
		return err
	}
	if err := s.setSockets(opts.Demand.Sockets); err != nil {
		return err
	}
	if err := s.configure(func(*typedSettings) {}); err != nil {
		return err
	}
	for i, name := range [...]string{"priority", "volume"} {
		if s.rings[i], err = ringbuf.NewReader(s.maps[name]); err != nil {
			return fmt.Errorf("read ring %s: %w", name, err)
		}
	}
	if s.pins != nil {
		if s.pins.taken.Lost, err = s.hands.open(s.maps["hands"]); err != nil {
			return err
		}
		for _, r := range s.rings {
			s.pins.taken.Waiting += r.AvailableBytes()
		}
	}
	s.decoder = newDecoder(s.host)
	s.watcher = newWatcher(s)
	iter, err := s.attach(spec, opts.Demand)
	if err != nil {
		return err
	}
	if err := s.relieve(); err != nil {
		return err
	}
	s.list(iter)
	s.counts.register(opts.Registerer, s)
	for _, c := range s.caps {
		if !c.OK {
			s.log.Warn("the kernel lacks a capability", "capability", c.Name, "detail", c.Detail)
		}
	}
	s.log.Info("sensor attached", "programs", len(s.programs), "variant", variant, "running", len(s.seen))
	return nil
}

// takeMaps takes over the maps of an earlier sensor, and makes those that are not there.
func (s *Sensor) takeMaps(spec *ebpf.CollectionSpec, dir string) error {
	var taken map[string]*ebpf.Map
	var err error
	if dir != "" {
		s.pins = &pins{dir: dir}
		if taken, err = s.pins.take(spec); err != nil {
			return err
		}
		s.settings.Duty = s.pins.duty
		if err := spec.Variables["generation"].Set(s.pins.number); err != nil {
			return fmt.Errorf("number the generation: %w", err)
		}
	}
	if err := spec.Variables["page_size"].Set(uint64(os.Getpagesize())); err != nil {
		return fmt.Errorf("say how large a page is: %w", err)
	}
	if s.maps, err = createMaps(spec, taken); err != nil || s.pins == nil {
		return err
	}
	return s.pins.keepMaps(s.maps)
}

// Capabilities says what of the Demand this sensor does, one row a feature.
func (s *Sensor) Capabilities() []event.Capability { return s.caps }

// configure changes the settings that the programs read.
func (s *Sensor) configure(change func(*typedSettings)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if said := s.changed(); said != "" && !slices.Contains(s.tampered, said) {
		s.tampered = append(s.tampered, said)
	}
	change(&s.settings)
	s.settings.Lease = math.MaxUint64
	if s.pins != nil {
		s.settings.Lease = monotonicNow() + uint64(lease)
	}
	if err := s.maps["current"].Put(uint32(0), &s.settings); err != nil {
		return fmt.Errorf("write the sensor's settings: %w", err)
	}
	return nil
}

// Close detaches everything. A Run that is under way must have ended.
func (s *Sensor) Close() error {
	return s.end(func() error {
		if s.pins == nil {
			return nil
		}
		return s.pins.remove()
	})
}

// Leave ends the part of this process, and lets the programs of a sensor that is kept go on: the next
// sensor of the same directory tells what happened meanwhile. Where none comes they go quiet.
func (s *Sensor) Leave() error {
	return s.end(func() error {
		if s.pins == nil {
			return nil
		}
		return s.configure(func(c *typedSettings) { c.Self = 0 }) // another process may get our number
	})
}

// end gives back what this process has of the sensor, after it saw to its pins.
func (s *Sensor) end(pins func() error) error {
	var all []error
	s.closed.Do(func() {
		s.counts.unregister()
		all = append(all, pins())
		if s.watcher != nil {
			all = append(all, s.watcher.close())
		}
		if w := s.witness.Load(); w != nil {
			all = append(all, w.close())
		}
		for _, l := range s.links {
			all = append(all, l.Close())
		}
		for _, r := range s.rings {
			if r != nil {
				all = append(all, r.Close())
			}
		}
		for _, p := range s.programs {
			all = append(all, p.Close())
		}
		for _, m := range s.maps {
			all = append(all, m.Close())
		}
		s.decoder.close()
	})
	return errors.Join(all...)
}
