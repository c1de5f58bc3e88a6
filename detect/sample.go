package detect

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/event"
	"picket/sigma"
)

// Sample is a group of example events of a rule, from the file <rule>.events beside it:
//
//	# hit: why the rule must fire
//	{"event.kind":"process.start","process.exe":"/bin/sh",…}
//	# miss: why it must not
//	{"event.kind":"process.start",…}
//
// Of a single-event rule, each event is tried by itself. Of a correlation, the events of a group
// happen one after another, a second apart unless they carry _time, and then nothing happens until
// all windows are closed.
type Sample struct {
	Rule   string // the file's name without its ending
	Hit    bool
	Why    string
	File   string
	Line   int // of the "# hit" or "# miss"
	Events []*event.Event
	Lines  []int // of the events
}

// sampleStart is when the first event of a sample happens that does not say so itself.
var sampleStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const sampleHost = "sample-host"

// samples reads an .events file.
func (l *loader) samples(t *Threat, file string, src []byte) {
	var open *Sample
	broken := false // an event of open could not be read
	finish := func() {
		if open == nil || open.Line == 0 {
			return
		}
		if len(open.Events) == 0 {
			if broken {
				return // said already
			}
			l.fault(file, open.Line, "has no event", "write JSON objects below it, one a line")
			return
		}
		t.Samples = append(t.Samples, *open)
	}
	n := 0
	for line := range bytes.Lines(src) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if comment, ok := bytes.CutPrefix(line, []byte("#")); ok {
			verdict, why, found := strings.Cut(strings.TrimSpace(string(comment)), ":")
			if !found || verdict != "hit" && verdict != "miss" {
				continue // a remark
			}
			finish()
			broken = false
			open = &Sample{Rule: fileName(file), Hit: verdict == "hit", Why: strings.TrimSpace(why), File: l.at(file), Line: n}
			if open.Why == "" {
				l.fault(file, n, "does not say why", "write # "+verdict+": and the reason")
			}
			continue
		}
		if open == nil {
			l.fault(file, n, "is an event that neither hits nor misses", "write \"# hit: why\" or \"# miss: why\" above it")
			open = &Sample{} // without a line: said once, and left out
		}
		e, wrong := ownEvent(l.at(file), n, line, len(open.Events))
		if wrong != nil {
			broken = true
			l.faults = append(l.faults, wrong)
			continue
		}
		open.Events, open.Lines = append(open.Events, e), append(open.Lines, n)
	}
	finish()
}

// sampleDefaults fills in what a hand-written event leaves out and a real one always has.
func sampleDefaults(e *event.Event, n int) {
	if e.Time.IsZero() {
		e.Time = sampleStart.Add(time.Duration(n) * time.Second)
	}
	if e.Host == "" {
		e.Host = sampleHost
	}
	if e.Process == nil {
		e.Process = &event.Process{}
	}
	for _, p := range []*event.Process{e.Process, e.Process.Parent} {
		if p != nil {
			identify(p, e.Host)
		}
	}
}

// Result is what came of one sample, or of one event of it.
type Result struct {
	Rule    string `json:"rule"`
	Hit     bool   `json:"hit"` // the sample is one that must fire
	Why     string `json:"why"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
}

// Test runs a threat's samples through an engine that has this threat only.
func Test(t Threat) []Result {
	var out []Result
	for _, s := range t.Samples {
		isSequence, known := t.has(s.Rule)
		r := Result{Rule: s.Rule, Hit: s.Hit, Why: s.Why, File: s.File, Line: s.Line}
		if !known {
			r.Problem = fmt.Sprintf("there is no rule %s.yml that loads", s.Rule)
			out = append(out, r)
			continue
		}
		if isSequence {
			out = append(out, r.judge(t, s.Events))
			continue
		}
		for i := range s.Events {
			one := r
			one.Line = s.Lines[i]
			out = append(out, one.judge(t, s.Events[i:i+1]))
		}
	}
	return out
}

func (t Threat) has(rule string) (isSequence, ok bool) {
	for _, r := range t.Rules {
		if ruleName(&r.Meta) == rule {
			return false, true
		}
	}
	for _, c := range t.Correlations {
		if ruleName(&c.Meta) == rule {
			return true, true
		}
	}
	return false, false
}

func (r Result) judge(t Threat, events []*event.Event) Result {
	t.Filters = slices.DeleteFunc(slices.Clone(t.Filters), func(f *sigma.Filter) bool {
		_, err := sigma.Options{Filters: []*sigma.Filter{f}, Placeholders: t.Placeholders}.Compile(t.Rules, Schema())
		return err != nil // it is about rules of other threats
	})
	engine, err := New(Options{Threats: []Threat{t}, MinLevel: event.Informational})
	if err != nil {
		r.Problem = "the threat does not load: " + err.Error()
		return r
	}
	var last time.Time
	for _, e := range events {
		engine.Process(e)
		if e.Time.After(last) {
			last = e.Time
		}
	}
	for _, c := range t.Correlations {
		last = last.Add(2*c.Timespan + time.Hour)
		engine.Advance(last)
	}
	fired := slices.ContainsFunc(engine.Rules(), func(info RuleInfo) bool { return info.Name == r.Rule && info.Hits > 0 })
	r.OK = fired == r.Hit
	switch {
	case r.OK:
	case r.Hit:
		r.Problem = "the rule does not fire"
	default:
		r.Problem = "the rule fires"
	}
	return r
}
