package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/event"
	"picket/sigma"
)

// Exception says on which events some rules are to be quiet. It stands in a file of its own, so
// that the rules stay as their authors wrote them:
//
//	title: The nightly backup reads all weights
//	except:
//	    rules: [weights_read_by_stranger]
//	    selection:
//	        process.exe: /usr/bin/restic
//	    condition: selection # where it is left out: all of the selections
//	reason: it is ours, and runs from 02:00 to 03:00
//	owner: storage team
//	expires: 2027-06-30
//
// A rule that is excepted on an event does not fire on it: it yields no finding and takes no
// sequence further. Of a sequence, the event that completes it counts.
type Exception struct {
	Title, Reason, Owner string
	Rules                []string  // names or ids
	Expires              time.Time // the end of the day named, UTC; zero for never
	File                 string
	Line                 int

	match *sigma.Rule
}

// expired reports whether the exception is over at a time.
func (x *Exception) expired(at time.Time) bool { return !x.Expires.IsZero() && !at.Before(x.Expires) }

// maxExceptions bounds the exceptions that are loaded: each is looked at when a rule fires.
const maxExceptions = 10_000

// LoadExceptions reads the .yml and .yaml files of directories, or single files. Names that are
// not there hold nothing. What is in order is returned even if other parts are not; the error is
// then a sigma.Errors.
func LoadExceptions(names ...string) ([]*Exception, error) {
	var list []*Exception
	var faults sigma.Errors
	for _, name := range names {
		root, prefix, only := os.DirFS(name), name, ""
		st, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			faults = append(faults, fault(name, 1, 1, "cannot be read: "+err.Error(), ""))
			continue
		case !st.IsDir():
			root, prefix, only = os.DirFS(path.Dir(name)), path.Dir(name), path.Base(name)
		}
		l := loader{root: root, prefix: prefix}
		entries, err := fs.ReadDir(root, ".")
		if err != nil {
			l.fault(".", 1, "cannot be read: "+err.Error(), "")
		}
		for _, d := range entries {
			ext := path.Ext(d.Name())
			if d.IsDir() || only != "" && d.Name() != only || only == "" && (ext != ".yml" && ext != ".yaml" || d.Name()[0] == '.') {
				continue
			}
			if src, ok := l.read(d.Name()); ok {
				list = append(list, l.exceptions(d.Name(), src)...)
			}
		}
		faults = append(faults, l.faults...)
	}
	if len(list) > maxExceptions {
		faults = append(faults, fault(list[maxExceptions].File, list[maxExceptions].Line, 1, fmt.Sprintf("there are more than %d exceptions", maxExceptions), "join them: a selection takes lists"))
		list = list[:maxExceptions]
	}
	if len(faults) > 0 {
		return list, faults
	}
	return list, nil
}

// exceptions reads the documents of one file.
func (l *loader) exceptions(file string, src []byte) []*Exception {
	var list []*Exception
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			l.fault(file, 1, "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "), "")
			return list
		}
		if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		before := len(l.faults)
		if x := l.exception(file, src, doc.Content[0]); len(l.faults) == before {
			list = append(list, x)
		}
	}
}

// exception reads one document. It is of use only if it noted no fault.
func (l *loader) exception(file string, src []byte, n *yaml.Node) *Exception {
	x := &Exception{File: l.at(file), Line: n.Line}
	bad := func(n *yaml.Node, msg, hint string) {
		l.faults = append(l.faults, fault(x.File, n.Line, n.Column, msg, hint))
	}
	if n.Kind != yaml.MappingNode {
		bad(n, "is no exception", "it has title, except, reason, owner and expires")
		return x
	}
	texts := map[string]*string{"title": &x.Title, "reason": &x.Reason, "owner": &x.Owner}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		switch {
		case texts[key.Value] != nil:
			*texts[key.Value] = strings.TrimSpace(text(val))
		case key.Value == "except":
			l.except(x, src, val, bad)
		case key.Value == "expires":
			day, err := time.Parse(time.DateOnly, text(val))
			if err != nil && text(val) != "never" {
				bad(val, fmt.Sprintf("expires %q is not a day", text(val)), "write 2027-01-31, or never")
			}
			if err == nil {
				x.Expires = day.AddDate(0, 0, 1)
			}
		default:
			bad(key, fmt.Sprintf("%q is not known", key.Value), "an exception has title, except, reason, owner and expires")
		}
	}
	for key, why := range map[string]string{
		"except": "name the rules and select the events", "reason": "say why these events are harmless",
		"owner": "say whom to ask", "expires": "write 2027-01-31, or never",
	} {
		if v := child(n, key); v == nil || v.Kind == yaml.ScalarNode && strings.TrimSpace(v.Value) == "" {
			bad(n, "the exception has no "+key, why)
		}
	}
	return x
}

