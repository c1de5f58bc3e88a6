package event

import "strconv"

// Drift is how a model's answers differ from what they were. Which model it is stands in the event's Request.
type Drift struct {
	Measure string // length (bytes), refusals or repetition (percent)
	Before  int64
	Now     int64
	Answers int64 // over which the change was seen
}

// describe is the sentence of Describe about a model that answers otherwise.
func (d *Drift) describe(of *Request) string {
	model := "a model"
	if of != nil && of.Model != "" {
		model = of.Model
	}
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	return "the answers of " + model + " changed, in " + d.Measure + ": " + n(d.Before) + " before, " + n(d.Now) + " in the last " + n(d.Answers)
}

// text tells changes apart.
func (d *Drift) text() string {
	return d.Measure + "\x00" + strconv.FormatInt(d.Before, 10) + "\x00" + strconv.FormatInt(d.Now, 10)
}
