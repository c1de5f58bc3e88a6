package drift

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// answers has a model answer n times, with a length about a mean, and refusals and repetition in so many of
// a hundred answers, and returns what was told.
func answers(w *Watch, rnd *rand.Rand, n int, length, refusals, repeats int) (told []string) {
	for range n {
		r := &event.Request{Model: "llama", AnswerLength: event.Measured(int64(float64(length) * (0.3 + rnd.ExpFloat64()*0.7))), Repeats: event.Measured(int64(rnd.IntN(2*repeats + 1)))}
		if rnd.IntN(100) < refusals {
			r.Finish = "refusal"
		}
		for _, e := range w.See(&event.Event{Kind: event.ServiceRequest, Time: start, Host: "h", Request: r}) {
			told = append(told, fmt.Sprintf("%s %d→%d", e.Drift.Measure, e.Drift.Before, e.Drift.Now))
		}
	}
	return told
}

func TestAModelThatAnswersOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		length, refusals, repeats int
		want                      string
	}{
		"half as long":      {500, 5, 3, "length"},
		"twice as long":     {2000, 5, 3, "length"},
		"refuses much":      {1000, 30, 3, "refusals"},
		"repeats itself":    {1000, 5, 30, "repetition"},
		"as it always does": {1000, 5, 3, ""},
	} {
		w, rnd := New(), rand.New(rand.NewPCG(1, 2))
		if told := answers(w, rnd, learn*block, 1000, 5, 3); told != nil {
			t.Fatalf("while it is learned: %v", told)
		}
		told := answers(w, rnd, 20*block, c.length, c.refusals, c.repeats)
		if c.want == "" && told != nil || c.want != "" && (len(told) != 1 || told[0][:len(c.want)] != c.want) {
			t.Errorf("%s: %v", name, told)
		}
	}
}

// TestHowOftenItIsWrong measures alarms about models that stay as they are: those of a hundred over 5,000
// answers each. docs/principals.md gives the figure.
func TestHowOftenItIsWrong(t *testing.T) {
	wrong := 0
	for i := range uint64(100) {
		w, rnd := New(), rand.New(rand.NewPCG(i, 7))
		if answers(w, rnd, 6000, 1000, 5, 3) != nil {
			wrong++
		}
	}
	t.Logf("%d of 100 models were wrongly told of within 5,000 answers", wrong)
	if wrong > 5 {
		t.Errorf("%d of 100 models were wrongly told of", wrong)
	}
}

func TestModelsAreBounded(t *testing.T) {
	w := New()
	see := func(at time.Duration, i int) {
		w.See(&event.Event{Kind: event.ServiceRequest, Time: start.Add(at), Request: &event.Request{Model: fmt.Sprint(i), AnswerLength: event.Measured(1)}})
	}
	for i := range 2 * maxModels {
		see(0, i)
	}
	if len(w.models) != maxModels || w.Unlearned() != maxModels {
		t.Errorf("%d models, %d answers not learned", len(w.models), w.Unlearned())
	}
	see(forget+time.Hour, -1)
	if len(w.models) != 1 {
		t.Errorf("%d models, all but one unseen for long", len(w.models))
	}
}
