package api

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picket/respond"
)

func (s *Server) runRoutes(api huma.API) {
	change := func(path, id, summary string) huma.Operation {
		o := op("POST", path, id, summary)
		o.Errors = append(o.Errors, 409)
		return o
	}
	huma.Register(api, op("GET", "/api/v1/runs", "run-list", "List runs of playbooks, the latest first"), s.listRuns)
	huma.Register(api, op("GET", "/api/v1/runs/{id}", "run-get", "Read a run"), s.getRun)
	huma.Register(api, op("GET", "/api/v1/runs/{id}/records", "run-records", "Read what happened to a run, from its start"), s.runRecords)
	huma.Register(api, change("/api/v1/runs", "run-request", "Ask for a run of a playbook"), s.requestRun)
	huma.Register(api, change("/api/v1/runs/{id}/edit", "run-edit", "Choose which targets of a plan that waits are left out; it gets another hash"), s.editRun)
	huma.Register(api, change("/api/v1/runs/{id}/approve", "run-approve", "Approve the plan with a hash"), s.approveRun)
	huma.Register(api, change("/api/v1/runs/{id}/reject", "run-reject", "Reject a plan, or end a run"), s.rejectRun)
	huma.Register(api, change("/api/v1/runs/{id}/answer", "run-answer", "Answer a question of a run"), s.answerRun)
	huma.Register(api, change("/api/v1/runs/{id}/undo", "run-undo", "Take back what a run did"), s.undoRun)
	huma.Register(api, change("/api/v1/runs/{id}/extend", "run-extend", "Let an act that holds hold for a time from now"), s.extendRun)
	huma.Register(api, op("GET", "/api/v1/respond", "respond-get", "Say whether acts are stopped"), s.getRespond)
	huma.Register(api, op("PUT", "/api/v1/respond", "respond-stop", "Stop all acts of all runs, or let them go on"), s.stopRuns)
}

type runOut struct{ Body respond.Run }

type runPath struct {
	ID string `path:"id" maxLength:"100"`
}

func (s *Server) listRuns(ctx context.Context, in *struct {
	Incident string `query:"incident" maxLength:"100"`
	Open     bool   `query:"open" doc:"Only those that go on, wait or hold something: all of them"`
	Limit    int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
},
) (*listOut[respond.Run], error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "listing runs", err)
	}
	list, err := r.Runs(ctx, respond.Query{Incident: in.Incident, Open: in.Open, Limit: in.Limit})
	if err != nil {
		return nil, s.failRun(ctx, "listing runs", err)
	}
	out := &listOut[respond.Run]{}
	out.Body.Items = all(list)
	return out, nil
}

func (s *Server) getRun(ctx context.Context, in *runPath) (*runOut, error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "reading run "+in.ID, err)
	}
	run, err := r.Get(ctx, in.ID)
	if err != nil {
		return nil, s.failRun(ctx, "reading run "+in.ID, err)
	}
	return &runOut{run}, nil
}

func (s *Server) runRecords(ctx context.Context, in *runPath) (*listOut[respond.Record], error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "reading run "+in.ID, err)
	}
	if _, err := r.Get(ctx, in.ID); err != nil {
		return nil, s.failRun(ctx, "reading run "+in.ID, err)
	}
	list, err := r.Records(ctx, in.ID)
	if err != nil {
		return nil, s.failRun(ctx, "reading run "+in.ID, err)
	}
	out := &listOut[respond.Record]{}
	out.Body.Items = all(list)
	return out, nil
}

// change does something to a run on the caller's behalf and writes it into the audit log.
func (s *Server) change(ctx context.Context, what, id string, f func(r Runs, by string) (respond.Run, error)) (*runOut, error) {
	r, err := s.runs()
	var run respond.Run
	if err == nil {
		run, err = f(r, caller(ctx).name)
	}
	entry := AuditEntry{What: what, Object: id, OK: err == nil}
	switch {
	case err != nil:
		entry.Detail = err.Error()
	default:
		entry.Object = run.ID
		entry.Detail = fmt.Sprintf("%s: plan %s of %s for incident %s", run.State, run.Plan.Hash, run.Plan.Name, run.Incident)
	}
	s.audit(ctx, entry)
	if err != nil {
		return nil, s.failRun(ctx, what+" "+id, err)
	}
	return &runOut{run}, nil
}

// RunRequest is the body of a request for a run.
type RunRequest struct {
	Playbook string            `json:"playbook" maxLength:"200"`
	Incident string            `json:"incident" maxLength:"100"`
	Values   map[string]string `json:"values,omitempty" doc:"For the playbook's variables, by name"`
	LeaveOut []string          `json:"leave_out,omitempty" maxItems:"500" doc:"Acts that are not to be done, by their ids in the plan"`
	Reason   string            `json:"reason,omitempty" maxLength:"1000"`
	Hash     string            `json:"hash,omitempty" maxLength:"64" doc:"Of the plan that you saw; if it is another now, the answer is 409"`
}

