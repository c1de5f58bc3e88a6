package sigma_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/sigma"
)

func TestCorrelationErrorsAreLocated(t *testing.T) {
	const good = "name: x\ncorrelation:\n  type: event_count\n  rules: [a]\n  group-by: [u]\n  timespan: 1m\n  condition: {gte: 2}\n"
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not there", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	for name, c := range map[string]struct{ src, want string }{
		"good":                  {good, ""},
		"unknown type":          {change("event_count", "event_conut"), `c.yml:3:9: unknown type of correlation "event_conut"`},
		"no type":               {change("  type: event_count\n", ""), "c.yml:3:3: the correlation has no type"},
		"no rules":              {change("  rules: [a]\n", ""), "the correlation has no rules"},
		"no timespan":           {change("  timespan: 1m\n", ""), "c.yml:3:3: the correlation has no timespan"},
		"timespan M":            {change("1m", "1M"), `c.yml:6:13: timespan "1M" has the unit M`},
		"timespan 0":            {change("1m", "0s"), `c.yml:6:13: timespan "0s" is no time at all`},
		"timespan unit":         {change("1m", "5"), `timespan "5" is not a length of time`},
		"timespan fraction":     {change("1m", "1.5h"), `timespan "1.5h" is not a length`},
		"timespan sign":         {change("1m", "-1h"), `timespan "-1h" is not a length`},
		"timespan long":         {change("1m", "99999999w"), "is longer than 90 days"},
		"timespan empty":        {change("1m", "''"), "timespan is empty"},
		"not a map":             {"correlation: [x]\n", "c.yml:1:14: correlation must be a map, not a list"},
		"unknown key":           {change("group-by", "groupby"), `c.yml:5:3: unknown key "groupby" of a correlation`},
		"empty rules":           {change("[a]", "[]"), "c.yml:4:10: event_count has 1 to 32 rules, this one 0"},
		"rule twice":            {change("[a]", "[a, a]"), `rule "a" is named twice`},
		"temporal of one":       {change("event_count", "temporal"), "temporal has 2 to 32 rules, this one 1"},
		"unknown rule":          {change("[a]", "[z]"), `c.yml:4:10: there is no rule "z"`},
		"no condition":          {change("  condition: {gte: 2}\n", ""), "event_count needs a condition"},
		"condition text":        {change("{gte: 2}", "selection"), "c.yml:7:14: the condition of a correlation must be a map"},
		"old pipe":              {change("{gte: 2}", "'| count() > 5'"), "the condition of a correlation must be a map"},
		"condition key":         {change("gte", "ge"), `c.yml:7:15: unknown key "ge" of a condition`},
		"no number":             {change("gte: 2", "gte: two"), `c.yml:7:20: gte must be a number, not "two"`},
		"not finite":            {change("gte: 2", "gte: 1e999"), "gte must be a number"},
		"no bound":              {change("gte: 2", "field: x"), "event_count looks at no field"},
		"empty condition":       {change("gte: 2", ""), "compares with no number"},
		"eq 0":                  {change("gte: 2", "eq: 0"), "c.yml:7:14: the condition can never hold"},
		"lt 1":                  {change("gte: 2", "lt: 1"), "watch for a heartbeat that is missing"},
		"lte 0":                 {change("gte: 2", "lte: 0"), "can never hold"},
		"empty range":           {change("gte: 2", "gt: 2, lt: 3"), "leave no number between them"},
		"half":                  {change("gte: 2", "eq: 2.5"), "can never hold"},
		"eq and neq":            {change("gte: 2", "eq: 2, neq: 2"), "can never hold"},
		"negative":              {change("gte: 2", "gte: -1"), "compares a count with -1"},
		"more than rules":       {"name: x\ncorrelation: {type: temporal, rules: [a, b], timespan: 1m, condition: {gte: 3}}\n", "the correlation has fewer rules than that"},
		"ordered condition":     {"correlation: {type: temporal_ordered, rules: [a, b], timespan: 1m, condition: {gte: 2}}\n", "temporal_ordered takes no condition"},
		"no field":              {change("event_count", "value_count"), "value_count needs a field"},
		"sum of a list":         {strings.Replace(change("event_count", "value_sum"), "gte: 2", "gte: 2, field: [v, w]", 1), "c.yml:7:30: value_sum reckons with one field, not with 2"},
		"percentile":            {strings.Replace(change("event_count", "value_percentile"), "gte: 2", "gte: 2, field: v, percentile: high", 1), `percentile must be a number, not "high"`},
		"percentile 101":        {strings.Replace(change("event_count", "value_percentile"), "gte: 2", "gte: 2, field: v, percentile: 101", 1), "percentile 101 is out of range"},
		"percentile of a count": {change("gte: 2", "gte: 2, percentile: 5"), "event_count has no percentile"},
		"too many values":       {strings.Replace(change("event_count", "value_count"), "gte: 2", "gte: 20000, field: v", 1), "up to 10000 values are told apart"},
		"generate":              {change("  timespan", "  generate: perhaps\n  timespan"), "c.yml:6:13: generate must be true or false"},
		"alias":                 {change("  timespan", "  aliases: {who: {b: v}}\n  timespan"), `alias who is about rule "b", which the correlation does not name`},
		"alias without field":   {change("  timespan", "  aliases: {who: v}\n  timespan"), "alias who says no field"},
		"detection beside it":   {good + "detection: {s: {f: x}, condition: s}\n", "c.yml:8:1: a correlation has no detection"},
		"itself":                {change("[a]", "[x]"), "c.yml:4:10: the correlation is made of itself: x of x"},
		"a circle":              {"name: x\ncorrelation: {type: event_count, rules: [y], timespan: 1m, condition: {gte: 2}}\n---\n" + "name: y\ncorrelation: {type: event_count, rules: [a, x], timespan: 1m, condition: {gte: 2}}\n", "the correlation is made of itself: x of y of x"},
		"name of a rule":        {"name: a\ncorrelation: {type: event_count, rules: [b], timespan: 1m, condition: {gte: 2}}\n", "c.yml:1:1: name a is used twice, first in a.yml:1"},
		"id twice":              {"id: 1\n" + good + "---\nid: 1\n" + strings.Replace(good, "name: x", "name: y", 1), "c.yml:10:1: id 1 is used twice, first in c.yml:1"},
		"field not handed on":   {good + "---\nname: o\ncorrelation: {type: event_count, rules: [x], group-by: [host], timespan: 1m, condition: {gte: 2}}\n", `correlation "x" has no host for this one`},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := sigma.Parse("c.yml", []byte(c.src+"---\nname: other\ncorrelation: {type: event_count, rules: [a], timespan: 1m, condition: {gte: 2}}\n"))
			cor, err2 := sigma.NewCorrelator(parts, parsed.Correlations, sigma.CorrelatorOptions[int]{})
			said := fmt.Sprint(err, "\n", err2)
			if c.want == "" && (err != nil || err2 != nil) || !strings.Contains(said, c.want) {
				t.Errorf("got %s\nwant %s", said, c.want)
			}
			if list := cor.Correlations(); len(list) == 0 || list[len(list)-1].Name != "other" {
				t.Errorf("the other correlation is not counted: %v", list)
			}
		})
	}
}

