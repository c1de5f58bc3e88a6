package sigma

import (
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Condition says when the count, sum or other figure of a window fires a correlation: when all its
// bounds hold.
type Condition struct {
	Fields     []string // or aliases; what value_count and the other value types look at
	Percentile float64  // 0 to 100, of value_percentile
	Bounds     []Bound
}

// Bound compares a figure with a number.
type Bound struct {
	Op     string // gt, gte, lt, lte, eq or neq
	Number float64
}

// maxCount bounds what a count is compared with.
const maxCount = 1e15

// Holds reports whether all bounds hold for a figure.
func (c Condition) Holds(figure float64) bool {
	for _, b := range c.Bounds {
		if !b.holds(figure) {
			return false
		}
	}
	return true
}

func (b Bound) holds(figure float64) bool {
	switch b.Op {
	case "gt":
		return figure > b.Number
	case "gte":
		return figure >= b.Number
	case "lt":
		return figure < b.Number
	case "lte":
		return figure <= b.Number
	case "eq":
		return figure == b.Number
	}
	return figure != b.Number
}

// atOnce reports whether more events can only help: whether there are lower bounds alone. Other
// conditions are judged when the window closes.
func (c Condition) atOnce() bool {
	for _, b := range c.Bounds {
		if b.Op != "gt" && b.Op != "gte" {
			return false
		}
	}
	return true
}

// enough is a count beyond which the verdict of no bound changes: one past the largest.
func (c Condition) enough() int {
	most := 0.0
	for _, b := range c.Bounds {
		most = max(most, b.Number)
	}
	most = min(most, maxCount)
	if c.atOnce() {
		for _, b := range c.Bounds {
			if b.Op == "gt" && b.Number == most {
				return int(math.Floor(most)) + 1
			}
		}
		return max(int(math.Ceil(most)), 1)
	}
	return int(math.Floor(most)) + 1
}

// correlationCondition reads the condition of c, or makes the one that the type stands for.
func (r *reader) correlationCondition(c *Correlation, body, n *yaml.Node) Condition {
	cond := Condition{Percentile: 50}
	switch {
	case n == nil && c.Type == Temporal:
		cond.Bounds = []Bound{{"gte", float64(len(c.Rules))}}
		return cond
	case n == nil && c.Type == TemporalOrdered:
		cond.Bounds = []Bound{{"gte", 1}}
		return cond
	case n == nil:
		r.fault(at(body), "such as condition: {gte: 5}", "%s needs a condition", c.Type)
		return cond
	case c.Type == TemporalOrdered:
		r.fault(at(n), "remove it: all rules must fire, in order", "temporal_ordered takes no condition")
		return cond
	case n.Kind != yaml.MappingNode:
		r.fault(at(n), "such as condition: {gte: 5}", "the condition of a correlation must be a map, not %s", kindName(n))
		return cond
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		r.conditionEntry(c, &cond, n.Content[i], n.Content[i+1])
	}
	r.checkCondition(c, &cond, n)
	return cond
}

func (r *reader) conditionEntry(c *Correlation, cond *Condition, key, value *yaml.Node) {
	switch key.Value {
	case "field":
		cond.Fields = r.list("field", value)
		c.at["correlation.condition.field"] = at(value)
	case "percentile":
		p, ok := r.number("percentile", value)
		if cond.Percentile = p; ok && (p < 0 || p > 100) {
			r.fault(at(value), "a number from 0 to 100", "percentile %s is out of range", value.Value)
		}
		if c.Type != ValuePercentile {
			r.fault(at(key), "use type: value_percentile", "%s has no percentile", c.Type)
		}
	case "gt", "gte", "lt", "lte", "eq", "neq":
		if x, ok := r.number(key.Value, value); ok {
			cond.Bounds = append(cond.Bounds, Bound{key.Value, x})
		}
	default:
		r.fault(at(key), "known are gt, gte, lt, lte, eq, neq, field and percentile", "unknown key %q of a condition", key.Value)
	}
}

func (r *reader) number(key string, n *yaml.Node) (float64, bool) {
	x, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		r.fault(at(n), "write a number", "%s must be a number, not %q", key, shorten(n.Value))
		return 0, false
	}
	return x, true
}

// checkCondition notes what a condition of this type cannot mean.
func (r *reader) checkCondition(c *Correlation, cond *Condition, n *yaml.Node) {
	fieldPos := at(n)
	if f := lookup(n, "field"); f != nil {
		fieldPos = at(f)
	}
	switch counted := c.Type == EventCount || c.Type == Temporal; {
	case counted && len(cond.Fields) > 0:
		r.fault(fieldPos, "remove it, or use type: value_count", "%s looks at no field", c.Type)
	case !counted && len(cond.Fields) == 0:
		r.fault(at(n), "add field: and the name of the field", "%s needs a field", c.Type)
	case c.numeric() && len(cond.Fields) > 1:
		r.fault(fieldPos, "name one numeric field", "%s reckons with one field, not with %d", c.Type, len(cond.Fields))
	case len(cond.Fields) > maxParts:
		r.fault(fieldPos, "name fewer", "a condition looks at up to %d fields", maxParts)
	}
	for _, f := range cond.Fields {
		if f == "" {
			r.fault(fieldPos, "name a field", "an entry of field is empty")
		}
	}
	if len(cond.Bounds) == 0 {
		r.fault(at(n), "add gt:, gte:, lt:, lte:, eq: or neq:", "the condition compares with no number")
		return
	}
	if c.numeric() {
		return
	}
	for _, b := range cond.Bounds {
		if b.Number < 0 || b.Number > maxCount {
			r.fault(at(n), "a count is 0 or more", "the condition compares a count with %v", b.Number)
			return
		}
	}
	if c.Type != EventCount && cond.enough() > maxDistinct {
		r.fault(at(n), "use event_count", "up to %d values are told apart", maxDistinct)
		return
	}
	if never := c.neverCounts(cond); never != "" {
		r.fault(at(n), never, "the condition can never hold")
	}
}

// neverCounts says why no count can fulfil cond, or "". A window begins with an event, so that none
// is empty.
func (c *Correlation) neverCounts(cond *Condition) string {
	most := math.Inf(1)
	if c.Type == Temporal {
		most = float64(len(c.Rules))
	}
	lo, hi := 1.0, most
	for _, b := range cond.Bounds {
		switch b.Op {
		case "gt":
			lo = max(lo, math.Floor(b.Number)+1)
		case "gte":
			lo = max(lo, math.Ceil(b.Number))
		case "lt":
			hi = min(hi, math.Ceil(b.Number)-1)
		case "lte":
			hi = min(hi, math.Floor(b.Number))
		case "eq":
			lo, hi = max(lo, b.Number), min(hi, b.Number)
		}
	}
	whole := lo == math.Trunc(lo)
	switch {
	case hi < 1:
		return "a window begins with an event, so that nothing is never counted: to notice silence, watch for a heartbeat that is missing"
	case lo > most:
		return "the correlation has fewer rules than that"
	case lo > hi || !whole:
		return "the bounds leave no number between them"
	case lo == hi && !cond.Holds(lo):
		return "the bounds leave no number between them"
	}
	return ""
}