// except reads which rules are quiet on which events.
func (l *loader) except(x *Exception, src []byte, n *yaml.Node, bad func(*yaml.Node, string, string)) {
	const hint = "write rules: with their names or ids, and a selection as in a rule"
	rules := child(n, "rules")
	if rules != nil {
		x.Rules = scalars(rules)
	}
	if len(x.Rules) == 0 {
		bad(n, "the exception names no rule", hint)
		return
	}
	detection := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "rules" {
			detection.Content = append(detection.Content, n.Content[i], n.Content[i+1])
		}
	}
	if len(detection.Content) == 0 {
		bad(n, "the exception selects no events", hint)
		return
	}
	if child(n, "condition") == nil {
		all := func(text string) *yaml.Node {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: n.Line, Column: n.Column}
		}
		detection.Content = append(detection.Content, all("condition"), all("all of them"))
	}
	rule, err := sigma.ParseDetection(x.File, src, detection)
	if err == nil {
		_, err = sigma.Compile([]*sigma.Rule{rule}, Schema())
	}
	if err != nil {
		l.faults = append(l.faults, asFaults(err, x.File, n.Line)...)
		return
	}
	for _, name := range rule.Fields() {
		if _, ok := event.Lookup(name); !ok {
			bad(n, fmt.Sprintf("there is no field %q, so the exception would hide nothing", name), "field names are case-sensitive")
		}
	}
	x.match = rule
}

// exceptions are those of a ruleset, made ready.
type exceptions struct {
	list    []*exception
	engine  *sigma.Engine
	by      map[*sigma.Rule]*exception
	matched []*exception
	hit     func(*sigma.Rule)
}

// exception is an Exception with what it did.
type exception struct {
	*Exception
	hidden uint64
	over   bool // that it has expired was said
}

// newExceptions makes exceptions ready.
func newExceptions(list []*Exception) (*exceptions, error) {
	xs := &exceptions{by: map[*sigma.Rule]*exception{}}
	rules := make([]*sigma.Rule, len(list))
	for i, x := range list {
		rules[i] = x.match
		xs.list = append(xs.list, &exception{Exception: x})
		xs.by[x.match] = xs.list[i]
	}
	xs.hit = func(r *sigma.Rule) { xs.matched = append(xs.matched, xs.by[r]) }
	var err error
	xs.engine, err = sigma.Compile(rules, Schema())
	return xs, err
}

// look finds the exceptions that select the event shown by v and hold at a time.
func (xs *exceptions) look(v *view, at time.Time) []*exception {
	xs.matched = xs.matched[:0]
	if len(xs.list) > 0 {
		xs.engine.Match(v, xs.hit)
		xs.matched = slices.DeleteFunc(xs.matched, func(x *exception) bool { return x.expired(at) })
	}
	return xs.matched
}

// hides reports whether one of the exceptions is for r, and counts it.
func hides(list []*exception, r *rule) bool {
	for _, x := range list {
		if x.names(r.info) {
			x.hidden++
			return true
		}
	}
	return false
}

func (x *Exception) names(r event.Rule) bool {
	return slices.Contains(x.Rules, r.Name) || slices.Contains(x.Rules, r.ID)
}

// CheckExceptions tells which exceptions name rules that are not there.
func CheckExceptions(list []*Exception, threats []Threat) error {
	known := map[string]bool{}
	for _, t := range threats {
		for _, r := range t.Rules {
			known[r.ID], known[ruleName(&r.Meta)] = true, true
		}
		for _, c := range t.Correlations {
			known[c.ID], known[ruleName(&c.Meta)] = true, true
		}
		for _, r := range t.Inactive {
			known[r.Rule.ID], known[r.Rule.Name] = true, true
		}
	}
	var faults sigma.Errors
	for _, x := range list {
		for _, name := range x.Rules {
			if !known[name] {
				faults = append(faults, fault(x.File, x.Line, 1, fmt.Sprintf("there is no rule %q to except from", name), "picket rule list shows names; ids are good too"))
			}
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// advance returns what is to be said of exceptions that have expired by now, each once.
func (xs *exceptions) advance(now time.Time) (say []string) {
	for _, x := range xs.list {
		if !x.over && x.expired(now) {
			x.over = true
			say = append(say, fmt.Sprintf("exception %q (%s:%d) expired on %s: %s fire there again; %s owns it",
				clean(x.Title, 80), x.File, x.Line, x.lastDay(), strings.Join(x.Rules, ", "), clean(x.Owner, 60)))
		}
	}
	return say
}

// keep takes over what is known of exceptions that stay.
func (xs *exceptions) keep(old *exceptions) {
	for _, x := range xs.list {
		for _, o := range old.list {
			if x.File == o.File && x.Title == o.Title && x.Expires.Equal(o.Expires) {
				x.hidden, x.over = o.hidden, o.over
			}
		}
	}
}

// scalars returns the texts of a list, or of a single scalar.
func scalars(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return []string{n.Value}
	}
	var out []string
	for _, c := range n.Content {
		if n.Kind == yaml.SequenceNode && c.Kind == yaml.ScalarNode {
			out = append(out, c.Value)
		}
	}
	return out
}
