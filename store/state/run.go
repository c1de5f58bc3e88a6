package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	Soon     bool // SaveRun may return before it is on the disk
}

type runRow struct {
	bun.BaseModel `bun:"table:runs"`

	ID         string `bun:"id,pk"`
	Incident   string
	State      string
	Opened     int64
	Due        int64
	Unfinished int64
	Doc        string
	Plan       string `bun:"plan,scanonly"`
}

func (r *runRow) run() Run {
	return Run{
		ID: r.ID, Incident: r.Incident, State: r.State, Opened: moment(r.Opened), Due: moment(r.Due), Open: r.Unfinished != 0,
		Plan: []byte(r.Plan), Doc: []byte(r.Doc),
	}
}

type runPlanRow struct {
	bun.BaseModel `bun:"table:run_plans"`

	Run string `bun:"run,pk"`
	Doc string
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
	j := &runJob{fence: fence, soon: r.Soon, plan: string(r.Plan), done: make(chan struct{}), row: runRow{
		ID: r.ID, Incident: r.Incident, State: r.State, Opened: nanos(r.Opened), Due: nanos(r.Due), Unfinished: number(r.Open), Doc: string(r.Doc),
	}}
	for i, doc := range records {
		j.records = append(j.records, runRecordRow{Run: r.ID, Seq: seq + int64(i), Doc: string(doc)})
	}
	s.runs.mu.Lock()
	s.runs.waiting = append(s.runs.waiting, j)
	if !s.runs.busy {
		s.runs.busy = true
		go s.commitRuns(context.WithoutCancel(ctx)) // ends when nobody waits any more
	}
	s.runs.mu.Unlock()
	<-j.done
	return wrap(j.err, "run "+r.ID)
}

// runJob is a SaveRun that waits to be committed.
type runJob struct {
	fence   uint64
	soon    bool
	row     runRow
	plan    string
	records []runRecordRow
	err     error
	done    chan struct{}
}

// runQueue gathers those that wait while others are committed: they share the next commit, which is
// what takes the time.
type runQueue struct {
	mu      sync.Mutex
	waiting []*runJob
	busy    bool
}

// commitRuns commits what waits, until nothing does.
func (s *Store) commitRuns(ctx context.Context) {
	for {
		s.runs.mu.Lock()
		jobs := s.runs.waiting
		s.runs.waiting = nil
		s.runs.busy = len(jobs) > 0
		s.runs.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		if err := s.commitTogether(ctx, jobs); err != nil && len(jobs) > 1 {
			for _, j := range jobs { // one of them is at fault
				j.err = s.commitTogether(ctx, []*runJob{j})
			}
		} else {
			for _, j := range jobs {
				j.err = err
			}
		}
		for _, j := range jobs {
			close(j.done)
		}
	}
}

func (s *Store) commitTogether(ctx context.Context, jobs []*runJob) error {
	db, soon := s.audit, !slices.ContainsFunc(jobs, func(j *runJob) bool { return !j.soon })
	if soon && !s.pg {
		db = s.soon
	}
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var held int64
		if soon && s.pg {
			if _, err := tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
				return err
			}
		}
		query := "SELECT fence FROM run_holder WHERE one = 1"
		if s.pg {
			query += " FOR SHARE" // nobody takes over before this is kept; SQLite has one writer at a time
		}
		if err := tx.NewRaw(query).Scan(ctx, &held); err != nil {
			return err
		}
		for _, j := range jobs {
			if uint64(held) != j.fence {
				return ErrFenced
			}
			if err := saveRun(ctx, tx, j); err != nil {
				return err
			}
		}
		return nil
	})
}

func saveRun(ctx context.Context, tx bun.Tx, j *runJob) error {
	if j.plan == "" {
		r, err := tx.NewUpdate().Model(&j.row).Column("state", "due", "unfinished", "doc").WherePK().Exec(ctx)
		if err := changed(r, err, "run "+j.row.ID); err != nil {
			return err
		}
	} else {
		_, err := tx.NewInsert().Model(&j.row).On("CONFLICT (id) DO UPDATE").
			Set("state = EXCLUDED.state").Set("due = EXCLUDED.due").Set("unfinished = EXCLUDED.unfinished").Set("doc = EXCLUDED.doc").Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(&runPlanRow{Run: j.row.ID, Doc: j.plan}).On("CONFLICT (run) DO UPDATE").Set("doc = EXCLUDED.doc").Exec(ctx)
		if err != nil {
			return err
		}
	}
	if len(j.records) == 0 {
		return nil
	}
	res, err := tx.NewInsert().Model(&j.records).On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n != int64(len(j.records)) {
		return ErrConflict
	}
	return nil
}

// Run returns one run.
func (s *Store) Run(ctx context.Context, id string) (Run, error) {
	var row runRow
	err := selectRuns(s.audit, &row).Where("id = ?", id).Scan(ctx)
	return row.run(), wrap(err, "run "+id)
}

// selectRuns reads runs with their plans.
func selectRuns(db *bun.DB, into any) *bun.SelectQuery {
	return db.NewSelect().Model(into).ColumnExpr("run_row.*").ColumnExpr("p.doc AS plan").Join("JOIN run_plans AS p ON p.run = run_row.id")
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
	sel := selectRuns(s.audit, &rows).OrderExpr("opened DESC, id DESC")
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
