package cacao_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"picket/cacao"
)

func variables() cacao.Variables {
	return cacao.Variables{
		"__n__": {Type: "integer", Value: cacao.Known("10")}, "__m__": {Type: "integer", Value: cacao.Known("10")},
		"__s__": {Type: "string", Value: cacao.Known("it's a\\b")}, "__b__": {Type: "bool", Value: cacao.Known("true")},
		"__ip__": {Type: "ipv4-addr", Value: cacao.Known("10.1.2.3")}, "__hash__": {Type: "md5-hash", Value: cacao.Known("D41D8CD98F00B204E9800998ECF8427E")},
		"__mac__": {Type: "mac-addr", Value: cacao.Known("02-00-5E-10-00-01")}, "__null__": {Type: "string"},
		"__alert__": {Type: "dictionary", Value: cacao.Known(`{"severity":"high","n":3}`)},
	}
}

// Note 1.5: the four dialects, the operators, and comparison by the declared type.
func TestCondition(t *testing.T) {
	for _, c := range []struct {
		text    string
		dialect cacao.Dialect
		want    cacao.Answer
	}{
		{`[__n__:value = '10']`, cacao.STIX, cacao.True},
		{`[__n__:value > 9] AND [__b__:value = true]`, cacao.STIX, cacao.True},
		{`__n__:value > 9 AND (__s__:value IN ('a','b') OR __b__:value = true)`, cacao.Comparison, cacao.True},
		{`__b__:value = true OR __b__:value = true AND __b__:value = false`, cacao.Comparison, cacao.True},
		{`__n__:value < '9'`, cacao.Comparison, cacao.False},
		{`__s__:value = 'it\'s a\\b'`, cacao.Comparison, cacao.True},
		{`__s__:value LIKE 'it_s%b'`, cacao.Comparison, cacao.True},
		{`__s__:value LIKE 'IT%'`, cacao.Comparison, cacao.False},
		{`__s__:value LIKE 't_s'`, cacao.Comparison, cacao.False},
		{`__s__:value MATCHES 's a'`, cacao.Comparison, cacao.True},
		{`__s__:value NOT MATCHES '^s'`, cacao.Comparison, cacao.True},
		{`__n__:value = 'ten'`, cacao.Comparison, cacao.False},
		{`__n__:value != 'ten'`, cacao.Comparison, cacao.True},
		{`__ip__:value ISSUBSET '10.0.0.0/8'`, cacao.Comparison, cacao.True},
		{`__ip__:value NOT ISSUBSET '10.0.0.0/8'`, cacao.Comparison, cacao.False},
		{`__ip__:value ISSUPERSET '10.1.2.3/32'`, cacao.Comparison, cacao.True},
		{`__ip__:value IN ('192.0.2.0/24', '10.1.0.0/16')`, cacao.Comparison, cacao.True},
		{`__hash__:value = 'd41d8cd98f00b204e9800998ecf8427e'`, cacao.Comparison, cacao.True},
		{`__mac__:value = '02:00:5e:10:00:01'`, cacao.Comparison, cacao.True},
		{`EXISTS __null__:value`, cacao.Comparison, cacao.False},
		{`EXISTS __null__:value AND __null__:value = 'x'`, cacao.Comparison, cacao.False},
		{`__n__:value == 10`, cacao.Loose, cacao.True},
		{`__n__ = __m__`, cacao.Loose, cacao.True},
		{`__b__:value`, cacao.Loose, cacao.True},
		{`!__b__:value`, cacao.Loose, cacao.False},
		{`__ip__:value == 10.1.2.3 && __b__`, cacao.Loose, cacao.True},
		{`alert.severity = high`, cacao.Loose, cacao.True},
		{`'__n__:value' = 10`, cacao.Loose, cacao.True},
		{`__alert__:value.n > 2`, cacao.Comparison, cacao.True},
		{`Operator confirms that the host may be cut off.`, cacao.Question, cacao.Ask},
		{`__n__:value > 9 and then some`, cacao.Question, cacao.Ask},
	} {
		cond, err := cacao.ParseCondition(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got, err := cond.Eval(variables())
		if cond.Dialect != c.dialect || got != c.want || err != nil {
			t.Errorf("%s: got %s %v %v, want %s %v", c.text, cond.Dialect, got, err, c.dialect, c.want)
		}
	}
}

// Note 1.5: a variable without a value is an error, not false.
func TestConditionOfUnknown(t *testing.T) {
	for _, text := range []string{`__null__:value = 'x'`, `[__null__:value != 'x']`, `!__null__`, `alert.nothing = 1`} {
		cond, err := cacao.ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cond.Eval(variables()); !errors.Is(err, cacao.ErrUnknown) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	for text, want := range map[string]string{
		`__s__:value MATCHES '(?<!a)b'`:              "column 21: the regular expression cannot be used",
		`__s__:value MATCHES '(a)\\1'`:               "column 21",
		`__ip__:value ISSUBSET 'here'`:               `column 23: "here" is no address or network`,
		`[a:b = 1] WITHIN 0 SECONDS`:                 "column 18: WITHIN wants",
		`[a:b = h'0']`:                               "column 8",
		`[a:b = t'yesterday']`:                       "column 8",
		strings.Repeat("(", 300) + `__s__:value = 1`: "nested deeper",
		"": "is empty",
	} {
		if _, err := cacao.ParseCondition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %s", text, err, want)
		}
	}
	cond, err := cacao.ParseCondition(`[__n__:value = ]`)
	if err != nil || !strings.Contains(cond.Warning, "column 16: expected a value") && cond.Warning == "" {
		t.Errorf("got %+v, %v", cond, err)
	}
}

// Note 1.5: observation operators and qualifiers.
func TestMatch(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var seen []cacao.Observation
	for i, name := range []string{"a", "b", "a", "c", "a"} {
		seen = append(seen, cacao.Observation{At: start.Add(time.Duration(i) * 10 * time.Second), Values: map[string][]cacao.Operand{
			"process:name": {{Type: "string", Text: name}}, "file:hashes.SHA-256": {{Type: "string", Text: "00"}},
		}})
	}
	for text, want := range map[string]bool{
		`[process:name = 'a' AND file:hashes.'SHA-256' = '00']`: true,
		`[process:name = 'x']`:                                                                 false,
		`[process:name = 'x'] OR [process:name = 'c']`:                                         true,
		`[process:name = 'c'] AND [process:name = 'c']`:                                        false,
		`[process:name = 'b'] FOLLOWEDBY [process:name = 'c']`:                                 true,
		`[process:name = 'c'] FOLLOWEDBY [process:name = 'b']`:                                 false,
		`([process:name = 'b'] FOLLOWEDBY [process:name = 'c']) WITHIN 20 SECONDS`:             true,
		`([process:name = 'b'] FOLLOWEDBY [process:name = 'c']) WITHIN 19 SECONDS`:             false,
		`[process:name = 'a'] REPEATS 3 TIMES`:                                                 true,
		`[process:name = 'a'] REPEATS 4 TIMES`:                                                 false,
		`[process:name = 'a'] REPEATS 2 TIMES WITHIN 20 SECONDS`:                               true,
		`[process:name = 'a'] REPEATS 3 TIMES WITHIN 39 SECONDS`:                               false,
		`[process:name = 'c'] START t'2026-01-01T00:00:00Z' STOP t'2026-01-01T00:00:30Z'`:      false,
		`[process:name = 'c'] START t'2026-01-01T00:00:30Z' STOP t'2026-01-01T00:00:31Z'`:      true,
		`[process:name = 'x'] AND [process:name = 'x'] OR [process:name = 'a']`:                true,
		`[process:name = 'c'] FOLLOWEDBY [process:name = 'x'] OR [process:name = 'a']`:         true,
		`[process:nothing = 'a'] OR [EXISTS process:nothing]`:                                  false,
		`[process:name NOT = 'a']`:                                                             true,
		`[process:name IN ('y', 'b')] FOLLOWEDBY [process:name LIKE 'a'] FOLLOWEDBY [a:b = 1]`: false,
	} {
		cond, err := cacao.ParsePattern(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := cond.Match(seen); got != want || err != nil {
			t.Errorf("%s: got %v %v", text, got, err)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{`[__n__:value = '10'] AND [a:b[*].c NOT IN (1, 2)] WITHIN 5 SECONDS`, `!__b__ && alert.n == 10.0.0.1`, `t'x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cond, err := cacao.ParseCondition(text)
		if err != nil {
			return
		}
		got, _ := cond.Eval(variables())
		if (got == cacao.Ask) != (cond.Dialect == cacao.Question) {
			t.Errorf("%q: %s, %v", text, cond.Dialect, got)
		}
		if cond.Dialect == cacao.STIX {
			cond.Match([]cacao.Observation{{Values: map[string][]cacao.Operand{"a:b": {{Type: "string", Text: "1"}}}}})
		}
	})
}
