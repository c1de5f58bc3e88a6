// Package drift says that a model does not answer as it was wont to: longer or shorter, refusing more or
// less, repeating itself. Each measure is averaged over fifty answers; twenty such averages say what is
// usual, and what those after them lie above or below it is summed up (CUSUM), so that a small change
// which stays is seen as well as a large one.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is bounded.
package drift

import (
	"math"
	"strings"
	"sync/atomic"
	"time"

	"picket/event"
)

const (
	block  = 50  // answers that are averaged
	learn  = 20  // blocks that say what is usual
	slack  = 1.0 // deviations that a block may lie off for nothing
	alarm  = 8.0 // deviations summed up
	forget = 30 * 24 * time.Hour

	maxModels = 256
	maxName   = 128
)

// measures are what is followed of answers: the name, the value of an answer, and the least deviation
// of a block that is believed.
var measures = [...]struct {
	name  string
	of    func(*event.Request) float64
	least func(mean float64) float64
}{
	{"length", func(r *event.Request) float64 { return float64(min(max(r.AnswerLength.N, 0), 1<<20)) }, func(mean float64) float64 { return max(mean/10, 10) }},
	{"refusals", func(r *event.Request) float64 {
		if r.Finish == "refusal" || r.Finish == "content_filter" {
			return 100
		}
		return 0
	}, func(float64) float64 { return 3 }},
	{"repetition", func(r *event.Request) float64 { return float64(min(max(r.Repeats.N, 0), 100)) }, func(float64) float64 { return 3 }},
}

// Watch follows how models answer.
type Watch struct {
	models map[string]*model

	unlearned atomic.Uint64
}

type model struct {
	engine string
	last   time.Time
	n      int // answers of the block
	series [len(measures)]series
}

// series is one measure of a model.
type series struct {
	sum          float64 // of the block
	blocks       int64
	mean, square float64 // of the blocks that say what is usual: the mean, and the squares of what is off it
	over, under  float64 // deviations summed up
	answers      int64   // since it began to be summed up
	now          float64 // mean of the blocks since then
}

// New returns a Watch that knows no model.
func New() *Watch { return &Watch{models: map[string]*model{}} }

// Unlearned counts answers of models that there was no room for.
func (w *Watch) Unlearned() uint64 { return w.unlearned.Load() }

// See takes an answer, and returns what of its model is not as it was. Other events cost a comparison.
func (w *Watch) See(e *event.Event) (news []*event.Event) {
	if e.Kind != event.ServiceRequest || e.Request == nil || !e.Request.AnswerLength.Known || e.Request.Model == "" {
		return nil
	}
	r := e.Request
	name := strings.Clone(r.Model[:min(len(r.Model), maxName)])
	m := w.models[name]
	if m == nil {
		if m = w.add(name, e.Time); m == nil {
			w.unlearned.Add(1)
			return nil
		}
	}
	m.engine, m.last = r.Engine, e.Time
	for i := range m.series {
		m.series[i].sum += measures[i].of(r)
	}
	if m.n++; m.n < block {
		return nil
	}
	m.n = 0
	for i := range m.series {
		if d := m.series[i].close(measures[i].least); d != nil {
			d.Measure = measures[i].name
			news = append(news, &event.Event{
				Kind: event.ModelDrift, Time: e.Time, Host: e.Host, Drift: d, Request: &event.Request{Model: name, Engine: m.engine},
			})
		}
	}
	return news
}

// add makes room for a model; nil where there is none.
func (w *Watch) add(name string, now time.Time) *model {
	if len(w.models) >= maxModels {
		for other, m := range w.models {
			if now.Sub(m.last) > forget {
				delete(w.models, other)
			}
		}
	}
	if len(w.models) >= maxModels {
		return nil
	}
	w.models[name] = new(model)
	return w.models[name]
}

// close ends a block. Where the measure has left what was usual it says so, and what comes is learned anew.
func (s *series) close(least func(float64) float64) *event.Drift {
	x := s.sum / block
	s.sum = 0
	if s.blocks < learn {
		s.blocks++
		off := x - s.mean
		s.mean += off / float64(s.blocks)
		s.square += off * (x - s.mean)
		return nil
	}
	deviation := max(math.Sqrt(s.square/(learn-1)), least(s.mean))
	z := (x - s.mean) / deviation
	s.over, s.under = max(0, s.over+z-slack), max(0, s.under-z-slack)
	if s.over == 0 && s.under == 0 {
		s.answers, s.now = 0, 0
		return nil
	}
	s.answers += block
	s.now += (x - s.now) * block / float64(s.answers)
	if max(s.over, s.under) < alarm {
		return nil
	}
	d := &event.Drift{Before: int64(math.Round(s.mean)), Now: int64(math.Round(s.now)), Answers: s.answers}
	*s = series{}
	return d
}
