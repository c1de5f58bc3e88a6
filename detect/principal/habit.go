package principal

import (
	"math"
	"slices"
	"time"
)

const (
	settled    = time.Hour // for which one is known before where it comes from says anything
	memory     = 0.15      // how much the last hour counts
	manyHours  = 6         // since it first asked, before its habit says anything
	manyPeers  = 8
	fewTokens  = 100_000 // in an hour: less is never called dear
	deviations = 6
)

// habit is what one usually uses in an hour: means that forget, and the mean distance from them.
type habit struct {
	hours            int64
	tokens, distance float64
	requests         float64
}

// learn takes an hour that is over, and as many after it in which nothing was asked.
func (b *habit) learn(h *hour, empty int64) {
	if h.requests == 0 && b.hours == 0 {
		return
	}
	for i := range 1 + max(0, min(empty, 48)) {
		tokens, requests := 0.0, 0.0
		if i == 0 {
			tokens, requests = float64(h.tokensIn+h.tokensOut), float64(h.requests)
		}
		if b.hours == 0 {
			b.tokens, b.requests = tokens, requests
		} else {
			b.distance += memory * (math.Abs(tokens-b.tokens) - b.distance)
			b.tokens += memory * (tokens - b.tokens)
			b.requests += memory * (requests - b.requests)
		}
		b.hours++
	}
}

// over is how many deviations a number of tokens lies above the habit. A deviation is no less than a
// tenth of what is usual.
func (b *habit) over(tokens float64) float64 {
	return (tokens - b.tokens) / max(1.2533*b.distance, b.tokens/10, 1000)
}

// peers are what all who ask use in this hour, looked at once a minute.
type peers struct {
	at               time.Time
	n                int
	tokens, distance float64
	requests         float64
}

func (w *Watch) lookAtPeers(now time.Time) *peers {
	p := &w.peers
	if p.n > 0 && now.Sub(p.at) < time.Minute {
		return p
	}
	var tokens, requests, distance []float64
	for _, r := range w.users.heap {
		if h := &r.of.hour; h.requests > 0 {
			tokens = append(tokens, float64(h.tokensIn+h.tokensOut))
			requests = append(requests, float64(h.requests))
		}
	}
	*p = peers{at: now, n: len(tokens), tokens: median(tokens), requests: median(requests)}
	for _, t := range tokens {
		distance = append(distance, math.Abs(t-p.tokens))
	}
	p.distance = median(distance)
	return p
}

// over is how many deviations, by the median distance, a number of tokens lies above the median.
func (p *peers) over(tokens float64) float64 {
	return (tokens - p.tokens) / max(1.4826*p.distance, p.tokens/10, 1000)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// most returns those who asked in this hour, who asked most first.
func (w *Watch) most() (list []*user) {
	for _, r := range w.users.heap {
		if r.of.hour.requests > 0 {
			list = append(list, &r.of)
		}
	}
	slices.SortFunc(list, func(a, b *user) int {
		if a.hour.requests != b.hour.requests {
			return int(b.hour.requests - a.hour.requests)
		}
		return slices.Compare([]string{a.kind, a.id}, []string{b.kind, b.id})
	})
	return list
}
