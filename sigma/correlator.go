package sigma

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// CorrelatorOptions say how a Correlator works and what it keeps of events. The zero value keeps
// counts and times alone.
type CorrelatorOptions[T any] struct {
	Schema    Schema
	Lateness  time.Duration // how much older than the newest an event may be; 30 s if 0, none if negative
	MaxGroups int           // open groups of one correlation; 131,072 if 0
	MaxBytes  int           // of all groups together, about; 64 MiB if 0

	// Token makes what is kept of an event that contributes to a correlation because rule fired on
	// it. Without it nothing is kept. Derive does so for a match of an inner correlation.
	Token  func(ev Event, rule *Rule) T
	Derive func(*Firing[T]) T
	Size   func(T) int // bytes that a token holds; 16 if nil
	Keep   int         // the first so many contributors and the last are kept; 10 if 0
	// Sparse spares work in a flood: past so many contributors of a group only every 16th, and the
	// one that fires, takes its place among the last. 0 keeps exactly the last.
	Sparse uint64

	// Encode and Decode write tokens down and read them back, for Snapshot and Restore. Without
	// them snapshots hold no contributors.
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// Observation is an event that rules fired on.
type Observation struct {
	Event  Event
	Time   time.Time // of the event; windows know no other time
	Source string    // whose clock told the time, such as a host; "" where there is but one
	Weight uint64    // how many events it stands for, each with the same values; 0 is 1
	Rules  []*Rule   // as Engine.Match told
}

// Contributor is an event that counts in a window.
type Contributor[T any] struct {
	Part  int // which of Correlation.Rules it is a match of
	Time  time.Time
	Token T
}

// Firing is a match of a correlation. What it points to belongs to the receiver.
type Firing[T any] struct {
	Correlation  *Correlation
	Time         time.Time // of the last event that contributed
	Group        []string  // values of GroupBy, in lower case
	Figure       float64   // the count, sum… that fulfils the condition; counts may stop at what decides
	Total        uint64    // events since the group was opened or its last window closed
	Repeats      uint64    // events that fulfilled the condition and were kept quiet since the last firing
	Contributors []Contributor[T]
}

// Correlator counts matches of rules in windows of time.
//
// It is a function of what it is given: it has no clock and starts no goroutine, and the same input
// gives the same output. It is used by one goroutine at a time. It does not know events by their ids:
// who may be given an event twice drops the second.
//
// Windows slide and are never aligned to the clock; two events exactly a timespan apart are in one
// window. A condition of lower bounds alone is judged with each event, in the window that ends with
// the newest event of its group, and after it fired the group is silent until it falls below the
// condition or the timespan has passed. Any other condition is judged when its window closes: once
// no event of it can come any more, a timespan after its first event; the next window begins with
// the next event.
//
// Time is the watermark: the newest event's time, or what Advance said, less the allowed lateness. Of
// several sources, such as hosts, each has a newest event, and the one that is furthest behind counts;
// a source that is more than a minute behind the newest of all is idle and holds nothing back. An
// event older than the watermark is counted as late and not otherwise. One that is older than others of its
// group, but not late, counts at its own time in the window that is open then: the one that ends with
// the newest event, or the one that is to close. Windows that ended before are not judged again.
//
// Memory does not grow with events. Up to some hundred events of a group are known one by one; of more,
// counts and sums are known to a 64th of the timespan, and percentiles by a sample. Of a sequence, the
// last four matches of each step are known, which is exact where events come in order.
type Correlator[T any] struct {
	o     CorrelatorOptions[T]
	parts []*part[T] // inner ones first
	risk  []*part[T] // the least risky first
	feeds map[*Rule][]feed[T]

	watermark int64 // Unix nanoseconds; nothing older comes
	present   int64 // as Advance said, 0 if it did not
	due       int64 // no group of any part is over before the watermark is past this
	bytes     int
	late      uint64
	clamped   uint64
	closed    uint64 // windows that ended, to tell whether one did
	clocks    clocks

	touched []feed[T]
	key     []byte
	seen    [][]byte // keys that the event has counted in already
	fire    func(*Firing[T])
}

// feed says which rule of a correlation a match is of.
type feed[T any] struct {
	part *part[T]
	slot int
}

// part is one correlation at work.
type part[T any] struct {
	def     *Correlation
	order   int // among the parts
	span    int64
	atOnce  bool
	enough  int
	delay   int64 // how far behind the watermark what it is fed may be
	section string
	keys    [][]source // by slot, then by group-by field
	values  [][]source // by slot, then by field of the condition
	outer   []feed[T]

	groups map[string]*group[T]
	queue  heap[*group[T]] // the one that is over first leads
	stats  CorrelationStats

	tenants map[string]*tenant[T] // by the first value of group-by
	crowd   heap[*tenant[T]]      // the one with the most groups leads
}

// Bounds that events cannot widen.
const (
	defaultLateness  = 30 * time.Second
	defaultMaxGroups = 1 << 17
	defaultMaxBytes  = 64 << 20
	defaultKeep      = 10
	maxJump          = int64(time.Hour)
	lastSecond       = 1 << 33 // in the year 2242: later times do not fit
)

// NewCorrelator makes a correlator of the correlations that Link accepts. The error, if any, is an
// Errors about the others; the correlator is never nil.
func NewCorrelator[T any](rules []*Rule, correlations []*Correlation, o CorrelatorOptions[T]) (*Correlator[T], error) {
	switch {
	case o.Lateness == 0:
		o.Lateness = defaultLateness
	case o.Lateness < 0:
		o.Lateness = 0
	}
	o.MaxGroups = cmp.Or(o.MaxGroups, defaultMaxGroups)
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	o.Keep = cmp.Or(o.Keep, defaultKeep)
	c := &Correlator[T]{o: o, feeds: map[*Rule][]feed[T]{}, watermark: math.MinInt64, due: math.MaxInt64}
	l, list, errs := link(rules, correlations)
	made := map[*Correlation]*part[T]{}
	for _, def := range list {
		p, err := c.part(l, def, made)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		made[def] = p
		p.order = len(c.parts)
		c.parts = append(c.parts, p)
	}
	c.risk = slices.Clone(c.parts)
	slices.SortStableFunc(c.risk, func(a, b *part[T]) int { return cmp.Compare(risk(a.def), risk(b.def)) })
	return c, errs.asError()
}

// risk orders correlations by level; one without a level is the least.
func risk(c *Correlation) int { return slices.Index(levels, c.Level) }

// Correlations returns those that are counted, inner ones first.
func (c *Correlator[T]) Correlations() []*Correlation {
	var out []*Correlation
	for _, p := range c.parts {
		out = append(out, p.def)
	}
	return out
}

// Observe counts an event and calls fire with the correlations that it, or the time it tells,
// completes: inner ones before those made of them. It reports whether the event may have changed
// what Snapshot returns.
func (c *Correlator[T]) Observe(o Observation, fire func(*Firing[T])) bool {
	c.touched = c.touched[:0]
	for _, r := range o.Rules {
		c.touched = append(c.touched, c.feeds[r]...)
	}
	if len(c.touched) == 0 {
		return false
	}
	if s := o.Time.Unix(); s < 0 || s >= lastSecond {
		c.late++
		return false
	}
	c.fire = fire
	at := c.hear(o.Source, o.Time.UnixNano())
	if at < c.watermark {
		c.late++
		return true
	}
	// Later steps first: an event that is two steps of a sequence does not follow itself.
	slices.SortStableFunc(c.touched, func(a, b feed[T]) int {
		return cmp.Or(cmp.Compare(a.part.order, b.part.order), cmp.Compare(b.slot, a.slot))
	})
	in := input[T]{event: o.Event, at: at, weight: max(o.Weight, 1), rules: o.Rules}
	for from := 0; from < len(c.touched); {
		to := from + 1
		for to < len(c.touched) && c.touched[to].part == c.touched[from].part {
			to++
		}
		c.feed(c.touched[from].part, c.touched[from:to], &in)
		from = to
	}
	c.evict()
	c.fire = nil
	return true
}

// Advance tells that the time is now, for windows that close without an event, and calls fire with
// what that completes. It reports whether a group closed.
func (c *Correlator[T]) Advance(now time.Time, fire func(*Firing[T])) bool {
	if s := now.Unix(); s < 0 || s >= lastSecond {
		return false
	}
	c.fire = fire
	c.present = max(c.present, now.UnixNano())
	closed := c.advance(now.UnixNano() - int64(c.o.Lateness))
	c.evict()
	c.fire = nil
	return closed
}

// Heard tells that the time at a source has come to at, as an event of it says that no rule fired on,
// and calls fire with what that completes. It reports whether a group closed.
func (c *Correlator[T]) Heard(source string, at time.Time, fire func(*Firing[T])) bool {
	if s := at.Unix(); s < 0 || s >= lastSecond {
		return false
	}
	c.fire = fire
	before := c.closed
	c.hear(source, at.UnixNano())
	c.evict()
	c.fire = nil
	return c.closed != before
}

// hear moves the watermark to where an event of a source takes it, and returns the time at which that
// event counts: one clock that is wrong must not end all windows.
func (c *Correlator[T]) hear(source string, at int64) int64 {
	if c.present != 0 && at > c.present+maxJump {
		at = c.present
		c.clamped++
	}
	if c.clocks.only(source, at) {
		c.advance(c.clocks.floor - int64(c.o.Lateness))
		return at
	}
	at, believed := c.clocks.believed(source, at)
	if !believed {
		c.clamped++
	}
	c.advance(c.clocks.see(source, at) - int64(c.o.Lateness))
	return at
}

// advance moves the watermark to at, unless it is there, and closes what is over.
func (c *Correlator[T]) advance(at int64) (closed bool) {
	c.watermark = max(c.watermark, at)
	if c.watermark <= c.due {
		return false
	}
	c.due = math.MaxInt64
	for _, p := range c.parts { // inner ones first: what they find still counts in the outer ones
		for g := p.stalest(); g != nil && c.watermark-p.delay > g.due; g = p.stalest() {
			closed = true
			c.closed++
			if p.atOnce || !c.closeWindow(p, g) {
				c.drop(p, g)
			}
		}
		if len(p.queue) > 0 {
			c.due = min(c.due, p.queue[0].due+p.delay)
		}
	}
	return closed
}

// input is a match on its way into a part.
type input[T any] struct {
	event  Event
	tuple  []string // instead of event: the group of an inner correlation
	from   *Firing[T]
	rules  []*Rule
	at     int64
	weight uint64
}

// feed counts in, which is a match of the slots of p, the highest first.
func (c *Correlator[T]) feed(p *part[T], slots []feed[T], in *input[T]) {
	seen := 0
	for i, f := range slots {
		key, ok := appendKey(c.key[:0], p.keys[f.slot], in)
		c.key = key
		if !ok {
			p.stats.Missing++
			continue
		}
		if len(slots) > 1 && !p.def.temporal() {
			if slices.ContainsFunc(c.seen[:seen], func(k []byte) bool { return string(k) == string(key) }) {
				continue // one event counts once, however many of the rules fired on it
			}
			if seen == len(c.seen) {
				c.seen = append(c.seen, nil)
			}
			c.seen[seen] = append(c.seen[seen][:0], key...)
			seen++
		}
		value, ok := p.value(f.slot, in)
		if !ok {
			continue
		}
		pt := point{at: in.at, value: value, count: in.weight}
		if p.def.temporal() && i > 0 {
			pt.count = 0 // the same event once more
		}
		c.count(p, f.slot, pt, in)
	}
}

// count puts pt into the group that c.key names, and fires p if that is due.
func (c *Correlator[T]) count(p *part[T], slot int, pt point, in *input[T]) {
	g := p.groups[string(c.key)]
	if g == nil {
		g = &group[T]{key: string(c.key), newest: pt.at}
		p.groups[g.key] = g
		p.push(g, pt.at)
		c.settleIn(p, g)
	}
	g.touch()
	if !p.atOnce {
		g.await(p, pt)
		g.keep(c, p, slot, in, math.MinInt64, false)
		c.weigh(p, g)
		return
	}
	end := max(g.newest, pt.at)
	lo := end - p.span
	if pt.at < lo {
		c.late++ // no window that is still judged holds it
		return
	}
	g.newest = end
	g.trim(p, lo)
	if g.silent && !g.holds(p, lo) {
		g.silent = false // it fell below the condition in the meantime
	}
	if len(g.points) == 0 {
		g.total = 0
	}
	g.add(p, pt)
	g.total += pt.count
	fires := false
	switch holds := g.holds(p, lo); {
	case !holds:
		g.silent = false
	case !g.silent || end-g.fired > p.span:
		fires, g.silent, g.fired = true, true, end
	default:
		g.repeats++
	}
	g.keep(c, p, slot, in, lo, fires)
	c.weigh(p, g)
	if fires {
		c.tell(p, g, lo, end)
	}
}

// closeWindow judges the window of g and opens the next one. It reports whether there is any.
func (c *Correlator[T]) closeWindow(p *part[T], g *group[T]) bool {
	lo := g.points[0].at
	hi := lo + p.span
	if g.holds(p, lo) {
		c.tell(p, g, lo, g.newest)
	}
	g.reopen(p, hi)
	c.weigh(p, g)
	return len(g.points) > 0
}

// tell makes the firing of g known, outside and to the correlations made of p.
func (c *Correlator[T]) tell(p *part[T], g *group[T], lo, at int64) {
	p.stats.Fired++
	f := &Firing[T]{
		Correlation: p.def, Time: time.Unix(0, at).UTC(), Group: tuple(g.key), Figure: g.figure(p, lo),
		Total: g.total, Repeats: g.repeats, Contributors: g.contributors(lo, lo+p.span),
	}
	g.repeats = 0
	if c.fire != nil {
		c.fire(f)
	}
	if len(p.outer) == 0 {
		return
	}
	in := input[T]{tuple: f.Group, from: f, at: at, weight: 1}
	for from := range p.outer { // highest slot first, as in Observe
		c.feed(p.outer[from].part, p.outer[from:from+1], &in)
	}
}
