package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"picket/event"
)

// Programs that nobody comes for do nothing any more; the next sensor wakes them and says so.
func TestGoesQuiet(t *testing.T) {
	dir := bpfDir(t)
	p := startSensor(t, dir)
	stop := load(t, time.Millisecond)
	p.await(t, "saw ")
	p.kill(t)
	maps := kept(t, dir)
	var s typedSettings
	lookup(t, maps["current"], &s)
	if left := time.Duration(s.Lease - monotonicNow()); left <= 0 || left > lease {
		t.Errorf("it goes on for %v, want %v at most", left, lease)
	}
	if got := quiet(filepath.Dir(dir)); slices.Contains(got, dir) {
		t.Error("it counts as quiet already")
	}
	s.Lease = monotonicNow() // as if the minutes had passed
	if err := maps["current"].Put(uint32(0), &s); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second * slow()); s.Duty != 0xff; lookup(t, maps["current"], &s) {
		if time.Now().After(end) {
			t.Fatal("it did not go quiet")
		}
	}
	ring := func() uint64 { return sum(t, maps["sent"]) + sum(t, maps["dropped"]) }
	time.Sleep(20 * time.Millisecond) // for who was on the way
	before := ring()
	time.Sleep(20 * time.Millisecond)
	if after := ring(); after != before {
		t.Errorf("%d records were made by quiet programs", after-before)
	}
	if got := quiet(filepath.Dir(dir)); !slices.Contains(got, dir) {
		t.Errorf("quiet are %v, want %s among them", got, dir)
	}
	p = startSensor(t, dir)
	if line := p.await(t, "taken "); strings.Contains(line, "Quiet:0001-") {
		t.Errorf("it says %q", line)
	}
	p.await(t, "saw ")
	stop()
	p.finish(t)
}

// Maps of another layout are not read: what waits in them is counted, and they go.
func TestAnotherLayout(t *testing.T) {
	dir := bpfDir(t)
	p := startSensor(t, dir)
	stop := load(t, time.Millisecond)
	p.await(t, "saw ")
	p.kill(t)
	time.Sleep(20 * time.Millisecond) // what is made now waits
	stop()
	layouts, err := filepath.Glob(filepath.Join(dir, "layout-*"))
	if err != nil || len(layouts) != 1 {
		t.Fatal(layouts, err)
	}
	other := filepath.Join(dir, "layout-of-another")
	if err := os.Rename(layouts[0], other); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Demand: only(event.FileCreate), Pins: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if taken := s.Taken(); !taken.Over || taken.Lost == 0 || taken.Waiting != 0 {
		t.Errorf("it says %+v", taken)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("the other layout is there still: %v", err)
	}
}

// kept opens the maps that a killed sensor left.
func kept(t *testing.T, dir string) map[string]*ebpf.Map {
	t.Helper()
	maps := map[string]*ebpf.Map{}
	for _, name := range []string{"current", "sent", "dropped"} {
		found, err := filepath.Glob(filepath.Join(dir, "layout-*", name))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		m, err := ebpf.LoadPinnedMap(found[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		maps[name] = m
	}
	return maps
}

func lookup(t *testing.T, m *ebpf.Map, s *typedSettings) {
	t.Helper()
	if err := m.Lookup(uint32(0), s); err != nil {
		t.Fatal(err)
	}
}

// sum adds up what is counted for all kinds.
func sum(t *testing.T, m *ebpf.Map) (n uint64) {
	t.Helper()
	for k := range m.MaxEntries() {
		var cpus []uint64
		if err := m.Lookup(k, &cpus); err != nil {
			t.Fatal(err)
		}
		for _, c := range cpus {
			n += c
		}
	}
	return n
}
