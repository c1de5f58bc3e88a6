package state

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// User is a person who may sign in. It is kept as given: hashing is the caller's.
type User struct {
	Name     string
	Role     string
	Password string // hash in PHC form; "" until the first password is set
	Disabled bool
	Created  time.Time // zero: now
}

type userRow struct {
	bun.BaseModel `bun:"table:users"`

	Name     string `bun:"name,pk"`
	Role     string
	Password string
	Disabled int64
	Created  int64
}

func (r *userRow) user() User {
	return User{r.Name, r.Role, r.Password, r.Disabled != 0, moment(r.Created)}
}

// Users lists all users by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	var rows []userRow
	if err := s.read.NewSelect().Model(&rows).Order("name").Scan(ctx); err != nil {
		return nil, wrap(err, "listing users")
	}
	out := make([]User, len(rows))
	for i := range rows {
		out[i] = rows[i].user()
	}
	return out, nil
}

// User returns one user.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	var row userRow
	err := s.read.NewSelect().Model(&row).Where("name = ?", name).Scan(ctx)
	return row.user(), wrap(err, "user "+name)
}

// SaveUser creates or replaces a user.
func (s *Store) SaveUser(ctx context.Context, u User) error {
	if u.Created.IsZero() {
		u.Created = s.o.Now()
	}
	row := &userRow{Name: u.Name, Role: u.Role, Password: u.Password, Disabled: number(u.Disabled), Created: nanos(u.Created)}
	_, err := s.write.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("role = EXCLUDED.role").Set("password = EXCLUDED.password").Set("disabled = EXCLUDED.disabled").Exec(ctx)
	return wrap(err, "user "+u.Name)
}

// RemoveUser removes a user with all sessions and links.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	return s.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*sessionRow)(nil)).Where("username = ?", name).Exec(ctx); err != nil {
			return wrap(err, "user "+name)
		}
		if _, err := tx.NewDelete().Model((*linkRow)(nil)).Where("username = ?", name).Exec(ctx); err != nil {
			return wrap(err, "user "+name)
		}
		r, err := tx.NewDelete().Model((*userRow)(nil)).Where("name = ?", name).Exec(ctx)
		return changed(r, err, "user "+name)
	})
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
