package kernel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"picket/event"
)

// What somebody does to the sensor from outside is said, and mended: afterwards it sees as before.
func TestCheck(t *testing.T) {
	dir := bpfDir(t)
	s, err := Open(Options{Demand: only(event.ProcessStart, event.NetConnect, event.FileCreate), Pins: dir, SelfPID: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if found := s.Check(); len(found) > 0 {
		t.Fatalf("of a sensor that nobody touched it says %q", found)
	}
	own := s.pins.own()
	foreign := func(name string) *ebpf.Map { // as another program gets at it
		info, err := s.maps[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	for name, c := range map[string]struct {
		do   func() error
		says string
	}{
		"link detached": {func() error {
			l, err := link.LoadPinnedLink(filepath.Join(own, "on_connect4"), nil)
			if err != nil {
				return err
			}
			defer l.Close()
			return l.Detach()
		}, "the link of on_connect4 was detached; it is mended"},
		"pin removed":      {func() error { return os.Remove(filepath.Join(own, "on_exec")) }, "the pin of on_exec was taken away; it is mended"},
		"map's pin":        {func() error { return os.Remove(filepath.Join(s.pins.layout, "dropped")) }, "the pin of map dropped was taken away; it is mended"},
		"all pins":         {func() error { return os.RemoveAll(dir) }, "the pin of map volume was taken away; it is mended"},
		"handler removed":  {func() error { return foreign("handlers").Delete(uint32(handleOpen)) }, "table handlers was changed in 1 places; it is mended"},
		"calls not routed": {func() error { return foreign("routes").Put(calls[0].number, uint32(0)) }, "table routes was changed in 1 places; it is mended"},
		"settings": {func() error {
			blind := typedSettings{Self: uint32(os.Getpid())}
			if err := foreign("current").Put(uint32(0), &blind); err != nil {
				return err
			}
			return s.Look() // as each second
		}, "the sensor's settings were changed; they are mended"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			if found := strings.Join(s.Check(), "\n"); !strings.Contains(found, c.says) {
				t.Errorf("it says %q, want %q", found, c.says)
			}
			if found := s.Check(); len(found) > 0 {
				t.Errorf("once it was mended it says %q", found)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(own, "on_connect4")); err != nil {
		t.Error(err)
	}
	seesFile(t, s)
}

// seesFile makes a file and reads until the sensor told of it.
func seesFile(t *testing.T, s *Sensor) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	name, seen := filepath.Join(realTempDir(t), "seen"), false
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cancel() // what waits is told of all the same
	if err := s.Run(ctx, func(e *event.Event) { seen = seen || e.File.Path == name }); err != nil {
		t.Fatal(err)
	}
	if !seen {
		t.Error("what it saw before it does not see any more")
	}
}

// A program that gets hold of Picket's maps, programs and links is told of, and that they are Picket's.
func TestForeignHands(t *testing.T) {
	r := newRecording(t, only(event.HostBPF, event.NetConnect))
	info, err := r.maps["current"].Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e := r.byCall(t, event.HostBPF, os.Getpid(), "bpf", func(e *event.Event) bool { return e.Call.Request == "BPF_MAP_GET_FD_BY_ID" })
	expect(t, e, map[string]string{"call.object": object{"map", uint32(id)}.String() + " of Picket"}, "event.errno")

	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if foreign := (own{}); foreign.has(object{"map", 1 << 30}) {
		t.Error("a map that there is not is Picket's")
	}
	at, err := r.programs[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := at.ID()
	p, err := ebpf.NewProgramFromID(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e = r.byCall(t, event.HostBPF, os.Getpid(), "bpf", func(e *event.Event) bool { return e.Call.Request == "BPF_PROG_GET_FD_BY_ID" })
	expect(t, e, map[string]string{"call.object": object{"program", uint32(pid)}.String() + " of Picket"}, "event.errno")
	for i, l := range r.links {
		if r.linked[i].name != "on_connect4" {
			continue
		}
		if err := l.Detach(); err != nil {
			t.Fatal(err)
		}
		e = r.byCall(t, event.HostBPF, os.Getpid(), "bpf", func(e *event.Event) bool { return e.Call.Request == "BPF_LINK_DETACH" })
		if got := e.Call.Object; !strings.HasPrefix(got, "link ") || !strings.HasSuffix(got, " of Picket") {
			t.Errorf("it says %q", got)
		}
	}
}

// Looking costs what it costs each ten seconds: go test ./sensor/kernel -run '^$' -bench Check.
func BenchmarkCheck(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root to load eBPF programs")
	}
	s, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for b.Loop() {
		if found := s.Check(); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
