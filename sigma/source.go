package sigma

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// source is where a match has the value of a field.
type source struct {
	name  string
	id    uint16 // to the schema
	known bool   // to the schema
	inner int    // place in the group of an inner correlation, -1 if the match is of a rule
}

// part makes def ready. The correlations it is made of are ready already.
func (c *Correlator[T]) part(l *linker, def *Correlation, made map[*Correlation]*part[T]) (*part[T], *Error) {
	p := &part[T]{
		def: def, span: int64(def.Timespan), atOnce: def.Condition.atOnce(), enough: def.Condition.enough(),
		groups: map[string]*group[T]{}, stats: CorrelationStats{Correlation: def},
	}
	inner := make([]*part[T], len(def.Rules))
	for slot, name := range def.Rules {
		if l.rules[name] == nil {
			if inner[slot] = made[l.byRef[name]]; inner[slot] == nil {
				return nil, def.fault("correlation.rules", "mend that one first", "correlation %q is at fault itself", name)
			}
		}
		keys, bad := c.sources(def, name, inner[slot], def.GroupBy)
		values, worse := c.sources(def, name, inner[slot], def.Condition.Fields)
		if missing := cmp.Or(bad, worse); missing != "" {
			return nil, def.fault("correlation.rules", "a correlation hands on what it groups by",
				"correlation %q has no %s for this one", name, missing)
		}
		p.keys, p.values = append(p.keys, keys), append(p.values, values)
	}
	var section []byte
	for slot, name := range def.Rules {
		f := feed[T]{p, slot}
		if in := inner[slot]; in != nil {
			p.delay = max(p.delay, in.delay)
			if !in.atOnce {
				p.delay = max(p.delay, in.delay+in.span)
			}
			in.outer = append([]feed[T]{f}, in.outer...)
			section = append(section, in.section...)
			continue
		}
		rule := l.rules[name]
		c.feeds[rule] = append(c.feeds[rule], f)
		section = fmt.Appendf(section, "%q %q\n", rule.ID, rule.Name)
	}
	section = fmt.Appendf(section, "%q %q %q %q %q %v %d %+v", def.ID, def.Name, def.Type, def.Rules, def.GroupBy, def.Aliases, def.Timespan, def.Condition)
	sum := sha256.Sum256(section)
	p.section = hex.EncodeToString(sum[:16])
	return p, nil
}

// sources tells where a match of rule has each of names. It returns the name of one that an inner
// correlation does not hand on.
func (c *Correlator[T]) sources(def *Correlation, rule string, inner *part[T], names []string) (list []source, missing string) {
	for _, name := range names {
		if fields, ok := def.Aliases[name]; ok {
			name = cmp.Or(fields[rule], name)
		}
		s := source{name: name, inner: -1}
		if inner != nil {
			if s.inner = slices.Index(inner.def.GroupBy, name); s.inner < 0 {
				return nil, name
			}
		} else if c.o.Schema != nil {
			s.id, s.known = c.o.Schema.Field(name)
		}
		list = append(list, s)
	}
	return list, ""
}

// value returns the content of the field, Absent if in has none.
func (s *source) value(ev Event, tuple []string) Value {
	switch {
	case s.inner >= 0:
		return Value{Kind: Text, Str: tuple[s.inner]}
	case s.known:
		return ev.Value(s.id)
	}
	return ev.Extra(s.name)
}

// appendText appends v as texts are compared, and reports false if there is nothing to append. The
// elements of a list make one text.
func appendText(dst []byte, v Value) ([]byte, bool) {
	switch v.Kind {
	case Text:
		return appendFold(dst, v.Str), true
	case Integer:
		return strconv.AppendInt(dst, v.Int, 10), true
	case Boolean:
		return strconv.AppendBool(dst, v.Int != 0), true
	case List:
		return appendFold(dst, strings.Join(v.List, ", ")), true
	}
	return dst, false
}

// appendTuple appends the values of fields, each behind its length, so that no two tuples are alike.
func appendTuple(dst []byte, fields []source, ev Event, tuple []string) ([]byte, bool) {
	for i := range fields {
		start := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		var ok bool
		if dst, ok = appendText(dst, fields[i].value(ev, tuple)); !ok {
			return dst, false
		}
		binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	}
	return dst, true
}

// appendKey appends the group that in belongs to, and reports false if it lacks a field. A key that
// is very long is told by its hash.
func appendKey[T any](dst []byte, fields []source, in *input[T]) ([]byte, bool) {
	dst, ok := appendTuple(dst, fields, in.event, in.tuple)
	if len(dst) <= maxKey {
		return dst, ok
	}
	sum := sha256.Sum256(dst)
	short := dst[:0]
	for rest := dst; len(rest) >= 4; { // what is kept of each value lets a reader know it
		n := int(binary.LittleEndian.Uint32(rest))
		text := rest[4 : 4+n]
		rest = rest[4+n:]
		most := min(n, maxKey/2/len(fields))
		text = []byte(strings.ToValidUTF8(string(text[:most]), ""))
		short = append(binary.LittleEndian.AppendUint32(short, uint32(len(text))), text...)
	}
	return append(short, sum[:]...), ok
}

// maxKey bounds the bytes of a group's key.
const maxKey = 1024

// tuple returns the values in a key.
func tuple(key string) []string {
	var out []string
	for len(key) >= 4 {
		n := int(binary.LittleEndian.Uint32([]byte(key[:4])))
		if n < 0 || n > len(key)-4 {
			return out // the hash behind a key that was cut
		}
		out = append(out, key[4:4+n])
		key = key[4+n:]
	}
	return out
}

// value returns what the condition needs of a match: the hash of its values, its number or which
// rule it is of. It reports false, and counts it, if the match has none.
func (p *part[T]) value(slot int, in *input[T]) (uint64, bool) {
	switch p.def.Type {
	case EventCount:
		return 0, true
	case Temporal, TemporalOrdered:
		return uint64(slot), true
	case ValueCount:
		var room [256]byte
		b, ok := appendTuple(room[:0], p.values[slot], in.event, in.tuple)
		if !ok {
			p.stats.Missing++
			return 0, false
		}
		sum := sha256.Sum256(b) // no one can make two values that are taken for one
		return binary.LittleEndian.Uint64(sum[:8]), true
	}
	v := p.values[slot][0].value(in.event, in.tuple)
	x, err := float64(v.Int), error(nil)
	if v.Kind == Text {
		x, err = strconv.ParseFloat(v.Str, 64)
	}
	if v.Kind != Text && v.Kind != Integer || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		p.stats.NotNumeric++
		return 0, false
	}
	return math.Float64bits(x), true
}
