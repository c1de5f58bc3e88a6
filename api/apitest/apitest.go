// Package apitest fakes the parts behind the API in memory, with a few incidents that look real and
// some that are hostile: for tests, and for work on the dashboard without a kernel or a store.
package apitest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"picket/api"
	"picket/event"
	"picket/respond/action"
	"picket/threats"
)

// Fake is all of the API's parts in memory.
type Fake struct {
	Accounts

	mu        sync.Mutex
	incidents []event.Incident
	findings  []event.Finding
	running   []event.Running
	events    []json.RawMessage
	agents    []api.Agent
	report    api.Report
	audit     []api.AuditEntry
	asked     []action.Command
	Err       error // where set, every part but accounts fails with it
	now       func() time.Time
}

// New returns a Fake filled with samples that happened shortly before now.
func New(now func() time.Time) *Fake {
	f := &Fake{now: now}
	f.fill(now().UTC())
	return f
}

// Deps returns the fake as the API takes it.
func (f *Fake) Deps() api.Deps {
	return api.Deps{
		Incidents: incidents{f}, Findings: findings{f}, Events: events{f},
		Fleet: f, Inventory: f, Health: f, Rules: f, Actions: f, Accounts: &f.Accounts, Audit: f,
	}
}

// Audited returns the audit log.
func (f *Fake) Audited() []api.AuditEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.audit)
}

// Entries lists the audit log, all of it.
func (f *Fake) Entries(context.Context, api.AuditQuery) (api.AuditPage, error) {
	return api.AuditPage{Items: f.Audited()}, nil
}

// SetReport changes how the parts are.
func (f *Fake) SetReport(r api.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = r
}

type incidents struct{ f *Fake }

// List lists incidents.
func (p incidents) List(_ context.Context, q api.IncidentQuery) ([]event.Incident, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(p.f.incidents), func(i event.Incident) bool {
		texts := []string{i.ID, i.Title, i.Summary}
		for _, e := range i.Entities {
			texts = append(texts, e.Name)
		}
		return q.Status != "" && i.Status != q.Status || i.Severity < q.Severity || !strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(q.Text))
	})
	return page(out, q.Before, q.Limit, func(i event.Incident) api.Cursor { return api.Cursor{Time: i.LastSeen, ID: i.ID} }), p.f.Err
}

// page sorts newest first and cuts out what Before and limit say.
func page[T any](all []T, before api.Cursor, limit int, at func(T) api.Cursor) []T {
	order := func(a, b api.Cursor) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID)) }
	slices.SortFunc(all, func(a, b T) int { return order(at(a), at(b)) })
	if before != (api.Cursor{}) {
		all = slices.DeleteFunc(all, func(t T) bool { return order(before, at(t)) >= 0 })
	}
	return all[:min(limit, len(all))]
}

// find returns the one that is wanted.
func find[T any](f *Fake, all *[]T, wanted func(T) bool) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(*all, wanted); i >= 0 {
		return (*all)[i], f.Err
	}
	var none T
	return none, cmp.Or(f.Err, api.ErrNotFound)
}

// Get reads an incident.
func (p incidents) Get(_ context.Context, id string) (event.Incident, error) {
	return find(p.f, &p.f.incidents, func(v event.Incident) bool { return v.ID == id })
}

// Update changes an incident.
func (p incidents) Update(_ context.Context, id, who string, c api.IncidentChange) (event.Incident, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	for n := range p.f.incidents {
		i := &p.f.incidents[n]
		if i.ID != id {
			continue
		}
		if c.Version != 0 && c.Version != i.Version {
			return event.Incident{}, api.ErrConflict
		}
		i.Status = cmp.Or(c.Status, i.Status)
		i.Verdict = cmp.Or(c.Verdict, i.Verdict)
		if i.Status != event.IncidentClosed {
			i.Verdict = ""
		}
		i.Version++
		i.Log = append(slices.Clone(i.Log), event.Change{Time: p.f.now(), Who: who, What: string(i.Status), Note: c.Note})
		return *i, p.f.Err
	}
	return event.Incident{}, cmp.Or(p.f.Err, api.ErrNotFound)
}

type findings struct{ f *Fake }

