package falco

import (
	"fmt"
	"strings"
	"testing"
)

// show writes a tree with all its parentheses.
func show(n *node) string {
	switch n.op {
	case opMacro:
		return n.macro
	case opNot:
		return "(not " + show(n.kids[0]) + ")"
	case opCheck:
		texts := make([]string, len(n.check.values))
		for i, v := range n.check.values {
			texts[i] = fmt.Sprintf("%q", v.text)
		}
		left, right := n.check.name(), "["+strings.Join(texts, " ")+"]"
		for i := len(n.check.change); i > 0; i-- {
			left = n.check.change[i-1] + "(" + left + ")"
		}
		if n.check.other != nil {
			right = "val(" + n.check.other.name() + ")"
		}
		return left + " " + n.check.op + " " + right
	}
	parts := make([]string, len(n.kids))
	for i, k := range n.kids {
		parts[i] = show(k)
	}
	return "(" + strings.Join(parts, map[op]string{opAnd: " and ", opOr: " or "}[n.op]) + ")"
}

func TestConditionGrammar(t *testing.T) {
	for in, want := range map[string]string{
		"a":                                "a",
		"a and b or c":                     "((a and b) or c)",
		"a or b and not c":                 "(a or (b and (not c)))",
		"not not a and not(b or c)":        "(a and (not (b or c)))",
		"(((a)))":                          "a",
		"a and(b)or(c)":                    "((a and b) or c)",
		"a\n and\t b":                      "(a and b)",
		"proc.name=sh":                     `proc.name = ["sh"]`,
		"proc.name == sh":                  `proc.name = ["sh"]`,
		"proc.name!=sh and a":              `(proc.name != ["sh"] and a)`,
		"fd.num>=0":                        `fd.num >= ["0"]`,
		"fd.num < -1":                      `fd.num < ["-1"]`,
		"proc.pname exists":                `proc.pname exists []`,
		"not proc.pname exists or a":       `((not proc.pname exists []) or a)`,
		"proc.aname[2] in (a,b , c)":       `proc.aname[2] in ["a" "b" "c"]`,
		"proc.name in ()":                  `proc.name in []`,
		"proc.name in names":               `proc.name in ["names"]`,
		"fd.name glob /proc/*/environ":     `fd.name glob ["/proc/*/environ"]`,
		"container.mount.dest[/proc*] = x": `container.mount.dest[/proc*] = ["x"]`,
		`proc.args["a b"] = x`:             `proc.args[a b] = ["x"]`,
		`proc.name="a b"`:                  `proc.name = ["a b"]`,
		`proc.name='it"s'`:                 `proc.name = ["it\"s"]`,
		`proc.name="a\"b\\c\n"`:            `proc.name = ["a\"b\\c\n"]`,
		`proc.args contains "\ " or a`:     `(proc.args contains ["\\"] or a)`,
		`(proc.args endswith \)`:           `proc.args endswith ["\\"]`,
		"proc.pname in (runc:[0:PARENT])":  `proc.pname in ["runc:[0:PARENT]"]`,
		"fd.sip = ::1":                     `fd.sip = ["::1"]`,
		"proc.name in (<NA>,\"\")":         `proc.name in ["<NA>" ""]`,
		"tolower(proc.name) = a":           `tolower(proc.name) = ["a"]`,
		"toupper(basename(fd.name)) = A":   `toupper(basename(fd.name)) = ["A"]`,
		"proc.name = val( proc.pname )":    `proc.name = val(proc.pname)`,
		"proc.name = val":                  `proc.name = ["val"]`,
		"fd.name pmatch (/a, /b)":          `fd.name pmatch ["/a" "/b"]`,
	} {
		n, bad := parseCondition(in)
		if bad != nil {
			t.Errorf("%s: %s at %d", in, bad.msg, bad.offset)
			continue
		}
		if got := show(n); got != want {
			t.Errorf("%s\nis   %s\nwant %s", in, got, want)
		}
	}
}

func TestConditionFaults(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "0: the end where a comparison is expected",
		"a and":                       "5: the end where a comparison is expected",
		"a b":                         `2: unexpected "b"`,
		"a)":                          `1: unexpected ")"`,
		"(a and b":                    "0: the parenthesis is not closed: the end where ) is expected",
		"(a b)":                       `0: the parenthesis is not closed: "b" where ) is expected`,
		"proc.name resembles sh":      `10: unknown operator "resembles"`,
		"proc.name":                   "9: the condition ends where an operator is expected",
		"proc.name =":                 "11: the end where a value is expected",
		"proc.name ! sh":              `10: unknown operator "!"`,
		"proc.name = )":               `12: ")" where a value is expected`,
		"proc.name in (a":             "13: the parenthesis of the list is not closed",
		"proc.name in (a b)":          `16: "b" where , or ) is expected`,
		"proc.name in (a,)":           `16: ")" where a value is expected`,
		`proc.name = "a`:              "12: the quote is not closed",
		`proc.name = "a\qb"`:          `12: unknown escape \q`,
		"and a":                       `0: "and" where a comparison is expected`,
		"proc. = a":                   `0: "proc." where a field is expected`,
		"a and $b":                    `6: unexpected character '$'`,
		"a & b":                       `2: unexpected character '&'`,
		"tolower(proc.name = a":       `18: "=" where ) is expected`,
		"tolower(a) = b":              `8: "a" where a field is expected`,
		"proc.name = val(proc.name":   "25: the end where ) is expected",
		strings.Repeat("(", 10_000):   "100: the condition is nested more than 100 deep",
		strings.Repeat("a ", 600_000): "0: the condition is longer than 1048576 bytes",
	} {
		n, bad := parseCondition(in)
		if bad == nil {
			t.Errorf("%s became %s", shorten(in, 60), show(n))
			continue
		}
		if got := fmt.Sprintf("%d: %s", bad.offset, bad.msg); got != want {
			t.Errorf("%s\nsays %s\nwant %s", shorten(in, 60), got, want)
		}
		if bad.hint == "" {
			t.Errorf("%s: %s: says not what to do", shorten(in, 60), bad.msg)
		}
	}
}

// A long chain of not, and or or is not nesting.
func TestLongConditions(t *testing.T) {
	for _, in := range []string{
		strings.Repeat("not ", 10_000) + "a",
		"a" + strings.Repeat(" and a", 10_000),
		"proc.name in (a" + strings.Repeat(",b", 100_000) + ")",
	} {
		if _, bad := parseCondition(in); bad != nil {
			t.Errorf("%s: %s", shorten(in, 30), bad.msg)
		}
	}
}
