package client

import (
	"context"
	"net/http"
	"net/url"

	"picket/api"
	"picket/respond"
)

// Playbooks lists the playbooks that may be run.
func (c *Client) Playbooks(ctx context.Context) ([]api.PlaybookInfo, error) {
	out, err := get[api.List[api.PlaybookInfo]](ctx, c, "/api/v1/playbooks", nil)
	return out.Items, err
}

// Playbook reads a playbook and its runbook.
func (c *Client) Playbook(ctx context.Context, name string) (api.PlaybookWhole, error) {
	return get[api.PlaybookWhole](ctx, c, "/api/v1/playbooks/"+url.PathEscape(name), nil)
}

// Plan says what a playbook would do about an incident.
func (c *Client) Plan(ctx context.Context, name string, q api.PlanQuery) (respond.Plan, error) {
	var out respond.Plan
	err := c.call(ctx, http.MethodPost, "/api/v1/playbooks/"+url.PathEscape(name)+"/plan", q, &out)
	return out, err
}

// Simulate says what a playbook would have done about incidents of the past.
func (c *Client) Simulate(ctx context.Context, name string, q api.SimulateQuery) (respond.Simulation, error) {
	var out respond.Simulation
	err := c.call(ctx, http.MethodPost, "/api/v1/playbooks/"+url.PathEscape(name)+"/simulate", q, &out)
	return out, err
}

// Runs lists runs of playbooks, the latest first: of one incident, or of all for "".
func (c *Client) Runs(ctx context.Context, incident string, limit int) ([]respond.Run, error) {
	out, err := get[api.List[respond.Run]](ctx, c, "/api/v1/runs", query("incident", incident, "limit", number(limit)))
	return out.Items, err
}

// Run reads a run.
func (c *Client) Run(ctx context.Context, id string) (respond.Run, error) {
	return get[respond.Run](ctx, c, "/api/v1/runs/"+url.PathEscape(id), nil)
}

// Records returns what happened to a run, from its start.
func (c *Client) Records(ctx context.Context, id string) ([]respond.Record, error) {
	out, err := get[api.List[respond.Record]](ctx, c, "/api/v1/runs/"+url.PathEscape(id)+"/records", nil)
	return out.Items, err
}

// RequestRun asks for a run of a playbook.
func (c *Client) RequestRun(ctx context.Context, q api.RunRequest) (respond.Run, error) {
	var out respond.Run
	err := c.call(ctx, http.MethodPost, "/api/v1/runs", q, &out)
	return out, err
}

// EditRun leaves acts out of the plan of a run that waits, and takes all others in.
func (c *Client) EditRun(ctx context.Context, id string, q api.RunEdit) (respond.Run, error) {
	return c.changeRun(ctx, id, "edit", q)
}

// ApproveRun approves the plan with a hash.
func (c *Client) ApproveRun(ctx context.Context, id, hash, reason string) (respond.Run, error) {
	return c.changeRun(ctx, id, "approve", map[string]string{"hash": hash, "reason": reason})
}

// RejectRun rejects a plan, or ends a run.
func (c *Client) RejectRun(ctx context.Context, id, reason string) (respond.Run, error) {
	return c.changeRun(ctx, id, "reject", map[string]string{"reason": reason})
}

// AnswerRun answers a question of a run.
func (c *Client) AnswerRun(ctx context.Context, id string, a api.RunAnswer) (respond.Run, error) {
	return c.changeRun(ctx, id, "answer", a)
}

// UndoRun takes back what a run did.
func (c *Client) UndoRun(ctx context.Context, id string) (respond.Run, error) {
	return c.changeRun(ctx, id, "undo", nil)
}

func (c *Client) changeRun(ctx context.Context, id, what string, body any) (respond.Run, error) {
	var out respond.Run
	err := c.call(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/"+what, body, &out)
	return out, err
}

// StopRuns stops all acts of all runs, or lets them go on.
func (c *Client) StopRuns(ctx context.Context, stop bool) (api.RespondStatus, error) {
	var out api.RespondStatus
	err := c.call(ctx, http.MethodPut, "/api/v1/respond", map[string]bool{"stop": stop}, &out)
	return out, err
}
