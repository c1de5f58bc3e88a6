package falco

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// exception is an exclusion of a rule in the form of a table: fields, comparisons and rows.
type exception struct {
	name   string
	fields []string
	comps  []string
	single bool       // one field, and values that are alternatives for it
	rows   [][]values // a row has the values of each field
	place  position
}

// values are what one cell of a row holds: one, or a list of them.
type values []value

// except gives r the exceptions of an entry. Those of a name that r has get more rows.
func (rs *Ruleset) except(r *ruleDef, e *entry) {
	n := e.fields["exceptions"]
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		rs.fault(at(e.file, n), "write - name: … with fields and values", "exceptions must be a list")
		return
	}
	if !e.appends("exceptions") {
		r.exceptions = nil
	}
	for _, kid := range n.Content {
		rs.exception(r, e.file, real(kid))
	}
}

func (rs *Ruleset) exception(r *ruleDef, file string, n *yaml.Node) {
	part := map[string]*yaml.Node{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		part[n.Content[i].Value] = real(n.Content[i+1])
	}
	if part["name"] == nil || part["name"].Value == "" {
		rs.fault(at(file, n), "write - name: …", "an exception has no name")
		return
	}
	x := &exception{name: part["name"].Value, place: at(file, n)}
	i := slices.IndexFunc(r.exceptions, func(old *exception) bool { return old.name == x.name })
	if f := part["fields"]; f != nil {
		x.fields, x.single = rs.words(file, "fields", f)
		x.comps, _ = rs.words(file, "comps", part["comps"])
	} else if i >= 0 {
		x = r.exceptions[i]
	}
	if !rs.complete(x, file, n) {
		return
	}
	x.rows = append(x.rows, rs.rows(x, file, part["values"])...)
	switch {
	case i < 0:
		r.exceptions = append(r.exceptions, x)
	case r.exceptions[i] != x:
		x.rows = append(r.exceptions[i].rows, x.rows...)
		r.exceptions[i] = x
	}
}

// words returns the texts of a list, or of a single text.
func (rs *Ruleset) words(file, key string, n *yaml.Node) (list []string, single bool) {
	if n == nil {
		return nil, false
	}
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}, true
	}
	for _, v := range rs.values(file, key, n) {
		list = append(list, v.text)
	}
	return list, false
}

// complete fills in the comparisons that an exception does not name, and checks the others.
func (rs *Ruleset) complete(x *exception, file string, n *yaml.Node) bool {
	if len(x.fields) == 0 {
		rs.fault(at(file, n), "write fields: [proc.name, fd.name]", fmt.Sprintf("exception %s has no fields", x.name))
		return false
	}
	if len(x.comps) == 0 {
		for range x.fields {
			x.comps = append(x.comps, map[bool]string{false: "=", true: "in"}[x.single])
		}
	}
	if len(x.comps) != len(x.fields) {
		rs.fault(at(file, n), "give each field one", fmt.Sprintf("exception %s has %d comps for %d fields", x.name, len(x.comps), len(x.fields)))
		return false
	}
	for i, comp := range x.comps {
		if !slices.Contains(append(append([]string{"=", "==", "!=", "<", "<=", ">", ">="}, textOps...), listOps...), comp) {
			rs.fault(at(file, n), "such as =, in, startswith", fmt.Sprintf("unknown operator %q of exception %s", shorten(comp, 40), x.name))
			return false
		}
		if comp == "==" {
			x.comps[i] = "="
		}
	}
	return true
}

// rows reads the values of an exception.
func (rs *Ruleset) rows(x *exception, file string, n *yaml.Node) (rows [][]values) {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxItems {
		rs.fault(at(file, n), fmt.Sprintf("at most %d", maxItems), "values of an exception must be a list")
		return nil
	}
	if x.single {
		if all := rs.values(file, "values", n); all != nil {
			rows = append(rows, []values{all})
		}
		return rows
	}
	for _, kid := range n.Content {
		kid = real(kid)
		if kid.Kind != yaml.SequenceNode || len(kid.Content) != len(x.fields) {
			rs.fault(at(file, kid), "write one value for each of "+strings.Join(x.fields, ", "), fmt.Sprintf("a row of exception %s has not %d values", x.name, len(x.fields)))
			continue
		}
		row := make([]values, len(kid.Content))
		for i, cell := range kid.Content {
			if cell = real(cell); cell.Kind == yaml.SequenceNode {
				row[i] = rs.values(file, "values", cell)
			} else {
				v, _ := item(cell.Value)
				row[i] = values{v}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// tree returns what must not be true for the rule to fire, nil where the exception has no rows.
func (rs *Ruleset) exceptionTree(x *exception) *node {
	or := &node{op: opOr, macro: x.name}
	for _, row := range x.rows {
		and := &node{op: opAnd}
		for i, cell := range row {
			c := &check{op: x.comps[i], values: cell, place: x.place}
			if bad := c.setField(token{kind: tokWord, text: x.fields[i]}); bad != nil {
				rs.fault(x.place, bad.hint, bad.msg)
				return nil
			}
			if !slices.Contains(listOps, c.op) && len(cell) != 1 {
				rs.fault(x.place, "use in, or a row for each value", fmt.Sprintf("exception %s compares with %s and %d values", x.name, c.op, len(cell)))
				return nil
			}
			and.kids = append(and.kids, &node{op: opCheck, check: c, size: 1, depth: 1})
		}
		or.kids = append(or.kids, and)
	}
	if len(or.kids) == 0 {
		return nil
	}
	return or
}