func (s *Server) requestRun(ctx context.Context, in *struct{ Body RunRequest }) (*runOut, error) {
	b := in.Body
	return s.change(ctx, "run.request", b.Playbook, func(r Runs, by string) (respond.Run, error) {
		return r.Request(ctx, respond.Request{Playbook: b.Playbook, Incident: b.Incident, Given: b.Values, LeaveOut: b.LeaveOut, By: by, Reason: b.Reason, Hash: b.Hash})
	})
}

// RunEdit is the body of a request to choose the targets of a plan that waits.
type RunEdit struct {
	Hash     string   `json:"hash" maxLength:"64" doc:"Of the plan that you saw"`
	LeaveOut []string `json:"leave_out" maxItems:"500" doc:"Acts that are not to be done, by their ids; all others are"`
	Reason   string   `json:"reason,omitempty" maxLength:"1000"`
}

func (s *Server) editRun(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body RunEdit
},
) (*runOut, error) {
	return s.change(ctx, "run.edit", in.ID, func(r Runs, by string) (respond.Run, error) {
		return r.Edit(ctx, in.ID, by, in.Body.Hash, in.Body.LeaveOut, in.Body.Reason)
	})
}

func (s *Server) approveRun(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Hash   string `json:"hash" maxLength:"64" doc:"Of the plan that you saw"`
		Reason string `json:"reason,omitempty" maxLength:"1000"`
	}
},
) (*runOut, error) {
	return s.change(ctx, "run.approve", in.ID, func(r Runs, by string) (respond.Run, error) {
		return r.Approve(ctx, in.ID, by, in.Body.Hash, in.Body.Reason)
	})
}

func (s *Server) rejectRun(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body struct {
		Reason string `json:"reason" maxLength:"1000"`
	}
},
) (*runOut, error) {
	return s.change(ctx, "run.reject", in.ID, func(r Runs, by string) (respond.Run, error) { return r.Reject(ctx, in.ID, by, in.Body.Reason) })
}

// RunAnswer is the body of an answer to a question.
type RunAnswer struct {
	Task   string            `json:"task,omitempty" maxLength:"1000" doc:"Of the question; may be left out where there is only one"`
	Yes    bool              `json:"yes"`
	Text   string            `json:"text,omitempty" maxLength:"1000"`
	Values map[string]string `json:"values,omitempty" doc:"For the variables that the question names"`
}

func (s *Server) answerRun(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body RunAnswer
},
) (*runOut, error) {
	return s.change(ctx, "run.answer", in.ID, func(r Runs, by string) (respond.Run, error) {
		return r.Answer(ctx, in.ID, by, respond.Answer(in.Body))
	})
}

func (s *Server) undoRun(ctx context.Context, in *runPath) (*runOut, error) {
	return s.change(ctx, "run.undo", in.ID, func(r Runs, by string) (respond.Run, error) { return r.Undo(ctx, in.ID, by) })
}

// RunExtend is the body of a request to let an act hold for longer.
type RunExtend struct {
	Act string        `json:"act" maxLength:"128" doc:"The id of its request, as holds have it"`
	TTL time.Duration `json:"ttl" minimum:"1" doc:"Nanoseconds from now, seven days at most"`
}

func (s *Server) extendRun(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"100"`
	Body RunExtend
},
) (*runOut, error) {
	return s.change(ctx, "run.extend", in.ID, func(r Runs, by string) (respond.Run, error) {
		return r.Extend(ctx, in.ID, by, in.Body.Act, in.Body.TTL)
	})
}

// RespondStatus says whether acts are stopped.
type RespondStatus struct {
	Stopped string `json:"stopped,omitempty" doc:"Who stopped all acts"`
}

func (s *Server) getRespond(ctx context.Context, _ *struct{}) (*struct{ Body RespondStatus }, error) {
	r, err := s.runs()
	if err != nil {
		return nil, s.failRun(ctx, "reading whether acts are stopped", err)
	}
	return &struct{ Body RespondStatus }{RespondStatus{r.Stopped()}}, nil
}

func (s *Server) stopRuns(ctx context.Context, in *struct {
	Body struct {
		Stop bool `json:"stop"`
	}
},
) (*struct{ Body RespondStatus }, error) {
	r, err := s.runs()
	if err == nil {
		err = r.SetStopped(ctx, caller(ctx).name, in.Body.Stop)
	}
	s.audit(ctx, AuditEntry{What: "respond.stop", Object: fmt.Sprint(in.Body.Stop), OK: err == nil})
	if err != nil {
		return nil, s.failRun(ctx, "stopping acts", err)
	}
	now := RespondStatus{r.Stopped()}
	s.publish(MessageRespond, now)
	return &struct{ Body RespondStatus }{now}, nil
}
