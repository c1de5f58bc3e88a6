package lab

import (
	"context"
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
