package sigma

// CorrelationStats counts what one correlation did, and what it holds.
type CorrelationStats struct {
	Correlation *Correlation
	Groups      int    // open
	Bytes       int    // held by them, about
	Fired       uint64 // windows that fulfilled the condition and were told
	Missing     uint64 // matches not counted for want of a field to group by or to count
	NotNumeric  uint64 // matches not counted for want of a number in the field
	Evicted     uint64 // groups given up for want of room
	Dropped     uint64 // events given up in a flood behind a window that was not closed yet
}

// CorrelatorStats counts what a Correlator did, and what it holds.
type CorrelatorStats struct {
	Groups  int    // open
	Bytes   int    // held by them, about
	Late    uint64 // events too old to be counted
	Clamped uint64 // events whose time was far ahead of what Advance or other sources said
	Sources int    // that tell the time
	Evicted uint64 // groups given up for want of room
	// ByCorrelation has an entry for each correlation, inner ones first.
	ByCorrelation []CorrelationStats
}

// Stats returns the counts so far.
func (c *Correlator[T]) Stats() CorrelatorStats {
	s := CorrelatorStats{Bytes: c.bytes, Late: c.late, Clamped: c.clamped, Sources: len(c.clocks.by)}
	for _, p := range c.parts {
		p.stats.Groups = len(p.groups)
		s.Groups += len(p.groups)
		s.Evicted += p.stats.Evicted
		s.ByCorrelation = append(s.ByCorrelation, p.stats)
	}
	return s
}

// groupBytes is what a group takes besides its key, points and contributors: itself, its entry in
// the map and its place in the queue.
const groupBytes = 296

// weigh counts anew what g holds, and when something is over.
func (c *Correlator[T]) weigh(p *part[T], g *group[T]) {
	n := groupBytes + len(g.key) + pointBytes*(cap(g.points)+cap(g.later)) + 48*len(g.latest)
	for i := range g.kept {
		n += 32 + 16*cap(g.kept[i].list)
		for j := range g.kept[i].list {
			n += int(g.kept[i].list[j].bytes)
		}
	}
	c.bytes += n - g.bytes
	p.stats.Bytes += n - g.bytes
	g.bytes = n
	c.due = min(c.due, g.queued+p.delay)
}

// evict gives up groups until all bounds hold: where one correlation has too many groups one of it;
// where all together hold too much one of the least risky correlation. Within a correlation it is the
// tenant with the most groups that gives up one.
func (c *Correlator[T]) evict() {
	for _, p := range c.risk {
		for len(p.groups) > c.o.MaxGroups || len(p.groups) > 0 && c.bytes > c.o.MaxBytes {
			c.drop(p, p.expendable())
			p.stats.Evicted++
		}
	}
}

// drop gives up a group of p.
func (c *Correlator[T]) drop(p *part[T], g *group[T]) {
	p.queue.remove(g)
	c.moveOut(p, g)
	delete(p.groups, g.key)
	c.addBytes(p, -g.bytes)
}

// stalest returns the group that is over first, nil if there is none.
func (p *part[T]) stalest() *group[T] {
	for len(p.queue) > 0 {
		g := p.queue[0]
		if g.queued == g.due {
			return g
		}
		g.queued = g.due // it lives longer than the queue knew
		p.queue.down(g)
	}
	return nil
}

// push puts a new group, over at due, into the queue.
func (p *part[T]) push(g *group[T], due int64) {
	g.due, g.queued = due, due
	p.queue.push(g)
}

// over says when g is over. The queue is told at once only if that is sooner than it knows.
func (g *group[T]) over(p *part[T], due int64) {
	g.due = due
	if due < g.queued {
		g.queued = due
		p.queue.up(g)
	}
}

func (g *group[T]) before(other *group[T]) bool { return g.queued < other.queued }

func (g *group[T]) seat() *int { return &g.place }
