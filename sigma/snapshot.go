package sigma

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// snapshotVersion changes with the form of a snapshot or the meaning of what is in it.
const snapshotVersion = 1

// savedState is a snapshot as it is written.
type savedState struct {
	Version   int         `json:"version"`
	Watermark int64       `json:"watermark"`
	Parts     []savedPart `json:"parts"`
}

// savedPart is one correlation's groups. Section tells which correlation: a hash of all that the
// meaning of the groups depends on.
type savedPart struct {
	Section string       `json:"section"`
	Groups  []savedGroup `json:"groups"`
}

type savedGroup struct {
	Key     []byte          `json:"key"`
	Points  []savedPoint    `json:"points"`
	Later   []savedPoint    `json:"later,omitempty"`
	Newest  int64           `json:"newest"`
	Fired   int64           `json:"fired,omitempty"`
	Total   uint64          `json:"total"`
	Repeats uint64          `json:"repeats,omitempty"`
	Silent  bool            `json:"silent,omitempty"`
	Kept    [][]savedMoment `json:"kept,omitempty"`
	Seen    []uint64        `json:"seen,omitempty"`
}

// savedPoint is time, value and count of a point.
type savedPoint [3]uint64

type savedMoment struct {
	At    int64  `json:"at"`
	Slot  int32  `json:"slot"`
	Token []byte `json:"token"`
}

// errBroken is what is wrong with a snapshot that was not written by Snapshot.
var errBroken = errors.New("it is not what was written")

// Snapshot returns the open groups and the watermark, to be given to Restore.
func (c *Correlator[T]) Snapshot() ([]byte, error) {
	s := savedState{Version: snapshotVersion, Watermark: c.watermark}
	for _, p := range c.parts {
		if len(p.groups) == 0 {
			continue
		}
		groups := slices.Clone(p.queue)
		slices.SortFunc(groups, func(a, b *group[T]) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.key, b.key)) })
		saved := savedPart{Section: p.section}
		for _, g := range groups {
			one, err := c.save(g)
			if err != nil {
				return nil, fmt.Errorf("snapshot of correlation %s: %w", p.def.ref(), err)
			}
			saved.Groups = append(saved.Groups, one)
		}
		s.Parts = append(s.Parts, saved)
	}
	return json.Marshal(s)
}

func (c *Correlator[T]) save(g *group[T]) (savedGroup, error) {
	s := savedGroup{
		Key: []byte(g.key), Points: savePoints(g.points), Later: savePoints(g.later), Newest: g.newest, Fired: g.fired,
		Total: g.total, Repeats: g.repeats, Silent: g.silent,
	}
	if c.o.Encode == nil {
		return s, nil
	}
	for i := range g.kept {
		moments := []savedMoment{}
		for _, m := range g.kept[i].list {
			b, err := c.o.Encode(m.token)
			if err != nil {
				return s, err
			}
			moments = append(moments, savedMoment{m.at, m.slot, b})
		}
		s.Kept, s.Seen = append(s.Kept, moments), append(s.Seen, g.kept[i].seen)
	}
	return s, nil
}

func savePoints(points []point) []savedPoint {
	out := make([]savedPoint, len(points))
	for i, pt := range points {
		out[i] = savedPoint{uint64(pt.at), pt.value, pt.count}
	}
	return out
}

// Restore takes over the groups of a Snapshot, in place of those the correlator has. Groups of
// correlations that are gone, or that mean something else now, are left out. A snapshot that is
// broken is refused whole, and the correlator has no groups then.
func (c *Correlator[T]) Restore(data []byte) error {
	for _, p := range c.parts {
		clear(p.groups)
		p.queue, p.stats.Bytes = nil, 0
		p.tenants, p.crowd = nil, nil
	}
	c.bytes = 0
	var s savedState
	err := json.Unmarshal(data, &s)
	switch {
	case err != nil:
	case s.Version != snapshotVersion:
		err = errors.New("it was written by another version of the program")
	case s.Watermark >= lastSecond*1e9:
		err = errBroken
	default:
		err = c.restore(&s)
	}
	if err == nil {
		c.watermark = max(c.watermark, s.Watermark)
		c.evict()
		return nil
	}
	for _, p := range c.parts {
		for len(p.queue) > 0 {
			c.drop(p, p.queue[0])
		}
	}
	return fmt.Errorf("restore correlations: %w", err)
}

