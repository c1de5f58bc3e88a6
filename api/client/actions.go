package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"picket/api"
	"picket/respond/action"
)

// Actions lists acts, of all hosts where host is empty.
func (c *Client) Actions(ctx context.Context, host string, limit int) (api.ActionList, error) {
	return get[api.ActionList](ctx, c, "/api/v1/actions", query("host", host, "limit", strconv.Itoa(limit)))
}

// Act sends a command to the agent of a host, through the server, as whoever the client is.
func (c *Client) Act(ctx context.Context, host string, cmd action.Command) (a action.Answer, err error) {
	on := "?" + url.Values{"host": {host}}.Encode()
	id := cmd.ID
	if cmd.Request != nil {
		id = cmd.Request.ID
	}
	var body api.ActionRequest
	if r := cmd.Request; r != nil {
		body = api.ActionRequest{ID: r.ID, Kind: r.Kind, Target: r.Target, Params: r.Params, TTL: r.TTL, Reason: r.Reason, Incident: r.Incident}
	}
	of := "/api/v1/actions/" + url.PathEscape(id)
	switch cmd.Op {
	case action.OpPlan:
		err = c.call(ctx, http.MethodPost, "/api/v1/actions/plan", body, &a.Plan)
	case action.OpDo:
		err = c.call(ctx, http.MethodPost, "/api/v1/actions", body, &a.Result)
	case action.OpUndo:
		err = c.call(ctx, http.MethodPost, of+"/undo"+on, api.ActionReason{Reason: cmd.Request.Reason}, &a.Result)
	case action.OpExtend:
		err = c.call(ctx, http.MethodPost, of+"/extend"+on, map[string]time.Duration{"ttl": cmd.TTL}, &a.Result)
	case action.OpAnswer:
		err = c.call(ctx, http.MethodPost, of+"/answer"+on, api.ActionAnswer{Holds: cmd.Holds}, &a.Result)
	case action.OpShow:
		a.Records = make([]action.Record, 1)
		err = c.call(ctx, http.MethodGet, of+on, nil, &a.Records[0])
	case action.OpList:
		var l api.ActionList
		l, err = c.Actions(ctx, host, cmd.Limit)
		for _, r := range l.Items {
			a.Records = append(a.Records, r.Record)
		}
		a.Stopped = l.Stopped[host]
	case action.OpStop:
		err = c.call(ctx, http.MethodPost, "/api/v1/actions/stop"+on, api.ActionReason{Reason: cmd.Reason}, nil)
	case action.OpResume:
		err = c.call(ctx, http.MethodPost, "/api/v1/actions/resume"+on, nil, nil)
	default:
		err = errors.New("the API has no way to ask for " + string(cmd.Op))
	}
	return a, err
}
