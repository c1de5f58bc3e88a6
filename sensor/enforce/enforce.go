// Package enforce stops in the kernel what a policy does not allow: connections, datagrams, programs,
// devices and settings, by cgroup.
//
// It attaches only what a bound policy needs. Nothing outlives it: when it closes, or its process
// ends, everything is allowed again. A binding may carry a time at which the kernel itself lets go.
package enforce

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// Flags of a binding, as in enforce.h.
const (
	flagEnforce = 1 << iota
	flagEgress
	flagOpen
	flagExec
	flagDevice
	flagSysctl
	flagIsolated // kept by no binding
	flagModels
)

// Options sets up an Enforcer. The zero value logs nothing and exempts this process.
type Options struct {
	Log     *slog.Logger
	Host    string // name put on events
	SelfPID int    // process that nothing is done to; 0: our own
	// Judge says of a model file whether it may be loaded, for Rules.Signed. Whoever opens it waits: it
	// may take no lock that is held while a file is opened. nil: nobody is asked.
	Judge func(Opening, *Signed) Judgment
}

// Rules is what a policy asks of the kernel.
type Rules struct {
	Enforce bool      // false: what is against it is told, and happens
	Until   time.Time // when the kernel lets go; zero for never
	Egress  *Egress   // nil: not limited
	Exec    []string  // paths of the programs that may run, a star in the last part; nil: not limited
	Devices []Device  // beside those that every program needs; nil: not limited
	Sysctl  bool      // no setting of the kernel is written
	Models  []string  // directories in which nothing is changed, where Enforce is set
	Private []string  // directories in which nobody else opens a file, where Enforce is set
	Signed  *Signed   // which model files are loaded, where Enforce is set; nil: not limited
}

// Egress says where may be sent to. The longest prefix that covers an address decides.
type Egress struct {
	Prefixes []Prefix
	Open     bool // what no prefix covers is allowed
}

// Prefix is a network and what it is allowed.
type Prefix struct {
	netip.Prefix
	Allow bool
	Ports []uint16 // that are allowed, at most 8; none: all
}

// Device is a device's number, with AnyMinor for all of a major.
type Device struct {
	Block        bool
	Major, Minor uint32
}

// AnyMinor stands for all minor numbers.
const AnyMinor = ^uint32(0)

// Target is a cgroup that a policy is bound to.
type Target struct {
	Cgroup string // path below the root of cgroup v2
	Root   string // root of its file system, such as /proc/PID/root; "" for that of its first process, or the host's
}

// Enforcer holds the programs and what they look up. Its methods may be called at the same time.
type Enforcer struct {
	*Cgroups
	log  *slog.Logger
	host string

	spec     *ebpf.CollectionSpec
	lsm      *ebpf.CollectionSpec
	listens  func() error // nil where LSM programs work
	self     bpfSettings
	types    *btf.Cache // while programs are loaded
	maps     map[string]*ebpf.Map
	ring     *ringbuf.Reader
	resolver *ebpf.Program

	mu       sync.Mutex
	programs map[string]*ebpf.Program // that were loaded, by name
	attached map[string]link.Link     // by program
	climbed  map[string]*rung         // by feature, of those that are in use
	guarding bool
	policies map[string]*policy
	names    map[uint32]string // of slots, those of the last policies too
	bound    map[uint64]*binding
	isolated map[uint64]time.Time
	slot     uint32

	refusals atomic.Uint64 // of read-only mounts

	gates        map[place]*gate  // by private directory
	execGates    map[uint64]*gate // by cgroup that is bound, of containers
	signedGates  map[uint64]*gate // by cgroup that is bound
	judge        func(Opening, *Signed) Judgment
	denials      chan *event.Event // of gates, to be told
	refusedOpens atomic.Uint64     // by gates
	untold       atomic.Uint64     // of those, as denials was full
}

// policy is the rules under a name and the keys that they filled.
type policy struct {
	rules Rules
	slot  uint32
	peers []bpfPeerKey
	devs  []bpfDeviceKey
}

