package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
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
	if m.Type() == ebpf.Array && m.ValueSize() == 4 { // the large one: in one call
		keys, values := make([]uint32, m.MaxEntries()), make([]uint32, m.MaxEntries())
		var at ebpf.MapBatchCursor
		n, err := m.BatchLookup(&at, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, err
		}
		for i := range n {
			rows[keys[i]] = binary.NativeEndian.AppendUint32(nil, values[i])
		}
		return rows, nil
	}
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
	for i := range s.links {
		if what, mend := s.checkLink(i); what != "" {
			found = append(found, fmt.Sprintf("the link of %s %s", s.linked[i].name, mended(what, mend)))
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

// linked is what stands behind a link.
type linked struct {
	name    string // of the program
	program ebpf.ProgramID
	onGroup bool
	pin     uint64 // inode of its pin
}

// checkLink says what became of a link, "" where it is well. Those of tracepoints can neither be taken
// off nor led elsewhere.
func (s *Sensor) checkLink(i int) (what string, mend func() error) {
	l := &s.linked[i]
	if !l.onGroup {
		return "", nil
	}
	info, err := s.links[i].Info()
	switch {
	case err != nil:
		return "is gone (" + err.Error() + ")", func() error { return s.attachAgain(i) }
	case info.Cgroup() != nil && info.Cgroup().CgroupId == 0:
		return "was detached", func() error { return s.attachAgain(i) }
	case info.Program != l.program:
		return "leads to another program", func() error { return s.links[i].Update(s.program(l.name)) }
	}
	return "", nil
}

// program returns a program by its name: who asks knows that it runs.
func (s *Sensor) program(name string) *ebpf.Program { return s.programs[slices.Index(s.names, name)] }

// attachAgain puts a program of control groups back and lets go of the link that was detached.
func (s *Sensor) attachAgain(i int) error {
	spec, _, err := programs()
	if err != nil {
		return err
	}
	name := s.linked[i].name
	l, err := link.AttachCgroup(link.CgroupOptions{Path: s.decoder.cgroups.root, Attach: spec.Programs[name].AttachType, Program: s.program(name)})
	if err != nil {
		return err
	}
	_ = s.links[i].Unpin() // its place is needed; where it is no more, all the better
	_ = s.links[i].Close()
	s.links[i] = l
	if s.pins == nil {
		return nil
	}
	return s.pinLink(i)
}

// checkPins finds pins that were removed or lead elsewhere, and puts them back.
func (s *Sensor) checkPins() (found []string) {
	for _, dir := range []string{s.pins.layout, s.pins.own()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return []string{"the sensor cannot be kept any more: " + err.Error()}
		}
	}
	for i := range s.links {
		name := filepath.Join(s.pins.own(), s.linked[i].name)
		if inode(name) != s.linked[i].pin {
			found = append(found, fmt.Sprintf("the pin of %s %s", s.linked[i].name, mended("was taken away", func() error {
				return errors.Join(clearPin(s.links[i], name), s.pinLink(i))
			})))
		}
	}
	for name, at := range s.pins.maps {
		if inode(at.path) != at.pin {
			found = append(found, fmt.Sprintf("the pin of map %s %s", name, mended("was taken away", func() error {
				return errors.Join(clearPin(s.maps[name], at.path), s.pins.pinMap(name, at.path, s.maps[name]))
			})))
		}
	}
	return found
}

// inode returns the number of a pin, 0 where there is none. Another object has another.
func inode(name string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(name, &st) != nil {
		return 0
	}
	return st.Ino
}

// clearPin makes room for a pin: what somebody put there goes.
func clearPin(what interface{ Unpin() error }, name string) error {
	return errors.Join(what.Unpin(), os.RemoveAll(name))
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
		if id, err := programID(p); err == nil && bytes.Equal(row, binary.NativeEndian.AppendUint32(nil, uint32(id))) {
			return m.Put(key, p)
		}
	}
	return fmt.Errorf("handler %d is none of ours", key)
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, fmt.Errorf("ask for a program's number: %w", err)
	}
	id, _ := info.ID() // there is one from 4.13 on
	return id, nil
}