// List lists findings.
func (p findings) List(_ context.Context, q api.FindingQuery) ([]event.Finding, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	members := map[string]bool{}
	for _, i := range p.f.incidents {
		for _, ref := range i.Findings {
			members[ref.ID] = members[ref.ID] || i.ID == q.Incident
		}
	}
	out := slices.DeleteFunc(slices.Clone(p.f.findings), func(x event.Finding) bool {
		return q.Rule != "" && x.Rule.ID != q.Rule && x.Rule.Name != q.Rule || x.Severity < q.Severity ||
			q.Host != "" && x.Host != q.Host || q.Incident != "" && !members[x.ID]
	})
	return page(out, q.Before, q.Limit, func(x event.Finding) api.Cursor { return api.Cursor{Time: x.Time, ID: x.ID} }), p.f.Err
}

// Get reads a finding.
func (p findings) Get(_ context.Context, id string) (event.Finding, error) {
	return find(p.f, &p.f.findings, func(v event.Finding) bool { return v.ID == id })
}

type events struct{ f *Fake }

// Query searches the records for a text anywhere in them.
func (p events) Query(_ context.Context, q api.EventQuery, fn func(json.RawMessage) error) error {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	for _, rec := range slices.Backward(p.f.events) {
		at := recordTime(rec)
		if q.Limit == 0 {
			break
		}
		if at.Before(q.Start) || at.After(q.End) || !strings.Contains(strings.ToLower(string(rec)), strings.ToLower(strings.Trim(q.Text, "*"))) {
			continue
		}
		q.Limit--
		if err := fn(rec); err != nil {
			return err
		}
	}
	return p.f.Err
}

func recordTime(rec json.RawMessage) time.Time {
	var head struct {
		Time time.Time `json:"_time"`
	}
	_ = json.Unmarshal(rec, &head)
	return head.Time
}

// Hits counts what Query would find.
func (p events) Hits(ctx context.Context, q api.EventQuery, buckets int) ([]api.Bucket, error) {
	width := max(q.End.Sub(q.Start)/time.Duration(buckets), 1)
	out := make([]api.Bucket, buckets)
	for i := range out {
		out[i].Time = q.Start.Add(time.Duration(i) * width)
	}
	q.Limit = -1
	err := p.Query(ctx, q, func(rec json.RawMessage) error {
		out[min(int(recordTime(rec).Sub(q.Start)/width), buckets-1)].Count++
		return nil
	})
	return out, err
}

// Agents lists the fleet.
func (f *Fake) Agents(context.Context) ([]api.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.agents), f.Err
}

// Report tells how the parts are.
func (f *Fake) Report(context.Context) api.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

// Loaded lists the rules.
func (f *Fake) Loaded(context.Context) ([]api.LoadedRule, error) { return rules(), f.Err }

// Coverage lists the catalogue of threats, of which gpu-02 cannot see what rests on file-open.
func (f *Fake) Coverage(context.Context) ([]api.Covered, error) {
	entries, err := threats.Catalogue()
	out := make([]api.Covered, len(entries))
	for i, e := range entries {
		out[i] = api.Covered{Entry: e, Coverage: e.Coverage(), Needs: []string{"file-open"}, Missing: map[string][]string{"file-open": {"gpu-02"}}}
	}
	return out, cmp.Or(f.Err, err)
}

// Record keeps an audit entry.
func (f *Fake) Record(_ context.Context, e api.AuditEntry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audit = append(f.audit, e)
	return nil
}

// Ask keeps a command, and does nothing but answer that it is done; no agent is known but gpu-01's.
func (f *Fake) Ask(_ context.Context, host string, c action.Command) (action.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if host != "gpu-01" && host != api.ServerHost {
		return action.Answer{}, cmp.Or(f.Err, api.ErrAway)
	}
	f.asked = append(f.asked, c)
	r := action.Request{ID: c.ID}
	if c.Request != nil {
		r = *c.Request
	}
	res := action.Result{ID: r.ID, State: action.Done, At: f.now()}
	return action.Answer{Plan: &action.Plan{Target: r.Target}, Result: &res, Records: []action.Record{{Request: r, Begun: f.now(), Result: res}}}, f.Err
}

// Asked returns the commands that agents were sent.
func (f *Fake) Asked() []action.Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}
