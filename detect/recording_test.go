package detect

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/event"
	"picket/sigma"
)

func TestReadRecording(t *testing.T) {
	const good = `{"event.kind":"process.start","process.exe":"/bin/sh"}`
	for name, c := range map[string]struct {
		text   string
		events int
		faults []string
	}{
		"records, remarks and empty lines": {"# hit: x\n" + good + "\n\n" + good, 2, nil},
		"nothing":                          {"", 0, nil},
		"not JSON":                         {good + "\nx\n" + good, 2, []string{"r.jsonl:2:1: not a JSON object"}},
		"no kind":                          {"{}", 0, []string{"r.jsonl:1:1: has no event.kind"}},
		"a line too long":                  {good + "\n" + `{"x":"` + strings.Repeat("a", maxLine) + `"}` + "\n" + good, 2, []string{"r.jsonl:2:4194305: the line is longer than 4 MiB"}},
		"all wrong":                        {strings.Repeat("x\n", 1000), 0, make([]string, maxRecordFaults)},
	} {
		events, err := ReadRecording("r.jsonl", strings.NewReader(c.text))
		faults, _ := errors.AsType[sigma.Errors](err)
		if len(events) != c.events || len(faults) != len(c.faults) || (err == nil) != (len(c.faults) == 0) {
			t.Errorf("%s: %d events, %v", name, len(events), err)
			continue
		}
		for i, want := range c.faults {
			if !strings.HasPrefix(faults[i].Error(), want) {
				t.Errorf("%s: %v, want %s", name, faults[i], want)
			}
		}
	}
}

// What picket replay reads, picket rule bench reads: also a file that is compressed.
func TestReadRecordingOfGzip(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	for i := range 5000 {
		fmt.Fprintf(w, `{"event.kind":"process.start","process.exe":"/bin/sh","process.pid":%d}`+"\n", i)
	}
	w.Close()
	events, err := ReadRecording("r.gz", bytes.NewReader(zipped.Bytes()))
	if err != nil || len(events) != 5000 {
		t.Errorf("%d events, %v", len(events), err)
	}
	events, err = ReadRecording("r.gz", bytes.NewReader(zipped.Bytes()[:zipped.Len()/2]))
	if err == nil || !strings.Contains(err.Error(), "the recording ends early") || len(events) == 0 {
		t.Errorf("of half a file: %d events, %v", len(events), err)
	}
}

func FuzzReadRecording(f *testing.F) {
	f.Add(`{"event.kind":"process.start","process.exe":"/bin/sh"}` + "\n# x\n{")
	f.Add(`{"event.kind":"net.send","net.remote.ip":"::1","net.bytes_out":1e99}`)
	e := engine(f, Options{})
	f.Fuzz(func(t *testing.T, text string) {
		events, err := ReadRecording("f", strings.NewReader(text))
		for _, ev := range events {
			if ev.Kind == event.KindNone || ev.Process == nil {
				t.Errorf("an event without kind or process: %+v", ev)
			}
			e.Process(ev)
		}
		if strings.HasPrefix(text, "\x1f\x8b") {
			return // compressed: it may end early
		}
		if faults, ok := errors.AsType[sigma.Errors](err); err != nil && (!ok || len(faults) > maxRecordFaults+1) {
			t.Errorf("%v", err)
		}
	})
}

// With a clock that goes on by a second at each look, every pass takes as long as any other.
func TestMeasureCountsAndOrders(t *testing.T) {
	var now time.Duration
	m := Meter{Clock: func() time.Duration { now += time.Second; return now }}
	threats := shipped(t)
	each, all := m.Measure(threats, SampleEvents(threats))
	if all.Events != len(SampleEvents(threats)) || all.Hits == 0 {
		t.Errorf("%+v", all)
	}
	if len(each) == 0 {
		t.Fatal("no rule was measured")
	}
	for i, c := range each {
		if c.Hits == 0 || c.Hits > c.Evaluated || c.Evaluated > c.Events {
			t.Errorf("hits, evaluations and events do not fit: %+v", c)
		}
		if i > 0 && c.total() > each[i-1].total() {
			t.Errorf("%s is dearer than %s before it", c.Rule, each[i-1].Rule)
		}
	}
}
