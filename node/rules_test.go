package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/detect"
	"picket/event"
)

const testRule = `title: A Shell
id: 11111111-1111-4111-8111-111111111111
logsource: {product: linux, category: process_creation}
detection:
    sel: {Image|endswith: /sh}
    condition: sel
level: high
`

// ruleAgent is an agent with rules and without a sensor.
func ruleAgent(t *testing.T, dirs ...string) *agent {
	t.Helper()
	cfg := Default()
	cfg.Data, cfg.Detect.Threats, cfg.Detect.Rules = t.TempDir(), nil, dirs
	a := &agent{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	read := readRules(cfg)
	var err error
	if a.engine, err = detect.New(detect.Options{Threats: read.threats}); err != nil {
		t.Fatal(err)
	}
	a.takeRules(read)
	return a
}

func writeRule(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload reads the rules once, as the running agent does.
func (a *agent) reloadOnce(t *testing.T) reloaded {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ask, done := make(chan struct{}, 1), make(chan reloaded)
	go a.reloading(ctx, a.rules.mistakes, ask, done)
	ask <- struct{}{}
	r := <-done
	a.finishReload(r)
	return r
}

// fires reports whether a shell that starts is found by the user's rule.
func fires(a *agent) bool {
	ev := &event.Event{Kind: event.ProcessStart, Time: time.Unix(1, 0), Host: "h", Process: &event.Process{Exe: "/bin/sh", PID: uint32(time.Now().UnixNano())}}
	for _, f := range a.engine.Process(ev) {
		if f.Rule.Title == "A Shell" {
			return true
		}
	}
	return false
}

func TestReloadKeepsTheLastGoodSet(t *testing.T) {
	dir := t.TempDir()
	writeRule(t, filepath.Join(dir, "old.yml"), "title: wrong\ndetection: {}\n")
	a := ruleAgent(t, dir)
	if fires(a) || len(a.rules.errors) == 0 {
		t.Fatal("no rule is there, and one is wrong")
	}

	one := filepath.Join(dir, "deep", "one.yml")
	writeRule(t, one, testRule)
	a.reloadOnce(t)
	if !fires(a) {
		t.Error("what is wrong from the start kept another rule from being loaded")
	}
	if a.rules.overview.Wrong == 0 {
		t.Error("and is not said any more")
	}

	writeRule(t, one, strings.Replace(testRule, "endswith", "ends", 1))
	a.reloadOnce(t)
	if !fires(a) {
		t.Error("a mistake cost the rule that was loaded")
	}
	if said := strings.Join(a.rules.errors, "\n"); !strings.Contains(said, "last good ones stay") || !strings.Contains(said, one+":5:") {
		t.Errorf("the heartbeat says %q", said)
	}

	writeRule(t, one, testRule)
	a.reloadOnce(t)
	if said := strings.Join(a.rules.errors, "\n"); strings.Contains(said, one) || !fires(a) {
		t.Errorf("after it was mended: %q", said)
	}

	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	a.reloadOnce(t)
	if fires(a) {
		t.Error("a rule that is gone still fires")
	}
}

func TestRuleFilesAreWatched(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "later", "rules") // not there yet
	a := ruleAgent(t, dir)
	changed := watchRules(t.Context(), a.cfg, a.log)
	if changed == nil {
		t.Skip("this host gives no inotify watches")
	}
	ask := make(chan struct{}, 1)
	wait := func(what string) {
		t.Helper()
		for {
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				t.Fatalf("nobody noticed: %s", what)
			}
			a.askIfChanged(ask)
			select {
			case <-ask:
				return
			default: // a directory that holds nothing yet
			}
		}
	}
	writeRule(t, filepath.Join(dir, "one.yml"), testRule)
	wait("the directory came to be")
	writeRule(t, filepath.Join(dir, "one.yml"), testRule+"\n")
	wait("a file was written")
	writeRule(t, filepath.Join(dir, "a", "b", "two.yml"), testRule)
	wait("a file in a new directory")
	time.Sleep(2 * settle) // the new directories are watched by now
	writeRule(t, filepath.Join(dir, "a", "b", "two.yml"), testRule+"\n")
	wait("a file in what was a new directory")
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	wait("a directory is gone")
}

func TestConcerns(t *testing.T) {
	roots := []string{"/etc/picket/rules"}
	for name, want := range map[string]bool{
		"/etc/picket": true, "/etc/picket/rules": true, "/etc/picket/rules/a/b.yml": true, "/etc/passwd": false, "/etc/picket/rules2": false, "/etc": true,
	} {
		if concerns(name, roots) != want {
			t.Errorf("concerns(%s) = %t", name, !want)
		}
	}
}

// The file of a placeholder's values is read again with the rules, and a change to it is seen.
func TestReloadOfPlaceholderValues(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "deep", "admins")
	writeRule(t, filepath.Join(dir, "one.yml"), strings.Replace(testRule, "Image|endswith: /sh", "Image|expand: '%shells%'", 1))
	a := ruleAgent(t, dir)
	a.cfg.Detect.Placeholders = map[string]Values{"shells": {"@" + file}}
	a.reloadOnce(t)
	if fires(a) || len(a.rules.errors) == 0 || !strings.Contains(strings.Join(a.rules.errors, " "), "admins:1:1: values of a placeholder cannot be read") {
		t.Fatalf("without its file: %q", a.rules.errors)
	}
	changed := watchRules(t.Context(), a.cfg, a.log)
	if changed == nil {
		t.Skip("this kernel gives no watches")
	}
	seen := fingerprint(a.cfg)
	writeRule(t, file, "*/sh\n")
	if fingerprint(a.cfg) == seen {
		t.Error("the file does not count as one of the rules'")
	}
	<-changed
	if a.reloadOnce(t); !fires(a) {
		t.Errorf("with its file: %q", a.rules.errors)
	}
	writeRule(t, file, "/bin/nosh\n")
	<-changed
	if a.reloadOnce(t); fires(a) {
		t.Error("the old values are in use")
	}
}
