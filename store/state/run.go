package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// ErrFenced is in the chain of an error when another server has taken the runs over.
var ErrFenced = errors.New("another server has taken the runs over")

// Run is a run of a playbook as it is kept. Its parts are JSON that others read.
type Run struct {
	ID       string
	Incident string
	State    string
	Opened   time.Time
	Due      time.Time // when something must happen to it; zero: nothing
	Open     bool      // it is not over, or holds something
	Plan     []byte    // written once: nil in SaveRun leaves it as it is
	Doc      []byte
}

type runRow struct {
	bun.BaseModel `bun:"table:runs"`

	ID         string `bun:"id,pk"`
	Incident   string
	State      string
	Opened     int64
	Due        int64
	Unfinished int64
	Plan       string
	Doc        string
}

func (r *runRow) run() Run {
	return Run{r.ID, r.Incident, r.State, moment(r.Opened), moment(r.Due), r.Unfinished != 0, []byte(r.Plan), []byte(r.Doc)}
}

type runRecordRow struct {
	bun.BaseModel `bun:"table:run_records"`

	Run string `bun:"run,pk"`
	Seq int64  `bun:"seq,pk"`
	Doc string
}

// TakeRuns makes the caller the one that writes runs. SaveRun refuses a lower number from then on.
func (s *Store) TakeRuns(ctx context.Context) (fence uint64, err error) {
	var n int64
	err = s.audit.NewRaw("UPDATE run_holder SET fence = fence + 1 WHERE one = 1 RETURNING fence").Scan(ctx, &n)
	return uint64(n), wrap(err, "taking the runs over")
}

// SaveRun keeps a run together with what happened to it, the first of which has number seq: both or
// neither. It fails with ErrFenced where another has taken the runs over, and with ErrConflict where
// there is such a record.
func (s *Store) SaveRun(ctx context.Context, fence uint64, r Run, seq int64, records [][]byte) error {
	row := &runRow{
		ID: r.ID, Incident: r.Incident, State: r.State, Opened: nanos(r.Opened), Due: nanos(r.Due), Unfinished: number(r.Open), Plan: string(r.Plan), Doc: string(r.Doc),
	}
	rows := make([]runRecordRow, len(records))
	for i, doc := range records {
		rows[i] = runRecordRow{Run: r.ID, Seq: seq + int64(i), Doc: string(doc)}
	}
	err := s.audit.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var held int64
		query := "SELECT fence FROM run_holder WHERE one = 1"
		if s.pg {
			query += " FOR SHARE" // nobody takes over before this is kept; SQLite has one writer at a time
		}
		if err := tx.NewRaw(query).Scan(ctx, &held); err != nil {
			return err
		}
		if uint64(held) != fence {
			return ErrFenced
		}
		if err := saveRunRow(ctx, tx, row); err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		res, err := tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err == nil && n != int64(len(rows)) {
			return ErrConflict
		}
		return nil
	})
	return wrap(err, "run "+r.ID)
}

func saveRunRow(ctx context.Context, tx bun.Tx, row *runRow) error {
	if row.Plan == "" {
		r, err := tx.NewUpdate().Model(row).Column("state", "due", "unfinished", "doc").WherePK().Exec(ctx)
		return changed(r, err, "run "+row.ID)
	}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").
		Set("state = EXCLUDED.state").Set("due = EXCLUDED.due").Set("unfinished = EXCLUDED.unfinished").
		Set("plan = EXCLUDED.plan").Set("doc = EXCLUDED.doc").Exec(ctx)
	return err
}

// Run returns one run.
func (s *Store) Run(ctx context.Context, id string) (Run, error) {
	var row runRow
	err := s.audit.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.run(), wrap(err, "run "+id)
}

// RunQuery selects runs.
type RunQuery struct {
	Incident string
	Open     bool // all that are, however many
	Limit    int  // 0: 100; at most 1000
}

// Runs lists runs, the one that was opened last first.
func (s *Store) Runs(ctx context.Context, q RunQuery) ([]Run, error) {
	var rows []runRow
	sel := s.audit.NewSelect().Model(&rows).OrderExpr("opened DESC, id DESC")
	if q.Incident != "" {
		sel = sel.Where("incident = ?", q.Incident)
	}
	if q.Open {
		sel = sel.Where("unfinished = 1")
	} else {
		sel = sel.Limit(limit(q.Limit))
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, wrap(err, "listing runs")
	}
	out := make([]Run, len(rows))
	for i := range rows {
		out[i] = rows[i].run()
	}
	return out, nil
}

// RunRecords returns what happened to a run, the first first.
func (s *Store) RunRecords(ctx context.Context, run string) ([][]byte, error) {
	var rows []runRecordRow
	if err := s.audit.NewSelect().Model(&rows).Where("run = ?", run).OrderExpr("seq").Scan(ctx); err != nil {
		return nil, wrap(err, "records of run "+run)
	}
	out := make([][]byte, len(rows))
	for i := range rows {
		if rows[i].Seq != int64(i+1) {
			return nil, fmt.Errorf("state: record %d of run %s is gone", i+1, run)
		}
		out[i] = []byte(rows[i].Doc)
	}
	return out, nil
}

// RunsStopped returns who stopped all acts, "" where nobody did.
func (s *Store) RunsStopped(ctx context.Context) (by string, err error) {
	err = s.audit.NewRaw("SELECT stopped FROM run_holder WHERE one = 1").Scan(ctx, &by)
	return by, wrap(err, "reading who stopped acts")
}

// SetRunsStopped notes who stopped all acts, "" lets them go on.
func (s *Store) SetRunsStopped(ctx context.Context, by string) error {
	_, err := s.audit.ExecContext(ctx, "UPDATE run_holder SET stopped = ? WHERE one = 1", text(by))
	return wrap(err, "stopping acts")
}
