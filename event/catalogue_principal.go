package event

import (
	"slices"
	"strconv"
	"time"
)

// principalFields are those of what one who asks AI services did in an hour; principal.id and
// principal.kind are those of its requests.
var principalFields = slices.Concat([]Info{
	top("principal.since", "", Integer, "when the hour began, in seconds since 1970",
		func(e *Event) Value {
			if e.Principal == nil || e.Principal.Since.IsZero() {
				return Value{}
			}
			return integer(e.Principal.Since.Unix())
		},
		number(func(e *Event, n int64) { e.principal().Since = time.Unix(n, 0).UTC() })),
	top("principal.closed", "", Boolean, "true where the hour is over; false where a score rose before its end",
		func(e *Event) Value {
			if e.Principal == nil {
				return Value{}
			}
			return boolean(e.Principal.Closed)
		},
		flag(func(e *Event, b bool) { e.principal().Closed = b })),
	prinNumber("principal.others", "how many others it stands for, where too many asked to be told apart", func(p *Principal) *int64 { return &p.Others }),
	prinNumber("principal.requests", "requests in the hour", func(p *Principal) *int64 { return &p.Requests }),
	prinNumber("principal.tokens_in", "tokens of its prompts", func(p *Principal) *int64 { return &p.TokensIn }),
	prinNumber("principal.tokens_out", "tokens of the answers", func(p *Principal) *int64 { return &p.TokensOut }),
	prinNumber("principal.errors", "answers with a status from 400 on", func(p *Principal) *int64 { return &p.Errors }),
	prinNumber("principal.refusals", "answers in which the model, or a filter before it, would not", func(p *Principal) *int64 { return &p.Refusals }),
	prinNumber("principal.prompts", "different prompts, to within a few percent", func(p *Principal) *int64 { return &p.Prompts }),
	prinNumber("principal.form", "percent of the prompts that are made of the most usual template", func(p *Principal) *int64 { return &p.Form }),
	prinNumber("principal.logprobs", "percent of the requests that want probabilities of tokens", func(p *Principal) *int64 { return &p.LogProbs }),
	prinNumber("principal.greedy", "percent of the requests with temperature 0", func(p *Principal) *int64 { return &p.Greedy }),
	prinNumber("principal.many", "percent of the requests that want several answers", func(p *Principal) *int64 { return &p.Many }),
	prinNumber("principal.models", "different models that were asked for, at most 16", func(p *Principal) *int64 { return &p.Models }),
	prinNumber("principal.routes", "different paths or operations, at most 16", func(p *Principal) *int64 { return &p.Routes }),
	prinNumber("principal.networks", "networks that it came from, at most 8", func(p *Principal) *int64 { return &p.Networks }),
},
	verdict("extraction", "a model being copied by its answers", func(p *Principal) *Likeness { return &p.Extraction }),
	verdict("shared", "a model being copied by many at once", func(p *Principal) *Likeness { return &p.Shared }),
	verdict("wallet", "far more being used than is usual", func(p *Principal) *Likeness { return &p.Wallet }),
	verdict("stolen", "somebody else having its key", func(p *Principal) *Likeness { return &p.Stolen }),
	verdict("loop", "an agent that does the same again and again", func(p *Principal) *Likeness { return &p.Loop }),
	verdict("probing", "trying what is refused until something is answered", func(p *Principal) *Likeness { return &p.Probing }),
)

// verdict makes the two fields of a verdict.
func verdict(name, what string, member func(*Principal) *Likeness) []Info {
	return []Info{
		top("principal."+name+".score", "", Integer, "how much it looks like "+what+", of 100",
			func(e *Event) Value {
				if e.Principal == nil {
					return Value{}
				}
				return member(e.Principal).Score.value()
			},
			func(e *Event, s string) error { return member(e.principal()).Score.set(s) }),
		part("principal."+name+".reasons", "", "what that score is made of: each sign with what was seen, from where on it counts, and its points",
			func(e *Event) *Principal { return e.Principal }, (*Event).principal, func(p *Principal) *string { return &member(p).Reasons }),
	}
}

func (e *Event) principal() *Principal {
	if e.Principal == nil {
		e.Principal = new(Principal)
	}
	return e.Principal
}

func prinNumber(name, doc string, member func(*Principal) *int64) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.Principal == nil {
				return Value{}
			}
			return integer(*member(e.Principal))
		},
		func(e *Event, s string) error {
			n, err := strconv.ParseInt(s, 0, 64)
			*member(e.principal()) = n
			return err
		})
}
