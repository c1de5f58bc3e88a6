package sigma

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Plan is how an Engine evaluates one of its rules.
type Plan struct {
	Fields    []string  `json:"fields"`    // it reads, sorted
	Witnesses []Witness `json:"witnesses"` // one must be in an event for the rule to be evaluated; none: it always is
	Condition Step      `json:"condition"` // what is then evaluated, cheapest first
	Cost      int       `json:"cost"`      // a guess at what evaluating all of it takes, to compare rules by
}

// Witness is a text that makes an engine look at a rule. Where a regular expression holds no text
// that is long enough it is a run of neighbouring bytes, each out of a class: "[-][rw][\"']".
type Witness struct {
	Field string `json:"field"` // "" for any text of the event
	Text  string `json:"text"`  // or run, folded to lower case
	Whole bool   `json:"whole"` // the text is all of the field
	Any   bool   `json:"any"`   // the field is there, whatever it holds
}

// Step is a part of a condition: a test, or how further steps combine.
type Step struct {
	Op    string `json:"op,omitempty"`   // and, or, not; "" for a test
	Test  string `json:"test,omitempty"` // such as: Image ends with "/sh"
	Steps []Step `json:"steps,omitempty"`
}

// Explain returns how the engine evaluates r, and false if r is none of its rules.
func (e *Engine) Explain(r *Rule) (Plan, bool) {
	n := slices.Index(e.rules, r)
	if n < 0 {
		return Plan{}, false
	}
	p := Plan{Fields: r.Fields(), Condition: e.step(&e.trees[n]), Cost: int(e.trees[n].cost)}
	names := map[int32]string{}
	for i := range e.atoms {
		names[e.atoms[i].slot] = e.atoms[i].field
	}
	for _, w := range e.witnesses[n] {
		p.Witnesses = append(p.Witnesses, Witness{Field: names[w.slot], Text: w.text + w.way.String(), Whole: w.whole, Any: w.any})
	}
	return p, true
}

// Costs yields the rules with the Cost of their Plan.
func (e *Engine) Costs() iter.Seq2[*Rule, int] {
	return func(yield func(*Rule, int) bool) {
		for n, r := range e.rules {
			if !yield(r, int(e.trees[n].cost)) {
				return
			}
		}
	}
}

func (e *Engine) step(t *tree) Step {
	if t.op == opLeaf {
		return Step{Test: e.atoms[t.atom].String()}
	}
	s := Step{Op: map[op]string{opAnd: "and", opOr: "or", opNot: "not"}[t.op]}
	for i := range t.kids {
		s.Steps = append(s.Steps, e.step(&t.kids[i]))
	}
	return s
}

// String writes the condition, one test a line, deeper ones further in.
func (s Step) String() string {
	var b strings.Builder
	s.write(&b, "")
	return strings.TrimSuffix(b.String(), "\n")
}

func (s Step) write(b *strings.Builder, indent string) {
	switch {
	case s.Op == "":
		fmt.Fprintf(b, "%s%s\n", indent, s.Test)
		return
	case s.Op == "not" && len(s.Steps) == 1 && s.Steps[0].Op == "":
		fmt.Fprintf(b, "%snot %s\n", indent, s.Steps[0].Test)
		return
	}
	fmt.Fprintf(b, "%s%s\n", indent, map[string]string{"and": "all of", "or": "any of", "not": "not"}[s.Op])
	for _, kid := range s.Steps {
		kid.write(b, indent+"  ")
	}
}

// String says what the test asks, in words.
func (t *test) String() string {
	field := t.field
	if field == "" {
		field = "any text"
	}
	quoted := strconv.Quote(t.text)
	if t.cased && t.kind <= matchesPattern {
		quoted += " in this case"
	}
	switch t.kind {
	case isNull:
		return field + " is absent or null"
	case isThere:
		return field + " is there"
	case hasValue:
		return field + " has a value"
	case equals:
		return field + " is " + quoted
	case contains:
		return field + " contains " + quoted
	case hasPrefix:
		return field + " begins with " + quoted
	case hasSuffix:
		return field + " ends with " + quoted
	case matchesPattern:
		return field + " is like " + t.pat.String()
	case matchesRegexp:
		return field + " matches /" + t.text + "/"
	case inPrefix:
		return field + " is in " + t.net.String()
	case ordered:
		return field + t.part.words() + " " + [...]string{equal: "=", less: "<", lessEqual: "≤", greater: ">", greaterEqual: "≥"}[t.cmp] + " " + t.num.String()
	}
	return field + [...]string{whole: " is", anywhere: " contains", atStart: " begins with", atEnd: " ends with"}[t.place] + " the content of " + t.other
}

