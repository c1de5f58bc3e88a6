package event

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Event {
	server := &Process{
		UID: "u1", PID: 10, StartBoot: 5, Exe: "/usr/local/bin/llama-server", Cmdline: "llama-server -m /models/x", LoginUID: ^uint32(0),
		Workload: &Workload{ID: "w1", Kind: Inference, Engine: "llama.cpp", Name: "x", Root: Key{10, 5}},
	}
	p := &Process{
		UID: "u2", PID: 11, TID: 11, PPID: 10, StartBoot: 6, PStart: 5, Comm: "cat", Exe: "/usr/bin/busybox", Invoked: "/bin/cat",
		Args: []string{"cat", "/models/x/model.safetensors"}, Cmdline: "cat /models/x/model.safetensors", User: "root", Parent: server, Workload: server.Workload, LoginUID: ^uint32(0),
		Container: &Container{ID: "c1", Runtime: "runc"},
	}
	server.Seal()
	p.Seal()
	return &Event{
		Kind: FileRead, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Host: "h", Process: p,
		File: File{Path: "/models/x/model.safetensors", Ino: 7, Dev: 8, Size: 9, Model: &Model{Path: "/models/x", Name: "x", Format: "safetensors", Workload: "w1"}},
	}
}

func TestRecordSurvivesARoundTrip(t *testing.T) {
	e := sample()
	line := e.AppendRecord(nil)
	back, err := ParseRecord(line)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Fields() {
		if f.Name == "process.uid" || f.Name == "process.parent.uid" || strings.HasPrefix(f.Name, "sigma.") {
			continue
		}
		if got, want := back.Value(f.Field).String(), e.Value(f.Field).String(); got != want {
			t.Errorf("%s = %q after a round trip, want %q", f.Name, got, want)
		}
	}
	if !back.Time.Equal(e.Time) {
		t.Errorf("time %v, want %v", back.Time, e.Time)
	}
}

func TestIDDependsOnContentAlone(t *testing.T) {
	a, b := sample(), sample()
	if a.ID() != b.ID() {
		t.Error("the same event has two ids")
	}
	b.File.Path += "x"
	if a.ID() == b.ID() {
		t.Error("two events have one id")
	}
	if HashID("ab", "c") == HashID("a", "bc") {
		t.Error("parts of an id run into each other")
	}
}

func TestStranger(t *testing.T) {
	e := sample()
	if !e.Stranger() {
		t.Error("a program that the server spawned is a stranger to its weights")
	}
	e.Process = e.Process.Parent
	if e.Stranger() {
		t.Error("the server itself is no stranger")
	}
	worker := *e.Process
	worker.PID, worker.StartBoot, worker.Parent = 12, 9, e.Process
	e.Process = &worker
	if e.Stranger() {
		t.Error("a worker from the server's own executable is no stranger")
	}
	e.Process = &Process{PID: 99, Exe: "/bin/tar"}
	if !e.Stranger() {
		t.Error("a process outside the workload is a stranger")
	}
}

func TestConnectionEndsByDirection(t *testing.T) {
	local, remote := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("192.0.2.1:80")
	value := func(k Kind, name string) string {
		e := &Event{Kind: k, Net: Net{Local: local, Remote: remote, Initiated: k == NetConnect}}
		f, _ := Lookup(name)
		return e.Value(f.Field).String()
	}
	got := []string{
		value(NetConnect, "DestinationIp"), value(NetConnect, "DestinationPort"), value(NetConnect, "SourceIp"), value(NetConnect, "Initiated"),
		value(NetAccept, "DestinationPort"), value(NetAccept, "SourceIp"), value(NetAccept, "Initiated"),
	}
	want := []string{"192.0.2.1", "80", "10.0.0.1", "true", "1000", "192.0.2.1", "false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestImageMatchesEitherPath(t *testing.T) {
	e := sample()
	f, _ := Lookup("Image")
	if d := cmp.Diff([]string{"/usr/bin/busybox", "/bin/cat"}, e.Value(f.Field).List); d != "" {
		t.Error(d)
	}
}

func TestReadingAFieldAllocatesNothing(t *testing.T) {
	e := sample()
	var ids []Field
	for _, f := range Fields() {
		switch f.Name {
		case "process.start", "net.remote.ip", "net.local.ip", "sigma.SourceIp", "sigma.DestinationIp":
			continue // formatted from their binary form
		}
		ids = append(ids, f.Field)
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range ids {
			_ = e.Value(f)
		}
	}); n != 0 {
		t.Errorf("reading all fields allocates %v times", n)
	}
}

func TestHostileTextStaysInsideItsString(t *testing.T) {
	e := sample()
	e.Process.Cmdline = "sh -c \"\x1b[2J\nrm\x00\" <script>alert(1)</script> \xff\xfe \u2028" + strings.Repeat("A", 20_000)
	line := e.AppendRecord(nil)
	if strings.ContainsAny(string(line), "\n\x1b<>\x00\u2028") {
		t.Error("the record holds raw control or markup characters")
	}
	var row map[string]string
	if err := json.Unmarshal(line, &row); err != nil {
		t.Fatal(err)
	}
	if got := row["process.cmdline"]; !strings.Contains(got, "<script>") || len(got) < 20_000 {
		t.Errorf("the argument list was not kept whole: %d bytes", len(got))
	}
}

func TestBadRecordsSayWhichField(t *testing.T) {
	for line, want := range map[string]string{
		`{`:                           "not a JSON object",
		`{"process.pid":"x"}`:         "field process.pid",
		`{"event.kind":"file.eaten"}`: "file.eaten",
		`{"net.remote.ip":"host"}`:    "not an IP address",
		`{"Image":["a"]}`:             "field Image",
	} {
		if _, err := ParseRecord([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", line, err, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(sample().AppendRecord(nil))
	f.Add([]byte(`{"Image":"/bin/sh","ai.model.stranger":true,"DestinationPort":99999}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseRecord(line)
		if err != nil {
			return
		}
		if out := e.AppendRecord(nil); !json.Valid(out) {
			t.Errorf("%s became invalid JSON %s", line, out)
		}
	})
}
