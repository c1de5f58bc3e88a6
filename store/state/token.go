package state

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// Token lets a program in. Its secret is not kept.
type Token struct {
	ID      string
	Name    string
	Role    string
	Hash    string // SHA-256 of the secret, in hex
	Creator string // user who made it
	Created time.Time
	Expires time.Time // zero for never
	Used    time.Time // zero for never
}

type tokenRow struct {
	bun.BaseModel `bun:"table:tokens"`

	ID      string `bun:"id,pk"`
	Name    string
	Role    string
	Hash    string
	Creator string
	Created int64
	Expires int64
	Used    int64
}

func (r *tokenRow) token() Token {
	return Token{r.ID, r.Name, r.Role, r.Hash, r.Creator, moment(r.Created), moment(r.Expires), moment(r.Used)}
}

// Tokens lists all tokens, the newest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	var rows []tokenRow
	if err := s.read.NewSelect().Model(&rows).OrderExpr("created DESC, id").Scan(ctx); err != nil {
		return nil, wrap(err, "listing tokens")
	}
	out := make([]Token, len(rows))
	for i := range rows {
		out[i] = rows[i].token()
	}
	return out, nil
}

// Token returns the token whose secret has this hash, expired or not.
func (s *Store) Token(ctx context.Context, hash string) (Token, error) {
	var row tokenRow
	err := s.read.NewSelect().Model(&row).Where("hash = ?", hash).Scan(ctx)
	return row.token(), wrap(err, "token")
}

// SaveToken creates or replaces a token.
func (s *Store) SaveToken(ctx context.Context, t Token) error {
	row := &tokenRow{ID: t.ID, Name: t.Name, Role: t.Role, Hash: t.Hash, Creator: t.Creator, Created: nanos(t.Created), Expires: nanos(t.Expires), Used: nanos(t.Used)}
	_, err := s.write.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").
		Set("name = EXCLUDED.name").Set("role = EXCLUDED.role").Set("hash = EXCLUDED.hash").Set("expires = EXCLUDED.expires").Set("used = EXCLUDED.used").Exec(ctx)
	return wrap(err, "token "+t.ID)
}

// UseToken notes that a token was used now.
func (s *Store) UseToken(ctx context.Context, id string) error {
	r, err := s.write.NewUpdate().Model((*tokenRow)(nil)).Set("used = ?", nanos(s.o.Now())).Where("id = ?", id).Exec(ctx)
	return changed(r, err, "token "+id)
}

// RemoveToken removes a token: its secret opens nothing any more.
func (s *Store) RemoveToken(ctx context.Context, id string) error {
	r, err := s.write.NewDelete().Model((*tokenRow)(nil)).Where("id = ?", id).Exec(ctx)
	return changed(r, err, "token "+id)
}
