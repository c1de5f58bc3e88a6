package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

const (
	maxAdopted = 2 * maxLocalRuns // runs of one agent in an hour
	maxLocalID = 128
	lostAfter  = 10 * time.Minute // that a finding may be behind the run that it led to
)

// toAdopt notes that an agent has runs of its own to hand over. Where many have, its next heartbeat says
// it again.
func (s *server) toAdopt(host string, runs int) {
	if runs <= 0 {
		return
	}
	select {
	case s.adopting <- host:
	default:
	}
}

// adoptRuns takes over what agents did by themselves while this server was away.
func (s *server) adoptRuns(ctx context.Context) error {
	offered := map[string]time.Time{} // runs whose finding is not here yet, and since when
	taken, hour := map[string]int{}, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case host := <-s.adopting:
			if time.Since(hour) > time.Hour {
				clear(taken)
				hour = time.Now()
			}
			if taken[host] == maxAdopted {
				s.log.Error("an agent has more runs of its own than it can have kept: the rest is taken over later", "host", host, "most in an hour", maxAdopted)
				taken[host]++ // said once
			}
			for ; taken[host] < maxAdopted; taken[host]++ {
				more, err := s.adoptRun(ctx, host, offered)
				if err != nil && ctx.Err() == nil {
					s.log.Warn("a run that an agent did by itself was not taken over; it is tried again", "host", host, "error", err)
				}
				if err != nil || !more {
					break
				}
			}
		}
	}
}

// incidentOf returns the incident that a finding of a host belongs to. Other hosts' are not its own to name.
func (s *server) incidentOf(ctx context.Context, host, finding string) (string, error) {
	f, err := s.state.Finding(ctx, finding)
	if err != nil {
		return "", err
	}
	if f.Host != host {
		return "", fmt.Errorf("finding %s of host %s: %w", finding, host, state.ErrNotFound)
	}
	return s.state.FindingIncident(ctx, finding)
}

// adoptRun takes the oldest run of an agent over. more is false where there is none that can be.
func (s *server) adoptRun(ctx context.Context, host string, offered map[string]time.Time) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	said, err := actions{s}.Ask(ctx, host, action.Command{Op: action.OpRun})
	if err == nil {
		err = said.Err()
	}
	if err != nil || len(said.Run) == 0 {
		return false, err
	}
	var h respond.Handover
	if err := json.Unmarshal(said.Run, &h); err != nil {
		return false, fmt.Errorf("what the agent of %s says of its run is not understood: %w", host, err)
	}
	if len(h.Kept.ID) > maxLocalID || len(h.Kept.Incident) > maxLocalID {
		return false, fmt.Errorf("the run of the agent of %s has an id of more than %d bytes", host, maxLocalID)
	}
	key := host + " " + h.Kept.ID
	incident, err := s.incidentOf(ctx, host, h.Kept.Incident)
	if errors.Is(err, state.ErrNotFound) {
		if len(offered) > 1000 {
			clear(offered)
		}
		if offered[key].IsZero() {
			offered[key] = time.Now()
		}
		if time.Since(offered[key]) < lostAfter {
			return false, nil // it is on its way
		}
		s.log.Warn("the finding that led an agent to act by itself did not come: the run stands alone", "host", host, "finding", h.Kept.Incident)
		incident, err = "", nil
	}
	if err != nil {
		return false, err
	}
	r, err := s.respond.Adopt(ctx, host, incident, h)
	if errors.Is(err, respond.ErrInvalid) {
		s.log.Error("a run that an agent says it did by itself is not believed, and is let go", "host", host, "run", h.Kept.ID, "error", err)
	} else if err != nil {
		return false, err
	}
	delete(offered, key)
	said, err = actions{s}.Ask(ctx, host, action.Command{Op: action.OpTaken, ID: h.Kept.ID})
	if err == nil {
		err = said.Err()
	}
	if err == nil && r.ID != "" {
		s.log.Info("a run that an agent did by itself was taken over", "host", host, "run", r.ID, "incident", incident, "state", r.State)
	}
	return err == nil, err
}
