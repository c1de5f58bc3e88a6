package sigma

import (
	"math"
	"slices"
)

// point is one event, or several that are told together, in a window.
type point struct {
	at    int64  // Unix nanoseconds
	value uint64 // hash of a value, bits of a number, or which rule
	count uint64 // events it stands for; of a sequence, when the chain that ends here began
}

const pointBytes = 24

// group is a window, or what may become one, of one tuple of group-by values.
type group[T any] struct {
	key    string
	points []point          // by time; of an open window that is judged when it closes, those in it
	later  []point          // by time: those behind such a window
	latest map[uint64]int64 // of many distinct values: when each was last seen
	kept   []kept[T]
	newest int64
	fired  int64 // end of the window that fired last
	total  uint64
	// repeats counts events since then that were kept quiet.
	repeats uint64
	silent  bool

	due    int64 // when the group is over, or its window closes
	queued int64 // the same as the queue knows it: not later
	place  int   // in the queue
	bytes  int
	tidy   int // points up to which repeats stay

	tenant       *tenant[T] // whose group it is, nil where there are no tenants
	older, newer *group[T]  // of the tenant, by when they last counted
}

// What bounds the points of a group.
const (
	maxPoints  = 512  // of counts and sums; more are told together
	maxSamples = 1024 // of numbers that percentiles are taken of
	buckets    = 64   // of a window, when points are told together
	fewValues  = 48   // up to which distinct values are looked for one by one
	fewEvents  = 128  // of a window that is judged when it closes, before repeats are left out
	maxChains  = 4    // matches of one step of a sequence
	maxLater   = 4096
)

// holds reports whether the window that begins with lo fulfils the condition. An empty one never
// does.
func (g *group[T]) holds(p *part[T], lo int64) bool {
	return len(g.points) > 0 && p.def.Condition.Holds(g.figure(p, lo))
}

// figure is what the condition looks at.
func (g *group[T]) figure(p *part[T], lo int64) float64 {
	switch p.def.Type {
	case ValueCount, Temporal:
		switch {
		case !p.atOnce:
			return float64(distinct(g.points))
		case g.latest != nil:
			return float64(len(g.latest))
		}
		return float64(len(g.points))
	case TemporalOrdered:
		last := uint64(len(p.def.Rules) - 1)
		for _, pt := range g.points {
			if pt.value == last && int64(pt.count) >= lo {
				return 1
			}
		}
		return 0
	case ValuePercentile:
		return percentile(g.points, p.def.Condition.Percentile)
	}
	sum, count := 0.0, uint64(0)
	for _, pt := range g.points {
		count += pt.count
		sum += math.Float64frombits(pt.value)
	}
	switch p.def.Type {
	case ValueSum:
		return sum
	case ValueAvg:
		return sum / float64(count)
	}
	return float64(count)
}

// trim forgets points before lo.
func (g *group[T]) trim(p *part[T], lo int64) {
	n := 0
	for n < len(g.points) && g.points[n].at < lo {
		g.forget(g.points[n])
		n++
	}
	g.shift(n)
	if p.def.Type == TemporalOrdered && n > 0 {
		g.schedule(p)
	}
}

// forget takes pt out of the index of distinct values.
func (g *group[T]) forget(pt point) {
	if at, ok := g.latest[pt.value]; ok && at == pt.at {
		delete(g.latest, pt.value)
	}
}

// shift drops the first n points.
func (g *group[T]) shift(n int) {
	switch {
	case n == 0:
	case len(g.points) <= 256:
		g.points = slices.Delete(g.points, 0, n)
	default: // moving many costs more than the room before them
		g.points = g.points[n:]
	}
}

// insert puts pt in its place, behind those of the same time.
func insert(points []point, pt point) []point {
	i := len(points)
	for i > 0 && points[i-1].at > pt.at {
		i--
	}
	return slices.Insert(points, i, pt)
}

// add puts pt into the window.
func (g *group[T]) add(p *part[T], pt point) {
	switch p.def.Type {
	case ValueCount, Temporal:
		if p.atOnce {
			g.addDistinct(p, pt)
		} else {
			g.addValue(p, pt)
		}
	case TemporalOrdered:
		g.addStep(pt)
	case EventCount:
		g.points = insert(g.points, pt)
		if p.atOnce && p.enough <= maxPoints {
			g.addEvents(p.enough)
		}
	default:
		if p.def.Type != ValuePercentile { // sums are kept, so that points can be added up
			pt.value = math.Float64bits(math.Float64frombits(pt.value) * float64(pt.count))
		}
		g.points = insert(g.points, pt)
	}
	most := maxPoints
	switch p.def.Type {
	case ValuePercentile:
		most = maxSamples
	case ValueCount, Temporal, TemporalOrdered:
		most = math.MaxInt // bounded by what the condition needs
	}
	if len(g.points) > most {
		g.points = p.condense(g.points)
	}
	g.schedule(p)
}

