package state

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// AuditEntry is one thing that somebody did, or tried to do.
type AuditEntry struct {
	Seq    int64     // given by Record
	Time   time.Time // zero: now
	Who    string    // user or token name; "" for an unknown
	From   string    // remote address
	What   string    // session.create, incident.update…
	Object string
	OK     bool
	Detail string
	Prev   string // Hash of the entry before, given by Record
	Hash   string // given by Record
}

type auditRow struct {
	bun.BaseModel `bun:"table:audit"`

	Seq    int64 `bun:"seq,pk"`
	Time   int64
	Who    string
	Origin string
	What   string
	Object string
	OK     int64 `bun:"ok"`
	Detail string
	Prev   string
	Hash   string
}

// sum covers each field with its length, and the sum before it: no entry can be changed, taken
// out or put in without all later sums changing.
func (r *auditRow) sum() string {
	h := sha256.New()
	var b []byte
	for _, n := range []int64{r.Seq, r.Time, r.OK} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range []string{r.Who, r.Origin, r.What, r.Object, r.Detail, r.Prev} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// auditLock serialises writers of the chain on Postgres; SQLite's transactions do so themselves.
const auditLock = 0x7069636b6574

// Record adds an entry to the end of the audit log, and returns it as it stands there.
func (s *Store) Record(ctx context.Context, e AuditEntry) (AuditEntry, error) {
	if e.Time.IsZero() {
		e.Time = s.o.Now()
	}
	row := &auditRow{Time: nanos(e.Time), Who: text(e.Who), Origin: text(e.From), What: text(e.What), Object: text(e.Object), OK: number(e.OK), Detail: text(e.Detail)}
	err := s.audit.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if s.pg {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", int64(auditLock)); err != nil {
				return err
			}
		}
		var last []auditRow
		if err := tx.NewSelect().Model(&last).OrderExpr("seq DESC").Limit(1).Scan(ctx); err != nil {
			return err
		}
		if row.Seq = 1; len(last) > 0 {
			row.Seq, row.Prev = last[0].Seq+1, last[0].Hash
		}
		row.Hash = row.sum()
		_, err := tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return e, wrap(err, "audit log")
	}
	return auditEntries([]auditRow{*row})[0], nil
}

// Audit lists entries, the latest first: those before the one with number seq, or all for 0.
func (s *Store) Audit(ctx context.Context, seq int64, n int) ([]AuditEntry, error) {
	var rows []auditRow
	sel := s.audit.NewSelect().Model(&rows).OrderExpr("seq DESC").Limit(limit(n))
	if seq > 0 {
		sel = sel.Where("seq < ?", seq)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, wrap(err, "audit log")
	}
	return auditEntries(rows), nil
}

func auditEntries(rows []auditRow) []AuditEntry {
	out := make([]AuditEntry, len(rows))
	for i, r := range rows {
		out[i] = AuditEntry{r.Seq, moment(r.Time), r.Who, r.Origin, r.What, r.Object, r.OK != 0, r.Detail, r.Prev, r.Hash}
	}
	return out
}

// AuditFrom lists entries behind the one with number seq, the first first.
func (s *Store) AuditFrom(ctx context.Context, seq int64, n int) ([]AuditEntry, error) {
	var rows []auditRow
	if err := s.audit.NewSelect().Model(&rows).Where("seq > ?", seq).OrderExpr("seq").Limit(limit(n)).Scan(ctx); err != nil {
		return nil, wrap(err, "audit log")
	}
	return auditEntries(rows), nil
}

// VerifyAudit reads the whole audit log and reports the first entry that was changed, or that
// follows one that is gone. It returns how many entries are sound.
func (s *Store) VerifyAudit(ctx context.Context) (int64, error) {
	var c AuditChain
	for {
		list, err := s.AuditFrom(ctx, c.Head().Seq, maxLimit)
		if err != nil || len(list) == 0 {
			return c.Head().Seq, err
		}
		for _, e := range list {
			if n := c.Head().Seq; c.Next(e) != "" {
				return n, fmt.Errorf("audit log: %s", c.Wrong()[0])
			}
		}
	}
}
