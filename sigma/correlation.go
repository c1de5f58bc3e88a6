package sigma

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// CorrelationType says what a correlation counts in a window.
type CorrelationType string

// The types of correlation.
const (
	EventCount      CorrelationType = "event_count"      // events
	ValueCount      CorrelationType = "value_count"      // distinct values of a field, or tuples of several
	ValueSum        CorrelationType = "value_sum"        // the sum of a numeric field
	ValueAvg        CorrelationType = "value_avg"        // the mean of a numeric field
	ValuePercentile CorrelationType = "value_percentile" // a percentile of a numeric field
	Temporal        CorrelationType = "temporal"         // rules that fired
	TemporalOrdered CorrelationType = "temporal_ordered" // rules that fired one after another: 1 or 0
)

var correlationTypes = []CorrelationType{EventCount, ValueCount, ValueSum, ValueAvg, ValuePercentile, Temporal, TemporalOrdered}

// Correlation says which matches of rules, taken together, mean something. It is not changed once
// parsed.
type Correlation struct {
	Meta
	Type      CorrelationType
	Rules     []string // ids or names, of rules or of other correlations
	GroupBy   []string // fields or aliases; none is one group of all events
	Aliases   map[string]map[string]string
	Timespan  time.Duration
	Condition Condition
	Generate  bool // the rules alert by themselves too
}

// Bounds of one correlation, and with them of the memory that a group of it takes.
const (
	maxParts    = 32
	maxTimespan = 90 * 24 * time.Hour
	maxDistinct = 10_000 // values that a group tells apart
)

// correlation reads a document with a section of that name.
func (r *reader) correlation(doc *yaml.Node) *Correlation {
	c := &Correlation{Meta: r.newMeta(doc)}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		switch key, value := doc.Content[i], doc.Content[i+1]; key.Value {
		case "correlation":
			r.correlationBody(c, value)
		case "detection", "filter":
			r.fault(at(key), "write them as documents of their own, with --- between", "a correlation has no %s", key.Value)
		case "generate": // stood here before version 2.1
			c.Generate = r.truth("generate", value)
		default:
			r.entry(&c.Meta, key, value)
		}
	}
	return c
}

func (r *reader) correlationBody(c *Correlation, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write type:, rules:, group-by: and timespan: below it", "correlation must be a map, not %s", kindName(n))
		return
	}
	before := len(r.errs)
	var condition *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		c.at["correlation."+key.Value] = at(value)
		switch key.Value {
		case "type":
			c.Type = CorrelationType(r.text("type", value))
			if !slices.Contains(correlationTypes, c.Type) {
				r.fault(at(value), "known are "+joined(correlationTypes), "unknown type of correlation %q", c.Type)
			}
		case "rules":
			c.Rules = r.list("rules", value)
		case "group-by":
			c.GroupBy = r.list("group-by", value)
		case "timespan":
			c.Timespan = r.timespan(value)
		case "aliases":
			c.Aliases = r.aliases(value)
		case "generate":
			c.Generate = r.truth("generate", value)
		case "condition":
			condition = value
		default:
			r.fault(at(key), "known are type, rules, group-by, timespan, condition, aliases and generate", "unknown key %q of a correlation", key.Value)
		}
	}
	for _, need := range []string{"type", "rules", "timespan"} {
		if valueIndex(n, need) < 0 {
			r.fault(at(n), "add "+need+":", "the correlation has no %s", need)
		}
	}
	if len(r.errs) == before {
		c.Condition = r.correlationCondition(c, n, condition)
		r.parts(c, n)
	}
}

// parts checks what the correlation names.
func (r *reader) parts(c *Correlation, n *yaml.Node) {
	rules := lookup(n, "rules")
	least := 1
	if c.temporal() {
		least = 2
	}
	if len(c.Rules) < least || len(c.Rules) > maxParts {
		r.fault(at(rules), "name them by id or name", "%s has %d to %d rules, this one %d", c.Type, least, maxParts, len(c.Rules))
	}
	for i, name := range c.Rules {
		if name == "" {
			r.fault(at(rules), "name rules by id or name", "an entry of rules is empty")
		}
		if slices.Contains(c.Rules[:i], name) && c.Type != TemporalOrdered {
			r.fault(at(rules), "name each rule once", "rule %q is named twice", name)
		}
	}
	if i := slices.Index(c.GroupBy, ""); i >= 0 || len(c.GroupBy) > maxParts {
		r.fault(at(lookup(n, "group-by")), "name fields of the events", "group-by needs up to %d names, none of them empty", maxParts)
	}
	for name, fields := range c.Aliases {
		for rule := range fields {
			if !slices.Contains(c.Rules, rule) {
				r.fault(at(lookup(n, "aliases")), "name it as in rules:", "alias %s is about rule %q, which the correlation does not name", name, rule)
			}
		}
	}
}

func (c *Correlation) temporal() bool { return c.Type == Temporal || c.Type == TemporalOrdered }

// numeric reports whether the type reckons with the numbers of a field.
func (c *Correlation) numeric() bool {
	return c.Type == ValueSum || c.Type == ValueAvg || c.Type == ValuePercentile
}

// timespan reads a length of time such as 10m.
func (r *reader) timespan(n *yaml.Node) time.Duration {
	const hint = "write a number and s, m, h, d or w, such as 10m"
	s := r.text("timespan", n)
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if s == "" {
		r.fault(at(n), hint, "timespan is empty")
		return 0
	}
	unit, ok := units[s[len(s)-1]]
	count, err := strconv.ParseUint(s[:len(s)-1], 10, 31)
	switch {
	case s[len(s)-1] == 'M':
		r.fault(at(n), "m is minutes; write months as days, such as 30d", "timespan %q has the unit M", s)
	case !ok || err != nil:
		r.fault(at(n), hint, "timespan %q is not a length of time", s)
	case count == 0:
		r.fault(at(n), hint, "timespan %q is no time at all", s)
	case count > uint64(maxTimespan/unit):
		r.fault(at(n), "what is half seen is kept that long", "timespan %q is longer than 90 days", s)
	default:
		return time.Duration(count) * unit
	}
	return 0
}

// aliases reads {alias: {rule: field}}.
func (r *reader) aliases(n *yaml.Node) map[string]map[string]string {
	all := map[string]map[string]string{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		fields := map[string]string{}
		for j := 0; value.Kind == yaml.MappingNode && j+1 < len(value.Content); j += 2 {
			fields[value.Content[j].Value] = r.text("the field of an alias", value.Content[j+1])
		}
		if len(fields) == 0 {
			r.fault(at(value), "write rule: field below it", "alias %s says no field", name)
		}
		all[name] = fields
	}
	if n.Kind != yaml.MappingNode {
		r.fault(at(n), "write alias: {rule: field}", "aliases must be a map, not %s", kindName(n))
	}
	return all
}

// truth reads true or false.
func (r *reader) truth(key string, n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.fault(at(n), "write true or false", "%s must be true or false", key)
		return false
	}
	b, _ := strconv.ParseBool(n.Value)
	return b || n.Value == "TRUE" || n.Value == "True"
}

// joined lists words with commas.
func joined[S ~string](words []S) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
