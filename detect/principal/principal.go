// Package principal says what those who ask AI services do with them, hour by hour, and how much that
// looks like an attack: a model copied by its answers, by one or by many at once, a bill driven up, a
// key in other hands, an agent in a loop, somebody who tries what is refused. Each score is a sum of
// signs that are told with what was seen, from where on it counts, and its points.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Whoever asks, and
// however many do, its memory is bounded: who asks most is told apart, the rest is counted together.
package principal

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"picket/event"
)

// Bounds of what is remembered: some 5 MiB in all.
const (
	maxUsers  = 1024
	maxForms  = 1024
	maxName   = 128            // bytes of who it is
	maxTold   = 256            // of whom an hour is told when it is over: those who asked most
	forget    = 24 * time.Hour // after it last asked
	judgeEach = 16             // requests
)

// Suspicious is the score from which on something is taken for an attack.
const Suspicious = 70

// user is one who asks.
type user struct {
	id, kind    string
	first, last time.Time
	took        uint64 // requests of those whose place it has, at most
	model       string // that it asked for last
	at          netip.AddrPort
	networks    networks
	habit       habit
	hour        hour
	told        [verdicts]int64 // in this hour
}

// hour is what one did in it.
type hour struct {
	requests, errors, invalid, refusals   int64
	tokensIn, tokensOut                   int64
	prompted, formed, probs, greedy, many int64
	strange                               int64 // prompts that look like an attack
	prompts                               sketch
	forms                                 [4]counted // templates
	calls                                 [8]counted // of tools
	models, routes                        few
	minutes                               uint64    // in which it asked
	refused                               [5]int64  // seconds at which it was refused lately
	answered                              int64     // tokens of the first long answer after as many refusals
	moved                                 time.Time // when it first came from a new network
	listed                                bool      // it asked which models there are
}

// Watch follows those who ask.
type Watch struct {
	users top[user]
	forms top[form]
	since time.Time // when the hour began
	other hour      // of those who had to give their place
	lost  int64     // how many those were
	order uint64
	peers peers

	replaced atomic.Uint64
	known    atomic.Int64
}

// New returns a Watch that has seen nothing yet.
func New() *Watch {
	return &Watch{users: newTop[user](maxUsers), forms: newTop[form](maxForms)}
}

// Replaced counts those who were no longer told apart, as too many asked.
func (w *Watch) Replaced() uint64 { return w.replaced.Load() }

// Known is how many are told apart.
func (w *Watch) Known() int64 { return w.known.Load() }

// See takes a request. Where a score rose to Suspicious it returns what the one who asked has done in
// this hour so far; where an hour is over, what all did in it. Other events cost a comparison.
func (w *Watch) See(e *event.Event) (news []*event.Event) {
	if e.Kind != event.ServiceRequest || e.Request == nil || e.Request.Principal == "" {
		return nil
	}
	news = w.Advance(e.Time)
	if w.since.IsZero() {
		w.since = e.Time.Truncate(time.Hour)
	}
	r := e.Request
	w.order++
	one := w.users.touch(hash(r.PrincipalKind, r.Principal), w.order, func(gone *user) user {
		u := user{id: name(r.Principal), kind: name(r.PrincipalKind), first: e.Time}
		if gone != nil {
			w.replaced.Add(1)
			w.lost++
			w.other.merge(&gone.hour)
			u.took = uint64(gone.hour.requests) + gone.took
		}
		return u
	})
	w.known.Store(int64(len(w.users.heap)))
	u := &one.of
	u.last, u.model = e.Time, name(r.Model)
	if r.Client.IsValid() {
		u.at = r.Client
		if u.networks.add(r.Client.Addr(), e.Time) && e.Time.Sub(u.first) >= settled {
			u.hour.moved = e.Time
		}
	}
	urgent := u.hour.add(e.Time, r, max(1, int64(e.Count)))
	shared := w.share(e.Time, one.key, u, r)
	if urgent {
		if p := w.judge(e.Time, u); u.rose(p) {
			news = append(news, w.event(e, u, p))
		}
	}
	if shared != nil {
		news = append(news, shared)
	}
	return news
}

// Advance says that time went on. Where an hour is over it returns what each did in it.
func (w *Watch) Advance(now time.Time) (news []*event.Event) {
	if w.since.IsZero() || now.Sub(w.since) < time.Hour {
		return nil
	}
	for i, u := range w.most() {
		if i == maxTold {
			break
		}
		p := w.judge(w.since.Add(time.Hour-1), u)
		p.Closed = true
		news = append(news, w.event(&event.Event{Time: w.since.Add(time.Hour - 1)}, u, p))
	}
	if w.lost > 0 {
		p := w.other.summary(w.since)
		p.Closed, p.Others = true, w.lost
		news = append(news, w.event(&event.Event{Time: w.since.Add(time.Hour - 1)}, &user{id: "others", kind: "others"}, p))
	}
	w.close(now)
	return news
}

