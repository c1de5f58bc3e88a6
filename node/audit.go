package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"picket/api"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// audit is the audit log of the state. Its end is noted in a file apart from the database: who cuts the
// log off there has not touched the note.
type audit struct {
	store *state.Store
	log   *slog.Logger
	file  string

	mu     sync.Mutex
	head   state.AuditHead
	noting bool // by one of notes
	notes  sync.WaitGroup
}

// openAudit finds the log's end as it was noted, and says where the log does not go so far any more.
func openAudit(ctx context.Context, s *state.Store, dir string, log *slog.Logger) *audit {
	a := &audit{store: s, log: log, file: filepath.Join(dir, "audit.head")}
	text, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return a
	}
	if err == nil {
		a.head, err = state.ParseAuditHead(string(text))
	}
	if err != nil {
		log.Error("the noted end of the audit log cannot be read; it begins anew", "file", a.file, "error", err)
		return a
	}
	list, err := s.AuditFrom(ctx, a.head.Seq-1, 1)
	switch {
	case err != nil:
		log.Error("the audit log cannot be read", "error", err)
	case len(list) == 0 || list[0].Seq != a.head.Seq || list[0].Hash != a.head.Hash:
		log.Error("the audit log was cut off or changed: picket audit verify tells where", "noted", a.head)
	}
	return a
}

// Record adds an entry.
func (a *audit) Record(ctx context.Context, e api.AuditEntry) error {
	kept, err := a.store.Record(ctx, state.AuditEntry{Time: e.Time, Who: e.Who, From: e.From, What: e.What, Object: e.Object, OK: e.OK, Detail: e.Detail})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept.Seq <= a.head.Seq { // another entry was quicker, or the log was cut off: the note stays
		return nil
	}
	a.head = state.AuditHead{Seq: kept.Seq, Hash: kept.Hash}
	if !a.noting { // else the one that goes on takes it along
		a.noting = true
		a.notes.Go(a.noteHead)
	}
	return nil
}

// close waits until the end of the log is noted.
func (a *audit) close() error {
	a.notes.Wait()
	return nil
}

// noteHead notes the end of the log until it is the last one. Nobody waits for it: an act that a rule
// begins stands in the log before, and the note may lag behind.
func (a *audit) noteHead() {
	for noted := (state.AuditHead{}); ; {
		a.mu.Lock()
		head := a.head
		a.noting = head != noted
		a.mu.Unlock()
		if head == noted {
			return
		}
		// In one step: half of it, or none after a power cut, could not be told from a note that was done away with.
		if err := keepFile(a.file, []byte(head.String()+"\n"), true); err != nil {
			a.log.Error("the end of the audit log was not noted", "file", a.file, "error", err)
		}
		noted = head
	}
}

// Entries lists entries: those behind a number, the first first, or those before one, the last first.
func (a *audit) Entries(ctx context.Context, q api.AuditQuery) (api.AuditPage, error) {
	var list []state.AuditEntry
	var err error
	if q.After >= 0 {
		list, err = a.store.AuditFrom(ctx, q.After, q.Limit)
	} else {
		list, err = a.store.Audit(ctx, q.Before, q.Limit)
	}
	if err != nil {
		return api.AuditPage{}, err
	}
	page := api.AuditPage{Items: []api.AuditEntry{}}
	for _, e := range list {
		page.Items = append(page.Items, api.AuditEntry(e))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.head.Seq > 0 {
		page.Head = a.head.String()
	}
	return page, nil
}

// AuditChain is the check of a log that a client has, entry by entry.
type AuditChain struct{ state.AuditChain }

// Next takes an entry.
func (c *AuditChain) Next(e api.AuditEntry) string { return c.AuditChain.Next(state.AuditEntry(e)) }

// Note adds an entry that must be there, written as [state.AuditHead] is; "" adds none.
func (c *AuditChain) Note(head string) error {
	if head == "" {
		return nil
	}
	h, err := state.ParseAuditHead(head)
	if err == nil {
		c.Heads = append(c.Heads, h)
	}
	return err
}

// auditing is a journal of runs that also puts into the audit log what no person asked for by the API:
// what a rule began, and what ended or was taken back by itself.
type auditing struct {
	respond.Journal
	audit *audit
}

// Save keeps a run, and then what happened to it.
func (j auditing) Save(ctx context.Context, fence uint64, k respond.Kept, records []respond.Record) error {
	if err := j.Journal.Save(ctx, fence, k, records); err != nil {
		return err
	}
	for _, r := range records {
		rule := strings.HasPrefix(r.Who, "policy:")
		opened, taken := r.What == "open" && rule || r.What == "adopt", r.What == "undo" && (rule || r.Who == "")
		if !opened && !taken && r.What != "cancel" && (r.What != "end" || k.State != string(respond.Expired)) {
			continue
		}
		who := r.Who
		if who == "" {
			who = "time"
		}
		e := api.AuditEntry{Time: r.Time, Who: who, What: "run." + r.What, Object: k.ID, OK: r.What != "undo" || undone(r), Detail: fmt.Sprintf("%s; incident %s", r.Text, k.Incident)}
		if err := j.audit.Record(ctx, e); err != nil {
			j.audit.log.Error("the audit log was not written", "what", e.What, "run", k.ID, "error", err)
		}
	}
	return nil
}

// undone reports whether an act was taken back: where it was not, its request is noted in place of a result.
func undone(r respond.Record) bool {
	var res action.Result
	return json.Unmarshal(r.Data, &res) == nil && res.State != ""
}
