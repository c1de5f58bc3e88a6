package cacao

import (
	"fmt"
	"slices"
	"time"
)

// Observation is what was seen at one moment: values by object path, such as process:name. A path
// with an index is asked for as the pattern writes it: windows-pe:sections[*].entropy.
type Observation struct {
	At     time.Time
	Values map[string][]Operand
}

// maxMatches bounds how many ways to match a pattern are followed at one time.
const maxMatches = 10_000

// match is one way in which observations fulfil a part of a pattern: which they are, in ascending order.
type match []int

// matcher finds the matches of a pattern in observations, sorted by time.
type matcher struct{ seen []Observation }

// Match says whether the observations fulfil a pattern. Each of the observations that AND and
// FOLLOWEDBY join must be another one; FOLLOWEDBY wants the second not before the first. REPEATS
// takes matches that follow each other. A pattern that can be matched in more than ten thousand ways
// at a time is an error.
func (c *Condition) Match(seen []Observation) (bool, error) {
	if c.Dialect != STIX {
		return false, fmt.Errorf("%q is no STIX pattern: observations stand in brackets", short(c.Text))
	}
	m := &matcher{slices.Clone(seen)}
	slices.SortStableFunc(m.seen, func(a, b Observation) int { return a.At.Compare(b.At) })
	found, err := m.find(c.root)
	if err != nil {
		return false, fmt.Errorf("pattern %q: %w", short(c.Text), err)
	}
	return len(found) > 0, nil
}

func (m *matcher) find(n node) ([]match, error) {
	switch n := n.(type) {
	case *bracket:
		return m.single(n.inside)
	case *pair:
		return m.pair(n)
	case *qualified:
		found, err := m.find(n.inside)
		if err != nil {
			return nil, err
		}
		return m.qualify(n, found), nil
	}
	return nil, fmt.Errorf("%T is no observation", n)
}

// single finds the observations of which a comparison holds.
func (m *matcher) single(n node) ([]match, error) {
	var out []match
	for i := range m.seen {
		ok, err := truth(n, func(p path) ([]Operand, error) { return m.seen[i].Values[p.text], nil })
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, match{i})
		}
	}
	return out, nil
}

func (m *matcher) pair(n *pair) ([]match, error) {
	left, err := m.find(n.left)
	if err != nil {
		return nil, err
	}
	right, err := m.find(n.right)
	if err != nil {
		return nil, err
	}
	if n.op == "OR" {
		return append(slices.Clone(left), right...), nil
	}
	var out []match
	for _, l := range left {
		for _, r := range right {
			if overlap(l, r) || n.op == "FOLLOWEDBY" && m.seen[r[0]].At.Before(m.seen[l[len(l)-1]].At) {
				continue
			}
			if len(out) >= maxMatches {
				return nil, fmt.Errorf("more than %d ways to match: narrow the observations", maxMatches)
			}
			out = append(out, union(l, r))
		}
	}
	return out, nil
}

func overlap(a, b match) bool {
	return slices.ContainsFunc(a, func(i int) bool { return slices.Contains(b, i) })
}

func union(a, b match) match {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return out
}

// qualify keeps the matches that fulfil a qualifier.
func (m *matcher) qualify(q *qualified, found []match) []match {
	if q.repeats > 0 {
		return repeats(found, q.repeats)
	}
	return slices.DeleteFunc(slices.Clone(found), func(x match) bool {
		first, last := m.seen[x[0]].At, m.seen[x[len(x)-1]].At
		if q.within > 0 {
			return last.Sub(first).Seconds() > q.within
		}
		return first.Before(q.start) || !last.Before(q.stop)
	})
}

// repeats joins each match with the next ones that have nothing in common, until there are n.
func repeats(found []match, n int) []match {
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b match) int { return slices.Compare(a, b) })
	var out []match
	for i, first := range found {
		all, count := first, 1
		for j := i + 1; j < len(found) && count < n; j++ {
			if !overlap(all, found[j]) {
				all, count = union(all, found[j]), count+1
			}
		}
		if count == n {
			out = append(out, all)
		}
	}
	return out
}
