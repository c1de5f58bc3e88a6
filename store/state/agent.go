package state

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"picket/event"
)

// Agent is a host that was enrolled.
type Agent struct {
	Name      string // as in its certificate
	Serial    string // of its certificate
	Enrolled  time.Time
	FirstSeen time.Time // zero: never heard of
	LastSeen  time.Time
	Revoked   time.Time        // zero: not
	Heartbeat *event.Heartbeat // the last one; nil for none
}

type agentRow struct {
	bun.BaseModel `bun:"table:agents"`

	Name      string `bun:"name,pk"`
	Serial    string
	Enrolled  int64
	FirstSeen int64
	LastSeen  int64
	Revoked   int64
	Heartbeat string
}

// Agents lists all agents by name.
func (s *Store) Agents(ctx context.Context) ([]Agent, error) {
	var rows []agentRow
	if err := s.read.NewSelect().Model(&rows).Order("name").Scan(ctx); err != nil {
		return nil, wrap(err, "listing agents")
	}
	out := make([]Agent, len(rows))
	for i, r := range rows {
		out[i] = Agent{r.Name, r.Serial, moment(r.Enrolled), moment(r.FirstSeen), moment(r.LastSeen), moment(r.Revoked), nil}
		if r.Heartbeat == "" {
			continue
		}
		out[i].Heartbeat = &event.Heartbeat{}
		if err := json.Unmarshal([]byte(r.Heartbeat), out[i].Heartbeat); err != nil {
			return nil, fmt.Errorf("state: heartbeat of agent %s: %w", r.Name, err)
		}
	}
	return out, nil
}

// SaveEnrolment notes that an agent got a certificate. It lifts a revocation of the agent's
// earlier ones: they stay refused by their serial, as only the latest is valid.
func (s *Store) SaveEnrolment(ctx context.Context, name, serial string) error {
	row := &agentRow{Name: name, Serial: serial, Enrolled: nanos(s.o.Now())}
	_, err := s.write.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("serial = EXCLUDED.serial").Set("enrolled = EXCLUDED.enrolled").Set("revoked = 0").Exec(ctx)
	return wrap(err, "agent "+name)
}

// SaveHeartbeat notes that an agent was heard of now.
func (s *Store) SaveHeartbeat(ctx context.Context, name string, h event.Heartbeat) error {
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("state: heartbeat of agent %s: %w", name, err)
	}
	now := nanos(s.o.Now())
	row := &agentRow{Name: name, FirstSeen: now, LastSeen: now, Heartbeat: string(b)}
	_, err = s.write.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("first_seen = CASE WHEN agent_row.first_seen = 0 THEN EXCLUDED.first_seen ELSE agent_row.first_seen END").
		Set("last_seen = EXCLUDED.last_seen").Set("heartbeat = EXCLUDED.heartbeat").Exec(ctx)
	return wrap(err, "agent "+name)
}

// RevokeAgent takes an agent's right to join away.
func (s *Store) RevokeAgent(ctx context.Context, name string) error {
	r, err := s.write.NewUpdate().Model((*agentRow)(nil)).Set("revoked = ?", nanos(s.o.Now())).Where("name = ?", name).Exec(ctx)
	return changed(r, err, "agent "+name)
}

// RemoveAgent forgets an agent.
func (s *Store) RemoveAgent(ctx context.Context, name string) error {
	r, err := s.write.NewDelete().Model((*agentRow)(nil)).Where("name = ?", name).Exec(ctx)
	return changed(r, err, "agent "+name)
}

// Revoked reports whether the agent with this certificate may not join: it was revoked, or got
// another certificate since. An agent that is not known may join, as its certificate is ours.
func (s *Store) Revoked(ctx context.Context, name, serial string) (bool, error) {
	var rows []agentRow
	if err := s.read.NewSelect().Model(&rows).Where("name = ?", name).Scan(ctx); err != nil {
		return false, wrap(err, "agent "+name)
	}
	return len(rows) > 0 && (rows[0].Revoked != 0 || rows[0].Serial != "" && rows[0].Serial != serial), nil
}
