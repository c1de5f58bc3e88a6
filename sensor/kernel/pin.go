package kernel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"picket/event"
)

// lease is how long the programs go on without an agent. A restart takes seconds and an upgrade a
// minute; by then the rings of a busy host are long full, and each call would only cost.
const lease = 5 * time.Minute

const generation = 62 // numbers of generations, from 0 on; 63 is that of none

// Phases of the duty of telling, as record.h has them.
const (
	dutyClaim = iota + 1
	dutySwitch
)

// shared are the maps that one generation of programs leaves to the next: what was seen and not told
// of yet, and its counts. All others hold what one agent wants.
var shared = []string{
	"askers", "claims", "collapsed", "current", "dropped", "flows", "hands", "io_totals", "priority", "received", "repeats", "sent", "tallies", "uring_notes", "volume",
}

// Taken says what a sensor took over from one that was killed.
type Taken struct {
	Over    bool      // there was something to take over
	Waiting int       // bytes of records that wait in the rings: they are told of
	Lost    uint64    // records that were in the hands of the killed agent, or of another layout
	Quiet   time.Time // when the programs went quiet, where nobody came for them in time
}

// pins is a directory of a bpf file system, where maps and links outlive the agent.
type pins struct {
	dir, layout string   // what one agent has, and its maps of this layout below
	number      uint32   // of this generation
	same        bool     // the maps are those that lay there
	duty        uint32   // of the generation before
	old         []string // directories to remove
	taken       Taken
	maps        map[string]pinned
}

// layoutOf names the layout of maps and records: programs of the same can share them.
func layoutOf(spec *ebpf.CollectionSpec) (string, error) {
	sum := sha256.New()
	for _, name := range shared {
		m := spec.Maps[name]
		_, _ = fmt.Fprintln(sum, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
	}
	var types []string
	for t, err := range spec.Types.All() {
		if err != nil {
			return "", fmt.Errorf("read the types of the built-in eBPF object: %w", err)
		}
		if s, ok := t.(*btf.Struct); ok {
			var b strings.Builder
			fmt.Fprint(&b, s.Name, s.Size)
			for _, m := range s.Members {
				fmt.Fprint(&b, " ", m.Name, m.Offset)
			}
			if strings.HasSuffix(s.Name, "_record") || slices.Contains([]string{"header", "settings", "tally", "io_total", "repeat", "flow"}, s.Name) {
				types = append(types, b.String())
			}
		}
	}
	slices.Sort(types)
	_, _ = fmt.Fprintln(sum, types)
	return fmt.Sprintf("layout-%x", sum.Sum(nil)[:6]), nil
}

// take finds what an earlier sensor left and returns its maps. What does not fit is counted and
// replaced.
func (p *pins) take(spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	name, err := layoutOf(spec)
	if err != nil {
		return nil, err
	}
	p.layout = filepath.Join(p.dir, name)
	if err := p.refuse(name); err != nil {
		return nil, err
	}
	maps := map[string]*ebpf.Map{}
	for _, name := range shared {
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.layout, name), nil)
		if err == nil {
			err = spec.Maps[name].Compatible(m)
		}
		if err != nil { // never there, or removed in part
			for _, m := range maps {
				_ = m.Close()
			}
			return nil, p.begin()
		}
		maps[name] = m
	}
	return maps, p.meet(maps)
}

// refuse notes the maps of other layouts, whose records nobody can read.
func (p *pins) refuse(name string) error {
	all, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for an earlier sensor: %w", err)
	}
	for _, d := range all {
		if d.Name() == name {
			continue
		}
		dir := filepath.Join(p.dir, d.Name())
		p.old, p.taken.Over = append(p.old, dir), true
	}
	return nil
}

// lostWith counts what is lost with the maps of another layout: what waits in the rings, what was
// with the agent, and what had no room.
func lostWith(dir string) (n uint64) {
	for _, ring := range [...]string{"priority", "volume"} {
		n += waiting(filepath.Join(dir, ring))
	}
	if m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "hands"), nil); err == nil {
		var held, lost uint64
		if m.ValueSize() == 8 && m.Lookup(uint32(slotHeld), &held) == nil && m.Lookup(uint32(slotLost), &lost) == nil {
			n += held + lost
		}
		_ = m.Close()
	}
	if m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "dropped"), nil); err == nil {
		n += sumOf(m, event.KindNone)
		_ = m.Close()
	}
	return n
}

// waiting counts the records of a ring that nobody will read.
func waiting(name string) (n uint64) {
	m, err := ebpf.LoadPinnedMap(name, nil)
	if err != nil {
		return 0
	}
	defer m.Close() //nolint:errcheck // it was only looked at
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return 0
	}
	defer r.Close() //nolint:errcheck // as well
	var rec ringbuf.Record
	for end := r.AvailableBytes(); end > 0; n++ {
		r.SetDeadline(time.Unix(1, 0))
		if r.ReadInto(&rec) != nil {
			break
		}
		end -= min(end, (len(rec.RawSample)+15)&^7)
	}
	return n
}

// begin starts with maps of its own. What lies at their place is no sensor's any more.
func (p *pins) begin() error {
	if err := os.RemoveAll(p.layout); err != nil {
		return fmt.Errorf("replace what an earlier sensor left: %w", err)
	}
	if err := os.MkdirAll(p.layout, 0o700); err != nil {
		return fmt.Errorf("keep the sensor: %w", err)
	}
	return nil
}

