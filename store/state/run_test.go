package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRuns(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, c *clock) {
		first, err := s.TakeRuns(ctx)
		need(t, err)
		r := Run{ID: "r1", Incident: "i1", State: "running", Opened: c.now(), Due: c.now().Add(time.Hour), Open: true, Plan: []byte(`{"p":1}`), Doc: []byte(`{"d":1}`)}
		need(t, s.SaveRun(ctx, first, r, 1, [][]byte{[]byte(`{"n":1}`), []byte(`{"n":2}`)}))
		want(t, s.SaveRun(ctx, first, r, 2, [][]byte{[]byte(`{"n":"twice"}`)}), ErrConflict)
		plan := r.Plan
		r.Plan, r.Doc, r.State = nil, []byte(`{"d":2}`), "failed"
		need(t, s.SaveRun(ctx, first, r, 3, [][]byte{[]byte(`{"n":3}`)}))
		second, err := s.TakeRuns(ctx)
		need(t, err)
		want(t, s.SaveRun(ctx, first, r, 4, nil), ErrFenced)
		r.Open, r.Due = false, time.Time{}
		need(t, s.SaveRun(ctx, second, r, 4, nil))

		r.Plan = plan
		got, err := s.Run(ctx, "r1")
		need(t, err)
		if d := cmp.Diff(r, got); d != "" {
			t.Error(d)
		}
		records, err := s.RunRecords(ctx, "r1")
		need(t, err)
		if d := cmp.Diff([][]byte{[]byte(`{"n":1}`), []byte(`{"n":2}`), []byte(`{"n":3}`)}, records); d != "" {
			t.Error(d)
		}
		for _, q := range []struct {
			RunQuery
			n int
		}{{RunQuery{}, 1}, {RunQuery{Incident: "i1"}, 1}, {RunQuery{Incident: "i2"}, 0}, {RunQuery{Open: true}, 0}} {
			list, err := s.Runs(ctx, q.RunQuery)
			need(t, err)
			if len(list) != q.n {
				t.Errorf("%+v: %d runs", q.RunQuery, len(list))
			}
		}
		_, err = s.Run(ctx, "none")
		want(t, err, ErrNotFound)
		want(t, s.SaveRun(ctx, second, Run{ID: "none"}, 1, nil), ErrNotFound)

		need(t, s.SetRunsStopped(ctx, "ada"))
		by, err := s.RunsStopped(ctx)
		need(t, err)
		if by != "ada" {
			t.Errorf("stopped by %q", by)
		}
	})
}
