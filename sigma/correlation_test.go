package sigma_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"picket/sigma"
)

// parts are rules that correlations are made of, each in a file of its own.
var parts = func() []*sigma.Rule {
	var out []*sigma.Rule
	for _, name := range []string{"a", "b", "c"} {
		parsed, err := sigma.Parse(name+".yml", []byte("name: "+name+"\nid: id-"+name+"\nlogsource: {}\ndetection: {s: {r: "+name+"}, condition: s}\n"))
		if err != nil {
			panic(err)
		}
		out = append(out, parsed.Rules...)
	}
	return out
}()

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// moment is an event of a test, or the time told.
type moment struct {
	at     time.Time
	rules  []*sigma.Rule
	event  *record
	weight uint64
	id     string
}

// moments reads "seconds:rules:field=value,…", such as "5:a:u=x,v=3" or "5:ab*3:" for three events
// that two rules fire on; "60:" tells the time.
func moments(t testing.TB, text string) []moment {
	t.Helper()
	var out []moment
	for word := range strings.FieldsSeq(text) {
		p := strings.SplitN(word, ":", 3)
		seconds, err := strconv.ParseFloat(p[0], 64)
		if err != nil || len(p) < 2 {
			t.Fatalf("bad moment %q", word)
		}
		m := moment{at: epoch.Add(time.Duration(seconds * float64(time.Second))), id: word}
		fired, weight, _ := strings.Cut(p[1], "*")
		m.weight, _ = strconv.ParseUint(weight, 10, 64)
		for _, r := range parts {
			if strings.Contains(fired, r.Name) {
				m.rules = append(m.rules, r)
			}
		}
		fields := map[string]any{}
		if len(p) == 3 && p[2] != "" {
			for f := range strings.SplitSeq(p[2], ",") {
				name, value, _ := strings.Cut(f, "=")
				if fields[name] = value; value == "null" {
					fields[name] = nil
				}
				if n, err := strconv.Atoi(value); err == nil {
					fields[name] = n
				}
			}
		}
		m.event = event(fields)
		out = append(out, m)
	}
	return out
}

func correlations(t testing.TB, src string) []*sigma.Correlation {
	t.Helper()
	parsed, err := sigma.Parse("c.yml", []byte(src))
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return parsed.Correlations
}

// keepIDs keeps the words that moments were written as.
func keepIDs(lateness time.Duration) sigma.CorrelatorOptions[string] {
	o := sigma.CorrelatorOptions[string]{
		Schema: schema, Lateness: lateness,
		Token: func(ev sigma.Event, r *sigma.Rule) string { return r.Name + "/" + ev.Extra("id").Str },
		Derive: func(f *sigma.Firing[string]) string {
			return f.Correlation.Name + "@" + f.Time.Sub(epoch).String()
		},
		Encode: func(s string) ([]byte, error) { return []byte(s), nil },
		Decode: func(b []byte) (string, error) { return string(b), nil },
	}
	if lateness == 0 {
		o.Lateness = -1
	}
	return o
}

// told writes a firing as "name@seconds[group]".
func told(f *sigma.Firing[string]) string {
	return fmt.Sprintf("%s@%v%v", f.Correlation.Name, f.Time.Sub(epoch).Seconds(), f.Group)
}

// play gives moments to c and returns what fired.
func play(c *sigma.Correlator[string], ms []moment) (out []string) {
	fire := func(f *sigma.Firing[string]) { out = append(out, told(f)) }
	for _, m := range ms {
		if m.rules == nil {
			c.Advance(m.at, fire)
			continue
		}
		m.event.fields["id"] = sigma.Value{Kind: sigma.Text, Str: m.id}
		c.Observe(sigma.Observation{Event: m.event, Time: m.at, Weight: m.weight, Rules: m.rules}, fire)
	}
	return out
}