// meet reads what the earlier sensor was about.
func (p *pins) meet(maps map[string]*ebpf.Map) error {
	var s typedSettings
	if err := maps["current"].Lookup(uint32(0), &s); err != nil {
		return fmt.Errorf("read the settings of the earlier sensor: %w", err)
	}
	all, err := os.ReadDir(p.layout)
	if err != nil {
		return fmt.Errorf("look for an earlier sensor: %w", err)
	}
	used := map[string]bool{}
	for _, d := range all {
		if _, err := strconv.ParseUint(d.Name(), 10, 32); err == nil {
			p.old, used[d.Name()] = append(p.old, filepath.Join(p.layout, d.Name())), true
		}
	}
	for p.number = (s.Duty>>2 + 1) % generation; used[p.generation(p.number)]; {
		p.number = (p.number + 1) % generation
	}
	p.duty, p.same = s.Duty, true
	p.taken.Over = true
	if s.Duty>>2 > generation {
		p.taken.Quiet = time.Now().Add(-time.Duration(monotonicNow() - s.Lease))
	}
	return nil
}

func (p *pins) generation(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// own is the directory of what belongs to this generation only.
func (p *pins) own() string { return filepath.Join(p.layout, p.generation(p.number)) }

// keepMaps pins the maps, of which those that were taken over lie there already.
func (p *pins) keepMaps(maps map[string]*ebpf.Map) error {
	if err := os.RemoveAll(p.own()); err != nil { // of a start that failed
		return fmt.Errorf("keep the sensor: %w", err)
	}
	if err := os.MkdirAll(p.own(), 0o700); err != nil {
		return fmt.Errorf("keep the sensor: %w", err)
	}
	p.maps = map[string]pinned{}
	for _, name := range shared {
		at := filepath.Join(p.layout, name)
		if p.same {
			p.maps[name] = pinned{at, inode(at)}
		} else if err := p.pinMap(name, at, maps[name]); err != nil {
			return err
		}
	}
	// Without a name of it this one is emptied when the agent ends.
	return p.pinMap("handlers", filepath.Join(p.own(), "handlers"), maps["handlers"])
}

// keep adds a link to those that outlive the agent.
func (s *Sensor) keep(program string, l link.Link) error {
	p := s.program(program)
	id, err := programID(p)
	if err != nil {
		return err
	}
	s.links = append(s.links, l)
	s.linked = append(s.linked, linked{name: program, program: id, onGroup: p.Type() != ebpf.Tracing})
	if s.pins == nil {
		return nil
	}
	return s.pinLink(len(s.links) - 1)
}

func (s *Sensor) pinLink(i int) error {
	name := filepath.Join(s.pins.own(), s.linked[i].name)
	if err := s.links[i].Pin(name); err != nil {
		return fmt.Errorf("keep %s: %w", s.linked[i].name, err)
	}
	s.linked[i].pin = inode(name)
	return nil
}

// pinned is a map's pin and its inode.
type pinned struct {
	path string
	pin  uint64
}

func (p *pins) pinMap(name, path string, m *ebpf.Map) error {
	if err := m.Pin(path); err != nil {
		return fmt.Errorf("keep map %s: %w", name, err)
	}
	p.maps[name] = pinned{path, inode(path)}
	return nil
}

// dismiss takes out the generations of starts that were killed before they were on duty: they would
// take claims for theirs.
func (p *pins) dismiss(duty uint32) error {
	for i, dir := range p.old {
		name := filepath.Base(dir)
		if filepath.Dir(dir) != p.layout || name == p.generation(duty) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("detach the programs of a start that failed: %w", err)
		}
		p.old[i] = "" // nothing is left to remove
	}
	return nil
}

// relieve lets the new programs tell, and no others: no event falls between, and none comes twice.
func (s *Sensor) relieve() error {
	p := s.pins
	if p == nil {
		return nil
	}
	duty := p.number << 2
	if err := p.dismiss(s.settings.Duty >> 2); err != nil {
		return err
	}
	if before := s.settings.Duty &^ 3; p.taken.Over && before != duty && before>>2 <= generation {
		for _, step := range []uint32{before | dutyClaim, duty | dutySwitch} {
			if err := s.configure(func(c *typedSettings) { c.Duty = step }); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond) // longer than one program takes beside the other
		}
	}
	if err := s.configure(func(c *typedSettings) { c.Duty = duty }); err != nil {
		return err
	}
	for _, dir := range p.old {
		if filepath.Dir(dir) == p.dir {
			lost := lostWith(dir)
			p.taken.Lost += lost
			s.hands.lose(lost)
		}
		if dir == "" {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("detach the programs of the earlier sensor: %w", err)
		}
	}
	return nil
}

// Taken says what was left by a sensor that was killed.
func (s *Sensor) Taken() Taken {
	if s.pins == nil {
		return Taken{}
	}
	return s.pins.taken
}

// giveUp takes back a start that failed: what was there before goes on.
func (p *pins) giveUp() error {
	if !p.taken.Over {
		return p.remove()
	}
	return os.RemoveAll(p.own())
}

// remove takes everything out of the kernel.
func (p *pins) remove() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("take the sensor out of the kernel: %w", err)
	}
	_ = os.Remove(filepath.Dir(p.dir)) // unless another agent has something there
	return nil
}