func (c *Correlator[T]) restore(s *savedState) error {
	for _, saved := range s.Parts {
		i := slices.IndexFunc(c.parts, func(p *part[T]) bool { return p.section == saved.Section })
		if i < 0 {
			continue
		}
		for j := range saved.Groups {
			if err := c.load(c.parts[i], &saved.Groups[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// load makes a group of s.
func (c *Correlator[T]) load(p *part[T], s *savedGroup) error {
	g := &group[T]{
		key: string(s.Key), newest: s.Newest, fired: s.Fired, total: s.Total, repeats: s.Repeats, silent: s.Silent,
	}
	var ok1, ok2 bool
	g.points, ok1 = p.loadPoints(s.Points)
	g.later, ok2 = p.loadPoints(s.Later)
	fields := len(tuple(g.key))
	switch {
	case !ok1 || !ok2 || p.groups[g.key] != nil || fields != len(p.def.GroupBy):
		return errBroken
	case !p.atOnce && len(g.points) == 0, len(g.later) > maxLater, p.atOnce && len(g.later) > 0:
		return errBroken
	case !validTime(g.newest) || g.fired != 0 && !validTime(g.fired):
		return errBroken
	}
	if err := c.loadKept(p, g, s); err != nil {
		return err
	}
	if (p.def.Type == ValueCount || p.def.Type == Temporal) && p.atOnce && len(g.points) > fewValues {
		g.index()
	}
	p.groups[g.key] = g
	p.push(g, g.newest)
	c.settleIn(p, g)
	g.schedule(p)
	c.weigh(p, g)
	return nil
}

func (c *Correlator[T]) loadKept(p *part[T], g *group[T], s *savedGroup) error {
	if c.o.Decode == nil || len(s.Kept) == 0 {
		return nil
	}
	lists := 1
	if p.def.temporal() {
		lists = len(p.def.Rules)
	}
	if len(s.Kept) != lists || len(s.Seen) != lists {
		return errBroken
	}
	g.kept = make([]kept[T], lists)
	for i, moments := range s.Kept {
		if len(moments) > 2*c.o.Keep {
			return errBroken
		}
		g.kept[i].seen = s.Seen[i]
		for _, m := range moments {
			if m.Slot < 0 || int(m.Slot) >= len(p.def.Rules) || !validTime(m.At) {
				return errBroken
			}
			token, err := c.o.Decode(m.Token)
			if err != nil {
				return err
			}
			made := moment[T]{at: m.At, slot: m.Slot, bytes: 16, token: token}
			if c.o.Size != nil {
				made.bytes = int32(min(c.o.Size(token), 1<<30))
			}
			g.kept[i].list = append(g.kept[i].list, made)
		}
	}
	return nil
}

// loadPoints reports false if the points are not such as p makes.
func (p *part[T]) loadPoints(saved []savedPoint) ([]point, bool) {
	if len(saved) > 4*maxDistinct {
		return nil, false
	}
	out := make([]point, len(saved))
	for i, s := range saved {
		pt := point{int64(s[0]), s[1], s[2]}
		if !validTime(pt.at) || i > 0 && pt.at < out[i-1].at || p.def.temporal() && pt.value >= uint64(len(p.def.Rules)) {
			return nil, false
		}
		began := int64(pt.count)
		switch {
		case p.def.Type == TemporalOrdered && (began < -1 || began > pt.at):
			return nil, false
		case p.def.numeric() && pt.count == 0:
			return nil, false
		case p.def.Type != TemporalOrdered && pt.count > maxCount:
			return nil, false
		}
		out[i] = pt
	}
	return out, true
}

func validTime(at int64) bool { return at >= 0 && at < lastSecond*1e9 }
