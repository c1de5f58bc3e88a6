package falco

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// single compares a field of which only one value is known here: a terminal is 0 where there is
// none, an executable in the upper layer is true.
func (cmp *comparison) single() (*cond, string) {
	t := cmp.target
	if t.kind == boolean {
		want, ok := truth(cmp.texts)
		if !ok || cmp.op != "=" && cmp.op != "!=" && cmp.op != "in" {
			return nil, "it is true or false"
		}
		is := &cond{op: isLeaf, leaf: &leaf{field: t.names[0], values: []string{t.one}}}
		if want == (cmp.op != "!=") {
			return is, ""
		}
		return negate(is), ""
	}
	if len(cmp.texts) != 1 || cmp.texts[0] != t.one || cmp.op != "=" && cmp.op != "!=" && cmp.op != "in" {
		return nil, "other values than " + t.one + " are not known here"
	}
	if cmp.op == "!=" {
		return exists(t.names[0]), ""
	}
	return absent(t.names[0]), ""
}

// truth reads a boolean.
func truth(texts []string) (value, ok bool) {
	if len(texts) != 1 {
		return false, false
	}
	switch strings.ToLower(texts[0]) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// withAbsent compares a field that Falco always has and Picket has not always: the value that
// stands for none is tested as such.
func (cmp *comparison) withAbsent() (*cond, string) {
	name, none := cmp.target.names[0], cmp.target.absent
	plain := *cmp
	plain.target.absent = ""
	switch cmp.op {
	case "=", "in", "intersects":
		var rest []string
		for _, v := range cmp.texts {
			if v != none {
				rest = append(rest, v)
			}
		}
		var kids []*cond
		if len(rest) < len(cmp.texts) {
			kids = append(kids, absent(name))
		}
		if len(rest) > 0 {
			k, why := plain.with("in", rest...).build()
			if why != "" {
				return nil, why
			}
			kids = append(kids, k)
		}
		return either(kids...), ""
	case "!=":
		if cmp.texts[0] == none {
			return exists(name), ""
		}
		return plain.differs()
	}
	k, why := plain.build()
	if why == "" && evaluate(cmp.op, none, cmp.texts) {
		k = either(k, absent(name))
	}
	return k, why
}

// evaluate compares a text that is known, as Falco does.
func evaluate(op, s string, texts []string) bool {
	first := texts[0]
	switch op {
	case "=", "in", "intersects":
		return slices.Contains(texts, s)
	case "!=":
		return s != first
	case "contains":
		return strings.Contains(s, first)
	case "icontains":
		return strings.Contains(strings.ToLower(s), strings.ToLower(first))
	case "startswith":
		return strings.HasPrefix(s, first)
	case "istartswith":
		return strings.HasPrefix(strings.ToLower(s), strings.ToLower(first))
	case "endswith":
		return strings.HasSuffix(s, first)
	case "iendswith":
		return strings.HasSuffix(strings.ToLower(s), strings.ToLower(first))
	case "glob", "iglob":
		ok, _ := path.Match(first, s) // the texts that are known have no slash
		return ok
	case "regex":
		ok, _ := regexp.MatchString("^(?:"+first+")$", s)
		return ok
	}
	return evaluateOrder(op, s, first)
}

func evaluateOrder(op, s, text string) bool {
	a, err := strconv.ParseInt(s, 0, 64)
	b, err2 := strconv.ParseInt(text, 0, 64)
	if err != nil || err2 != nil {
		return false
	}
	switch op {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	case ">=":
		return a >= b
	}
	return false
}
