// Package state remembers what changes: incidents, findings, people, agents, settings and who did
// what. It lies in SQLite files of the data directory or, by URL, in Postgres, with the same tables.
package state

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // database/sql driver "sqlite"
)

var (
	// ErrNotFound is in the chain of an error when there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrConflict is in the chain of an error when the record was changed by someone else meanwhile.
	ErrConflict = errors.New("changed meanwhile")
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options says where the state is.
type Options struct {
	Dir string           // SQLite: directory of state.db and audit.db
	URL string           // postgres://user:password@host/database; "" for SQLite
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil: time.Now
}

// Store is the open state. It is safe for concurrent use.
type Store struct {
	o     Options
	write *bun.DB // SQLite: one connection, so that writers wait here and not in the database
	read  *bun.DB
	audit *bun.DB // SQLite: a file of its own that is synced at each commit
	soon  *bun.DB // SQLite: the same file, synced with the next commit of audit
	pg    bool
	runs  runQueue
}

// Open opens the state and brings its tables to this version.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o}
	err := s.open()
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		_ = s.Close() // the first error says more
		return nil, fmt.Errorf("state: %w", explain(err))
	}
	return s, nil
}

func (s *Store) open() error {
	if s.o.URL != "" {
		u, err := url.Parse(s.o.URL)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return errors.New("want a postgres:// URL, or none for SQLite") // the URL may hold a password
		}
		db, err := sql.Open("pgx", s.o.URL)
		if err != nil {
			return err
		}
		db.SetMaxOpenConns(16)
		db.SetConnMaxIdleTime(5 * time.Minute)
		s.pg = true
		s.write = bun.NewDB(db, pgdialect.New())
		s.read, s.audit = s.write, s.write
		return nil
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.write, err = openSQLite(filepath.Join(s.o.Dir, "state.db"), "NORMAL", 1); err != nil {
		return err
	}
	if s.read, err = openSQLite(filepath.Join(s.o.Dir, "state.db"), "NORMAL", 8); err != nil {
		return err
	}
	if s.audit, err = openSQLite(filepath.Join(s.o.Dir, "audit.db"), "FULL", 1); err != nil {
		return err
	}
	s.soon, err = openSQLite(filepath.Join(s.o.Dir, "audit.db"), "NORMAL", 1)
	return err
}

func openSQLite(name, sync string, conns int) (*bun.DB, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // SQLite itself would let others read it
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{
		"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)", "synchronous(" + sync + ")", "foreign_keys(1)"},
		"_txlock": {"immediate"}, // a transaction that turns into a writer later fails instead of waiting
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: name}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(min(conns, 2))
	return bun.NewDB(db, sqlitedialect.New()), nil
}

func (s *Store) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	dialect, dbs := goose.DialectSQLite3, []*bun.DB{s.write, s.audit}
	if s.pg {
		dialect, dbs = goose.DialectPostgres, dbs[:1]
	}
	for _, db := range dbs {
		p, err := goose.NewProvider(dialect, db.DB, dir)
		if err != nil {
			return err
		}
		have, want, err := p.GetVersions(ctx)
		if err != nil {
			return err
		}
		if have > want {
			return fmt.Errorf("it was written by a newer Picket (version %d of its tables, this one knows %d): install that one, or restore a backup", have, want)
		}
		if _, err := p.Up(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Backup writes a copy of the SQLite state, whole at one instant, to files in dir.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if s.pg {
		return errors.New("state: back up Postgres with its own tools (pg_dump)")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state: backup: %w", err)
	}
	for name, db := range map[string]*bun.DB{"state.db": s.read, "audit.db": s.audit} {
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("state: backup of %s: %w", name, explain(err))
		}
	}
	return nil
}

// Ready reports whether the database answers.
func (s *Store) Ready(ctx context.Context) error {
	var one int
	if err := s.read.NewRaw("SELECT 1").Scan(ctx, &one); err != nil {
		return fmt.Errorf("state: %w", explain(err))
	}
	return nil
}

// Close closes the state.
func (s *Store) Close() error {
	var err error
	seen := map[*bun.DB]bool{nil: true}
	for _, db := range []*bun.DB{s.soon, s.audit, s.read, s.write} {
		if !seen[db] {
			seen[db] = true
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// explain adds what to do to errors that a person can do something about.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for part, hint := range map[string]string{
		"database or disk is full":      "free some space on the disk",
		"disk I/O error":                "check the disk and its free space",
		"readonly database":             "the directory or its disk is read-only",
		"unable to open database":       "the directory must exist and be writable",
		"database disk image is malfor": "the file is damaged: restore a backup, or move it away to begin anew",
		"file is not a database":        "the file is damaged: restore a backup, or move it away to begin anew",
		"database is locked":            "another process holds the database",
		"connection refused":            "is Postgres running, and the address right?",
		"password authentication":       "check user and password in store.state",
	} {
		if strings.Contains(text, part) {
			return fmt.Errorf("%w (%s)", err, hint)
		}
	}
	return err
}

// wrap names what was tried, and turns the driver's errors into ours.
func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return fmt.Errorf("state: %s: %w", what, explain(err))
}

// changed makes a change of no row an ErrNotFound.
func changed(r sql.Result, err error, what string) error {
	if err != nil {
		return wrap(err, what)
	}
	if n, err := r.RowsAffected(); err == nil && n == 0 {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
