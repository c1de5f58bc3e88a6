package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

var ctx = context.Background()

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time      { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }
func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano())
	return c
}

// engines runs a test on SQLite and on Postgres.
func engines(t *testing.T, f func(t *testing.T, s *Store, c *clock)) {
	t.Run("sqlite", func(t *testing.T) {
		c := newClock()
		f(t, open(t, Options{Dir: filepath.Join(t.TempDir(), "dir with % and ?"), Now: c.now}), c)
	})
	t.Run("postgres", func(t *testing.T) {
		c := newClock()
		f(t, open(t, Options{URL: database(t), Now: c.now}), c)
	})
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

func incident(n int) event.Incident {
	at := time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC)
	return event.Incident{
		ID: fmt.Sprintf("inc%03d", n), Title: "Weights stolen 100% <b>", Status: event.IncidentOpen, Severity: event.High, Risk: n,
		FirstSeen: at, LastSeen: at, Hosts: []string{"gpu-1"}, Version: 1,
		Entities: []event.Entity{{Kind: event.EntityModel, ID: "m", Name: fmt.Sprintf("Llama_%d\x00\xff", n)}},
	}
}

func finding(n int) event.Finding {
	return event.Finding{
		ID: fmt.Sprintf("f%03d", n), Time: time.Date(2026, 1, 1, 0, 0, n/2, 0, time.UTC), Host: "gpu-" + fmt.Sprint(n%2),
		Rule: event.Rule{ID: "r-id", Name: "weights_read"}, Severity: event.Severity(1 + n%5), EventIDs: []string{"e"},
	}
}

