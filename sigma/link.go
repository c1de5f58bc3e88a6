package sigma

import (
	"slices"
	"strings"
)

// Link returns the correlations whose rules are there, each after those that it is made of. The
// error, if any, is an Errors about the others: ids or names used twice, rules that are not there
// and correlations that are made of themselves.
func Link(rules []*Rule, correlations []*Correlation) ([]*Correlation, error) {
	_, list, errs := link(rules, correlations)
	return list, errs.asError()
}

// linker sorts correlations by what they are made of.
type linker struct {
	rules map[string]*Rule
	byRef map[string]*Correlation
	state map[*Correlation]linkState
	path  []*Correlation // those being looked at, outermost first
	order []*Correlation
	errs  Errors
}

type linkState uint8

const (
	unseen linkState = iota
	open
	linked
	refused
)

func link(rules []*Rule, correlations []*Correlation) (*linker, []*Correlation, Errors) {
	l := &linker{rules: map[string]*Rule{}, byRef: map[string]*Correlation{}, state: map[*Correlation]linkState{}}
	for _, r := range rules {
		for _, ref := range []string{r.ID, r.Name} {
			if ref != "" && l.rules[ref] == nil {
				l.rules[ref] = r
			}
		}
	}
	for _, c := range correlations {
		l.add(c)
	}
	for _, c := range correlations {
		l.visit(c)
	}
	return l, l.order, l.errs
}

// add makes c known by its id and name.
func (l *linker) add(c *Correlation) {
	for _, part := range []string{"id", "name"} {
		ref := c.ID
		if part == "name" {
			ref = c.Name
		}
		if ref == "" {
			continue
		}
		var first *Meta
		if r := l.rules[ref]; r != nil {
			first = &r.Meta
		} else if other := l.byRef[ref]; other != nil && other != c {
			first = &other.Meta
		}
		if first != nil {
			l.errs = append(l.errs, c.fault(part, "give each rule and correlation its own",
				"%s %s is used twice, first in %s:%d", part, ref, first.SourceFile, first.Line))
			l.state[c] = refused
			return
		}
	}
	for _, ref := range []string{c.ID, c.Name} {
		if ref != "" {
			l.byRef[ref] = c
		}
	}
}

// visit puts c behind what it is made of, and reports whether that is there.
func (l *linker) visit(c *Correlation) bool {
	switch l.state[c] {
	case linked:
		return true
	case refused:
		return false
	case open:
		l.cycle(c)
		return false
	}
	l.state[c] = open
	l.path = append(l.path, c)
	good := true
	for _, name := range c.Rules {
		inner := l.byRef[name]
		if l.rules[name] == nil && inner == nil {
			l.errs = append(l.errs, c.fault("correlation.rules", "name a rule by its name or id", "there is no rule %q", name))
			good = false
		} else if inner != nil && !l.visit(inner) {
			if l.state[inner] == refused {
				l.errs = append(l.errs, c.fault("correlation.rules", "mend that one first", "correlation %q is at fault itself", name))
			}
			good = false
		}
		if !good {
			break // one fault is enough
		}
	}
	l.path = l.path[:len(l.path)-1]
	if l.state[c] = linked; !good {
		l.state[c] = refused
		return false
	}
	l.order = append(l.order, c)
	return true
}

// cycle notes that c is made of itself.
func (l *linker) cycle(c *Correlation) {
	var words []string
	for _, on := range l.path[slices.Index(l.path, c):] {
		words = append(words, on.ref())
	}
	words = append(words, c.ref())
	l.errs = append(l.errs, c.fault("correlation.rules", "a correlation needs rules to begin with", "the correlation is made of itself: %s", strings.Join(words, " of ")))
}

// ref returns what the correlation is called.
func (c *Correlation) ref() string {
	if c.Name != "" {
		return c.Name
	}
	if c.ID != "" {
		return c.ID
	}
	return c.Title
}

// BuildingBlocks returns the rules and correlations that do not alert by themselves: a correlation
// names them, it stands in the same file, and none that names them says generate. A rule of another
// file was loaded in its own right.
func BuildingBlocks(rules []*Rule, correlations []*Correlation) map[*Meta]bool {
	l, list, _ := link(rules, correlations)
	silent, generated := map[*Meta]bool{}, map[*Meta]bool{}
	for _, c := range list {
		for _, name := range c.Rules {
			var part *Meta
			if r := l.rules[name]; r != nil {
				part = &r.Meta
			} else {
				part = &l.byRef[name].Meta
			}
			if part.SourceFile == c.SourceFile {
				silent[part] = true
			}
			if c.Generate {
				generated[part] = true
			}
		}
	}
	for part := range generated {
		delete(silent, part)
	}
	return silent
}
