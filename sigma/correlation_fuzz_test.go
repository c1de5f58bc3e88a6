package sigma

import (
	"bytes"
	"testing"
	"time"
)

// everyCorrelation has one of each type, one of them made of another, and a filter.
const everyCorrelation = `name: a
logsource: {}
detection: {s: {f: x}, condition: s}
---
name: b
logsource: {}
detection: {s: {f: '*'}, condition: s}
---
name: count
level: low
correlation: {type: event_count, rules: [a, b], group-by: [f], timespan: 5m, condition: {gte: 2}}
---
name: closes
correlation: {type: event_count, rules: [a, b], group-by: [f], timespan: 5m, condition: {lt: 4, neq: 2}}
---
name: values
correlation: {type: value_count, rules: [a, b], group-by: [g], aliases: {g: {a: h, b: i}}, timespan: 1h, condition: {field: [g, f], gt: 1}}
---
name: sum
correlation: {type: value_sum, rules: [a], timespan: 1h, condition: {field: n, gt: 1}}
---
name: mean
correlation: {type: value_avg, rules: [a], timespan: 1h, condition: {field: n, lt: 100}}
---
name: middle
correlation: {type: value_percentile, rules: [a], timespan: 1h, condition: {field: n, gte: 1, percentile: 95}}
---
name: both
correlation: {type: temporal, rules: [a, b], group-by: [f], timespan: 2d, generate: true}
---
name: one after another
correlation: {type: temporal_ordered, rules: [a, count, b, a], group-by: [f], timespan: 1w}
---
logsource: {}
filter-mode: suppress
expires: 2030-01-01
filter: {rules: any, s: {f: y}, condition: not s or s}
`

// numbered has a number in n, and the same text in all other fields.
type numbered struct {
	hostile
	n int64
}

func (e numbered) Extra(name string) Value {
	if name == "n" {
		return Value{Kind: Integer, Int: e.n}
	}
	return Value{Kind: Text, Str: e.text}
}

// stir gives events and times to c.
func stir(c *Correlator[string], rules []*Rule, text string) {
	fire := func(*Firing[string]) {}
	for i := range 30 {
		at := time.Unix(int64(i*i), 0)
		ev := numbered{hostile{text: text[:i*len(text)/30]}, int64(i)}
		c.Observe(Observation{Event: ev, Time: at, Weight: uint64(i % 4), Rules: rules[i%max(len(rules), 1):]}, fire)
	}
	c.Advance(time.Unix(1e6, 0), fire)
	c.Stats()
}

func textTokens() CorrelatorOptions[string] {
	return CorrelatorOptions[string]{
		Token:  func(Event, *Rule) string { return "t" },
		Derive: func(f *Firing[string]) string { return f.Correlation.Name },
		Encode: func(s string) ([]byte, error) { return []byte(s), nil },
		Decode: func(b []byte) (string, error) { return string(b), nil },
	}
}

func FuzzCorrelation(f *testing.F) {
	for doc := range bytes.SplitSeq([]byte(everyCorrelation), []byte("---\n")) {
		f.Add(append([]byte("name: a\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n---\n"), doc...), "x")
	}
	f.Add([]byte(everyCorrelation), "text")
	f.Add([]byte("correlation: {type: temporal, rules: {a: b}, aliases: [x], condition: {gte: 1e400}}\n---\nfilter: {rules: any}\n"), "\xff")
	f.Fuzz(func(t *testing.T, src []byte, text string) {
		all, err := Parse("f.yml", src)
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		for _, p := range all.Lint(nil) {
			_ = p.String()
		}
		e, _ := Options{Filters: all.Filters}.Compile(all.Rules, nil)
		e.Match(hostile{text: text}, func(*Rule) {})
		e.Suppressions()
		BuildingBlocks(all.Rules, all.Correlations)
		c, _ := NewCorrelator(all.Rules, all.Correlations, textTokens())
		stir(c, all.Rules, text)
	})
}

func FuzzRestore(f *testing.F) {
	all, err := Parse("f.yml", []byte(everyCorrelation))
	if err != nil {
		f.Fatal(err)
	}
	build := func(tb testing.TB) *Correlator[string] {
		c, err := NewCorrelator(all.Rules, all.Correlations, textTokens())
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	c := build(f)
	for i := range 20 {
		ev := numbered{hostile{text: "x"}, int64(i)}
		c.Observe(Observation{Event: ev, Time: time.Unix(int64(i), 0), Rules: all.Rules}, nil)
	}
	state, err := c.Snapshot()
	if err != nil || c.Stats().Groups < 8 {
		f.Fatalf("%v, %+v", err, c.Stats())
	}
	f.Add(state)
	for _, swap := range []string{`"points":[`, `"points":[[18446744073709551615,1,1],`, `"version":1`, `"version":2`, `"newest":`, `"newest":9`, `"key":"`, `"key":"AAAA`} {
		f.Add(bytes.Replace(state, []byte(`"points":[`), []byte(swap), 1))
	}
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version":1,"watermark":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := build(t)
		if c.Restore(data) != nil {
			if s := c.Stats(); s.Groups != 0 || s.Bytes != 0 {
				t.Fatalf("refused, and kept: %+v", s)
			}
		}
		again, err := c.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := build(t).Restore(again); err != nil {
			t.Errorf("what was written is not read: %v", err)
		}
		stir(c, all.Rules, "x y z")
	})
}

func TestSnapshotsOfAnotherMeaningAreLeftOut(t *testing.T) {
	const src = "name: a\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n---\nname: c\ncorrelation: {type: event_count, rules: [a], group-by: [f], timespan: 5m, condition: {gte: 2}}\n"
	build := func(src string) (*Correlator[string], []*Rule) {
		all, err := Parse("f.yml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewCorrelator(all.Rules, all.Correlations, textTokens())
		if err != nil {
			t.Fatal(err)
		}
		return c, all.Rules
	}
	c, rules := build(src)
	c.Observe(Observation{Event: hostile{text: "x"}, Time: time.Unix(5, 0), Rules: rules}, nil)
	state, err := c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"title": "title", "5m": "6m", "gte: 2": "gte: 3", "[f]": "[g]", "name: c": "name: d", "name: c\n": "name: c\nlevel: high\n",
	} {
		next, _ := build(string(bytes.Replace([]byte(src), []byte(from), []byte(to), 1)))
		if err := next.Restore(state); err != nil {
			t.Fatal(err)
		}
		want := 0
		if from == "title" || to == "name: c\nlevel: high\n" {
			want = 1
		}
		if n := next.Stats().Groups; n != want {
			t.Errorf("%s → %s: %d groups, want %d", from, to, n, want)
		}
	}
}
