package respond

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gowebpki/jcs"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// ErrUnsupported says that a command makes sense, and that Picket does not carry it out.
var ErrUnsupported = errors.New("not supported")

// Order is an OpenC2 command from outside.
type Order struct {
	ID       string          // of the command: the same of one sender is carried out once
	Command  json.RawMessage // action, target and args of the command
	Incident string          // that it is about; "": none
	Host     string          // where it is carried out, without an incident
	By       string
	Reason   string
}

// Pairs returns the actions of OpenC2 that Picket takes, each with its types of targets.
func Pairs() map[string][]string {
	out := map[string][]string{"query": {"features"}}
	for name := range openC2Acts {
		out[name] = []string{"x-picket"}
		switch name {
		case "contain", "copy":
			out[name] = append(out[name], "file")
		case "deny":
			out[name] = append(out[name], "ipv4_net", "ipv6_net")
		}
	}
	delete(out, "restore") // what is taken back is a run, by its own request
	return out
}

// Order makes a run of a command: a playbook of one step, which is planned, approved, kept and taken
// back as any other. A command that was given before returns its run. Where signatures are required,
// none is taken.
func (e *Engine) Order(ctx context.Context, o Order) (Run, error) {
	canon, err := jcs.Transform(o.Command)
	if err != nil {
		return Run{}, fmt.Errorf("%w: the command is no JSON: %w", ErrInvalid, err)
	}
	id := event.HashID("order", o.By, o.ID)
	book := uuidOf("order", string(canon), o.Incident, o.Host)
	was, err := e.Get(ctx, id)
	if err == nil {
		if was.Plan.Playbook != "playbook--"+book {
			return Run{}, fmt.Errorf("%w: the id %q was given to another command", ErrInvalid, o.ID)
		}
		return was, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return Run{}, err
	}
	// Nobody signs a command, so that no key says how much harm it may do: taken without one, it would be
	// the way around the signatures for whoever holds a token.
	if e.o.Config.Signatures.Mode == SignaturesRequire {
		return Run{}, fmt.Errorf("%w: respond.signatures is require, and nobody signs a command: ask for a signed playbook instead", ErrInvalid)
	}
	inc := event.Incident{Title: "a command from outside"}
	switch {
	case o.Incident != "":
		if inc, err = e.o.Incidents.Incident(ctx, o.Incident); err != nil {
			return Run{}, fmt.Errorf("incident %s: %w", o.Incident, err)
		}
	case o.Host != "":
		inc.Hosts = []string{o.Host}
	}
	p, err := bookOf(book, canon, e.o.Now())
	if err != nil {
		return Run{}, err
	}
	plan, bodies, err := e.planFor(ctx, &Book{Playbook: p, Word: "command"}, &inc, nil, nil)
	if err != nil {
		return Run{}, err
	}
	r := e.newRun(id, plan, bodies, o.By, o.Reason)
	run, err := e.open(ctx, r, e.asked(r))
	if errors.Is(err, ErrConflict) { // the same command came twice at the same time
		return e.kept(ctx, id)
	}
	return run, err
}

// asked says how a run that somebody asked for begins: at once where nothing in its plan is destructive,
// as who asks has then approved it.
func (e *Engine) asked(r *Run) State {
	if r.Plan.Class == action.Destructive {
		return Waiting
	}
	r.Approvals = append(r.Approvals, Approval{r.By, e.o.Now().UTC(), r.Plan.Hash, r.Reason})
	return Running
}

// bookOf makes a playbook of one command for Picket.
func bookOf(id string, command []byte, now time.Time) (*cacao.Playbook, error) {
	step := func(kind string) string { return kind + "--" + uuidOf(id, kind) }
	stamp := cacao.Stamp(now)
	doc := map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": "playbook--" + id, "name": "A command from outside",
		"created_by": step("identity"), "created": stamp, "modified": stamp, "workflow_start": step("start"),
		"workflow": map[string]any{
			step("start"): map[string]any{"type": "start", "on_completion": step("action")},
			step("action"): map[string]any{
				"type": "action", "name": "Carry it out", "agent": step("security-category"), "on_completion": step("end"),
				"commands": []any{map[string]any{
					"type": "openc2-http", "command": "POST /.well-known/openc2 HTTP/1.1", "content": string(command),
					"headers": map[string]any{"Content-Type": []string{"application/openc2+json;version=1.0"}},
				}},
			},
			step("end"): map[string]any{"type": "end"},
		},
		"agent_definitions": map[string]any{step("security-category"): map[string]any{
			"type": "security-category", "name": "Picket", "category": []string{"endpoint"},
		}},
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	p, err := cacao.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if bad := p.Validate().Errors(); len(bad) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, bad)
	}
	return p, nil
}

// uuidOf is a UUID of its own for what was named, in the form of version 5: CACAO knows none above it.
func uuidOf(parts ...string) string {
	all := make([][]byte, len(parts))
	for i, p := range parts {
		all[i] = []byte(p)
	}
	b := sha256.Sum256([]byte(sum(all...)))
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
