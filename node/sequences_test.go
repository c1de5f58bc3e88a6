package node

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"picket/detect"
	"picket/event"
)

const testSequence = `title: A Shell
name: a_shell
id: 11111111-1111-4111-8111-111111111111
logsource: {product: linux, category: process_creation}
detection:
    sel: {Image|endswith: /sh}
    condition: sel
level: high
---
title: Two Shells
id: 21111111-1111-4111-8111-111111111111
level: high
correlation:
    type: event_count
    rules: [a_shell]
    group-by: [host]
    timespan: 1h
    condition: {gte: 2}
`

// Half-seen sequences are kept at the first change and then every ten seconds, and by an agent that
// ends; one that starts goes on from there.
func TestSequencesAreKeptNowAndThen(t *testing.T) {
	dir := t.TempDir()
	writeRule(t, filepath.Join(dir, "two.yml"), testSequence)
	a := ruleAgent(t, dir)
	if err := os.MkdirAll(a.cfg.dir("agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	shell := func(engine *detect.Engine, second int) (titles []string) {
		at := began.Add(time.Duration(second) * time.Second)
		for _, f := range engine.Process(&event.Event{Kind: event.ProcessStart, Time: at, Host: fmt.Sprint("h", second/100), Process: &event.Process{Exe: "/bin/sh", PID: uint32(second + 1)}}) {
			titles = append(titles, f.Rule.Title)
		}
		return titles
	}
	kept := func() bool {
		err := os.Remove(a.sequencesFile())
		return err == nil
	}
	for _, c := range []struct {
		second int
		shell  bool
		want   bool
	}{
		{0, false, false}, // nothing to keep
		{1, true, true},
		{2, true, false}, // too soon
		{10, true, false},
		{11, false, true},  // what changed meanwhile
		{30, false, false}, // nothing changed
		{31, true, true},   // after a quiet time at once
		{20, true, true},   // a clock that was set back keeps nothing from being kept
		{21, false, false},
	} {
		if c.shell {
			shell(a.engine, c.second)
		}
		a.saveSequences(began.Add(time.Duration(c.second) * time.Second))
		if got := kept(); got != c.want {
			t.Errorf("second %d: kept %t, want %t", c.second, got, c.want)
		}
	}
	shell(a.engine, 100)
	a.saveSequences(began.Add(22 * time.Second))
	if kept() {
		t.Error("it is kept too soon")
	}
	if !a.keepSequences() {
		t.Error("an agent that ends keeps nothing")
	}
	next := &agent{cfg: a.cfg, log: slog.New(slog.DiscardHandler)}
	read := readRules(a.cfg)
	var err error
	if next.engine, err = detect.New(detect.Options{Threats: read.threats}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(a.sequencesFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.engine.Restore(b); err != nil {
		t.Fatal(err)
	}
	if got := shell(next.engine, 101); len(got) != 1 || got[0] != "Two Shells" {
		t.Errorf("the next agent finds %q", got)
	}
}
