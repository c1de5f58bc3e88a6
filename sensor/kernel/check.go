package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// table is a map that the programs read and only this process writes, as it was made.
type table struct {
	name string
	rows map[uint32][]byte
}

// remember takes down what the programs read.
func (s *Sensor) remember() error {
	made := []table{}
	for _, name := range [...]string{"routes", "handlers", "call_specs"} {
		rows, err := rowsOf(s.maps[name])
		if err != nil {
			return fmt.Errorf("read table %s: %w", name, err)
		}
		made = append(made, table{name, rows})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = made
	return nil
}

// rowsOf reads a table; a place of a program is its number.
func rowsOf(m *ebpf.Map) (map[uint32][]byte, error) {
	rows := map[uint32][]byte{}
	for key := range m.MaxEntries() {
		row, err := m.LookupBytes(key)
		if err != nil {
			return nil, err
		}
		if row != nil {
			rows[key] = row
		}
	}
	return rows, nil
}

// Check looks whether all that the sensor stands on is as it was made: its links, its pins, and what
// its programs read. It mends what it can and says in a sentence each what somebody had changed.
// It is called by one goroutine at a time, the one that calls Follow.
func (s *Sensor) Check() (found []string) {
	s.own.look()
	for i := range s.links {
		if what, mend := s.checkLink(i); what != "" {
			found = append(found, fmt.Sprintf("the link of %s %s", s.linked[i], mended(what, mend)))
		}
	}
	if s.pins != nil {
		found = append(found, s.checkPins()...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found = append(found, s.checkTables()...)
	found, s.tampered = append(found, s.tampered...), nil
	return found
}

// changed says what somebody else wrote into the settings that the programs read, "" where nobody did.
// It is asked each time before they are written anew.
func (s *Sensor) changed() string {
	if s.made == nil {
		return "" // it is being opened
	}
	var now typedSettings
	if err := s.maps["current"].Lookup(uint32(0), &now); err != nil {
		return "the sensor's settings cannot be read: " + err.Error()
	}
	want := s.settings
	now.Asleep, want.Asleep = [2]uint32{}, [2]uint32{} // the programs write these three too
	quiet := now.Duty>>2 > generation
	if quiet {
		now.Duty = want.Duty
	}
	switch {
	case now == want && quiet:
		return "the sensor went quiet, as the agent stood still for minutes: what happened meanwhile was not seen"
	case now == want:
		return ""
	}
	return "the sensor's settings were changed; they are mended"
}

func mended(what string, mend func() error) string {
	if err := mend(); err != nil {
		return what + ", and cannot be mended: " + err.Error()
	}
	return what + "; it is mended"
}

// checkLink says what became of a link, "" where it is well. Those of tracepoints cannot be taken off
// by anybody.
func (s *Sensor) checkLink(i int) (what string, mend func() error) {
	name := s.linked[i]
	prog, err := s.program(name)
	if err != nil {
		return "", nil
	}
	broken := func() error { return errors.New("start the agent anew") }
	info, err := s.links[i].Info()
	if err != nil {
		return "is gone (" + err.Error() + ")", broken
	}
	if at := info.Cgroup(); at != nil && at.CgroupId == 0 {
		return "was detached", func() error { return s.attachAgain(i, prog) }
	}
	want, err := prog.Info()
	if err != nil {
		return "", nil
	}
	if id, ok := want.ID(); ok && info.Program != id {
		return "leads to another program", func() error { return s.links[i].Update(prog) }
	}
	return "", nil
}

func (s *Sensor) program(name string) (*ebpf.Program, error) {
	for i, p := range s.programs {
		if s.names[i] == name {
			return p, nil
		}
	}
	return nil, errors.New("no such program")
}

// attachAgain puts a program of control groups back and lets go of the link that was detached.
func (s *Sensor) attachAgain(i int, prog *ebpf.Program) error {
	spec, _, err := programs()
	if err != nil {
		return err
	}
	name := s.linked[i]
	l, err := link.AttachCgroup(link.CgroupOptions{Path: s.decoder.cgroups.root, Attach: spec.Programs[name].AttachType, Program: prog})
	if err != nil {
		return err
	}
	_ = s.links[i].Unpin() // its place is needed; where it is no more, all the better
	_ = s.links[i].Close()
	s.links[i] = l
	if s.pins == nil {
		return nil
	}
	return l.Pin(filepath.Join(s.pins.own(), name))
}

// checkPins finds pins that were removed or lead elsewhere, and puts them back.
func (s *Sensor) checkPins() (found []string) {
	for _, dir := range []string{s.pins.layout, s.pins.own()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return []string{"the sensor cannot be kept any more: " + err.Error()}
		}
	}
	for i, l := range s.links {
		name := filepath.Join(s.pins.own(), s.linked[i])
		if pinnedLink(name, l) {
			continue
		}
		found = append(found, fmt.Sprintf("the pin of %s %s", s.linked[i], mended("was taken away", func() error { return pinAgain(l, name) })))
	}
	for _, at := range s.pinnedMaps() {
		m := s.maps[filepath.Base(at)]
		if pinnedMap(at, m) {
			continue
		}
		found = append(found, fmt.Sprintf("the pin of map %s %s", filepath.Base(at), mended("was taken away", func() error { return pinAgain(m, at) })))
	}
	return found
}

// pinnedMaps lists where the maps lie that outlive this process.
func (s *Sensor) pinnedMaps() []string {
	all := []string{filepath.Join(s.pins.own(), "handlers")}
	for _, name := range shared {
		all = append(all, filepath.Join(s.pins.layout, name))
	}
	return all
}

func pinnedLink(name string, l link.Link) bool {
	there, err := link.LoadPinnedLink(name, nil)
	if err != nil {
		return false
	}
	defer there.Close() //nolint:errcheck // it was only looked at
	is, err1 := there.Info()
	want, err2 := l.Info()
	return err1 == nil && err2 == nil && is.ID == want.ID
}

func pinnedMap(name string, m *ebpf.Map) bool {
	there, err := ebpf.LoadPinnedMap(name, nil)
	if err != nil {
		return false
	}
	defer there.Close() //nolint:errcheck // it was only looked at
	is, err1 := there.Info()
	want, err2 := m.Info()
	if err1 != nil || err2 != nil {
		return false
	}
	a, _ := is.ID()
	b, ok := want.ID()
	return ok && a == b
}

func pinAgain(what interface {
	Unpin() error
	Pin(string) error
}, name string,
) error {
	if err := what.Unpin(); err != nil {
		return err
	}
	if err := os.RemoveAll(name); err != nil { // what somebody put there instead
		return err
	}
	return what.Pin(name)
}

// checkTables compares what the programs read with what it was, and writes it again.
func (s *Sensor) checkTables() (found []string) {
	for _, t := range s.made {
		m := s.maps[t.name]
		now, err := rowsOf(m)
		if err != nil {
			found = append(found, fmt.Sprintf("table %s cannot be read: %v", t.name, err))
			continue
		}
		n, put := 0, error(nil)
		for key := range m.MaxEntries() {
			if bytes.Equal(now[key], t.rows[key]) {
				continue
			}
			n++
			put = errors.Join(put, s.putRow(m, key, t.rows[key]))
		}
		if n > 0 {
			found = append(found, fmt.Sprintf("table %s %s", t.name, mended(fmt.Sprintf("was changed in %d places", n), func() error { return put })))
		}
	}
	return found
}

// putRow writes a row as it was. Where it stands for a program, the program is looked up by its number.
func (s *Sensor) putRow(m *ebpf.Map, key uint32, row []byte) error {
	if m.Type() != ebpf.ProgramArray {
		return m.Put(key, row)
	}
	if row == nil {
		return m.Delete(key)
	}
	for _, p := range s.programs {
		info, err := p.Info()
		if err != nil {
			return err
		}
		if id, ok := info.ID(); ok && bytes.Equal(row, idBytes(id)) {
			return m.Put(key, p)
		}
	}
	return fmt.Errorf("handler %d is none of ours", key)
}

func idBytes(id ebpf.ProgramID) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(id))
}
