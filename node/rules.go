package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picket/detect"
	"picket/event"
	"picket/sigma"
	"picket/threats"
)

// ruleState is what the agent knows of the rules it loaded.
type ruleState struct {
	overview detect.Overview
	mistakes map[string]bool
	errors   []string // the first of what is wrong
	seen     string   // fingerprint of the files
}

// maxRuleErrors bounds what a log and a heartbeat say of a rule set that is wrong in many places.
const maxRuleErrors = 50

// openDetect loads the rules and what the last agent had half seen.
func (a *agent) openDetect() error {
	read := readRules(a.cfg) // what is in order is loaded; the rest is said
	var err error
	a.engine, err = detect.New(detect.Options{
		Log: a.log.With("component", "detect"), Registerer: a.reg, Host: a.cfg.Host, Threats: read.threats, Exceptions: read.except, Noisy: a.cfg.Detect.Noisy,
	})
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	a.takeRules(read)
	b, err := os.ReadFile(a.sequencesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = a.engine.Restore(b)
	}
	if err != nil {
		a.log.Warn("half-seen sequences of the last run are lost", "error", err)
	}
	return nil
}

// ruleSet is what one reading of the rule files gave.
type ruleSet struct {
	threats []detect.Threat
	except  []*detect.Exception
	err     error // what is wrong with rules, then with exceptions
	seen    string
}

// readRules reads the built-in threats, those of the host and its rule directories. What is broken
// is left out and does not stop the others.
func readRules(cfg *Config) ruleSet {
	seen := fingerprint(cfg) // before the files: a change on the way is seen again
	loaded, err := LoadThreats(cfg, ThreatRoots(cfg, threats.FS)...)
	except, faults := detect.LoadExceptions(cfg.Detect.Exceptions...)
	faults = errors.Join(faults, detect.CheckExceptions(except, loaded))
	return ruleSet{loaded, except, joined(err, faults), seen}
}

// joined returns all parts of errors as one.
func joined(errs ...error) error {
	var parts []error
	for _, err := range errs {
		for _, e := range Unjoin(err) {
			parts = append(parts, Unjoin(e)...)
		}
	}
	return errors.Join(parts...)
}

// takeRules says what became of the rules that the engine now has.
func (a *agent) takeRules(read ruleSet) {
	a.rules = ruleState{overview: detect.OverviewOf(read.threats, read.err), mistakes: mistakes(read.err), seen: read.seen}
	a.rules.errors = a.said(read.err)
	o := a.rules.overview
	a.log.Info("rules loaded", "rules", o.Loaded, "alerting", o.Alerting, "building blocks", o.Blocks,
		"inactive", o.Resting(), "warnings", o.Warnings, "wrong", o.Wrong, "exceptions", len(read.except), "places", a.engine.Places().String(), "why inactive", strings.Join(o.Lines(8), "; "))
}

// said logs what is wrong, and returns the first of it for the heartbeat.
func (a *agent) said(err error) []string {
	var out []string
	list := Unjoin(err)
	for i, e := range list {
		if i == maxRuleErrors {
			out = append(out, fmt.Sprintf("and %d more: picket rule list names them", len(list)-i))
			a.log.Error("more rules have mistakes", "mistakes", len(list)-i)
			break
		}
		a.log.Error("a rule has a mistake", "error", e)
		out = append(out, e.Error())
	}
	return out
}

// mistakes returns what is wrong, by file and text: a line more above does not make it another.
func mistakes(err error) map[string]bool {
	out := map[string]bool{}
	for _, e := range Unjoin(err) {
		text := e.Error()
		if at, ok := errors.AsType[*sigma.Error](e); ok {
			text = at.File + ": " + at.Msg
		}
		out[text] = true
	}
	return out
}

// reloading reads the rules whenever ask says so, compiles them and swaps them in. It holds nothing
// that an event waits for but for the swap itself, which happens between two events.
func (a *agent) reloading(ctx context.Context, known map[string]bool, ask <-chan struct{}, done chan<- reloaded) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask:
		}
		r := reloaded{ruleSet: readRules(a.cfg)}
		if r.fresh = fresh(r.err, known); len(r.fresh) == 0 {
			if r.refused = a.engine.Reload(r.threats, r.except...); r.refused == nil {
				known = mistakes(r.err)
			}
		}
		select {
		case done <- r:
		case <-ctx.Done():
			return
		}
	}
}

// reloaded is what became of a reload.
type reloaded struct {
	ruleSet
	fresh   []error // mistakes that the running set does not have: it stays
	refused error
}

