package principal

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"picket/event"
)

// How many must share a template.
const (
	shareUsers    = 5
	shareRequests = 100
	formBands     = 4 // of a template that are looked up: two texts of one template share one nearly always
)

// form is a part of a template that several may have in common.
type form struct {
	first    time.Time
	told     bool
	requests int64
	users    [32]uint64
	n, fresh int // users, and those who had not been known for a day
	networks [16]netip.Prefix
	nets     int
	probs    int64
	greedy   int64
	prompts  sketch
}

// share notes a template. Where many copy a model with it, it returns that.
func (w *Watch) share(now time.Time, key uint64, u *user, r *event.Request) (news *event.Event) {
	t := parse(r.Template)
	if t[0] == 0 {
		return nil
	}
	for i, band := range t[:formBands] {
		w.order++
		f := &w.forms.touch(uint64(i)<<32|uint64(band), w.order, func(*form) form { return form{first: now} }).of
		if now.Sub(f.first) >= forget {
			*f = form{first: now}
		}
		f.add(now, key, u, r)
		if news == nil && !f.told && f.requests%judgeEach == 0 {
			if v := f.verdict(now); v.Score.N >= Suspicious {
				f.told = true
				news = w.told(now, i, band, f, v, r.Model)
			}
		}
	}
	if news != nil {
		for i, band := range t[:formBands] { // the same is told of one part of it only
			if f := w.forms.at[uint64(i)<<32|uint64(band)]; f != nil {
				f.of.told = true
			}
		}
	}
	return news
}

func (f *form) add(now time.Time, key uint64, u *user, r *event.Request) {
	f.requests++
	if f.n < len(f.users) && !slices.Contains(f.users[:f.n], key) {
		f.users[f.n] = key
		f.n++
		if now.Sub(u.first) < forget {
			f.fresh++
		}
	}
	if r.Client.IsValid() && f.nets < len(f.networks) {
		if p := network(r.Client.Addr()); !slices.Contains(f.networks[:f.nets], p) {
			f.networks[f.nets] = p
			f.nets++
		}
	}
	f.probs += one(r.LogProbs.N > 0)
	f.greedy += one(r.Temperature.Known && r.Temperature.N == 0)
	if r.PromptHash != "" {
		f.prompts.add(hash(r.PromptHash))
	}
}

// verdict: many who were not known before ask different things in one form, as one who copies does.
func (f *form) verdict(now time.Time) event.Likeness {
	if f.n < shareUsers || f.requests < shareRequests {
		return event.Likeness{}
	}
	different := percent(min(f.prompts.count(), f.requests), f.requests)
	var s sum
	s.sign(true, 25, "one template", "of %d who asked %d times within %s, from %d and %d", f.n, f.requests, now.Sub(f.first).Truncate(time.Minute), shareUsers, shareRequests)
	s.sign(different >= 90, 15, "different prompts", "%d %%, from 90 %%", different)
	s.sign(f.nets >= 3, 10, "many networks", "%d, from 3", f.nets)
	s.sign(f.fresh*10 >= f.n*8, 10, "newcomers", "%d of %d were not known for a day, from 80 %%", f.fresh, f.n)
	probs := s.sign(percent(f.probs, f.requests) >= 50, 30, "probabilities of tokens", "wanted by %d %%, from 50 %%", percent(f.probs, f.requests))
	greedy := s.sign(percent(f.greedy, f.requests) >= 90, 15, "temperature 0", "%d %%, from 90 %%", percent(f.greedy, f.requests))
	s.sign(f.requests >= 1000, 10, "many requests", "%d, from 1000", f.requests)
	if !probs && !greedy {
		s.most(60, "as users of one application share its template, too")
	}
	return s.verdict()
}

// told is the event of it. Who it is about is the template.
func (w *Watch) told(now time.Time, band int, value uint32, f *form, v event.Likeness, model string) *event.Event {
	return w.event(&event.Event{Time: now}, &user{id: fmt.Sprintf("%d-%08x", band, value), kind: "template", model: name(model)}, &event.Principal{
		Since: f.first, Requests: f.requests, Prompts: min(f.prompts.count(), f.requests), Others: int64(f.n), Networks: int64(f.nets),
		LogProbs: percent(f.probs, f.requests), Greedy: percent(f.greedy, f.requests), Form: 100, Shared: v,
	})
}
