package profile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"picket/event"
)

// The measures of a workload that are followed by the minute.
const (
	egress    = "bytes sent"
	connects  = "connections"
	programs  = "programs started"
	gpuUtil   = "percent of a GPU"
	gpuMemory = "bytes of GPU memory"
)

// least is by how much a measure must be above its usual value, so that small numbers do not make much
// of little.
var least = map[string]float64{egress: 20e6, connects: 60, programs: 30, gpuUtil: 30, gpuMemory: 2 << 30}

// Bounds of the statistics.
const (
	points   = 120 // minutes that the usual value is taken of
	farFrom  = 8   // usual deviations
	farFor   = 3   // minutes in a row
	slack    = 0.5 // deviations above the highest usual level that count for nothing
	most     = 4   // that one minute counts for at most
	shifted  = 20  // that minutes add up to
	beyond   = 1.5 // of the highest value that was usual
	averaged = 15  // minutes of a level
	quiet    = 60  // minutes after a finding
)

// Series is a measure of a workload by the minute: a robust z of the last minutes against the median of
// two hours, and a sum of what lies above the highest level that was usual (CUSUM).
type Series struct {
	Ring  []float32 `json:"ring"` // the last minutes, the oldest at Next once it is full
	Next  int       `json:"next"`
	Peak  float64   `json:"peak"`  // the highest minute that was usual
	Level float64   `json:"level"` // the highest average that was usual
	Mean  float64   `json:"mean"`  // the average now
	Up    float64   `json:"up"`    // the sum
	Far   int       `json:"far"`   // minutes in a row that are far away
	Hush  int       `json:"hush"`  // minutes until it may be told again

	now float64 // the minute at hand
}

func (p *Profile) series(name string) *Series {
	s := p.Series[name]
	if s == nil {
		s = &Series{}
		p.Series[name] = s
	}
	return s
}

func (s *Series) add(n float64) { s.now += n }

func (s *Series) top(m event.Measure) {
	if m.Known {
		s.now = max(s.now, float64(m.N))
	}
}

// close ends a minute: it is judged where the profile judges, and learned unless it is far away.
func (s *Series) close(name string, judge, learn bool) *event.Deviation {
	v := s.now
	s.now = 0
	if s.Hush > 0 {
		s.Hush--
	}
	s.Mean += (v - s.Mean) / averaged
	var d *event.Deviation
	if judge && len(s.Ring) == points {
		d = s.judge(name, v)
	}
	if s.Far > 0 || !learn { // what may be an attack is not what is usual
		return d
	}
	if len(s.Ring) < points {
		s.Ring = append(s.Ring, float32(v))
	} else {
		s.Ring[s.Next] = float32(v)
	}
	s.Next = (s.Next + 1) % points
	if !judge {
		s.Peak, s.Level = max(s.Peak, v), max(s.Level, s.Mean)
	}
	return d
}

func (s *Series) judge(name string, v float64) *event.Deviation {
	median, scale := s.spread(name)
	z, above := (v-median)/scale, v-median >= least[name] && v > beyond*s.Peak
	s.Up = max(0, s.Up+min((s.Mean-s.Level)/scale, most)-slack)
	if s.Far++; z < farFrom || !above {
		s.Far = 0
	}
	what, score := "", z
	switch {
	case s.Hush > 0:
	case s.Far == farFor:
		what = event.DeviantRate
	case s.Up > shifted && s.Mean-s.Level >= least[name]/2:
		what, score, v = event.DeviantShift, s.Up, s.Mean
	}
	if what == "" {
		return nil
	}
	s.Hush, s.Up, s.Far = quiet, 0, 0
	d := &event.Deviation{
		What: what, Value: fmt.Sprintf("%.0f %s in a minute", v, name), Score: event.Measured(int64(score)),
		Usual: fmt.Sprintf("%.0f, deviation %.0f, at most %.0f, on average %.0f", median, scale, s.Peak, s.Level),
	}
	s.Peak, s.Level = max(s.Peak, v), max(s.Level, beyond*s.Mean) // it was told: the next must be higher
	return d
}

// spread returns the median and the usual deviation: 1.4826 times the median deviation is that of a
// normal distribution, whatever a few outliers do.
func (s *Series) spread(name string) (median, scale float64) {
	v := slices.Clone(s.Ring)
	slices.Sort(v)
	median = float64(v[len(v)/2])
	for i := range v {
		v[i] = float32(max(float64(v[i])-median, median-float64(v[i])))
	}
	slices.Sort(v)
	return median, max(1.4826*float64(v[len(v)/2]), median/20, least[name]/farFrom)
}

// Advance tells that the time is now: minutes end, and what is over is forgotten. It returns what deviates.
func (w *Watch) Advance(now time.Time) (out []*event.Event) {
	minute := now.Unix() / 60
	if minute == w.minute {
		return nil
	}
	gap := w.minute != 0 && minute != w.minute+1
	w.minute = minute
	done := map[*Profile]bool{}
	order := slices.SortedFunc(maps.Values(w.instances), func(a, b *instance) int { // so that a replay says the same
		return cmp.Or(cmp.Compare(a.key.workload, b.key.workload), cmp.Compare(a.key.root.Start, b.key.root.Start), cmp.Compare(a.key.root.PID, b.key.root.PID))
	})
	for _, in := range order {
		out = in.started(w, out, &event.Event{Time: now, Process: in.root})
		in.pass(now)
		if gap || done[in.of] { // the agent was stopped: those minutes were not seen
			continue
		}
		done[in.of] = true
		for _, name := range [...]string{egress, connects, programs, gpuUtil, gpuMemory} {
			s := in.of.Series[name]
			if s == nil {
				continue
			}
			if d := s.close(name, in.of.Known(), !in.of.Frozen); d != nil {
				e := &event.Event{Time: now, Host: w.opts.Host, Process: in.root}
				out = w.tell(out, in, e, d)
			}
		}
	}
	return out
}