// fresh returns the mistakes that are not known. A rule that was wrong from the start does not keep
// the others from being renewed.
func fresh(err error, known map[string]bool) []error {
	var out []error
	for _, e := range Unjoin(err) {
		for text := range mistakes(e) {
			if !known[text] {
				out = append(out, e)
			}
		}
	}
	return out
}

// finishReload says what became of a reload.
func (a *agent) finishReload(r reloaded) {
	bad := r.fresh
	if r.refused != nil {
		bad = append(bad, r.refused)
	}
	if len(bad) == 0 {
		a.takeRules(r.ruleSet)
		a.followDemand()
		return
	}
	a.log.Error("rules were not reloaded: the last good ones stay", "mistakes", len(bad))
	a.rules.errors = append([]string{"rules were not reloaded: the last good ones stay in use until this is mended"}, a.said(errors.Join(bad...))...)
	a.rules.seen = r.seen
}

// followDemand makes the sensor report what the new rules need. Where it cannot, they are in use all
// the same, and what they do not see is said.
func (a *agent) followDemand() {
	if a.sensor == nil {
		return
	}
	d := a.demand()
	if d.Equal(a.asked) {
		return
	}
	if err := a.sensor.Follow(d); err != nil {
		a.log.Error("the sensor does not follow the new rules: start the agent again", "error", err)
		a.rules.errors = append(a.rules.errors, "the sensor does not report what the new rules need until the agent is started again: "+err.Error())
		return
	}
	a.asked = d
	a.log.Info("the sensor follows the new rules", "places", a.engine.Places().String())
}

// tellNotices says in the log, and as an event of the sensor's health, which rules are throttled and
// which exceptions have expired.
func (a *agent) tellNotices(now time.Time) {
	for _, text := range a.engine.Notices() {
		a.log.Warn("rules", "notice", text)
		a.send(&event.Event{Kind: event.SensorHealth, Time: now, Host: a.cfg.Host, Message: text})
	}
}

// LoadThreats reads the threats of roots, with the values that the configuration gives placeholders.
// What is in order is returned even where the error is not nil.
func LoadThreats(cfg *Config, roots ...fs.FS) ([]detect.Threat, error) {
	values, wrong := Placeholders(cfg)
	loaded, err := detect.LoadThreats(detect.WithPlaceholders(values, roots...)...)
	return loaded, joined(wrong, err)
}

// Placeholders returns the values that the configuration gives placeholders. What is in order is
// returned even where the error is not nil.
func Placeholders(cfg *Config) (map[string][]string, error) {
	given := map[string][]string{}
	for name, values := range cfg.Detect.Placeholders {
		given[name] = values
	}
	return detect.LoadPlaceholders(given)
}

// valueFiles are the files that placeholders take values from.
func valueFiles(cfg *Config) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Detect.Placeholders)) {
		for _, v := range cfg.Detect.Placeholders[name] {
			if file, ok := detect.ValuesFile(v); ok {
				out = append(out, file)
			}
		}
	}
	return out
}

// ThreatRoots returns the built-in threats, the host's directories of threats that exist, and its
// directories of plain rules.
func ThreatRoots(cfg *Config, builtin fs.FS) []fs.FS {
	roots := []fs.FS{builtin}
	for _, dir := range cfg.Detect.Threats {
		if _, err := os.Stat(dir); err == nil {
			roots = append(roots, detect.Dir(dir))
		}
	}
	for _, dir := range cfg.Detect.Rules {
		roots = append(roots, detect.Collection(dir))
	}
	return roots
}

// ruleDirs are the directories, and files of values, that rules are read from, wherever links lead.
func ruleDirs(cfg *Config) []string {
	var out []string
	for _, dir := range slices.Concat(cfg.Detect.Threats, cfg.Detect.Rules, cfg.Detect.Exceptions, valueFiles(cfg)) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		out = append(out, dir)
	}
	return out
}

// fingerprint changes when a rule file does.
func fingerprint(cfg *Config) string {
	var parts []string
	for _, dir := range ruleDirs(cfg) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // a missing directory holds nothing
			if err != nil || d.IsDir() {
				return skipHidden(path, dir, d)
			}
			if i, err := os.Stat(path); err == nil { // of what a link leads to
				parts = append(parts, path, i.ModTime().String(), fmt.Sprint(i.Size()))
			}
			return nil
		})
	}
	return event.HashID(parts...)
}

// skipHidden passes over directories such as .git, in which no rules are.
func skipHidden(path, root string, d fs.DirEntry) error {
	if d != nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
		return fs.SkipDir
	}
	return nil
}
