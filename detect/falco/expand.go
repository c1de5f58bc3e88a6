package falco

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on a condition once its macros and lists are written out.
const (
	maxSize     = 50_000
	maxExpanded = 300 // depth
)

// errBroken says that a definition has a fault that was noted where it stands.
var errBroken = errors.New("broken")

// resolve writes out the macros and lists of all conditions.
func (rs *Ruleset) resolve() {
	for _, m := range rs.order {
		if rs.macros[m.name] == m { // not replaced later
			_, _ = rs.expandMacro(m, nil) // a fault is noted
		}
	}
	for _, r := range rs.rules {
		rs.resolveRule(r)
	}
}

func (rs *Ruleset) resolveRule(r *ruleDef) {
	if r.cond == nil || r.source != "syscall" { // other sources have fields and macros of their own
		return
	}
	tree, err := rs.parse(r.cond, nil)
	if err != nil {
		r.problem = "its condition cannot be read"
		if name, ok := strings.CutPrefix(err.Error(), "macro "); ok {
			r.problem = "macro " + name + " cannot be read"
		}
		return
	}
	and := &node{op: opAnd, kids: []*node{tree}}
	for _, x := range r.exceptions {
		kid := rs.exceptionTree(x)
		if kid == nil {
			continue
		}
		if kid, err = rs.expand(kid, nil, nil); err != nil {
			r.problem = "exception " + x.name + " cannot be read"
			return
		}
		and.kids = append(and.kids, &node{op: opNot, kids: []*node{kid}, size: kid.size, depth: kid.depth + 1})
	}
	if len(and.kids) == 1 {
		and = tree
	}
	if err := and.measure(); err != "" {
		rs.fault(r.place, "split the rule", fmt.Sprintf("rule %q %s", r.name, err))
		r.problem = "it is too large"
		return
	}
	r.tree = and
}

// parse reads a condition and writes it out. path holds the macros that are being written out.
func (rs *Ruleset) parse(cond []segment, path []string) (*node, error) {
	tree, bad := parseCondition(joined(cond))
	if bad != nil {
		rs.fault(rs.locate(cond, bad.offset), bad.hint, bad.msg)
		return nil, errBroken
	}
	return rs.expand(tree, cond, path)
}

// expandMacro returns the tree that a macro stands for, the same for each use.
func (rs *Ruleset) expandMacro(m *macroDef, path []string) (*node, error) {
	if m.state == busy {
		rs.fault(m.place, "break the circle", "macro "+m.name+" uses itself: "+shorten(strings.Join(append(path, m.name), ", "), 200))
		return nil, fmt.Errorf("macro %s", m.name)
	}
	if len(path) >= maxDepth {
		rs.fault(m.place, "write fewer macros that use macros", fmt.Sprintf("macros are nested more than %d deep", maxDepth))
		return nil, fmt.Errorf("macro %s", m.name)
	}
	if m.state == fresh {
		m.state = busy
		tree, err := rs.parse(m.cond, append(slices.Clip(path), m.name))
		m.state = done
		if err == nil {
			named := *tree
			named.macro = m.name
			m.tree = &named
		}
	}
	if m.tree == nil {
		return nil, fmt.Errorf("macro %s", m.name)
	}
	return m.tree, nil
}

// expand returns n with the macros and lists it names in their place.
func (rs *Ruleset) expand(n *node, cond []segment, path []string) (*node, error) {
	switch n.op {
	case opMacro:
		m := rs.macros[n.macro]
		if m == nil {
			rs.fault(rs.locate(cond, n.offset), "define it, or load the file that does", fmt.Sprintf("unknown macro %q", shorten(n.macro, 60)))
			return nil, errBroken
		}
		return rs.expandMacro(m, path)
	case opCheck:
		if cond != nil {
			n.check.place = rs.locate(cond, n.offset)
		}
		if slices.Contains(listOps, n.check.op) {
			flat, err := rs.flatten(n.check.values, n.check.place)
			if err != nil {
				return nil, err
			}
			n.check.values = flat
		}
		n.size, n.depth = 1, 1
		return n, nil
	}
	for i, kid := range n.kids {
		k, err := rs.expand(kid, cond, path)
		if err != nil {
			return nil, err
		}
		n.kids[i] = k
	}
	if msg := n.measure(); msg != "" {
		place := position{}
		if cond != nil {
			place = rs.locate(cond, n.offset)
		}
		rs.fault(place, "split it", "the condition "+msg)
		return nil, errBroken
	}
	return n, nil
}

// measure sets the size and depth of n from those of its kids, and says what is too much of it.
func (n *node) measure() string {
	n.size, n.depth = 0, 0
	for _, kid := range n.kids {
		n.size += kid.size
		n.depth = max(n.depth, kid.depth)
	}
	switch n.depth++; {
	case n.size > maxSize:
		return fmt.Sprintf("stands for more than %d comparisons", maxSize)
	case n.depth > maxExpanded:
		return fmt.Sprintf("is nested more than %d deep", maxExpanded)
	}
	return ""
}

// flatten returns vs with the values of the lists they name, each once.
func (rs *Ruleset) flatten(vs []value, place position) ([]value, error) {
	var out []value
	seen := map[string]bool{}
	for _, v := range vs {
		part := []value{v}
		if l := rs.lists[v.text]; l != nil && !v.quoted {
			if err := rs.flattenList(l); err != nil {
				return nil, err
			}
			part = l.flat
		}
		for _, p := range part {
			if !seen[p.text] {
				seen[p.text] = true
				out = append(out, value{p.text, true})
			}
		}
		if len(out) > maxItems {
			rs.fault(place, "split the list", fmt.Sprintf("the list stands for more than %d values", maxItems))
			return nil, errBroken
		}
	}
	return out, nil
}

func (rs *Ruleset) flattenList(l *listDef) error {
	switch l.state {
	case busy:
		rs.fault(l.place, "break the circle", "list "+l.name+" holds itself")
		return errBroken
	case fresh:
		l.state = busy
		flat, err := rs.flatten(l.items, l.place)
		l.state = done
		if err == nil {
			l.flat = flat
			if flat == nil {
				l.flat = []value{}
			}
		}
	}
	if l.flat == nil {
		return errBroken
	}
	return nil
}
