package state

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// Session is a browser that is signed in.
type Session struct {
	Hash    string // SHA-256 of the cookie, in hex
	User    string
	CSRF    string
	Link    bool // opened by a one-time link
	Created time.Time
	Expires time.Time
}

// Link is a one-time sign-in link.
type Link struct {
	Hash    string // SHA-256 of the token, in hex
	User    string
	Expires time.Time
}

type sessionRow struct {
	bun.BaseModel `bun:"table:sessions"`

	Hash     string `bun:"hash,pk"`
	Username string
	CSRF     string `bun:"csrf"`
	Link     int64
	Created  int64
	Expires  int64
}

type linkRow struct {
	bun.BaseModel `bun:"table:links"`

	Hash     string `bun:"hash,pk"`
	Username string
	Expires  int64
}

// Session returns a session that has not expired.
func (s *Store) Session(ctx context.Context, hash string) (Session, error) {
	var r sessionRow
	err := s.read.NewSelect().Model(&r).Where("hash = ?", hash).Where("expires > ?", nanos(s.o.Now())).Scan(ctx)
	return Session{r.Hash, r.Username, r.CSRF, r.Link != 0, moment(r.Created), moment(r.Expires)}, wrap(err, "session")
}

// SaveSession creates or replaces a session, and forgets those that have expired.
func (s *Store) SaveSession(ctx context.Context, v Session) error {
	row := &sessionRow{Hash: v.Hash, Username: v.User, CSRF: v.CSRF, Link: number(v.Link), Created: nanos(v.Created), Expires: nanos(v.Expires)}
	return s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*sessionRow)(nil)).Where("expires <= ?", nanos(s.o.Now())).Exec(ctx); err != nil {
			return wrap(err, "session")
		}
		_, err := tx.NewInsert().Model(row).On("CONFLICT (hash) DO UPDATE").
			Set("username = EXCLUDED.username").Set("csrf = EXCLUDED.csrf").Set("link = EXCLUDED.link").Set("expires = EXCLUDED.expires").Exec(ctx)
		return wrap(err, "session")
	})
}

// RemoveSession removes a session.
func (s *Store) RemoveSession(ctx context.Context, hash string) error {
	r, err := s.write.NewDelete().Model((*sessionRow)(nil)).Where("hash = ?", hash).Exec(ctx)
	return changed(r, err, "session")
}

// RemoveSessions removes the sessions of a user, but for the one whose hash is keep.
func (s *Store) RemoveSessions(ctx context.Context, user, keep string) error {
	_, err := s.write.NewDelete().Model((*sessionRow)(nil)).Where("username = ? AND hash <> ?", user, keep).Exec(ctx)
	return wrap(err, "sessions of "+user)
}

// SaveLink keeps a one-time link, and forgets those that have expired.
func (s *Store) SaveLink(ctx context.Context, l Link) error {
	return s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*linkRow)(nil)).Where("expires <= ?", nanos(s.o.Now())).Exec(ctx); err != nil {
			return wrap(err, "link")
		}
		_, err := tx.NewInsert().Model(&linkRow{Hash: l.Hash, Username: l.User, Expires: nanos(l.Expires)}).Exec(ctx)
		return wrap(err, "link")
	})
}

// TakeLink returns a link that has not expired and removes it in one step, so that it works once.
func (s *Store) TakeLink(ctx context.Context, hash string) (Link, error) {
	var r linkRow
	err := s.write.NewRaw("DELETE FROM links WHERE hash = ? AND expires > ? RETURNING hash, username, expires", hash, nanos(s.o.Now())).Scan(ctx, &r)
	return Link{r.Hash, r.Username, moment(r.Expires)}, wrap(err, "link")
}