func TestCorrelations(t *testing.T) {
	one := func(kind, rest string) string {
		return "name: x\ncorrelation: {type: " + kind + ", rules: [a, b, c], group-by: [u], timespan: 10s, " + rest + "}\n"
	}
	count := one("event_count", "condition: {gte: 3}")
	for _, c := range []struct {
		section, name, src, events, want string
	}{
		{"event_count", "three in one window", count, "0:a:u=x 5:b:u=x 10:c:u=x", "x@10[x]"},
		{"event_count", "an event is counted once, however many rules fire", count, "0:abc:u=x 1:ab:u=x 2:c:u=x", "x@2[x]"},
		{"event_count", "gt", one("event_count", "condition: {gt: 3}"), "0:a:u=x 1:a:u=x 2:a:u=x 3:a:u=x", "x@3[x]"},
		{"event_count", "an event stands for several", count, "0:a*3:u=x", "x@0[x]"},
		{"value_count", "distinct values", one("value_count", "condition: {field: v, gte: 2}"), "0:a:u=x,v=p 1:a:u=x,v=P 2:a:u=x,v=q", "x@2[x]"},
		{"value_count", "last seen counts", one("value_count", "condition: {field: v, gte: 2}"), "0:a:u=x,v=p 8:a:u=x,v=p 12:a:u=x,v=q", "x@12[x]"},
		{
			"value_count", "tuples, of events that have all of the fields", one("value_count", "condition: {field: [v, w], gte: 2}"),
			"0:a:u=x,v=1,w=2 1:a:u=x,v=1 2:a:u=x,v=1,w=2 3:a:u=x,v=12,w= 4:a:u=x,v=1,w=3", "x@3[x]",
		},
		{"value_sum", "reaches", one("value_sum", "condition: {field: v, gt: 10}"), "0:a:u=x,v=4 1:a:u=x,v=6 2:a:u=x,v=1", "x@2[x]"},
		{"value_sum", "respects what an event stands for", one("value_sum", "condition: {field: v, gt: 10}"), "0:a*3:u=x,v=4", "x@0[x]"},
		{"value_sum", "what is no number is skipped", one("value_sum", "condition: {field: v, gte: 3}"), "0:a:u=x,v=z 1:a:u=x 2:a:u=x,v=3", "x@2[x]"},
		{"value_sum", "an empty window never fires", one("value_sum", "condition: {field: v, lte: 0}"), "0:a:u=x,v=z 100:", ""},
		{"value_avg", "mean", one("value_avg", "condition: {field: v, gte: 2.5}"), "0:a:u=x,v=1 1:a:u=x,v=2 2:a:u=x,v=6", "x@2[x]"},
		{"value_percentile", "the median by default, interpolated", one("value_percentile", "condition: {field: v, gte: 2.5}"), "0:a:u=x,v=1 1:a:u=x,v=2 2:a:u=x,v=9 3:a:u=x,v=3", "x@3[x]"},
		{"value_percentile", "the greatest", one("value_percentile", "condition: {field: v, gte: 9, percentile: 100}"), "0:a:u=x,v=1 1:a:u=x,v=9", "x@1[x]"},
		{"temporal", "each rule", one("temporal", "generate: false"), "0:c:u=x 1:a:u=x 2:a:u=x 3:b:u=x", "x@3[x]"},
		{"temporal", "distinct rules counted", one("temporal", "condition: {gte: 2}"), "0:c:u=x 1:c:u=x 3:b:u=x", "x@3[x]"},
		{"temporal", "one event that all rules fire on", one("temporal", "generate: true"), "0:abc:u=x", "x@0[x]"},
		{"temporal_ordered", "in order", one("temporal_ordered", "generate: true"), "0:a:u=x 1:b:u=x 2:c:u=x", "x@2[x]"},
		{"temporal_ordered", "not in order", one("temporal_ordered", "generate: true"), "0:b:u=x 1:a:u=x 2:c:u=x", ""},
		{"temporal_ordered", "one subsequence is enough", one("temporal_ordered", "generate: true"), "0:a:u=x 1:c:u=x 2:b:u=x 3:a:u=x 4:c:u=x", "x@4[x]"},
		{"temporal_ordered", "equal times are in order of arrival", one("temporal_ordered", "generate: true"), "0:a:u=x 0:b:u=x 0:c:u=x", "x@0[x]"},
		{"temporal_ordered", "an event does not follow itself", one("temporal_ordered", "generate: true"), "0:abc:u=x", ""},
		{"temporal_ordered", "the same rule twice", "name: x\ncorrelation: {type: temporal_ordered, rules: [a, a], group-by: [u], timespan: 10s}\n", "0:a:u=x 1:a:u=y 2:a:u=x", "x@2[x]"},
		{"temporal_ordered", "what begins last leaves most time", one("temporal_ordered", "generate: true"), "0:a:u=x 5:a:u=x 6:b:u=x 15:c:u=x", "x@15[x]"},

		{"rules", "by id", "name: x\ncorrelation: {type: event_count, rules: [id-a], timespan: 10s, condition: {gte: 1}}\n", "0:a: 1:b:", "x@0[]"},
		{
			"group-by", "a window for each tuple, in any case", "name: x\ncorrelation: {type: event_count, rules: [a], group-by: [u, v], timespan: 10s, condition: {gte: 2}}\n",
			"0:a:u=x,v=1 1:a:u=x,v=2 2:a:u=X,v=1 3:a:u=x1,v=", "x@2[x 1]",
		},
		{"group-by", "a missing field is not an empty one", count, "0:a: 1:a: 2:a: 3:a:u=null 4:a:u= 5:a:u= 6:a:u=", "x@6[]"},
		{"group-by", "absent is one group", "name: x\ncorrelation: {type: event_count, rules: [a], timespan: 10s, condition: {gte: 2}}\n", "0:a:u=x 1:a:u=y", "x@1[]"},
		{
			"aliases", "a rule not listed uses the alias as field", "name: x\ncorrelation: {type: temporal, rules: [a, b, c], group-by: [who], timespan: 10s, aliases: {who: {a: u, b: v}}}\n",
			"0:a:u=x 1:b:v=x 2:c:who=x", "x@2[x]",
		},
		{
			"aliases", "in the field of the condition", "name: x\ncorrelation: {type: value_count, rules: [a, b], timespan: 10s, aliases: {what: {a: u, b: v}}, condition: {field: what, gte: 2}}\n",
			"0:a:u=x 1:b:v=x 2:b:v=y", "x@2[]",
		},
		{"timespan", "inclusive", count, "0:a:u=x 1:a:u=x 10:a:u=x", "x@10[x]"},
		{"timespan", "exclusive of more", count, "0:a:u=x 1:a:u=x 10.001:a:u=x", ""},
		{"timespan", "sliding, not aligned", count, "8:a:u=x 9:a:u=x 11:a:u=x", "x@11[x]"},
		{"timespan", "minutes, hours, days, weeks", strings.Replace(count, "10s", "2w", 1), "0:a:u=x 1:a:u=x 1209600:a:u=x", "x@1.2096e+06[x]"},

		{"condition", "a range is judged when the window closes", one("event_count", "condition: {gt: 1, lte: 3}"), "0:a:u=x 1:a:u=x 10:a:u=x 11:", "x@10[x]"},
		{"condition", "a range that was left", one("event_count", "condition: {gt: 1, lte: 3}"), "0:a:u=x 1:a:u=x 2:a:u=x 3:a:u=x 30:", ""},
		{"condition", "the window closes with its last moment past", one("event_count", "condition: {lt: 3}"), "0:a:u=x 10:", ""},
		{"condition", "the next window begins with the next event", one("event_count", "condition: {lt: 3}"), "0:a:u=x 12:a:u=x 13:a:u=x 14:a:u=x 60:a:u=x 90:", "x@0[x] x@60[x]"},
		{"condition", "eq", one("value_count", "condition: {field: v, eq: 2}"), "0:a:u=x,v=1 1:a:u=x,v=2 2:a:u=x,v=1 20:", "x@2[x]"},
		{"condition", "neq", one("event_count", "condition: {neq: 2}"), "0:a:u=x 1:a:u=x 20:a:u=x 40:", "x@20[x]"},
		{"condition", "temporal with an upper bound", one("temporal", "condition: {eq: 1}"), "0:a:u=x 1:a:u=x 20:a:u=x 21:b:u=x 40:", "x@1[x]"},

		{"repeat", "silent while it holds", count, "0:a:u=x 1:a:u=x 2:a:u=x 3:a:u=x 4:a:u=x", "x@2[x]"},
		{"repeat", "until the timespan is over", count, "0:a:u=x 1:a:u=x 2:a:u=x 5:a:u=x 9:a:u=x 12:a:u=x 13:a:u=x", "x@2[x] x@13[x]"},
		{"repeat", "or it fell below", count, "0:a:u=x 1:a:u=x 2:a:u=x 11.5:a:u=x 11.6:a:u=x", "x@2[x] x@11.6[x]"},

		{"event time", "late events count where they belong", count, "20:a:u=x 11:a:u=x 12:a:u=x", "x@20[x]"},
		{"event time", "a late first step is a step", one("temporal_ordered", "generate: true"), "6:c:u=x 5:b:u=x 4:a:u=x", "x@6[x]"},
		{"event time", "too late", count, "60:a:u=x 29:a:u=x 29.5:a:u=x", ""},
	} {
		t.Run(c.section+"/"+c.name, func(t *testing.T) {
			lateness := time.Duration(0)
			if c.section == "event time" {
				lateness = 30 * time.Second
			}
			cor, err := sigma.NewCorrelator(parts, correlations(t, c.src), keepIDs(lateness))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(play(cor, moments(t, c.events)), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

const chained = `name: outer
correlation: {type: temporal_ordered, rules: [tries, b], group-by: [u], timespan: 1m}
---
name: tries
correlation: {type: event_count, rules: [a], group-by: [host, u], timespan: 10s, condition: {gte: 2}}
---
name: many
correlation: {type: value_count, rules: [outer], timespan: 1h, condition: {field: u, gte: 2}}
---
name: few
correlation: {type: event_count, rules: [c], group-by: [u], timespan: 10s, condition: {lte: 2}}
---
name: often few
correlation: {type: event_count, rules: [few], group-by: [u], timespan: 1m, condition: {gte: 2}}
`

func TestCorrelationsOfCorrelations(t *testing.T) {
	for events, want := range map[string]string{
		"0:a:u=x,host=p 1:a:u=x,host=p 5:b:u=x,host=q":                                "tries@1[p x] outer@5[x]",
		"0:a:u=x,host=p 1:a:u=x,host=q 5:b:u=x":                                       "",
		"0:a:u=x,host=p 1:a:u=x,host=p 5:b:u=x 6:a:u=y,host=p 6:a:u=y,host=p 8:b:u=y": "tries@1[p x] outer@5[x] tries@6[p y] outer@8[y] many@8[]",
		"0:c:u=x 20:c:u=x 50:":                                                        "few@0[x] few@20[x] often few@20[x]",
		"0:c:u=x 20:c:u=x 20:c:u=x 20:c:u=x 40:c:u=x 99:":                             "few@0[x] few@40[x] often few@40[x]",
		"0:a:u=x,host=p 1:a:u=x,host=p 61.5:b:u=x,host=p 100:a:u=x,host=p 105:a:u=x,host=p 165:b:u=x 165.1:b:u=x 170:": "tries@1[p x] tries@105[p x] outer@165[x]",
	} {
		cor, err := sigma.NewCorrelator(parts, correlations(t, chained), keepIDs(0))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(play(cor, moments(t, events)), " "); got != want {
			t.Errorf("%s: got %q, want %q", events, got, want)
		}
	}
}

func TestContributors(t *testing.T) {
	src := "name: x\ncorrelation: {type: event_count, rules: [a, b], timespan: 10m, condition: {gte: 30}}\n"
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), keepIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	var got []*sigma.Firing[string]
	for i := range 40 {
		m := moments(t, fmt.Sprintf("%d:%s:id=%d", i, "ab"[i%2:i%2+1], i))[0]
		m.event.fields["id"] = sigma.Value{Kind: sigma.Text, Str: strconv.Itoa(i)}
		cor.Observe(sigma.Observation{Event: m.event, Time: m.at, Rules: m.rules}, func(f *sigma.Firing[string]) { got = append(got, f) })
	}
	if len(got) != 1 || got[0].Total != 30 || got[0].Figure != 30 {
		t.Fatalf("got %+v", got)
	}
	var tokens []string
	for _, c := range got[0].Contributors {
		tokens = append(tokens, c.Token)
		if int(c.Time.Sub(epoch).Seconds())%2 != c.Part {
			t.Errorf("%+v is not of its rule", c)
		}
	}
	want := []string{"a/0", "b/1", "a/2", "b/3", "a/4", "b/5", "a/6", "b/7", "a/8", "b/9", "a/20", "b/21", "a/22", "b/23", "a/24", "b/25", "a/26", "b/27", "a/28", "b/29"}
	if !slices.Equal(tokens, want) {
		t.Errorf("got %q", tokens)
	}
}

func TestGenerate(t *testing.T) {
	src := func(generate string) string {
		return "name: r\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n---\nname: one\ncorrelation: {type: event_count, rules: [r, a], timespan: 1m, condition: {gte: 2}}\n" +
			"---\nname: two\ncorrelation: {type: event_count, rules: [r, one], timespan: 1m, condition: {gte: 2}" + generate + "}\n"
	}
	for generate, want := range map[string]string{"": "r one", ", generate: false": "r one", ", generate: true": ""} {
		parsed, err := sigma.Parse("c.yml", []byte(src(generate)))
		if err != nil {
			t.Fatal(err)
		}
		silent := sigma.BuildingBlocks(append(slices.Clone(parts), parsed.Rules...), parsed.Correlations)
		var got []string
		for _, m := range []*sigma.Meta{&parts[0].Meta, &parsed.Rules[0].Meta, &parsed.Correlations[0].Meta, &parsed.Correlations[1].Meta} {
			if silent[m] {
				got = append(got, m.Name)
			}
		}
		if strings.Join(got, " ") != want { // a stands in another file: it was loaded in its own right
			t.Errorf("generate %q: silent are %q, want %q", generate, got, want)
		}
	}
}
