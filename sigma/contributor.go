package sigma

import (
	"cmp"
	"slices"
	"time"
)

// kept is what a group keeps of its contributors: the first few, and the last few behind them. Types
// that look at rules have one for each rule, the others one in all.
type kept[T any] struct {
	list []moment[T]
	seen uint64 // contributors so far
}

// moment is a contributor.
type moment[T any] struct {
	at    int64
	slot  int32
	bytes int32
	token T
}

// keep notes what in says, if there is room or reason for it. Those before lo are past.
func (g *group[T]) keep(c *Correlator[T], p *part[T], slot int, in *input[T], lo int64, must bool) {
	wanted := c.o.Token != nil
	if in.from != nil {
		wanted = c.o.Derive != nil
	}
	if !wanted {
		return
	}
	if g.kept == nil {
		n := 1
		if p.def.temporal() {
			n = len(p.def.Rules)
		}
		g.kept = make([]kept[T], n)
	}
	which := 0
	if p.def.temporal() {
		which = slot
	}
	k := &g.kept[which]
	past := 0
	for past < len(k.list) && k.list[past].at < lo {
		past++
	}
	if past > 0 {
		k.list = slices.Delete(k.list, 0, past)
	}
	if len(k.list) == 0 {
		k.seen = 0
	}
	k.seen++
	full := len(k.list) >= 2*c.o.Keep
	if full && !must && c.o.Sparse > 0 && k.seen > c.o.Sparse && k.seen%16 != 0 {
		return
	}
	if full {
		k.list = slices.Delete(k.list, c.o.Keep, c.o.Keep+1)
	}
	m := moment[T]{at: in.at, slot: int32(slot), bytes: 16}
	if in.from != nil {
		m.token = c.o.Derive(in.from)
	} else {
		m.token = c.o.Token(in.event, p.rule(slot, in.rules))
	}
	if c.o.Size != nil {
		m.bytes = int32(min(c.o.Size(m.token), 1<<30))
	}
	k.list = append(k.list, m)
}

// rule returns the rule that a match of slot is of.
func (p *part[T]) rule(slot int, fired []*Rule) *Rule {
	name := p.def.Rules[slot]
	i := slices.IndexFunc(fired, func(r *Rule) bool { return r.ID == name || r.Name == name })
	if i < 0 {
		return fired[0]
	}
	return fired[i]
}

// contributors returns those kept from lo to hi, by time.
func (g *group[T]) contributors(lo, hi int64) []Contributor[T] {
	var all []moment[T]
	for i := range g.kept {
		for _, m := range g.kept[i].list {
			if lo <= m.at && m.at <= hi {
				all = append(all, m)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b moment[T]) int { return cmp.Compare(a.at, b.at) })
	out := make([]Contributor[T], len(all))
	for i, m := range all {
		out[i] = Contributor[T]{Part: int(m.slot), Time: time.Unix(0, m.at).UTC(), Token: m.token}
	}
	return out
}
