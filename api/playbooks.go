package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picket/respond"
)

// Runs plans and runs playbooks; [respond.Engine] does.
type Runs interface {
	Books() []*respond.Book
	Plan(ctx context.Context, playbook, incident string, given map[string]string, leave []string) (*respond.Plan, error)
	Simulate(ctx context.Context, playbook string, incidents []string) (*respond.Simulation, error)
	Request(ctx context.Context, q respond.Request) (respond.Run, error)
	Order(ctx context.Context, o respond.Order) (respond.Run, error)
	Edit(ctx context.Context, id, by, hash string, leave []string, reason string) (respond.Run, error)
	Approve(ctx context.Context, id, by, hash, reason string) (respond.Run, error)
	Reject(ctx context.Context, id, by, reason string) (respond.Run, error)
	Answer(ctx context.Context, id, by string, a respond.Answer) (respond.Run, error)
	Undo(ctx context.Context, id, by string) (respond.Run, error)
	Extend(ctx context.Context, id, by, act string, ttl time.Duration) (respond.Run, error)
	Get(ctx context.Context, id string) (respond.Run, error)
	Runs(ctx context.Context, q respond.Query) ([]respond.Run, error)
	Records(ctx context.Context, id string) ([]respond.Record, error)
	Stopped() string
	SetStopped(ctx context.Context, by string, stop bool) error
}

func (s *Server) playbookRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/playbooks", "playbook-list", "List the playbooks that may be run"), s.listPlaybooks)
	huma.Register(api, op("GET", "/api/v1/playbooks/{name}", "playbook-get", "Read a playbook and its runbook"), s.getPlaybook)
	huma.Register(api, op("POST", "/api/v1/playbooks/{name}/plan", "playbook-plan", "Say what a playbook would do about an incident; nothing is done"), s.planPlaybook)
	huma.Register(api, op("POST", "/api/v1/playbooks/{name}/simulate", "playbook-simulate", "Say what a playbook would have done about past incidents; nothing is done"), s.simulatePlaybook)
}

// runs returns the engine, or why there is none.
func (s *Server) runs() (Runs, error) {
	if s.deps.Runs == nil {
		return nil, fmt.Errorf("this server runs no playbooks: %w", ErrAway)
	}
	return s.deps.Runs, nil
}

// failRun is fail for errors of respond.
func (s *Server) failRun(ctx context.Context, tried string, err error) error {
	for of, is := range map[error]error{respond.ErrNotFound: ErrNotFound, respond.ErrConflict: ErrConflict, respond.ErrInvalid: ErrInvalid, respond.ErrFenced: ErrAway} {
		if errors.Is(err, of) {
			return s.fail(ctx, tried, kindOf{err, is})
		}
	}
	return s.fail(ctx, tried, err)
}

// kindOf is an error of respond as one of the API's, in the words of the first.
type kindOf struct { //nolint:errname // it says what another error is
	error
	is error
}

func (e kindOf) Unwrap() []error { return []error{e.error, e.is} }

// PlaybookInfo is a playbook in a list.
type PlaybookInfo struct {
	Name        string   `json:"name" doc:"How it is called in commands and configuration"`
	ID          string   `json:"id"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Version     string   `json:"version"`
	Hash        string   `json:"hash" doc:"SHA-256 of its canonical form"`
	Activities  []string `json:"activities"`
}

func playbookInfo(b *respond.Book) PlaybookInfo {
	return PlaybookInfo{b.Word, b.ID, b.Name, b.Description, string(b.Modified), b.Hash, all(b.Activities)}
}

func (s *Server) listPlaybooks(ctx context.Context, _ *struct{}) (*listOut[PlaybookInfo], error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "listing playbooks", err)
	}
	out := &listOut[PlaybookInfo]{}
	out.Body.Items = []PlaybookInfo{}
	for _, b := range r.Books() {
		out.Body.Items = append(out.Body.Items, playbookInfo(b))
	}
	return out, nil
}

// PlaybookWhole is a playbook with all that belongs to it.
type PlaybookWhole struct {
	PlaybookInfo
	Runbook string          `json:"runbook,omitempty" doc:"What a person does, in Markdown"`
	Body    json.RawMessage `json:"body" doc:"The playbook itself, in CACAO 2.0"`
}

func (s *Server) getPlaybook(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"200"`
},
) (*struct{ Body PlaybookWhole }, error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "reading playbook "+in.Name, err)
	}
	for _, b := range r.Books() {
		if b.Word == in.Name || b.ID == in.Name {
			body, err := json.Marshal(b.Playbook)
			if err != nil {
				return nil, s.fail(ctx, "reading playbook "+in.Name, err)
			}
			return &struct{ Body PlaybookWhole }{PlaybookWhole{playbookInfo(b), b.Runbook, body}}, nil
		}
	}
	return nil, s.fail(ctx, "reading playbook "+in.Name, ErrNotFound)
}

// PlanQuery is the body of a request for a plan.
type PlanQuery struct {
	Incident string            `json:"incident" maxLength:"100"`
	Values   map[string]string `json:"values,omitempty" doc:"For the playbook's variables, by name"`
	LeaveOut []string          `json:"leave_out,omitempty" maxItems:"500" doc:"Acts that are not to be done, by their ids"`
}

func (s *Server) planPlaybook(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"200"`
	Body PlanQuery
},
) (*struct{ Body *respond.Plan }, error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "planning "+in.Name, err)
	}
	p, err := r.Plan(ctx, in.Name, in.Body.Incident, in.Body.Values, in.Body.LeaveOut)
	if err != nil {
		return nil, s.failRun(ctx, "planning "+in.Name, err)
	}
	return &struct{ Body *respond.Plan }{p}, nil
}

// SimulateQuery says over which incidents a playbook is simulated.
type SimulateQuery struct {
	Incidents []string `json:"incidents" maxItems:"500" doc:"Their ids"`
}

func (s *Server) simulatePlaybook(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"200"`
	Body SimulateQuery
},
) (*struct{ Body *respond.Simulation }, error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "simulating "+in.Name, err)
	}
	sim, err := r.Simulate(ctx, in.Name, in.Body.Incidents)
	if err != nil {
		return nil, s.failRun(ctx, "simulating "+in.Name, err)
	}
	return &struct{ Body *respond.Simulation }{sim}, nil
}
