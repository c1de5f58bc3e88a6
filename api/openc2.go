package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"picket/respond"
)

const (
	openC2Type = "application/openc2+json;version=1.0"
	openC2Most = 64 << 10
	openC2Wait = 20 * time.Second // that a sender who wants the outcome waits for it
	openC2Look = 100 * time.Millisecond
)

// c2Message is what comes and goes with the transfer of version 1.1; earlier, the command stands alone.
type c2Message struct {
	Headers c2Headers `json:"headers"`
	Body    struct {
		OpenC2 struct {
			Request  json.RawMessage `json:"request,omitempty"`
			Response *c2Response     `json:"response,omitempty"`
		} `json:"openc2"`
	} `json:"body"`
}

type c2Headers struct {
	RequestID string          `json:"request_id,omitempty"`
	Created   json.RawMessage `json:"created,omitempty"`
	From      string          `json:"from,omitempty"`
	To        json.RawMessage `json:"to,omitempty"`
}

// c2Command is a command of OpenC2 1.0, as far as it is not handed on.
type c2Command struct {
	Action   string                     `json:"action"`
	Target   map[string]json.RawMessage `json:"target"`
	Args     map[string]json.RawMessage `json:"args,omitempty"`
	Actuator map[string]struct {
		Host string `json:"host"`
	} `json:"actuator,omitempty"`
	ID string `json:"command_id,omitempty"`
}

// c2Response is a response of OpenC2 1.0.
type c2Response struct {
	Status  int            `json:"status"`
	Text    string         `json:"status_text,omitempty"`
	Results map[string]any `json:"results,omitempty"`
}

func refuse(status int, format string, args ...any) *c2Response {
	return &c2Response{Status: status, Text: fmt.Sprintf(format, args...)}
}

var commandID = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)

