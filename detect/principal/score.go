package principal

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"picket/event"
)

// From where on signs count.
const (
	strangeFrom = 800 // score of a prompt
	longAnswer  = 200 // tokens
	probingFor  = 10 * time.Minute
	loopFrom    = 20  // the same call in one conversation
	queryFrom   = 200 // requests of one who copies a model, in an hour
)

// verdicts is how many there are.
const verdicts = 6

func all(p *event.Principal) [verdicts]*event.Likeness {
	return [verdicts]*event.Likeness{&p.Extraction, &p.Shared, &p.Wallet, &p.Stolen, &p.Loop, &p.Probing}
}

// sum adds signs up.
type sum struct {
	points int64
	words  []string
}

// sign counts where it holds: what was seen, and from where on it counts.
func (s *sum) sign(holds bool, points int64, name, format string, args ...any) bool {
	if holds {
		s.points += points
		s.words = append(s.words, fmt.Sprintf("%s (%s) +%d", name, fmt.Sprintf(format, args...), points))
	}
	return holds
}

// most bounds the sum where something that must speak for it does not.
func (s *sum) most(points int64, why string) {
	if s.points > points {
		s.points = points
		s.words = append(s.words, fmt.Sprintf("no more than %d, %s", points, why))
	}
}

func (s *sum) verdict() event.Likeness {
	return event.Likeness{Score: event.Measured(min(s.points, 100)), Reasons: strings.Join(s.words, "; ")}
}

// judge says what one has done in this hour, and what that looks like.
func (w *Watch) judge(now time.Time, u *user) *event.Principal {
	p := u.hour.summary(w.since)
	p.Networks = int64(u.networks.n)
	near := w.lookAtPeers(now)
	p.Extraction = u.extraction(p, near)
	p.Wallet = u.wallet(near)
	p.Stolen = u.stolen()
	p.Loop = u.loop()
	p.Probing = u.probing()
	return p
}

// extraction: many different prompts of one form, with what makes answers good to learn from.
func (u *user) extraction(p *event.Principal, near *peers) event.Likeness {
	h := &u.hour
	if h.requests < queryFrom || h.prompted*2 < h.requests {
		return event.Likeness{Score: event.Measured(0), Reasons: fmt.Sprintf("%d requests, %d of them with a prompt that is known: too few to tell, from %d and half of them", h.requests, h.prompted, queryFrom)}
	}
	var s sum
	different := percent(p.Prompts, h.prompted)
	covers := s.sign(different >= 90, 20, "different prompts", "%d %% of %d, from 90 %%", different, h.prompted)
	form := s.sign(p.Form >= 60 && h.formed*2 >= h.requests, 25, "one template", "%d %% of the prompts, from 60 %%", p.Form)
	probs := s.sign(p.LogProbs >= 50, 20, "probabilities of tokens", "wanted by %d %%, from 50 %%", p.LogProbs)
	s.sign(p.Greedy >= 90, 10, "temperature 0", "%d %%, from 90 %%", p.Greedy)
	s.sign(p.Many >= 50, 10, "several answers at once", "%d %%, from 50 %%", p.Many)
	s.sign(h.tokensOut/h.requests >= longAnswer, 10, "long answers", "%d tokens each, from %d", h.tokensOut/h.requests, longAnswer)
	volume := s.sign(near.n >= manyPeers && float64(h.requests) >= 10*near.requests, 20, "far more than others",
		"%d requests, %.0f in the middle of %d, from 10 times as many", h.requests, near.requests, near.n)
	s.sign(bits.OnesCount64(h.minutes) >= 45, 10, "without pause", "in %d minutes of the hour, from 45", bits.OnesCount64(h.minutes))
	if !covers || !form && !probs && !volume {
		s.most(60, "as it must be different prompts, and of one template, for probabilities, or far more than others")
	}
	return s.verdict()
}

// wallet: far more tokens than it, or than others, usually use.
func (u *user) wallet(near *peers) event.Likeness {
	h := &u.hour
	tokens := float64(h.tokensIn + h.tokensOut)
	if tokens < fewTokens {
		return event.Likeness{Score: event.Measured(0), Reasons: fmt.Sprintf("%.0f tokens in the hour, from %d", tokens, fewTokens)}
	}
	var s sum
	b := &u.habit
	if b.hours >= manyHours {
		s.sign(b.over(tokens) > deviations, 50, "above its habit", "%.0f tokens, usually %.0f, %.1f deviations, from %d, of %d hours", tokens, b.tokens, b.over(tokens), deviations, b.hours)
		s.sign(tokens > 3*b.tokens, 20, "a multiple of its habit", "%.1f times, from 3", tokens/max(b.tokens, 1))
	}
	if near.n >= manyPeers {
		s.sign(near.over(tokens) > deviations, 35, "above others", "%.0f tokens, %.0f in the middle of %d, %.1f deviations, from %d", tokens, near.tokens, near.n, near.over(tokens), deviations)
		s.sign(tokens > 20*near.tokens, 35, "a multiple of others", "%.1f times, from 20", tokens/max(near.tokens, 1))
	}
	if b.hours >= manyHours && b.over(tokens) <= deviations {
		s.most(60, "as it is what it usually uses")
	}
	return s.verdict()
}

// stolen: a key that is known comes from elsewhere and looks what it can get.
func (u *user) stolen() event.Likeness {
	h := &u.hour
	if h.moved.IsZero() || u.kind == "client" {
		return event.Likeness{Score: event.Measured(0), Reasons: "it came from no new network in this hour"}
	}
	var s sum
	s.sign(true, 35, "new network", "%s, known for %s", network(u.at.Addr()), u.last.Sub(u.first).Truncate(time.Minute))
	s.sign(h.models.n >= 4, 25, "many models", "%d, from 4", h.models.n)
	s.sign(h.listed, 10, "list of models", "asked for")
	s.sign(h.invalid >= 5 && h.invalid*5 >= h.requests, 20, "invalid requests", "%d of %d, from 5 and a fifth", h.invalid, h.requests)
	s.sign(u.habit.hours > 0 && h.requests >= 20 && float64(h.requests) > 3*u.habit.requests, 25, "burst", "%d requests, usually %.0f, from 20 and 3 times as many", h.requests, u.habit.requests)
	return s.verdict()
}

// loop: an agent makes one call of a tool again and again.
func (u *user) loop() event.Likeness {
	h := &u.hour
	n := most(h.calls[:])
	var s sum
	if s.sign(n >= loopFrom, Suspicious, "the same call", "%d times with the same arguments in one conversation, from %d", n, loopFrom) {
		s.sign(n >= 5*loopFrom, 10, "it does not end", "%d times, from %d", n, 5*loopFrom)
		s.sign(h.tokensIn+h.tokensOut >= fewTokens, 20, "dear", "%d tokens in the hour, from %d", h.tokensIn+h.tokensOut, fewTokens)
	}
	return s.verdict()
}

// probing: refused again and again, and then not.
func (u *user) probing() event.Likeness {
	h := &u.hour
	var s sum
	if s.sign(h.probing(u.last) || h.answered > 0, 50, "refused", "%d times within %d minutes, from %d; %d in the hour", len(h.refused), int(probingFor/time.Minute), len(h.refused), h.refusals) {
		s.sign(h.answered > 0, 30, "then answered", "with %d tokens, from %d", h.answered, longAnswer)
		s.sign(h.strange > 0, 20, "prompts that look like attacks", "%d, from 1", h.strange)
	}
	return s.verdict()
}
