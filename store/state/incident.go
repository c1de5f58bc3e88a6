package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"picket/event"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Cursor names the last row of a page, in a list whose newest row comes first. The next page holds
// what sorts after it. The zero Cursor is the start.
type Cursor struct {
	Time time.Time
	ID   string
}

type incidentRow struct {
	bun.BaseModel `bun:"table:incidents"`

	ID        string `bun:"id,pk"`
	Version   int64
	Status    string
	Severity  int64
	Risk      int64
	FirstSeen int64
	LastSeen  int64
	Words     string // what a text search looks at
	Doc       string
}

func newIncidentRow(inc *event.Incident) (*incidentRow, error) {
	doc, err := json.Marshal(inc)
	if err != nil {
		return nil, fmt.Errorf("state: incident %s: %w", inc.ID, err)
	}
	words := []string{inc.ID, inc.Title, inc.Summary}
	for _, e := range inc.Entities {
		words = append(words, e.Name)
	}
	return &incidentRow{
		ID: inc.ID, Version: inc.Version, Status: string(inc.Status), Severity: int64(inc.Severity), Risk: int64(inc.Risk),
		FirstSeen: nanos(inc.FirstSeen), LastSeen: nanos(inc.LastSeen),
		Words: text(strings.ToLower(strings.Join(words, "\n"))), Doc: string(doc),
	}, nil
}

// text makes a string fit for both databases: Postgres takes neither NUL nor broken UTF-8.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// SaveIncident keeps an incident. It replaces an older version; where the stored version is newer,
// or as new and different, it fails with ErrConflict and changes nothing.
func (s *Store) SaveIncident(ctx context.Context, inc event.Incident) error {
	return s.saveIncident(ctx, s.write, &inc)
}

func (s *Store) saveIncident(ctx context.Context, db bun.IDB, inc *event.Incident) error {
	row, err := newIncidentRow(inc)
	if err != nil {
		return err
	}
	r, err := db.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").
		Set("version = EXCLUDED.version").Set("status = EXCLUDED.status").Set("severity = EXCLUDED.severity").
		Set("risk = EXCLUDED.risk").Set("first_seen = EXCLUDED.first_seen").Set("last_seen = EXCLUDED.last_seen").
		Set("words = EXCLUDED.words").Set("doc = EXCLUDED.doc").
		Where("incident_row.version < EXCLUDED.version").Exec(ctx)
	if err != nil {
		return wrap(err, "incident "+inc.ID)
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return wrap(err, "incident "+inc.ID)
	}
	var have incidentRow
	if err := db.NewSelect().Model(&have).Where("id = ?", inc.ID).Scan(ctx); err != nil {
		return wrap(err, "incident "+inc.ID)
	}
	if have.Version == row.Version && have.Doc == row.Doc {
		return nil // saved before
	}
	return fmt.Errorf("incident %s: version %d is kept, version %d was given: %w", inc.ID, have.Version, row.Version, ErrConflict)
}

// IncidentQuery selects incidents.
type IncidentQuery struct {
	Status   event.IncidentStatus // "" for all
	Severity event.Severity       // at least this; 0 for all
	Text     string               // anywhere in id, title, summary or an entity's name; case does not matter
	Limit    int                  // 0: 100; at most 1000
	Before   Cursor               // of LastSeen and ID
}

// Incidents lists incidents, the one with the latest LastSeen first.
func (s *Store) Incidents(ctx context.Context, q IncidentQuery) ([]event.Incident, error) {
	var rows []incidentRow
	sel := s.read.NewSelect().Model(&rows).Column("doc").OrderExpr("last_seen DESC, id DESC").Limit(limit(q.Limit))
	if q.Status != "" {
		sel = sel.Where("status = ?", string(q.Status))
	}
	if q.Severity > 0 {
		sel = sel.Where("severity >= ?", int64(q.Severity))
	}
	if q.Text != "" {
		sel = sel.Where(`words LIKE ? ESCAPE '\'`, "%"+escapeLike(text(strings.ToLower(q.Text)))+"%")
	}
	sel = before(sel, "last_seen", q.Before)
	if err := sel.Scan(ctx); err != nil {
		return nil, wrap(err, "listing incidents")
	}
	out := make([]event.Incident, len(rows))
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].Doc), &out[i]); err != nil {
			return nil, fmt.Errorf("state: reading an incident: %w", err)
		}
	}
	return out, nil
}

// Incident returns one incident.
func (s *Store) Incident(ctx context.Context, id string) (event.Incident, error) {
	var row incidentRow
	var inc event.Incident
	if err := s.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return inc, wrap(err, "incident "+id)
	}
	if err := json.Unmarshal([]byte(row.Doc), &inc); err != nil {
		return inc, fmt.Errorf("state: reading incident %s: %w", id, err)
	}
	return inc, nil
}

// CountIncidents returns how many incidents there are of each status.
func (s *Store) CountIncidents(ctx context.Context) (map[event.IncidentStatus]int, error) {
	var rows []struct {
		Status string
		N      int
	}
	err := s.read.NewSelect().Table("incidents").Column("status").ColumnExpr("count(*) AS n").Group("status").Scan(ctx, &rows)
	if err != nil {
		return nil, wrap(err, "counting incidents")
	}
	out := map[event.IncidentStatus]int{}
	for _, r := range rows {
		out[event.IncidentStatus(r.Status)] = r.N
	}
	return out, nil
}

// Save keeps a finding and the incident that it changed, both or neither. It reports whether the
// finding is new; one that is kept already stays as it is.
func (s *Store) Save(ctx context.Context, f event.Finding, inc event.Incident) (fresh bool, err error) {
	err = s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if fresh, err = s.insertFinding(ctx, tx, &f, inc.ID); err != nil {
			return err
		}
		return s.saveIncident(ctx, tx, &inc)
	})
	if err != nil && !errors.Is(err, ErrConflict) {
		err = explain(err)
	}
	return fresh && err == nil, err
}

func limit(n int) int64 {
	if n <= 0 {
		return defaultLimit
	}
	return int64(min(n, maxLimit))
}

func before(sel *bun.SelectQuery, column string, c Cursor) *bun.SelectQuery {
	if c == (Cursor{}) {
		return sel
	}
	return sel.Where("(? < ? OR (? = ? AND id < ?))", bun.Ident(column), nanos(c.Time), bun.Ident(column), nanos(c.Time), c.ID)
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
