package sigma

import (
	"encoding/binary"
	"strings"
)

// tenant is the groups of one correlation that have the first value of group-by in common, such as
// those of one host or one container. Where there is no room, the tenant with the most groups gives
// up one of its own: a flood of values in one place takes nothing from the others.
//
// A correlation that groups by one field has no tenants: each group would be one.
type tenant[T any] struct {
	name   string
	groups int
	place  int // among the tenants
	// The group that counted last, and the one that counted longest ago.
	newest, oldest *group[T]
}

// tenantBytes is what a tenant takes besides its name.
const tenantBytes = 160

// firstOf returns the first value of a key, with its length before it.
func firstOf(key string) string {
	if len(key) < 4 {
		return key
	}
	n := int(binary.LittleEndian.Uint32([]byte(key[:4])))
	return key[:4+min(n, len(key)-4)]
}

// settleIn gives a new group its tenant.
func (c *Correlator[T]) settleIn(p *part[T], g *group[T]) {
	if len(p.def.GroupBy) < 2 {
		return
	}
	name := firstOf(g.key)
	t := p.tenants[name]
	if t == nil {
		t = &tenant[T]{name: strings.Clone(name)}
		if p.tenants == nil {
			p.tenants = map[string]*tenant[T]{}
		}
		p.tenants[t.name] = t
		p.crowd.push(t)
		c.addBytes(p, tenantBytes+len(t.name))
	}
	g.tenant = t
	t.groups++
	t.append(g)
	p.crowd.up(t)
}

// moveOut takes a group from its tenant.
func (c *Correlator[T]) moveOut(p *part[T], g *group[T]) {
	t := g.tenant
	if t == nil {
		return
	}
	t.remove(g)
	if t.groups--; t.groups > 0 {
		p.crowd.down(t)
		return
	}
	p.crowd.remove(t)
	delete(p.tenants, t.name)
	c.addBytes(p, -tenantBytes-len(t.name))
}

func (c *Correlator[T]) addBytes(p *part[T], n int) {
	c.bytes += n
	p.stats.Bytes += n
}

// touch notes that g counted now.
func (g *group[T]) touch() {
	if t := g.tenant; t != nil && t.newest != g {
		t.remove(g)
		t.append(g)
	}
}

func (t *tenant[T]) append(g *group[T]) {
	g.older, g.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = g
	} else {
		t.oldest = g
	}
	t.newest = g
}

func (t *tenant[T]) remove(g *group[T]) {
	if g.older != nil {
		g.older.newer = g.newer
	} else {
		t.oldest = g.newer
	}
	if g.newer != nil {
		g.newer.older = g.older
	} else {
		t.newest = g.older
	}
	g.older, g.newer = nil, nil
}

// before orders tenants: the one with the most groups comes first.
func (t *tenant[T]) before(u *tenant[T]) bool {
	return t.groups > u.groups || t.groups == u.groups && t.name < u.name
}

func (t *tenant[T]) seat() *int { return &t.place }

// expendable returns the group that is given up next for want of room: of the tenant with the most
// groups the one that counted longest ago, or where none has two the one that is over first.
func (p *part[T]) expendable() *group[T] {
	if len(p.crowd) > 0 && p.crowd[0].groups > 1 {
		return p.crowd[0].oldest
	}
	return p.stalest()
}
