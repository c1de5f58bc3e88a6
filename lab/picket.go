package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/event"
)

// Ask makes a Reader of an API client.
func Ask(c *client.Client) Reader { return picket{c} }

type picket struct{ c *client.Client }

// The newest come first, so that reading on stops where a page is older than the attack.
const (
	pageSize = 100
	mostRead = 20 // pages: an attack that drowns in findings is not read to the end
)

// Ready returns nil once an agent reports from this host: it does so when its sensor is attached.
func (p picket) Ready(ctx context.Context) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("tell this host from others: %w", err)
	}
	agents, err := p.c.Fleet(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		if a.Status == "ok" && a.Heartbeat != nil && a.Heartbeat.Boot == strings.TrimSpace(string(boot)) {
			return nil
		}
	}
	return errors.New("no agent reports from this host: start one with picket run, or play the attack on a host that has one")
}

func (p picket) Findings(ctx context.Context, since time.Time) ([]event.Finding, error) {
	return newest(since, func(f event.Finding) time.Time { return f.Time }, func(before string) (api.List[event.Finding], error) {
		return p.c.Findings(ctx, client.FindingFilter{Limit: pageSize, Before: before})
	})
}

func (p picket) Incidents(ctx context.Context, since time.Time) ([]event.Incident, error) {
	return newest(since, func(i event.Incident) time.Time { return i.LastSeen }, func(before string) (api.List[event.Incident], error) {
		return p.c.Incidents(ctx, client.IncidentFilter{Limit: pageSize, Before: before})
	})
}

// newest reads page by page what is not older than since.
func newest[T any](since time.Time, at func(T) time.Time, read func(before string) (api.List[T], error)) ([]T, error) {
	var out []T
	before := ""
	for range mostRead {
		page, err := read(before)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Items {
			if at(v).Before(since) {
				return out, nil
			}
			out = append(out, v)
		}
		if before = page.Next; before == "" {
			break
		}
	}
	return out, nil
}
