package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"picket/api"
	"picket/event"
)

// Session says who the client is to the server.
func (c *Client) Session(ctx context.Context) (api.SessionInfo, error) {
	return get[api.SessionInfo](ctx, c, "/api/v1/session", nil)
}

// IncidentFilter selects incidents. Empty fields select all.
type IncidentFilter struct {
	Status   string // open, acknowledged, closed
	Severity string // at least this
	Text     string
	Limit    int
	Before   string // Next of the page before
}

// Incidents lists incidents, the latest first.
func (c *Client) Incidents(ctx context.Context, f IncidentFilter) (api.List[event.Incident], error) {
	return get[api.List[event.Incident]](ctx, c, "/api/v1/incidents",
		query("status", f.Status, "severity", f.Severity, "q", f.Text, "limit", number(f.Limit), "before", f.Before))
}

// Incident reads an incident.
func (c *Client) Incident(ctx context.Context, id string) (event.Incident, error) {
	return get[event.Incident](ctx, c, "/api/v1/incidents/"+url.PathEscape(id), nil)
}

// UpdateIncident changes an incident and returns it as it is then.
func (c *Client) UpdateIncident(ctx context.Context, id string, change api.IncidentPatch) (event.Incident, error) {
	var out event.Incident
	err := c.call(ctx, http.MethodPatch, "/api/v1/incidents/"+url.PathEscape(id), change, &out)
	return out, err
}

// FindingFilter selects findings. Empty fields select all.
type FindingFilter struct {
	Rule     string // id or name
	Severity string // at least this
	Host     string
	Incident string // id
	Limit    int
	Before   string // Next of the page before
}

// Findings lists findings, the latest first.
func (c *Client) Findings(ctx context.Context, f FindingFilter) (api.List[event.Finding], error) {
	return get[api.List[event.Finding]](ctx, c, "/api/v1/findings",
		query("rule", f.Rule, "severity", f.Severity, "host", f.Host, "incident", f.Incident, "limit", number(f.Limit), "before", f.Before))
}

// Finding reads a finding.
func (c *Client) Finding(ctx context.Context, id string) (event.Finding, error) {
	return get[event.Finding](ctx, c, "/api/v1/findings/"+url.PathEscape(id), nil)
}

// EventFilter selects stored events. Times are RFC 3339 or ages such as 15m, 24h, 7d.
type EventFilter struct {
	Query      string // LogsQL
	Start, End string
	Limit      int
	Before     string // Next of the page before
}

// Events searches stored events, the latest first.
func (c *Client) Events(ctx context.Context, f EventFilter) (api.EventList, error) {
	return get[api.EventList](ctx, c, "/api/v1/events",
		query("q", f.Query, "start", f.Start, "end", f.End, "limit", number(f.Limit), "before", f.Before))
}

// Hits counts stored events over time.
func (c *Client) Hits(ctx context.Context, f EventFilter, buckets int) ([]api.Bucket, error) {
	out, err := get[api.BucketList](ctx, c, "/api/v1/events/hits",
		query("q", f.Query, "start", f.Start, "end", f.End, "buckets", number(buckets)))
	return out.Buckets, err
}

// Fields lists the fields of an event.
func (c *Client) Fields(ctx context.Context) ([]api.Field, error) {
	out, err := get[api.List[api.Field]](ctx, c, "/api/v1/events/fields", nil)
	return out.Items, err
}

// Fleet lists the agents.
func (c *Client) Fleet(ctx context.Context) ([]api.Agent, error) {
	out, err := get[api.List[api.Agent]](ctx, c, "/api/v1/fleet", nil)
	return out.Items, err
}

// GPUs lists the GPUs of all hosts.
func (c *Client) GPUs(ctx context.Context) ([]api.HostGPU, error) {
	out, err := get[api.List[api.HostGPU]](ctx, c, "/api/v1/gpus", nil)
	return out.Items, err
}

// Health tells how the parts of the server are.
func (c *Client) Health(ctx context.Context) (api.Report, error) {
	return get[api.Report](ctx, c, "/api/v1/health", nil)
}

// Rules lists the loaded rules.
func (c *Client) Rules(ctx context.Context) ([]api.LoadedRule, error) {
	out, err := get[api.List[api.LoadedRule]](ctx, c, "/api/v1/rules", nil)
	return out.Items, err
}

// Users lists users.
func (c *Client) Users(ctx context.Context) ([]api.UserInfo, error) {
	out, err := get[api.List[api.UserInfo]](ctx, c, "/api/v1/users", nil)
	return out.Items, err
}

// SaveUser creates a user, with a sign-in link, or changes a user's role.
func (c *Client) SaveUser(ctx context.Context, name string, role api.Role) (api.UserSaved, error) {
	var out api.UserSaved
	err := c.call(ctx, http.MethodPost, "/api/v1/users", map[string]any{"name": name, "role": role}, &out)
	return out, err
}

// RemoveUser removes a user.
func (c *Client) RemoveUser(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/users/"+url.PathEscape(name), nil, nil)
}

// NewLink makes a one-time sign-in link for a user. Its Link is a path on the server.
func (c *Client) NewLink(ctx context.Context, name string) (api.LinkInfo, error) {
	var out api.LinkInfo
	err := c.call(ctx, http.MethodPost, "/api/v1/users/"+url.PathEscape(name)+"/link", nil, &out)
	return out, err
}

// Tokens lists API tokens.
func (c *Client) Tokens(ctx context.Context) ([]api.TokenInfo, error) {
	out, err := get[api.List[api.TokenInfo]](ctx, c, "/api/v1/tokens", nil)
	return out.Items, err
}

// NewToken makes an API token that works for so many days, or always for 0. Its secret is in the
// answer and nowhere else.
func (c *Client) NewToken(ctx context.Context, name string, role api.Role, days int) (api.TokenInfo, error) {
	var out api.TokenInfo
	err := c.call(ctx, http.MethodPost, "/api/v1/tokens", map[string]any{"name": name, "role": role, "days": days}, &out)
	return out, err
}

// RemoveToken revokes an API token.
func (c *Client) RemoveToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(id), nil, nil)
}

// query makes a query string of names and values, without the empty ones.
func query(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func number(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}