// openC2 takes a command of OpenC2, as a consumer does.
func (s *Server) openC2(w http.ResponseWriter, r *http.Request) {
	wrapped, headers, c, bad := readOpenC2(r)
	out := bad
	quiet := false
	if out == nil {
		quiet = c.wants() == "none"
		out = s.consume(r.Context(), headers, c)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if headers.RequestID != "" && commandID.MatchString(headers.RequestID) {
		h.Set("X-Request-ID", headers.RequestID)
	}
	status := out.Status
	if status == http.StatusProcessing { // which HTTP has for what comes before an answer
		status = http.StatusOK
	}
	if quiet && status == http.StatusOK {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.Set("Content-Type", openC2Type)
	w.WriteHeader(status)
	if !wrapped {
		_ = encode(w, out)
		return
	}
	m := c2Message{Headers: c2Headers{RequestID: headers.RequestID, From: "picket"}}
	m.Headers.Created = json.RawMessage(fmt.Sprint(s.opt.Now().UnixMilli()))
	m.Body.OpenC2.Response = out
	_ = encode(w, m)
}

// readOpenC2 reads a command, with or without the message around it.
func readOpenC2(r *http.Request) (wrapped bool, headers c2Headers, c *c2Command, bad *c2Response) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains([]string{"application/openc2+json", "application/openc2-cmd+json", "application/json"}, kind) || params["version"] != "" && params["version"] != "1.0" {
		return false, headers, nil, refuse(http.StatusBadRequest, "the Content-Type is not %s", openC2Type)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, openC2Most+1))
	if err != nil || len(b) > openC2Most {
		return false, headers, nil, refuse(http.StatusBadRequest, "a command has at most %d bytes", openC2Most)
	}
	headers.RequestID = r.Header.Get("X-Request-ID")
	var m c2Message
	if json.Unmarshal(b, &m) == nil && m.Body.OpenC2.Request != nil {
		wrapped, b = true, m.Body.OpenC2.Request
		if m.Headers.RequestID != "" {
			headers = m.Headers
		}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	c = &c2Command{}
	if err := dec.Decode(c); err != nil {
		return wrapped, headers, nil, refuse(http.StatusBadRequest, "it is no command of OpenC2: %v", err)
	}
	if dec.More() || c.Action == "" || len(c.Target) != 1 {
		return wrapped, headers, nil, refuse(http.StatusBadRequest, "a command has an action and one target")
	}
	return wrapped, headers, c, nil
}

// wants returns args.response_requested.
func (c *c2Command) wants() string {
	var word string
	_ = json.Unmarshal(c.Args["response_requested"], &word) // consume tells what is wrong with it
	return word
}

// consume carries a command out, or says why not.
func (s *Server) consume(ctx context.Context, headers c2Headers, c *c2Command) *c2Response {
	if _, ok := c.Args["response_requested"]; ok && !slices.Contains([]string{"none", "ack", "status", "complete"}, c.wants()) {
		return refuse(http.StatusBadRequest, "args/response_requested: want none, ack, status or complete")
	}
	if c.Action == "query" {
		return query(c)
	}
	who := caller(ctx)
	if who.role < Analyst {
		return refuse(http.StatusForbidden, "this needs the role analyst; %s is %s", who.name, who.role)
	}
	o, bad := order(headers, c)
	if bad != nil {
		return bad
	}
	o.By = who.name
	r, err := s.runs()
	if err != nil {
		return refuse(http.StatusInternalServerError, "this server runs no playbooks")
	}
	run, err := r.Order(ctx, o)
	entry := AuditEntry{What: "openc2." + c.Action, Object: o.ID, OK: err == nil}
	if err != nil {
		entry.Detail = err.Error()
		s.audit(ctx, entry)
		return s.openC2Error(err)
	}
	entry.Detail = fmt.Sprintf("run %s: %s: plan %s", run.ID, run.State, run.Plan.Hash)
	s.audit(ctx, entry)
	if w := c.wants(); w == "" || w == "complete" {
		run = awaitRun(ctx, r, run)
	}
	return told(run)
}

// openC2Error says what an error of the engine is for OpenC2. What is none of its own stays in the log.
func (s *Server) openC2Error(err error) *c2Response {
	switch {
	case errors.Is(err, respond.ErrUnsupported):
		return refuse(http.StatusNotImplemented, "%v", err)
	case errors.Is(err, respond.ErrInvalid), errors.Is(err, respond.ErrNotFound), errors.Is(err, respond.ErrConflict):
		return refuse(http.StatusBadRequest, "%v", err)
	}
	s.log.Error("a command of OpenC2 failed", "err", err)
	return refuse(http.StatusInternalServerError, "it failed; the server's log says why")
}

// order is what the engine is asked for.
func order(headers c2Headers, c *c2Command) (respond.Order, *c2Response) {
	o := respond.Order{ID: c.ID}
	if o.ID == "" {
		o.ID = headers.RequestID
	}
	if !commandID.MatchString(o.ID) {
		return o, refuse(http.StatusBadRequest, "give it a command_id (or a request_id) of up to 128 letters and digits: a repeat is then known, and not done twice")
	}
	for _, arg := range []string{"start_time", "stop_time"} {
		if _, ok := c.Args[arg]; ok {
			return o, refuse(http.StatusNotImplemented, "args/%s is not supported: commands are carried out at once, and end by args/duration", arg)
		}
	}
	for profile, at := range c.Actuator {
		if profile != "x-picket" {
			return o, refuse(http.StatusNotImplemented, "actuator: Picket is none of %q: want x-picket", profile)
		}
		o.Host = at.Host
	}
	args := map[string]any{}
	for k, v := range c.Args {
		if k != "response_requested" {
			args[k] = v
		}
	}
	own := map[string]string{}
	if raw, ok := c.Args["x-picket"]; ok {
		if err := json.Unmarshal(raw, &own); err != nil {
			return o, refuse(http.StatusBadRequest, "args/x-picket: want texts by name")
		}
	}
	o.Incident, o.Reason = own["incident"], own["reason"]
	delete(own, "incident")
	delete(own, "reason")
	if delete(args, "x-picket"); len(own) > 0 {
		args["x-picket"] = own
	}
	command, err := json.Marshal(map[string]any{"action": c.Action, "target": c.Target, "args": args})
	if err != nil {
		return o, refuse(http.StatusBadRequest, "%v", err)
	}
	if c.Action == "restore" {
		return o, refuse(http.StatusNotImplemented, "restore: what is taken back is a run: POST /api/v1/runs/{id}/undo")
	}
	o.Command = command
	return o, nil
}

// awaitRun returns a run when it is over, or as it is after a while.
func awaitRun(ctx context.Context, r Runs, run respond.Run) respond.Run {
	end := time.NewTimer(openC2Wait)
	defer end.Stop()
	for run.State == respond.Running {
		select {
		case <-end.C:
			return run
		case <-ctx.Done():
			return run
		case <-time.After(openC2Look):
		}
		now, err := r.Get(ctx, run.ID)
		if err != nil {
			return run
		}
		run = now
	}
	return run
}

// told is a run as OpenC2 answers it.
func told(run respond.Run) *c2Response {
	out := &c2Response{Results: map[string]any{"x-picket": map[string]any{"run": run.ID, "state": run.State, "plan": run.Plan.Hash, "class": run.Plan.Class}}}
	switch run.State {
	case respond.Succeeded:
		out.Status, out.Text = http.StatusOK, "done"
	case respond.Failed:
		out.Status, out.Text = http.StatusInternalServerError, run.Failure
	case respond.Rejected, respond.Expired:
		out.Status, out.Text = http.StatusForbidden, "it was not approved"
	case respond.Cancelled:
		out.Status, out.Text = http.StatusForbidden, run.Cancel
	case respond.Waiting:
		out.Status, out.Text = http.StatusProcessing, "it cannot be taken back, and waits until another person approves it"
	default:
		out.Status, out.Text = http.StatusProcessing, "it is under way"
	}
	return out
}

// query answers what this consumer can do.
func query(c *c2Command) *c2Response {
	var features []string
	raw, ok := c.Target["features"]
	if !ok {
		return refuse(http.StatusNotImplemented, "query: only features can be asked for")
	}
	if err := json.Unmarshal(raw, &features); err != nil || len(features) > 10 {
		return refuse(http.StatusBadRequest, "target/features: want a list of up to 10")
	}
	all := map[string]any{"versions": []string{"1.0"}, "profiles": []string{"x-picket"}, "pairs": respond.Pairs()}
	out := &c2Response{Status: http.StatusOK}
	for _, f := range features {
		v, ok := all[f]
		if f == "rate_limit" {
			return refuse(http.StatusNotImplemented, "target/features: there is no rate limit")
		}
		if !ok {
			return refuse(http.StatusBadRequest, "target/features: %q is none of versions, profiles, pairs", strings.ToValidUTF8(f[:min(len(f), 64)], ""))
		}
		if out.Results == nil {
			out.Results = map[string]any{}
		}
		out.Results[f] = v
	}
	return out
}
