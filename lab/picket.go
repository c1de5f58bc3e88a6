package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

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
	var out []event.Finding
	before := ""
	for range mostRead {
		page, err := p.c.Findings(ctx, client.FindingFilter{Limit: pageSize, Before: before})
		if err != nil {
			return nil, err
		}
		for _, f := range page.Items {
			if f.Time.Before(since) {
				return out, nil
			}
			out = append(out, f)
		}
		if before = page.Next; before == "" {
			break
		}
	}
	return out, nil
}

func (p picket) Incidents(ctx context.Context, since time.Time) ([]event.Incident, error) {
	var out []event.Incident
	before := ""
	for range mostRead {
		page, err := p.c.Incidents(ctx, client.IncidentFilter{Limit: pageSize, Before: before})
		if err != nil {
			return nil, err
		}
		for _, inc := range page.Items {
			if inc.LastSeen.Before(since) {
				return out, nil
			}
			out = append(out, inc)
		}
		if before = page.Next; before == "" {
			break
		}
	}
	return out, nil
}