func TestIncidents(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, _ *clock) {
		for n := range 30 {
			need(t, s.SaveIncident(ctx, incident(n)))
		}
		inc := incident(3)
		need(t, s.SaveIncident(ctx, inc)) // the same again
		got, err := s.Incident(ctx, "inc003")
		need(t, err)
		if got.Title != inc.Title || !got.LastSeen.Equal(inc.LastSeen) {
			t.Fatalf("got %+v", got)
		}
		inc.Status = event.IncidentClosed
		want(t, s.SaveIncident(ctx, inc), ErrConflict)
		inc.Version = 2
		need(t, s.SaveIncident(ctx, inc))
		want(t, s.SaveIncident(ctx, incident(3)), ErrConflict)
		_, err = s.Incident(ctx, "nope")
		want(t, err, ErrNotFound)

		ids := func(q IncidentQuery) []string {
			list, err := s.Incidents(ctx, q)
			need(t, err)
			out := []string{}
			for _, i := range list {
				out = append(out, i.ID)
			}
			return out
		}
		if got := ids(IncidentQuery{Status: event.IncidentClosed}); !slices.Equal(got, []string{"inc003"}) {
			t.Errorf("closed: %v", got)
		}
		for q, n := range map[string]int{"STOLEN 100%": 30, "llama_7": 1, "100_": 0, "inc012": 1, `\`: 0, "a\x00": 0} {
			if got := ids(IncidentQuery{Text: q}); len(got) != n {
				t.Errorf("text %q: %d incidents, want %d", q, len(got), n)
			}
		}
		if got := ids(IncidentQuery{Severity: event.Critical}); len(got) != 0 {
			t.Errorf("critical: %v", got)
		}
		var all []string
		for q := (IncidentQuery{Limit: 7}); ; {
			page, err := s.Incidents(ctx, q)
			need(t, err)
			if len(page) == 0 {
				break
			}
			for _, i := range page {
				all = append(all, i.ID)
			}
			last := page[len(page)-1]
			q.Before = Cursor{last.LastSeen, last.ID}
		}
		if len(all) != 30 || all[0] != "inc029" || all[29] != "inc000" {
			t.Errorf("pages: %v", all)
		}
		count, err := s.CountIncidents(ctx)
		need(t, err)
		if diff := cmp.Diff(map[event.IncidentStatus]int{"open": 29, "closed": 1}, count); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFindings(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, _ *clock) {
		for n := range 20 {
			fresh, err := s.InsertFinding(ctx, finding(n), "")
			if need(t, err); !fresh {
				t.Fatal("not fresh")
			}
		}
		fresh, err := s.InsertFinding(ctx, finding(3), "other")
		if need(t, err); fresh {
			t.Fatal("a repeat counts as new")
		}
		need(t, s.SetFindingIncident(ctx, "f003", "inc001"))
		want(t, s.SetFindingIncident(ctx, "nope", "inc001"), ErrNotFound)
		f, err := s.Finding(ctx, "f004")
		if need(t, err); f.Host != "gpu-0" {
			t.Fatalf("%+v", f)
		}
		_, err = s.Finding(ctx, "nope")
		want(t, err, ErrNotFound)
		for name, q := range map[string]struct {
			q FindingQuery
			n int
		}{
			"all": {FindingQuery{}, 20}, "rule id": {FindingQuery{Rule: "r-id"}, 20}, "rule name": {FindingQuery{Rule: "weights_read"}, 20},
			"host": {FindingQuery{Host: "gpu-1"}, 10}, "incident": {FindingQuery{Incident: "inc001"}, 1},
			"severity": {FindingQuery{Severity: event.High}, 8}, "limit": {FindingQuery{Limit: 3}, 3},
			"before": {FindingQuery{Before: Cursor{finding(10).Time, "f011"}}, 11},
		} {
			list, err := s.Findings(ctx, q.q)
			if need(t, err); len(list) != q.n {
				t.Errorf("%s: %d findings, want %d", name, len(list), q.n)
			}
		}

		fresh, err = s.Save(ctx, finding(50), incident(50))
		if need(t, err); !fresh {
			t.Error("not fresh")
		}
		newer := incident(50)
		newer.Version = 5
		need(t, s.SaveIncident(ctx, newer))
		_, err = s.Save(ctx, finding(51), incident(50))
		want(t, err, ErrConflict)
		_, err = s.Finding(ctx, "f051")
		want(t, err, ErrNotFound) // both or neither
	})
}

func TestAccounts(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, c *clock) {
		need(t, s.SaveUser(ctx, User{Name: "ann", Role: "admin"}))
		need(t, s.SaveUser(ctx, User{Name: "ann", Role: "viewer", Password: "$argon2id$x", Disabled: true}))
		u, err := s.User(ctx, "ann")
		need(t, err)
		if diff := cmp.Diff(User{"ann", "viewer", "$argon2id$x", true, c.now()}, u); diff != "" {
			t.Error(diff)
		}
		tok := Token{ID: "t1", Name: "ci", Role: "viewer", Hash: "hh", Creator: "ann", Created: c.now()}
		need(t, s.SaveToken(ctx, tok))
		c.add(time.Minute)
		need(t, s.UseToken(ctx, "t1"))
		tok.Used = c.now()
		got, err := s.Token(ctx, "hh")
		need(t, err)
		if diff := cmp.Diff(tok, got); diff != "" {
			t.Error(diff)
		}
		need(t, s.RemoveToken(ctx, "t1"))
		want(t, s.RemoveToken(ctx, "t1"), ErrNotFound)

		for _, h := range []string{"a", "b", "c"} {
			need(t, s.SaveSession(ctx, Session{Hash: h, User: "ann", CSRF: "x", Link: true, Created: c.now(), Expires: c.now().Add(time.Hour)}))
		}
		need(t, s.RemoveSessions(ctx, "ann", "b"))
		_, err = s.Session(ctx, "a")
		want(t, err, ErrNotFound)
		v, err := s.Session(ctx, "b")
		if need(t, err); v.User != "ann" || !v.Link || v.CSRF != "x" {
			t.Errorf("%+v", v)
		}
		need(t, s.SaveLink(ctx, Link{"l1", "ann", c.now().Add(time.Minute)}))
		var taken atomic.Int32
		var wg sync.WaitGroup
		for range 8 { // a link works once, whoever comes at the same time
			wg.Go(func() {
				if _, err := s.TakeLink(ctx, "l1"); err == nil {
					taken.Add(1)
				} else if !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Errorf("link was taken %d times", taken.Load())
		}
		need(t, s.SaveLink(ctx, Link{"l2", "ann", c.now().Add(time.Minute)}))
		c.add(2 * time.Hour)
		_, err = s.TakeLink(ctx, "l2")
		want(t, err, ErrNotFound)
		_, err = s.Session(ctx, "b")
		want(t, err, ErrNotFound)
		need(t, s.RemoveUser(ctx, "ann"))
		want(t, s.RemoveUser(ctx, "ann"), ErrNotFound)
	})
}

func TestAgentsAndSettings(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, c *clock) {
		need(t, s.SaveEnrolment(ctx, "gpu-1", "aa"))
		need(t, s.SaveHeartbeat(ctx, "gpu-1", event.Heartbeat{Host: "gpu-1", Rules: 3}))
		first := c.now()
		c.add(time.Minute)
		need(t, s.SaveHeartbeat(ctx, "gpu-1", event.Heartbeat{Host: "gpu-1", Rules: 4}))
		list, err := s.Agents(ctx)
		need(t, err)
		if len(list) != 1 || !list[0].FirstSeen.Equal(first) || !list[0].LastSeen.Equal(c.now()) || list[0].Heartbeat.Rules != 4 || list[0].Serial != "aa" {
			t.Errorf("%+v", list)
		}
		revoked := func(name, serial string, want bool) {
			t.Helper()
			got, err := s.Revoked(ctx, name, serial)
			if need(t, err); got != want {
				t.Errorf("revoked(%s, %s) = %v", name, serial, got)
			}
		}
		revoked("gpu-1", "aa", false)
		revoked("gpu-1", "old", true)
		revoked("unknown", "x", false)
		need(t, s.RevokeAgent(ctx, "gpu-1"))
		revoked("gpu-1", "aa", true)
		need(t, s.SaveEnrolment(ctx, "gpu-1", "bb"))
		revoked("gpu-1", "aa", true)
		revoked("gpu-1", "bb", false)
		need(t, s.RemoveAgent(ctx, "gpu-1"))

		need(t, s.SaveSetting(ctx, "a", "1"))
		need(t, s.SaveSetting(ctx, "a", "2"))
		v, err := s.Setting(ctx, "a")
		if need(t, err); v != "2" {
			t.Error(v)
		}
		need(t, s.RemoveSetting(ctx, "a"))
		_, err = s.Setting(ctx, "a")
		want(t, err, ErrNotFound)
	})
}

func TestAudit(t *testing.T) {
	engines(t, func(t *testing.T, s *Store, _ *clock) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 10 {
					if _, err := s.Record(ctx, AuditEntry{Who: fmt.Sprint("u", i), What: "incident.update", Object: fmt.Sprint(j), OK: true, Detail: "a\x00b\xff"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		n, err := s.VerifyAudit(ctx)
		if need(t, err); n != 80 {
			t.Fatalf("%d entries", n)
		}
		list, err := s.Audit(ctx, 0, 3)
		if need(t, err); len(list) != 3 || list[0].Seq != 80 {
			t.Errorf("%+v", list)
		}
		if _, err := s.audit.ExecContext(ctx, "UPDATE audit SET who = 'nobody' WHERE seq = 40"); err != nil {
			t.Fatal(err)
		}
		if n, err := s.VerifyAudit(ctx); err == nil || n != 39 {
			t.Errorf("a changed entry went by: %d, %v", n, err)
		}
	})
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir})
	need(t, err)
	need(t, s.SaveIncident(ctx, incident(1)))
	need(t, s.Backup(ctx, filepath.Join(dir, "copy")))
	need(t, s.Close())
	for _, d := range []string{dir, filepath.Join(dir, "copy")} {
		s = open(t, Options{Dir: d})
		if _, err := s.Incident(ctx, "inc001"); err != nil {
			t.Error(err)
		}
	}
	if i, err := os.Stat(filepath.Join(dir, "state.db")); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("state.db: %v, %v", i.Mode(), err)
	}
}

func TestErrorsAreReadable(t *testing.T) {
	dir := t.TempDir()
	need(t, os.WriteFile(filepath.Join(dir, "state.db"), []byte(strings.Repeat("not a database ", 500)), 0o600))
	_, err := Open(ctx, Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
	_, err = Open(ctx, Options{Dir: filepath.Join(dir, "state.db", "below")})
	if err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
	_, err = Open(ctx, Options{URL: "postgres://u:secret@127.0.0.1:1/x"})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "is Postgres running") {
		t.Error(err)
	}
	if os.Getuid() == 0 {
		full := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", full).CombinedOutput(); err != nil {
			t.Skipf("needs to mount a small disk: %s", out)
		}
		defer exec.Command("umount", "-l", full).Run()
		s, err := Open(ctx, Options{Dir: full})
		if err == nil {
			defer s.Close()
			for n := 0; n < 2000 && err == nil; n++ {
				err = s.SaveIncident(ctx, incident(n))
			}
		}
		if err == nil || !strings.Contains(err.Error(), "free some space") && !strings.Contains(err.Error(), "free space") {
			t.Errorf("full disk: %v", err)
		}
	}
}
