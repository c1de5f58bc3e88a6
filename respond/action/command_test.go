package action

import (
	"context"
	"testing"
)

// TestAnAnswerThatHoldsNothing has an agent answer with nothing: that is an error, and no plan or result
// that is not there.
func TestAnAnswerThatHoldsNothing(t *testing.T) {
	r := Remote{Ask: func(context.Context, Command) (Answer, error) { return Answer{}, nil }}
	if p, err := r.Plan(t.Context(), &Request{}); err == nil {
		t.Errorf("plan: %+v", p)
	}
	if x, err := r.Do(t.Context(), &Request{}); err == nil {
		t.Errorf("do: %+v", x)
	}
	if x, err := r.Undo(t.Context(), &Request{}); err == nil {
		t.Errorf("undo: %+v", x)
	}
}