// addEvents forgets the oldest events where the newest alone decide.
func (g *group[T]) addEvents(enough int) {
	sum, n := uint64(0), len(g.points)
	for n > 0 && sum < uint64(enough) {
		n--
		sum += g.points[n].count
	}
	g.shift(n)
}

// addDistinct notes that a value was seen. Of each the last time is kept, and of no more values than
// the condition needs.
func (g *group[T]) addDistinct(p *part[T], pt point) {
	if g.latest == nil {
		if i := slices.IndexFunc(g.points, func(have point) bool { return have.value == pt.value }); i >= 0 {
			if g.points[i].at > pt.at {
				return
			}
			g.points = slices.Delete(g.points, i, i+1)
		}
		g.points = insert(g.points, pt)
		if len(g.points) > p.enough {
			g.shift(1)
		}
		if len(g.points) > fewValues {
			g.index()
		}
		return
	}
	if at, known := g.latest[pt.value]; known && at >= pt.at {
		return
	}
	g.latest[pt.value] = pt.at
	g.points = insert(g.points, pt)
	for len(g.latest) > p.enough {
		g.forget(g.points[0])
		g.shift(1)
	}
	if len(g.points) > 2*len(g.latest)+fewValues {
		g.points = slices.DeleteFunc(g.points, func(pt point) bool { return g.latest[pt.value] != pt.at })
	}
}

// addValue notes that a value was seen in a window that is judged when it closes. If there are many
// events the first of each value is kept, and no more values than the condition needs.
func (g *group[T]) addValue(p *part[T], pt point) {
	g.points = insert(g.points, pt)
	if len(g.points) <= max(g.tidy, fewEvents) {
		return
	}
	g.points = firstOfEach(g.points)
	if len(g.points) > p.enough {
		g.points = g.points[:p.enough]
	}
	g.tidy = 2 * len(g.points)
}

func (g *group[T]) index() {
	g.latest = make(map[uint64]int64, 2*len(g.points))
	for _, pt := range g.points {
		g.latest[pt.value] = pt.at
	}
}

// addStep notes that a step of a sequence was seen, and when the latest chain began that ends in
// each. Of several chains the one that began last leaves most time for what must follow.
func (g *group[T]) addStep(pt point) {
	pt.count = unchained
	g.points = insert(g.points, pt)
	best := map[uint64]int64{}
	same := 0
	for i := range g.points {
		q := &g.points[i]
		if q.value == pt.value {
			same++
		}
		start := int64(q.count)
		if q.value == 0 {
			start = q.at
		} else if began, ok := best[q.value-1]; ok {
			start = max(start, began)
		}
		q.count = uint64(start)
		if start >= 0 {
			best[q.value] = max(best[q.value], start)
		}
	}
	if same > maxChains {
		i := slices.IndexFunc(g.points, func(q point) bool { return q.value == pt.value })
		g.points = slices.Delete(g.points, i, i+1)
	}
}

// unchained is the begin of a step that follows nothing: -1.
const unchained = math.MaxUint64

// schedule says when the group is over.
func (g *group[T]) schedule(p *part[T]) {
	switch {
	case len(g.points) == 0:
		g.over(p, g.newest)
	case !p.atOnce:
		g.over(p, g.points[0].at+p.span)
	case p.def.Type == TemporalOrdered && !slices.ContainsFunc(g.points, func(q point) bool { return q.count != unchained }):
		g.over(p, g.newest) // nothing began: only what comes late can make a chain of it
	default:
		g.over(p, g.newest+p.span)
	}
}

// await puts pt into the window if it belongs there, or behind it.
func (g *group[T]) await(p *part[T], pt point) {
	if len(g.points) > 0 && pt.at > g.points[0].at+p.span {
		g.later = insert(g.later, pt)
		if len(g.later) < maxLater {
			return
		}
		g.later = p.condense(g.later)
		if over := len(g.later) - maxLater/2; over > 0 { // a flood of values in the time that events may be late
			g.later = g.later[:maxLater/2]
			p.stats.Dropped += uint64(over)
		}
		return
	}
	if len(g.points) > 0 && pt.at < g.points[0].at { // it came late, and the window begins with it
		n := len(g.points)
		for n > 0 && g.points[n-1].at > pt.at+p.span {
			n--
			g.total -= g.points[n].count
			g.later = insert(g.later, g.points[n])
		}
		g.points = g.points[:n]
		g.newest = min(g.newest, pt.at+p.span)
	}
	g.newest = max(g.newest, pt.at)
	g.total += pt.count
	g.add(p, pt)
}

// reopen makes a window of what came behind the one that ended with hi.
func (g *group[T]) reopen(p *part[T], hi int64) {
	later := g.later
	g.points, g.later, g.total, g.newest, g.tidy = g.points[:0], nil, 0, 0, 0
	for i := range g.kept {
		k := &g.kept[i]
		k.list = slices.DeleteFunc(k.list, func(c moment[T]) bool { return c.at <= hi })
	}
	for _, pt := range later {
		g.await(p, pt)
	}
}
