package falco

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textual returns the comparison of a text.
func (cmp *comparison) textual(name string) (*cond, string) {
	texts := cmp.texts
	if cmp.target.words && (cmp.op != "contains" && cmp.op != "icontains" || strings.Contains(texts[0], " ")) {
		return nil, "only one of several words can be looked for"
	}
	place := map[string]string{
		"contains": "contains", "icontains": "contains", "startswith": "startswith", "istartswith": "startswith",
		"endswith": "endswith", "iendswith": "endswith",
	}[cmp.op]
	anyCase := cmp.fold || strings.HasPrefix(cmp.op, "i") && cmp.op != "in" && cmp.op != "intersects"
	switch cmp.op {
	case "=", "in", "intersects", "!=":
		return cmp.equal(name), ""
	case "glob", "iglob":
		return glob(name, texts[0], anyCase)
	case "regex":
		if _, err := regexp.Compile(texts[0]); err != nil {
			return nil, "the regular expression is not one of RE2"
		}
		return &cond{op: isLeaf, leaf: &leaf{field: name, mods: []string{"re"}, values: []string{"^(?:" + texts[0] + ")$"}}}, ""
	case "pmatch":
		return cmp.below(name)
	case "bcontains", "bstartswith":
		raw, err := hex.DecodeString(texts[0])
		if err != nil || !utf8.Valid(raw) {
			return nil, "bytes that are not text cannot be compared here"
		}
		texts, place = []string{string(raw)}, cmp.op[1:]
	case "<", "<=", ">", ">=":
		plain := *cmp
		return plain.number(name) // a field that is kept under its own name
	}
	if texts[0] == "" {
		return exists(name), "" // each text holds the empty one
	}
	return textLeaf(name, []string{place}, texts, anyCase), ""
}

// equal returns the comparison of a text with whole values. A value that is not there reads <NA>
// or N/A in Falco's rules, and an empty text is none here.
func (cmp *comparison) equal(name string) *cond {
	var texts []string
	none := false
	for _, v := range cmp.texts {
		if v == "<NA>" || v == "N/A" || v == "" && !cmp.target.blank {
			none = true
		} else {
			texts = append(texts, v)
		}
	}
	if cmp.op == "!=" {
		if none {
			return exists(name)
		}
		return textLeaf(name, []string{"neq"}, texts, cmp.fold)
	}
	var kids []*cond
	if none {
		kids = append(kids, absent(name))
	}
	var cut []string
	texts = slices.DeleteFunc(texts, func(v string) bool {
		is := cmp.target.cut > 0 && len(v) == cmp.target.cut
		if is {
			cut = append(cut, v)
		}
		return is
	})
	if len(cut) > 0 {
		kids = append(kids, textLeaf(name, []string{"startswith"}, cut, cmp.fold))
	}
	if len(texts) > 0 {
		kids = append(kids, textLeaf(name, nil, texts, cmp.fold))
	}
	return either(kids...)
}

// below returns whether a path is one of those given or below it.
func (cmp *comparison) below(name string) (*cond, string) {
	var same, under []string
	for _, v := range cmp.texts {
		if strings.ContainsAny(v, "*?[") {
			return nil, "pmatch with wildcards"
		}
		v = strings.TrimRight(v, "/")
		if v != "" {
			same = append(same, v)
		}
		under = append(under, v+"/")
	}
	kids := []*cond{textLeaf(name, []string{"startswith"}, under, cmp.fold)}
	if len(same) > 0 {
		kids = append(kids, textLeaf(name, nil, same, cmp.fold))
	}
	return either(kids...), ""
}

// textLeaf returns an entry that compares literal texts, by exact case where case matters.
func textLeaf(name string, mods, texts []string, anyCase bool) *cond {
	l := &leaf{field: name, mods: mods}
	for _, v := range texts {
		l.values = append(l.values, escape(v))
	}
	if !anyCase && slices.ContainsFunc(texts, hasCase) {
		l.mods = append(slices.Clone(mods), "cased")
	}
	return &cond{op: isLeaf, leaf: l}
}

func hasCase(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.ToLower(r) != r || unicode.ToUpper(r) != r })
}

// escape writes a literal text as Sigma does.
func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s) }

// glob returns the comparison with a shell pattern.
func glob(name, pattern string, anyCase bool) (*cond, string) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '[' || strings.IndexByte("?*+@!", c) >= 0 && i+1 < len(pattern) && pattern[i+1] == '(':
			return nil, "a pattern with brackets"
		case c == '*' || c == '?':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(escape(pattern[i : i+1]))
		default:
			b.WriteString(escape(pattern[i : i+1]))
		}
	}
	l := &leaf{field: name, values: []string{b.String()}}
	if !anyCase && hasCase(pattern) {
		l.mods = []string{"cased"}
	}
	return &cond{op: isLeaf, leaf: l}, ""
}
