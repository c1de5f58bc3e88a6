package node

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"picket/api"
	"picket/respond"
	"picket/store/state"
)

// What a rule did stands in the log beside what people did, and that the log was cut off in the database
// is told by the note beside it.
func TestTheAuditLog(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	st, err := state.Open(ctx, state.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	a := openAudit(ctx, st, dir, log)
	lib, err := respond.ReadLibrary(fstest.MapFS{"killers.json": &fstest.MapFile{Data: killers()}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := respond.New(ctx, respond.Options{
		Journal: auditing{NewJournal(st), a}, Library: lib, Incidents: oneIncident{},
		Config: respond.Config{Rules: []respond.Rule{{Name: "all", Playbook: "killers", Mode: respond.Approve}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	inc, _ := oneIncident{}.Incident(ctx, "")
	if err := e.Respond(ctx, inc, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Record(ctx, api.AuditEntry{Who: "anna", What: "run.approve", OK: true}); err != nil {
		t.Fatal(err)
	}
	runs, err := e.Runs(ctx, respond.Query{})
	if err != nil || len(runs) != 1 {
		t.Fatal(runs, err)
	}
	check := func() (AuditChain, api.AuditPage) {
		page, err := a.Entries(ctx, api.AuditQuery{After: 0, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var c AuditChain
		if err := c.Note(page.Head); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			c.Next(e)
		}
		c.End()
		return c, page
	}
	c, page := check()
	if len(c.Wrong()) > 0 || len(page.Items) != 2 || page.Items[0].Who != "policy:all" || !strings.Contains(page.Items[0].Detail, runs[0].Plan.Hash) {
		t.Fatalf("%v: %+v", c.Wrong(), page)
	}
	if err := a.close(); err != nil { // the end is noted
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "audit.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), "DELETE FROM audit WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	if openAudit(ctx, st, dir, log); !strings.Contains(said.String(), "the audit log was cut off or changed") {
		t.Errorf("the next server says %s", said.String())
	}
	a = openAudit(ctx, st, dir, log)
	if c, _ := check(); len(c.Wrong()) != 1 || !strings.Contains(c.Wrong()[0], "cut off behind entry 1: there were 2") {
		t.Errorf("it is cut off: %v", c.Wrong())
	}
	if err := a.Record(ctx, api.AuditEntry{Who: "mallory", What: "user.save", OK: true}); err != nil { // fills the gap
		t.Fatal(err)
	}
	if c, _ := check(); len(c.Wrong()) != 1 || !strings.Contains(c.Wrong()[0], "another than was noted") {
		t.Errorf("another stands in the place of the last: %v", c.Wrong())
	}
	if st, err := os.Stat(a.file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}
