package mining

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// sign is one thing that speaks for mining: what was seen, and how much it counts.
type sign struct {
	name, seen string
	points     int64
	host       bool // it is about what the process is and does, not about the load
}

// score judges the last window. It is unknown where less than that was seen, and 0 with the reason
// where the load is not steady, as that of training and serving seldom is.
func (one *user) score(now time.Time, p *event.Process) (event.Measure, string) {
	var use []point
	for i := range one.n {
		if pt := one.ring[(one.next-one.n+i+points)%points]; now.Sub(pt.at) <= window {
			use = append(use, pt)
		}
	}
	if len(use) < points/2 || now.Sub(use[0].at) < window*9/10 {
		return event.Measure{}, ""
	}
	util, known := series(use, func(p *point) event.Measure { return p.util })
	if !known {
		return event.Measure{}, ""
	}
	low, deviation := low5(util), spread(util)
	if low < 90 || deviation >= 3 {
		return event.Measured(0), fmt.Sprintf("load not steady: 5 %% of the time below %.0f %%, deviation %.1f", low, deviation)
	}
	signs := []sign{{"steady load", fmt.Sprintf("hardly ever below %.0f %%, deviation %.1f, for %s", low, deviation, window), 30, false}}
	signs = append(signs, loadSigns(use)...)
	signs = append(signs, one.habit.signs(p)...)
	slices.SortStableFunc(signs, func(a, b sign) int { // what a person wants to know first
		if a.host != b.host {
			return map[bool]int{true: -1, false: 1}[a.host]
		}
		return int(b.points - a.points)
	})
	sum, host := int64(0), false
	var words []string
	for _, s := range signs {
		sum += s.points
		host = host || s.host
		words = append(words, fmt.Sprintf("%s (%s) +%d", s.name, s.seen, s.points))
	}
	if !host && sum > loadAlone {
		sum = loadAlone
		words = append(words, fmt.Sprintf("no more than %d, as only the load speaks for it", loadAlone))
	}
	return event.Measured(min(sum, 100)), strings.Join(words, "; ")
}

// loadSigns are those of the GPU's other measures. What is not known counts neither way.
func loadSigns(use []point) (signs []sign) {
	last := use[len(use)-1]
	if memory, ok := series(use, func(p *point) event.Measure { return p.memory }); ok {
		least, most := slices.Min(memory), slices.Max(memory)
		if most > 0 && most-least <= most/100 && last.total > 0 && most <= float64(last.total)/4 {
			signs = append(signs, sign{"small flat memory", fmt.Sprintf("%.0f MiB of %d MiB", most/(1<<20), last.total>>20), 10, false})
		}
	}
	if power, ok := series(use, func(p *point) event.Measure { return p.power }); ok && last.limit.N > 0 {
		m := mean(power)
		if part := m / float64(last.limit.N); part >= 0.8 && spread(power)/m < 0.02 {
			signs = append(signs, sign{"flat high power", fmt.Sprintf("%.0f %% of the limit", 100*part), 10, false})
		}
	}
	if bus, ok := series(use, func(p *point) event.Measure { return p.bus }); ok && mean(bus) < 5e6 {
		signs = append(signs, sign{"quiet bus", fmt.Sprintf("%.1f MB/s", mean(bus)/1e6), 10, false})
	}
	if tensor, ok := series(use, func(p *point) event.Measure { return p.tensor }); ok && slices.Max(tensor) < 1 {
		signs = append(signs, sign{"tensor cores idle", "less than 1 %", 10, false})
	}
	return signs
}

// signs are those of the process itself.
func (h *habit) signs(p *event.Process) (signs []sign) {
	if !p.Member() {
		signs = append(signs, sign{"not of an AI workload", p.Name(), 15, false})
	}
	if !h.reads {
		signs = append(signs, sign{"no data", "it read no model and no data set that is known", 10, false})
	}
	if why := brought(p); why != "" {
		signs = append(signs, sign{"brought in", why, 20, true})
	}
	if h.pool.IsValid() {
		signs = append(signs, sign{"pool", "connected to " + h.pool.String(), 30, true})
	}
	if h.peers == 1 {
		signs = append(signs, sign{"one peer", "of the Internet only " + h.peer.String(), 10, false})
	}
	return signs
}

// series returns a measure over time, and whether it is known nearly all the time.
func series(use []point, of func(*point) event.Measure) (out []float64, ok bool) {
	for i := range use {
		if m := of(&use[i]); m.Known {
			out = append(out, float64(m.N))
		}
	}
	return out, len(out) >= len(use)*9/10 && len(out) > 0
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func spread(v []float64) float64 {
	m, sum := mean(v), 0.0
	for _, x := range v {
		sum += (x - m) * (x - m)
	}
	return math.Sqrt(sum / float64(len(v)))
}

// low5 is the value that one in twenty lies below.
func low5(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/20]
}