func TestCorrelationLint(t *testing.T) {
	for src, want := range map[string]string{
		"correlation: {type: event_count, rules: [a], timespan: 1m, condition: {gte: 2}}\n":                                                "all events of all hosts fall into one window",
		"correlation: {type: event_count, rules: [a], group-by: [user], timespan: 1m, condition: {gte: 2}}\n":                              "field user is not known, so nothing is counted",
		"correlation: {type: event_count, rules: [a], group-by: [User], aliases: {w: {a: User}}, timespan: 1m, condition: {gte: 2}}\n":     "alias w is not used",
		"correlation: {type: value_count, rules: [a], group-by: [User], timespan: 1m, condition: {field: image, gte: 2}}\n":                "field image is not known",
		"logsource: {}\nfilter: {rules: [a], s: {User: x}, t: {User: y}, condition: s and not t}\n":                                        "the condition has not inside",
		"logsource: {product: x}\nfilter: {rules: [a], s: {User: x}, condition: s}\n":                                                      "it hides nothing of it",
		"logsource: {}\nfilter: {rules: [a], s: {User: x}, t: {user: x}, condition: s}\n":                                                  "identifier t is not used",
		"logsource: {}\nfilter: {rules: [a], s: {user: x}, condition: s}\n":                                                                "field user is not known",
		"logsource: {}\nfilter: {rules: [a], s: {User: x}, condition: s}\n":                                                                "the filter has no title",
		"level: severe\ncorrelation: {type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 2}}\n":               "unknown level severe",
		"title: t\nid: 1\ncorrelation: {type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: {gte: 2}}\nlevel: low\n": "id 1 is not a UUID",
	} {
		parsed, err := sigma.Parse("c.yml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		parsed.Rules = append(parsed.Rules, parts...)
		var all []string
		for _, p := range parsed.Lint(schema) {
			all = append(all, p.String())
		}
		if got := strings.Join(all, "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
}

// Times that no clock means must not end all windows, nor be counted.
func TestWildClocks(t *testing.T) {
	src := "name: x\ncorrelation: {type: event_count, rules: [a], timespan: 10s, condition: {gte: 3}}\n"
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), sigma.CorrelatorOptions[string]{})
	if err != nil {
		t.Fatal(err)
	}
	fired := 0
	seen := func(at time.Time) {
		cor.Observe(sigma.Observation{Event: event(nil), Time: at, Rules: parts[:1]}, func(*sigma.Firing[string]) { fired++ })
	}
	cor.Advance(epoch, nil)
	seen(epoch)
	seen(time.Time{})
	seen(epoch.AddDate(500, 0, 0))
	seen(epoch.AddDate(1, 0, 0)) // taken for now
	if s := cor.Stats(); fired != 0 || s.Late != 2 || s.Clamped != 1 || s.Groups != 1 {
		t.Errorf("%d fired, %+v", fired, s)
	}
	seen(epoch.Add(time.Second))
	if fired != 1 {
		t.Errorf("%d fired, want 1", fired)
	}
}
