package event

import (
	"strconv"
	"strings"
	"time"
)

// Principal is what one who asks AI services did in an hour, or in the part of one that is over. Who it
// is stands in the event's Request.
type Principal struct {
	Since  time.Time // when the hour began
	Closed bool      // the hour is over; else a score rose before its end
	Others int64     // how many others it stands for, where too many asked to be told apart

	Requests  int64
	TokensIn  int64
	TokensOut int64
	Errors    int64 // answers with a status from 400 on
	Refusals  int64 // answers in which the model, or a filter before it, would not
	Prompts   int64 // different ones, to within a few percent
	Form      int64 // percent of the prompts that are made of the most usual template
	LogProbs  int64 // percent of the requests that want probabilities of tokens
	Greedy    int64 // percent with temperature 0
	Many      int64 // percent that want several answers
	Models    int64 // different ones, at most 16
	Routes    int64 // likewise
	Networks  int64 // that it came from, at most 8

	Extraction Likeness // a model is copied by its answers
	Shared     Likeness // the same by many at once
	Wallet     Likeness // far more is used than is usual
	Stolen     Likeness // somebody else has its key
	Loop       Likeness // an agent does the same again and again
	Probing    Likeness // it tries what is refused until something is answered
}

// Likeness is how much something looks like an attack, of 100, and what that number is made of: each
// sign with what was seen, from where on it counts, and its points.
type Likeness struct {
	Score   Measure
	Reasons string
}

// Most returns the highest of the verdicts, and what it is about.
func (p *Principal) Most() (name string, v Likeness) {
	for _, one := range []struct {
		name string
		v    *Likeness
	}{
		{"extraction", &p.Extraction},
		{"shared extraction", &p.Shared},
		{"denial of wallet", &p.Wallet},
		{"a stolen key", &p.Stolen},
		{"a loop", &p.Loop},
		{"probing", &p.Probing},
	} {
		if one.v.Score.N > v.Score.N {
			name, v = one.name, *one.v
		}
	}
	return name, v
}

// describe is the sentence of Describe.
func (p *Principal) describe(r *Request) string {
	who := "somebody"
	if r != nil && r.Principal != "" {
		who = strings.TrimSpace(r.PrincipalKind + " " + r.Principal)
	}
	s := who + " made " + strconv.FormatInt(p.Requests, 10) + " requests with " + strconv.FormatInt(p.TokensIn+p.TokensOut, 10) + " tokens"
	if name, v := p.Most(); v.Score.N > 0 {
		s += ", which looks like " + name + ", " + strconv.FormatInt(v.Score.N, 10) + " of 100"
	}
	return s
}

// text tells them apart.
func (p *Principal) text() string {
	var b []byte
	b = strconv.AppendInt(b, p.Since.Unix(), 10)
	for _, n := range []int64{
		p.Requests, p.TokensIn, p.TokensOut, p.Errors, p.Refusals, p.Prompts,
		p.Extraction.Score.N, p.Shared.Score.N, p.Wallet.Score.N, p.Stolen.Score.N, p.Loop.Score.N, p.Probing.Score.N,
	} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	return string(b)
}