// close begins another hour.
func (w *Watch) close(now time.Time) {
	empty := int64(now.Truncate(time.Hour).Sub(w.since)/time.Hour) - 1
	w.since = now.Truncate(time.Hour)
	w.other, w.lost, w.peers = hour{}, 0, peers{}
	w.users.recount(func(r *ranked[user]) bool {
		u := &r.of
		u.habit.learn(&u.hour, empty)
		u.hour, u.told, u.took = hour{}, [verdicts]int64{}, 0
		r.count /= 2 // not 0: many new names in the first minute would have all others forgotten
		return now.Sub(u.last) < forget
	})
	w.forms.recount(func(r *ranked[form]) bool { return now.Sub(r.of.first) < forget })
	w.known.Store(int64(len(w.users.heap)))
}

// event makes an event of what one did. It carries who that is as the last request does.
func (w *Watch) event(of *event.Event, u *user, p *event.Principal) *event.Event {
	return &event.Event{
		Kind: event.PrincipalHour, Time: of.Time, Host: of.Host, Process: of.Process, Principal: p,
		Request: &event.Request{Principal: u.id, PrincipalKind: u.kind, Model: u.model, Client: u.at},
	}
}

// rose reports whether a score came to Suspicious that had not in this hour.
func (u *user) rose(p *event.Principal) (rose bool) {
	for i, v := range all(p) {
		if v.Score.N >= Suspicious && u.told[i] < Suspicious {
			rose = true
		}
		u.told[i] = max(u.told[i], v.Score.N)
	}
	return rose
}

// add counts a request, or as many like it as were told together. It reports whether it may be the one
// that a verdict waits for.
func (h *hour) add(now time.Time, r *event.Request, times int64) (urgent bool) {
	before := h.requests
	h.requests += times
	h.tokensIn += bounded(r.TokensIn)
	h.tokensOut += bounded(r.TokensOut)
	h.minutes |= 1 << (now.Minute() % 64)
	h.models.add(r.Model)
	h.routes.add(r.Route + r.Operation)
	if strings.HasSuffix(r.Route, "/models") || r.Route == "/api/tags" {
		h.listed = true
	}
	if r.Status.N >= 400 {
		h.errors += times
		if r.Status.N == 400 || r.Status.N == 404 || r.Status.N == 422 {
			h.invalid += times
		}
	}
	if r.PromptHash != "" {
		h.prompted++
		h.prompts.add(hash(r.PromptHash))
	}
	h.probs += one(r.LogProbs.N > 0)
	h.greedy += one(r.Temperature.Known && r.Temperature.N == 0)
	h.many += one(r.Choices.N > 1)
	if r.PromptScore.N >= strangeFrom || strings.Contains(r.Attacks, "phrase;") || strings.Contains(r.Attacks, "wrapped;") {
		h.strange++
	}
	if t := parse(r.Template); t[0] != 0 {
		h.formed++
		h.form(t)
	}
	if r.Operation == "execute_tool" && r.PromptHash != "" {
		urgent = h.call(hash(r.Conversation, r.PromptHash))
	}
	return h.refuse(now, r) || urgent || h.requests/judgeEach > before/judgeEach
}

// refuse counts refusals, and notes a long answer after five of them within ten minutes.
func (h *hour) refuse(now time.Time, r *event.Request) (urgent bool) {
	if r.Finish == "content_filter" || r.Finish == "refusal" {
		h.refusals++
		copy(h.refused[1:], h.refused[:])
		h.refused[0] = now.Unix()
		return h.probing(now)
	}
	if h.answered == 0 && r.TokensOut.N >= longAnswer && h.probing(now) {
		h.answered = bounded(r.TokensOut)
		return true
	}
	return false
}

// probing reports whether there were five refusals lately.
func (h *hour) probing(now time.Time) bool {
	last := h.refused[len(h.refused)-1]
	return last > 0 && now.Unix()-last <= int64(probingFor/time.Second)
}

// merge adds what another did, as far as sums say.
func (h *hour) merge(o *hour) {
	h.requests += o.requests
	h.errors += o.errors
	h.refusals += o.refusals
	h.tokensIn += o.tokensIn
	h.tokensOut += o.tokensOut
	h.prompted += o.prompted
	h.probs += o.probs
	h.greedy += o.greedy
	h.many += o.many
	h.prompts.merge(&o.prompts)
}

// summary is what one did, without verdicts.
func (h *hour) summary(since time.Time) *event.Principal {
	return &event.Principal{
		Since: since, Requests: h.requests, TokensIn: h.tokensIn, TokensOut: h.tokensOut, Errors: h.errors, Refusals: h.refusals,
		Prompts: min(h.prompts.count(), h.prompted), Form: percent(most(h.forms[:]), h.formed), LogProbs: percent(h.probs, h.requests),
		Greedy: percent(h.greedy, h.requests), Many: percent(h.many, h.requests), Models: int64(h.models.n), Routes: int64(h.routes.n),
	}
}

// bounded is a number of tokens that cannot make sums run over.
func bounded(m event.Measure) int64 { return max(0, min(m.N, 100_000_000)) }

func one(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func percent(n, of int64) int64 {
	if of == 0 {
		return 0
	}
	return 100 * n / of
}

func name(s string) string { return strings.Clone(s[:min(len(s), maxName)]) }