func (p datePart) words() string {
	return [...]string{noPart: "", minute: "'s minute", hour: "'s hour", day: "'s day", week: "'s week", month: "'s month", year: "'s year"}[p]
}

// String writes the number in decimal.
func (a number) String() string {
	switch {
	case a.float:
		return strconv.FormatFloat(a.f, 'g', -1, 64)
	case a.neg:
		return "-" + strconv.FormatUint(a.mag, 10)
	}
	return strconv.FormatUint(a.mag, 10)
}

// String writes the pattern with its wildcards bare and its texts quoted.
func (p pattern) String() string {
	var b strings.Builder
	for _, t := range p {
		switch t.wild {
		case literal:
			b.WriteString(strconv.Quote(t.text))
		case anyRun:
			b.WriteByte('*')
		case anyRune:
			b.WriteByte('?')
		case anyDash:
			b.WriteString("[-/–—―]")
		case variable:
			b.WriteString("%" + t.text + "%")
		}
	}
	return b.String()
}

// Beginnings returns texts, folded to lower case, one of which a value of one of the fields begins
// with in every event that r fires on. It returns none where there are no such texts, or r is none
// of the engine's rules.
func (e *Engine) Beginnings(r *Rule, fields ...string) []string {
	n := slices.Index(e.rules, r)
	if n < 0 {
		return nil
	}
	texts := e.beginnings(&e.trees[n], fields)
	slices.Sort(texts)
	return slices.Compact(texts)
}

func (e *Engine) beginnings(t *tree, fields []string) []string {
	var found []string
	switch t.op {
	case opLeaf:
		if a := &e.atoms[t.atom]; slices.Contains(fields, a.field) {
			if text := foldText(a.beginning()); text != "" {
				return []string{text}
			}
		}
	case opOr:
		for i := range t.kids {
			one := e.beginnings(&t.kids[i], fields)
			if len(one) == 0 {
				return nil
			}
			found = append(found, one...)
		}
	case opAnd:
		for i := range t.kids {
			if one := e.beginnings(&t.kids[i], fields); len(one) > 0 && shortest(one) > shortest(found) {
				found = one
			}
		}
	}
	return found
}

func shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	return len(slices.MinFunc(texts, func(a, b string) int { return len(a) - len(b) }))
}

// beginning is the text that a value begins with which passes the test, "" for none.
func (t *test) beginning() string {
	switch {
	case t.kind == equals, t.kind == hasPrefix:
		return t.text
	case t.kind == matchesPattern && t.pat[0].wild == literal:
		return t.pat[0].text
	}
	return ""
}

// Candidate reports whether the engine evaluates r for ev: ev has one of the rule's witnesses, or
// the rule has none, and a log source fits. It is slow, for telling and measuring.
func (e *Engine) Candidate(r *Rule, ev Event) bool {
	n := slices.Index(e.rules, r)
	if n < 0 || !slices.ContainsFunc(ev.Logsources(), r.Logsource.Covers) {
		return false
	}
	if len(e.witnesses[n]) == 0 {
		return true
	}
	bySlot := map[int32][]string{}
	for i := range e.atoms {
		a := &e.atoms[i]
		if _, done := bySlot[a.slot]; !done {
			bySlot[a.slot] = texts(ev, e.slots[a.slot])
		}
	}
	return slices.ContainsFunc(e.witnesses[n], func(w need) bool {
		return w.any && read(ev, e.slots[w.slot]).Kind != Absent || slices.ContainsFunc(bySlot[w.slot], w.in)
	})
}

func read(ev Event, s slotSpec) Value {
	if s.known {
		return ev.Value(s.id)
	}
	return ev.Extra(s.name)
}

// texts returns the values of a field, folded.
func texts(ev Event, s slotSpec) []string {
	var out []string
	if s.all {
		ev.EachText(func(_ uint16, text string) bool { out = append(out, foldText(text)); return true })
		return out
	}
	switch v := read(ev, s); v.Kind {
	case Text:
		return []string{foldText(v.Str)}
	case Integer:
		return []string{strconv.FormatInt(v.Int, 10)}
	case Boolean:
		return []string{strconv.FormatBool(v.Int != 0)}
	case List:
		for _, text := range v.List {
			out = append(out, foldText(text))
		}
	}
	return out
}
