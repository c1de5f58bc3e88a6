package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"picket/api"
	"picket/event"
	"picket/incident"
	"picket/store/events"
	"picket/store/state"
)

// This file makes what the stores offer fit what the API asks for.

// known turns the stores' errors into the API's.
func known(err error) error {
	for of, is := range map[error]error{
		state.ErrNotFound: api.ErrNotFound, state.ErrConflict: api.ErrConflict, incident.ErrNotFound: api.ErrNotFound,
		incident.ErrConflict: api.ErrConflict, incident.ErrInvalid: api.ErrInvalid, events.ErrQuery: api.ErrInvalid, events.ErrAway: api.ErrAway,
	} {
		if errors.Is(err, of) {
			return fmt.Errorf("%w: %w", is, err)
		}
	}
	return err
}

type incidents struct{ s *server }

func (i incidents) List(ctx context.Context, q api.IncidentQuery) ([]event.Incident, error) {
	out, err := i.s.state.Incidents(ctx, state.IncidentQuery{
		Status: q.Status, Severity: q.Severity, Text: q.Text, Limit: q.Limit, Before: state.Cursor(q.Before),
	})
	for n := range out {
		out[n] = i.s.tagged(out[n])
	}
	return out, known(err)
}

func (i incidents) Get(ctx context.Context, id string) (event.Incident, error) {
	inc, err := i.s.state.Incident(ctx, id)
	return i.s.tagged(inc), known(err)
}

// Update changes an incident in the correlator, which goes on adding findings to it, and keeps it.
func (i incidents) Update(ctx context.Context, id, who string, c api.IncidentChange) (event.Incident, error) {
	s := i.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.correlator.Has(id) { // an old one, out of memory since
		old, err := s.state.Incident(ctx, id)
		if err != nil {
			return old, known(err)
		}
		s.correlator.Restore([]event.Incident{old})
	}
	inc, err := s.correlator.Update(id, who, incident.Update{Status: c.Status, Verdict: c.Verdict, Note: c.Note, Version: c.Version}, time.Now())
	if err != nil {
		return inc, known(err)
	}
	if err := s.keepIncident(ctx, inc); err != nil {
		return inc, known(err)
	}
	delete(s.changed, inc.ID) // this version holds what was not kept yet
	return s.tagged(inc), nil
}

type findings struct{ *state.Store }

func (f findings) List(ctx context.Context, q api.FindingQuery) ([]event.Finding, error) {
	out, err := f.Findings(ctx, state.FindingQuery{
		Rule: q.Rule, Severity: q.Severity, Host: q.Host, Incident: q.Incident, Limit: q.Limit, Before: state.Cursor(q.Before),
	})
	return out, known(err)
}

func (f findings) Get(ctx context.Context, id string) (event.Finding, error) {
	out, err := f.Finding(ctx, id)
	return out, known(err)
}

type stored struct{ c *events.Client }

func (s stored) Query(ctx context.Context, q api.EventQuery, fn func(json.RawMessage) error) error {
	return known(s.c.Query(ctx, events.Query{Q: q.Text, Start: q.Start, End: q.End, Limit: q.Limit}, fn))
}

func (s stored) Hits(ctx context.Context, q api.EventQuery, n int) ([]api.Bucket, error) {
	got, err := s.c.Hits(ctx, events.Query{Q: q.Text, Start: q.Start, End: q.End}, n)
	out := make([]api.Bucket, len(got))
	for i, b := range got {
		out[i] = api.Bucket(b)
	}
	return out, known(err)
}

// accounts is the state's people, tokens and sessions, with roles as the API has them.
type accounts struct{ s *state.Store }

func (a accounts) Users(ctx context.Context) ([]api.User, error) {
	us, err := a.s.Users(ctx)
	out := make([]api.User, len(us))
	for i, u := range us {
		out[i] = apiUser(u)
	}
	return out, known(err)
}

func (a accounts) User(ctx context.Context, name string) (api.User, error) {
	u, err := a.s.User(ctx, name)
	return apiUser(u), known(err)
}

func apiUser(u state.User) api.User {
	return api.User{Name: u.Name, Role: role(u.Role), Password: u.Password, Created: u.Created}
}

// role reads a stored role; one that this version does not know may do nothing.
func role(name string) api.Role {
	r := api.Public
	_ = r.UnmarshalText([]byte(name)) // leaves Public where it fails
	return r
}

func (a accounts) SaveUser(ctx context.Context, u api.User) error {
	return known(a.s.SaveUser(ctx, state.User{Name: u.Name, Role: u.Role.String(), Password: u.Password, Created: u.Created}))
}

func (a accounts) RemoveUser(ctx context.Context, name string) error {
	return known(a.s.RemoveUser(ctx, name))
}

func (a accounts) Tokens(ctx context.Context) ([]api.Token, error) {
	ts, err := a.s.Tokens(ctx)
	out := make([]api.Token, len(ts))
	for i, t := range ts {
		out[i] = apiToken(t)
	}
	return out, known(err)
}

func (a accounts) Token(ctx context.Context, hash string) (api.Token, error) {
	t, err := a.s.Token(ctx, hash)
	return apiToken(t), known(err)
}

func apiToken(t state.Token) api.Token {
	return api.Token{ID: t.ID, Name: t.Name, Role: role(t.Role), Hash: t.Hash, Created: t.Created, Expires: t.Expires, Creator: t.Creator}
}

func (a accounts) SaveToken(ctx context.Context, t api.Token) error {
	return known(a.s.SaveToken(ctx, state.Token{
		ID: t.ID, Name: t.Name, Role: t.Role.String(), Hash: t.Hash, Creator: t.Creator, Created: t.Created, Expires: t.Expires,
	}))
}

func (a accounts) RemoveToken(ctx context.Context, id string) error {
	return known(a.s.RemoveToken(ctx, id))
}

func (a accounts) Session(ctx context.Context, hash string) (api.Session, error) {
	v, err := a.s.Session(ctx, hash)
	return api.Session(v), known(err)
}

func (a accounts) SaveSession(ctx context.Context, v api.Session) error {
	return known(a.s.SaveSession(ctx, state.Session(v)))
}

func (a accounts) RemoveSession(ctx context.Context, hash string) error {
	return known(a.s.RemoveSession(ctx, hash))
}

func (a accounts) RemoveSessions(ctx context.Context, user, keep string) error {
	return known(a.s.RemoveSessions(ctx, user, keep))
}

func (a accounts) SaveLink(ctx context.Context, l api.Link) error {
	return known(a.s.SaveLink(ctx, state.Link(l)))
}

func (a accounts) TakeLink(ctx context.Context, hash string) (api.Link, error) {
	l, err := a.s.TakeLink(ctx, hash)
	return api.Link(l), known(err)
}

// lines yields the lines of b without their ends.
func lines(b []byte) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for line := range bytes.Lines(b) {
			if !yield(bytes.TrimRight(line, "\n")) {
				return
			}
		}
	}
}
