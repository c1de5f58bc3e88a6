package state

import (
	"slices"
	"strings"
	"testing"
)

// What was done to a log is told, and to which entry.
func TestAuditChain(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, _ *clock) {
		for _, what := range []string{"run.request", "run.approve", "run.answer", "run.undo", "user.save"} {
			_, err := s.Record(ctx, AuditEntry{Who: "anna", What: what, Object: "r1", OK: true, Detail: "plan 12ab"})
			need(t, err)
		}
		log, err := s.AuditFrom(ctx, 0, 100)
		need(t, err)
		head := AuditHead{log[4].Seq, log[4].Hash}
		if again, err := ParseAuditHead(head.String()); again != head || err != nil {
			t.Errorf("%v, %v", again, err)
		}
		other := func() []AuditEntry { // a chain of its own that is sound
			var out []AuditEntry
			prev := ""
			for _, e := range log {
				e.Detail, e.Prev = "plan 34cd", prev
				row := auditRow{Seq: e.Seq, Time: nanos(e.Time), Who: e.Who, Origin: e.From, What: e.What, Object: e.Object, OK: number(e.OK), Detail: e.Detail, Prev: e.Prev}
				e.Hash = row.sum()
				prev = e.Hash
				out = append(out, e)
			}
			return out
		}()
		changed := func(n int, f func(*AuditEntry)) []AuditEntry {
			out := slices.Clone(log)
			f(&out[n])
			return out
		}
		for _, c := range []struct {
			name string
			log  []AuditEntry
			want string
		}{
			{"as it is", log, ""},
			{"changed", changed(1, func(e *AuditEntry) { e.Who = "mallory" }), "entry 2 was changed"},
			{"changed with its sum", changed(1, func(e *AuditEntry) { *e = other[1] }), "entry 2 does not follow from the one before"},
			{"removed", slices.Delete(slices.Clone(log), 1, 3), "entries 2 to 3 are gone"},
			{"removed at the start", log[1:], "entry 1 is gone"},
			{"reordered", []AuditEntry{log[0], log[2], log[1], log[3], log[4]}, "entry 2 stands behind entry 3"},
			{"truncated", log[:3], "the log was cut off behind entry 3: there were 5"},
			{"emptied", nil, "the log was cut off behind entry 0: there were 5"},
			{"written anew", other, "entry 5 is another than was noted"},
		} {
			chain := AuditChain{Heads: []AuditHead{head}}
			for _, e := range c.log {
				chain.Next(e)
			}
			chain.End()
			if got := strings.Join(chain.Wrong(), "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	})
}

// An entry that an earlier version wrote counts as it is: the sum has not changed since.
func TestOldAuditEntriesCount(t *testing.T) {
	old := auditRow{Seq: 1, Time: 1764000000000000000, Who: "token:ada", Origin: "127.0.0.1", What: "run.approve", Object: "r1", OK: 1, Detail: "plan h1"}
	if got, want := old.sum(), "9ad3ccd07c5fed948e256baadafa583d324d347e7a4d33aa98793a91bd36f301"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
