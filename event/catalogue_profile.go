package event

import (
	"strconv"
	"time"
)

// profileFields are those of what is not as it is wont to be.
var profileFields = []Info{
	dev("profile.id", "profile of the workload", func(d *Deviation) *string { return &d.Profile }),
	dev("profile.what", "what deviates: program, destination, model, library, device, gpu, start, version, rate, shift, weights-left, weights-drip, weights-staged, dns-tunnel, install-egress, gpu-setting, gpu-orphan, gpu-errors or gpu-hours", func(d *Deviation) *string { return &d.What }),
	dev("profile.value", "what was seen", func(d *Deviation) *string { return &d.Value }),
	dev("profile.usual", "what is seen otherwise", func(d *Deviation) *string { return &d.Usual }),
	devNumber("profile.score", "how many usual deviations a measure is away", func(d *Deviation) Value { return d.Score.value() },
		func(d *Deviation, n int64) { d.Score = Measured(n) }),
	devNumber("profile.confidence", "percent, how sure the profile is of what is usual", func(d *Deviation) Value { return count(d.Confidence) },
		func(d *Deviation, n int64) { d.Confidence = n }),
	devNumber("profile.age", "seconds for which the profile has seen the workload run", func(d *Deviation) Value { return count(int64(d.Age / time.Second)) },
		func(d *Deviation, n int64) { d.Age = time.Duration(n) * time.Second }),
	devNumber("profile.read", "bytes of the model that were read", func(d *Deviation) Value { return d.Read.value() },
		func(d *Deviation, n int64) { d.Read = Measured(n) }),
	devNumber("profile.sent", "bytes that were sent out, or written elsewhere; letters of data in names", func(d *Deviation) Value { return d.Sent.value() },
		func(d *Deviation, n int64) { d.Sent = Measured(n) }),
}

func (e *Event) deviation() *Deviation {
	if e.Deviation == nil {
		e.Deviation = new(Deviation)
	}
	return e.Deviation
}

func dev(name, doc string, member func(*Deviation) *string) Info {
	return part(name, "", doc, func(e *Event) *Deviation { return e.Deviation }, (*Event).deviation, member)
}

func devNumber(name, doc string, get func(*Deviation) Value, set func(*Deviation, int64)) Info {
	return top(name, "", Integer, doc,
		func(e *Event) Value {
			if e.Deviation == nil {
				return Value{}
			}
			return get(e.Deviation)
		},
		func(e *Event, s string) error {
			n, err := strconv.ParseInt(s, 0, 64)
			if err == nil {
				set(e.deviation(), n)
			}
			return err
		})
}
