package apitest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"picket/api"
)

// Accounts keeps users, tokens, sessions and links in memory.
type Accounts struct {
	amu      sync.Mutex
	users    map[string]api.User
	tokens   map[string]api.Token
	sessions map[string]api.Session
	links    map[string]api.Link
}

func put[V any](a *Accounts, m *map[string]V, key string, v V) error {
	a.amu.Lock()
	defer a.amu.Unlock()
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
	return nil
}

func get[V any](a *Accounts, m *map[string]V, key string) (V, error) {
	a.amu.Lock()
	defer a.amu.Unlock()
	v, ok := (*m)[key]
	if !ok {
		return v, api.ErrNotFound
	}
	return v, nil
}

// Users lists users by name.
func (a *Accounts) Users(context.Context) ([]api.User, error) {
	a.amu.Lock()
	defer a.amu.Unlock()
	return slices.SortedFunc(maps.Values(a.users), func(x, y api.User) int { return strings.Compare(x.Name, y.Name) }), nil
}

// User reads a user.
func (a *Accounts) User(_ context.Context, name string) (api.User, error) {
	return get(a, &a.users, name)
}

// SaveUser creates or replaces a user.
func (a *Accounts) SaveUser(_ context.Context, u api.User) error { return put(a, &a.users, u.Name, u) }

// RemoveUser removes a user with sessions and links.
func (a *Accounts) RemoveUser(ctx context.Context, name string) error {
	if _, err := a.User(ctx, name); err != nil {
		return err
	}
	a.amu.Lock()
	defer a.amu.Unlock()
	delete(a.users, name)
	maps.DeleteFunc(a.sessions, func(_ string, s api.Session) bool { return s.User == name })
	maps.DeleteFunc(a.links, func(_ string, l api.Link) bool { return l.User == name })
	return nil
}

// Tokens lists tokens by name.
func (a *Accounts) Tokens(context.Context) ([]api.Token, error) {
	a.amu.Lock()
	defer a.amu.Unlock()
	return slices.SortedFunc(maps.Values(a.tokens), func(x, y api.Token) int { return strings.Compare(x.Name, y.Name) }), nil
}

// Token finds a token by its hash.
func (a *Accounts) Token(_ context.Context, hash string) (api.Token, error) {
	return get(a, &a.tokens, hash)
}

// SaveToken keeps a token.
func (a *Accounts) SaveToken(_ context.Context, t api.Token) error {
	return put(a, &a.tokens, t.Hash, t)
}

// RemoveToken removes a token by its id.
func (a *Accounts) RemoveToken(_ context.Context, id string) error {
	a.amu.Lock()
	defer a.amu.Unlock()
	n := len(a.tokens)
	maps.DeleteFunc(a.tokens, func(_ string, t api.Token) bool { return t.ID == id })
	if len(a.tokens) == n {
		return api.ErrNotFound
	}
	return nil
}

// Session finds a session by its hash.
func (a *Accounts) Session(_ context.Context, hash string) (api.Session, error) {
	return get(a, &a.sessions, hash)
}

// SaveSession keeps a session.
func (a *Accounts) SaveSession(_ context.Context, s api.Session) error {
	return put(a, &a.sessions, s.Hash, s)
}

// RemoveSession removes a session.
func (a *Accounts) RemoveSession(_ context.Context, hash string) error {
	a.amu.Lock()
	defer a.amu.Unlock()
	delete(a.sessions, hash)
	return nil
}

// RemoveSessions removes a user's sessions but for keep.
func (a *Accounts) RemoveSessions(_ context.Context, user, keep string) error {
	a.amu.Lock()
	defer a.amu.Unlock()
	maps.DeleteFunc(a.sessions, func(hash string, s api.Session) bool { return s.User == user && hash != keep })
	return nil
}

// SaveLink keeps a link.
func (a *Accounts) SaveLink(_ context.Context, l api.Link) error { return put(a, &a.links, l.Hash, l) }

// TakeLink returns and removes a link.
func (a *Accounts) TakeLink(_ context.Context, hash string) (api.Link, error) {
	a.amu.Lock()
	defer a.amu.Unlock()
	l, ok := a.links[hash]
	if !ok {
		return l, api.ErrNotFound
	}
	delete(a.links, hash)
	return l, nil
}
