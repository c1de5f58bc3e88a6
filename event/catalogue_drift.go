package event

// driftFields are those of a model whose answers are not as they were; which it is, gen_ai.request.model says.
var driftFields = []Info{
	part("drift.measure", "", "what changed: length (bytes of an answer), refusals or repetition (percent)", func(e *Event) *Drift { return e.Drift }, (*Event).drift, func(d *Drift) *string { return &d.Measure }),
	driftNumber("drift.before", "mean of the measure when it was learned", func(d *Drift) *int64 { return &d.Before }),
	driftNumber("drift.now", "mean of the measure since it changed", func(d *Drift) *int64 { return &d.Now }),
	driftNumber("drift.answers", "answers over which the change was seen", func(d *Drift) *int64 { return &d.Answers }),
}

func (e *Event) drift() *Drift {
	if e.Drift == nil {
		e.Drift = new(Drift)
	}
	return e.Drift
}

func driftNumber(name, doc string, member func(*Drift) *int64) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.Drift == nil {
				return Value{}
			}
			return integer(*member(e.Drift))
		},
		number(func(e *Event, n int64) { *member(e.drift()) = n }))
}
