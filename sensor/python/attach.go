package python

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"

	"picket/sensor/uprobe"
)

// name is what an interpreter or its library is called.
var name = regexp.MustCompile(`^(libpython3(\.[0-9]+)?[a-z]*\.so.*|python(3(\.[0-9]+)?)?[a-z]*)$`)

// known are where the host's own interpreters lie.
var known = []string{
	"/usr/bin/python3.[0-9]*", "/usr/local/bin/python3.[0-9]*",
	"/usr/lib/*-linux-gnu/libpython3.[0-9]*.so.1.0", "/usr/lib64/libpython3.[0-9]*.so.1.0", "/usr/local/lib/libpython3.[0-9]*.so.1.0",
}

const (
	maxPlaces  = 1024 // in all interpreters
	maxOfOne   = 8    // in one: Debian's have a few, and a file can claim any number
	noRegister = math.MaxUint16
)

var (
	wantedSymbols = map[string]bool{
		"PySys_Audit": true, "_PySys_Audit": true, "PyUnicode_Type": true, "PyBytes_Type": true, "PyTuple_Type": true, "Py_Version": true,
	}
	minorOf = regexp.MustCompile(`python3\.([0-9]+)`)
)

// attach puts the program where an interpreter raises audit events: at its static probe, where it was
// built with some, else at the functions that C code calls.
func (s *Sensor) attach(f *uprobe.File) (io.Closer, string, error) {
	symbols, err := f.Image.Symbols(func(name []byte) bool { return wantedSymbols[string(name)] })
	if err != nil {
		return nil, "", err
	}
	arguments := f.Image.Arguments()
	text := textOf(minor(f, symbols))
	var (
		points []uprobe.Point
		places []pythonPlace
	)
	add := func(address, offset, semaphore uint64, p pythonPlace) {
		p.Str, p.Bytes, p.Tuple = apart(symbols, "PyUnicode_Type", address), apart(symbols, "PyBytes_Type", address), apart(symbols, "PyTuple_Type", address)
		p.Text = text
		points = append(points, uprobe.Point{Offset: offset, Semaphore: semaphore})
		places = append(places, p)
	}
	detail := "its static probe"
	for _, at := range f.Image.Static("python", "audit") {
		if len(points) == maxOfOne {
			break
		}
		if len(at.Arguments) != 2 || at.Semaphore == 0 {
			continue
		}
		event, ok := f.Image.Register(at.Arguments[0])
		tuple, also := f.Image.Register(at.Arguments[1])
		if ok && also {
			add(at.Address, at.Offset, at.Semaphore, pythonPlace{Event: event, Format: noRegister, Args: [2]uint16{tuple, tuple}})
		}
	}
	if len(points) == 0 {
		detail = "PySys_Audit; what Python code itself raises is not told of"
		stepped := false
		for shift, name := range []string{"PySys_Audit", "_PySys_Audit"} { // the second has the thread's state before the rest
			if sym, ok := symbols[name]; ok {
				entry, class := f.Image.Entry(sym)
				stepped = stepped || class == uprobe.Step
				a := arguments[shift:]
				add(sym.Address+entry-sym.Offset, entry, 0, pythonPlace{Event: a[0], Format: a[1], Args: [2]uint16{a[2], a[3]}})
			}
		}
		if stepped {
			detail += "; single-stepped"
		}
	}
	if len(points) == 0 {
		return nil, "", uprobe.ErrNothing // a program that only starts the library, or a version before 3.8
	}
	if text == 0 {
		detail += "; texts of its version are not known"
	}
	numbers, err := s.keep(places)
	if err != nil {
		return nil, "", err
	}
	for i := range points {
		points[i].Cookie = uint64(numbers[i])
	}
	links, err := uprobe.Attach(f.File, s.coll.Programs["on_audit"], points, s.together)
	if err != nil {
		_ = s.drop(numbers) // what failed is said
		return nil, "", err
	}
	return append(links, numbered{s, numbers}), detail, nil
}

// apart is how far a type lies from a probe, wherever both are loaded.
func apart(symbols map[string]uprobe.Symbol, name string, from uint64) int64 {
	sym, ok := symbols[name]
	if !ok {
		return math.MinInt64 // nothing lies there
	}
	return int64(sym.Address - from)
}

// minor returns the version of an interpreter, 3 being understood; 0 where it does not tell.
func minor(f *uprobe.File, symbols map[string]uprobe.Symbol) int {
	if sym, ok := symbols["Py_Version"]; ok { // from 3.11 on
		if v, ok := f.Image.Word(sym.Address); ok && v>>24 == 3 {
			return int(v >> 16 & 0xff)
		}
		return 0
	}
	if m := minorOf.FindStringSubmatch(f.Path); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// textOf returns where the content of a str begins, which is the size of PyASCIIObject; 0 for
// versions that are not known.
func textOf(minor int) uint32 {
	switch {
	case minor >= 8 && minor <= 11:
		return 48
	case minor == 12 || minor == 13:
		return 40
	}
	return 0
}

// numbered is the places of a file, which end with its probes.
type numbered struct {
	s       *Sensor
	numbers []uint32
}

func (n numbered) Close() error { return n.s.drop(n.numbers) }

// keep gives places numbers, under which the program finds them.
func (s *Sensor) keep(places []pythonPlace) (out []uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := uint32(1); i < maxPlaces && len(out) < len(places); i++ {
		if s.used[i] {
			continue
		}
		if err := s.coll.Maps["places"].Put(i, places[len(out)]); err != nil {
			s.release(out)
			return nil, fmt.Errorf("keep the place of a probe: %w", err)
		}
		s.used[i] = true
		out = append(out, i)
	}
	if len(out) < len(places) {
		s.release(out)
		return nil, fmt.Errorf("probes are in %d places, which is all that are kept", maxPlaces)
	}
	return out, nil
}

func (s *Sensor) drop(numbers []uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(numbers)
	return nil
}

// release gives numbers up. The caller holds mu.
func (s *Sensor) release(numbers []uint32) {
	for _, n := range numbers {
		delete(s.used, n)
	}
}