// binding is a cgroup under a policy.
type binding struct {
	target   Target
	name     string
	dir      int // its root, open
	programs map[bpfProgramKey]uint32
	scripts  map[bpfScriptKey]bool
	trees    []tree
	sealed   []string        // paths under a mount that is read-only
	mounts   map[uint64]bool // those mounts
}

// Why an Enforcer cannot open at all.
var (
	ErrNoCgroup = errors.New("cgroup v2 is not mounted: policies and containment hold by cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
	ErrNotRoot  = errors.New("enforcing policies needs root: it loads eBPF programs")
)

// Open makes the maps. No program is loaded or attached before a policy is bound.
func Open(opts Options) (*Enforcer, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	groups, err := OpenCgroups()
	if err != nil {
		return nil, err
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.SelfPID == 0 {
		opts.SelfPID = os.Getpid()
	}
	e := &Enforcer{
		Cgroups: groups, log: opts.Log, host: opts.Host, programs: map[string]*ebpf.Program{}, attached: map[string]link.Link{}, climbed: map[string]*rung{}, policies: map[string]*policy{},
		names: map[uint32]string{}, bound: map[uint64]*binding{}, isolated: map[uint64]time.Time{},
		gates: map[place]*gate{}, execGates: map[uint64]*gate{}, signedGates: map[uint64]*gate{}, judge: opts.Judge, denials: make(chan *event.Event, 256),
	}
	e.listens = sync.OnceValue(e.tryLSM)
	if err := e.open(opts); err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Enforcer) open(opts Options) (err error) {
	if e.spec, err = loadBpf(); err != nil {
		return fmt.Errorf("read the built-in eBPF object: %w", err)
	}
	if e.lsm, err = loadLsm(); err != nil {
		return fmt.Errorf("read the built-in eBPF object for LSM: %w", err)
	}
	only := e.spec.Copy()
	only.Programs = nil
	coll, err := ebpf.NewCollection(only)
	if err != nil {
		return fmt.Errorf("create the policies' eBPF maps: %w", err)
	}
	e.maps, coll.Maps = coll.Maps, nil
	coll.Close()
	e.self.Self = uint32(opts.SelfPID)
	if err := e.maps["current"].Put(uint32(0), e.self); err != nil {
		return fmt.Errorf("write the enforcer's settings: %w", err)
	}
	if err := e.listChanging(); err != nil {
		return err
	}
	if e.ring, err = ringbuf.NewReader(e.maps["violations"]); err != nil {
		return fmt.Errorf("read the violations' ring: %w", err)
	}
	return nil
}

// Close detaches everything: all is allowed again. A Run that is under way must have ended.
func (e *Enforcer) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []error{e.thawAll()}
	for _, g := range e.gates {
		all = append(all, g.close())
	}
	for id := range e.execGates {
		all = append(all, ungate(e.execGates, id))
	}
	for id := range e.signedGates {
		all = append(all, ungate(e.signedGates, id))
	}
	for name := range e.attached {
		all = append(all, e.detach(name))
	}
	for _, b := range e.bound {
		b.forget()
		all = append(all, e.seal(b, nil), unix.Close(b.dir))
	}
	closers := []io.Closer{}
	if e.ring != nil {
		closers = append(closers, e.ring)
	}
	if e.resolver != nil {
		closers = append(closers, e.resolver)
	}
	for _, p := range e.programs {
		closers = append(closers, p)
	}
	for _, m := range e.maps {
		closers = append(closers, m)
	}
	for _, c := range closers {
		all = append(all, c.Close())
	}
	return errors.Join(all...)
}

// Dropped is how many violations there was no room for. What was to be stopped was stopped.
func (e *Enforcer) Dropped() (n uint64) {
	var per []uint64
	if err := e.maps["dropped"].Lookup(uint32(0), &per); err != nil {
		return 0
	}
	for _, x := range per {
		n += x
	}
	return n + e.untold.Load()
}

// bootNow is the time since boot.
func bootNow() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}
