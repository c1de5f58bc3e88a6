package state

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"picket/event"
)

type findingRow struct {
	bun.BaseModel `bun:"table:findings"`

	ID       string `bun:"id,pk"`
	Time     int64
	Host     string
	RuleID   string
	RuleName string
	Severity int64
	Incident string
	Doc      string
}

// InsertFinding keeps a finding of an incident ("" for none yet). It reports false where the
// finding is kept already, and then changes nothing.
func (s *Store) InsertFinding(ctx context.Context, f event.Finding, incident string) (bool, error) {
	return s.insertFinding(ctx, s.write, &f, incident)
}

func (s *Store) insertFinding(ctx context.Context, db bun.IDB, f *event.Finding, incident string) (bool, error) {
	doc, err := json.Marshal(f)
	if err != nil {
		return false, fmt.Errorf("state: finding %s: %w", f.ID, err)
	}
	row := &findingRow{
		ID: f.ID, Time: nanos(f.Time), Host: text(f.Host), RuleID: text(f.Rule.ID), RuleName: text(f.Rule.Name),
		Severity: int64(f.Severity), Incident: incident, Doc: string(doc),
	}
	r, err := db.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, wrap(err, "finding "+f.ID)
	}
	n, err := r.RowsAffected()
	return n > 0, wrap(err, "finding "+f.ID)
}

// SetFindingIncident says which incident a finding belongs to.
func (s *Store) SetFindingIncident(ctx context.Context, id, incident string) error {
	r, err := s.write.NewUpdate().Model((*findingRow)(nil)).Set("incident = ?", incident).Where("id = ?", id).Exec(ctx)
	return changed(r, err, "finding "+id)
}

// FindingIncident returns the id of the incident that a finding belongs to.
func (s *Store) FindingIncident(ctx context.Context, id string) (string, error) {
	var incident string
	err := s.read.NewSelect().Model((*findingRow)(nil)).Column("incident").Where("id = ?", id).Scan(ctx, &incident)
	return incident, wrap(err, "finding "+id)
}

// FindingQuery selects findings.
type FindingQuery struct {
	Rule     string         // id or name
	Severity event.Severity // at least this; 0 for all
	Host     string
	Incident string // id
	Limit    int    // 0: 100; at most 1000
	Before   Cursor // of Time and ID
}

// Findings lists findings, the latest first.
func (s *Store) Findings(ctx context.Context, q FindingQuery) ([]event.Finding, error) {
	var rows []findingRow
	sel := s.read.NewSelect().Model(&rows).Column("doc").OrderExpr("time DESC, id DESC").Limit(limit(q.Limit))
	if q.Rule != "" {
		sel = sel.Where("(rule_id = ? OR rule_name = ?)", q.Rule, q.Rule)
	}
	if q.Severity > 0 {
		sel = sel.Where("severity >= ?", int64(q.Severity))
	}
	if q.Host != "" {
		sel = sel.Where("host = ?", q.Host)
	}
	if q.Incident != "" {
		sel = sel.Where("incident = ?", q.Incident)
	}
	if err := before(sel, "time", q.Before).Scan(ctx); err != nil {
		return nil, wrap(err, "listing findings")
	}
	out := make([]event.Finding, len(rows))
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].Doc), &out[i]); err != nil {
			return nil, fmt.Errorf("state: reading a finding: %w", err)
		}
	}
	return out, nil
}

// Finding returns one finding.
func (s *Store) Finding(ctx context.Context, id string) (event.Finding, error) {
	var row findingRow
	var f event.Finding
	if err := s.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return f, wrap(err, "finding "+id)
	}
	if err := json.Unmarshal([]byte(row.Doc), &f); err != nil {
		return f, fmt.Errorf("state: reading finding %s: %w", id, err)
	}
	return f, nil
}
