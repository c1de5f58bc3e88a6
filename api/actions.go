package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picket/respond/action"
)

// Actions leads to the executors of hosts. A host whose agent is not connected is ErrAway.
type Actions interface {
	Ask(ctx context.Context, host string, c action.Command) (action.Answer, error)
}

// ServerHost stands for the server itself where a host is asked for: no host is called so. Acts on
// Kubernetes are its own, and their targets name no host.
const ServerHost = "@server"

// hostOf returns the host that carries a request out.
func hostOf(r *action.Request) string {
	if r.Target.Host == "" && action.OfServer(r.Kind) {
		return ServerHost
	}
	return r.Target.Host
}

const (
	actTime  = 45 * time.Second // below what HTTPServer lets an answer take
	listTime = 5 * time.Second
)

func (s *Server) actionRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/actions", "action-list", "List the acts of hosts, the latest first"), s.listActions)
	huma.Register(api, op("GET", "/api/v1/actions/{id}", "action-get", "Read an act of a host"), s.getAction)
	huma.Register(api, op("POST", "/api/v1/actions/plan", "action-plan", "Say what an act would do, and do nothing"), s.planAction)
	do := op("POST", "/api/v1/actions", "action-do", "Act on a host. The same id is done once")
	do.Description += " What cannot be taken back needs admin."
	huma.Register(api, do, s.doAction)
	huma.Register(api, op("POST", "/api/v1/actions/{id}/undo", "action-undo", "Take an act back"), s.undoAction)
	huma.Register(api, op("POST", "/api/v1/actions/{id}/extend", "action-extend", "Let an act that is held hold for a time from now"), s.extendAction)
	huma.Register(api, op("POST", "/api/v1/actions/{id}/answer", "action-answer", "Say whether an act holds that nobody could tell of"), s.answerAction)
	huma.Register(api, op("POST", "/api/v1/actions/stop", "action-stop", "Refuse all acts on a host; what is held goes on"), s.stopActions)
	huma.Register(api, op("POST", "/api/v1/actions/resume", "action-resume", "Let acts be carried out on a host again, those too that were disarmed"), s.resumeActions)
}

// HostRecord is an act and the host that it was carried out on.
type HostRecord struct {
	Host string `json:"host"`
	action.Record
}

// ActionList is acts of hosts. Away names the hosts that did not say theirs, and why; Stopped those
// on which all acts, or some, are stopped.
type ActionList struct {
	Items   []HostRecord      `json:"items"`
	Away    map[string]string `json:"away"`
	Stopped map[string]string `json:"stopped"`
}

func (s *Server) listActions(ctx context.Context, in *struct {
	Host  string `query:"host" maxLength:"200" doc:"Only of this host; otherwise of all that report"`
	Limit int    `query:"limit" default:"50" minimum:"1" maximum:"200"`
},
) (*struct{ Body ActionList }, error) {
	hosts := []string{in.Host}
	if in.Host == "" {
		agents, err := s.deps.Fleet.Agents(ctx)
		if err != nil {
			return nil, s.fail(ctx, "listing acts", err)
		}
		hosts = []string{ServerHost}
		for _, a := range agents {
			if a.Status == AgentOK {
				hosts = append(hosts, a.Host)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	out := ActionList{Items: []HostRecord{}, Away: map[string]string{}, Stopped: map[string]string{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	room := make(chan struct{}, 32)
	for _, h := range hosts {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			a, err := s.deps.Actions.Ask(ctx, h, action.Command{Op: action.OpList, Limit: in.Limit})
			if err == nil {
				err = a.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Away[h] = err.Error()
			}
			if a.Stopped != "" {
				out.Stopped[h] = a.Stopped
			}
			for _, r := range a.Records {
				out.Items = append(out.Items, HostRecord{h, r})
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); in.Host != "" && len(out.Away) > 0 {
		return nil, s.fail(ctx, "listing acts", fmt.Errorf("%w: %s", errors.Join(ErrAway, err), out.Away[in.Host]))
	}
	slices.SortFunc(out.Items, func(a, b HostRecord) int { return b.Begun.Compare(a.Begun) })
	out.Items = out.Items[:min(len(out.Items), in.Limit)]
	return &struct{ Body ActionList }{out}, nil
}

// ActOn names an act of a host.
type ActOn struct {
	ID   string `path:"id" maxLength:"128"`
	Host string `query:"host" required:"true" maxLength:"200" doc:"The host of the act"`
}

func (s *Server) getAction(ctx context.Context, in *ActOn) (*struct{ Body HostRecord }, error) {
	a, err := s.ask(ctx, in.Host, action.Command{Op: action.OpShow, ID: in.ID})
	if err == nil && len(a.Records) != 1 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, s.fail(ctx, "reading act "+in.ID, err)
	}
	return &struct{ Body HostRecord }{HostRecord{in.Host, a.Records[0]}}, nil
}

// ActionRequest is what a person asks for. Who asks is whoever is signed in.
type ActionRequest struct {
	ID       string            `json:"id" maxLength:"128" doc:"Of your choice; the same is done once"`
	Kind     action.Kind       `json:"kind" doc:"freeze, kill, isolate, cut…"`
	Target   action.Target     `json:"target" doc:"On which host, and a process, a cgroup, a container, a file, or an object of Slurm; or an object of Kubernetes, without a host"`
	Params   map[string]string `json:"params,omitempty"`
	TTL      time.Duration     `json:"ttl,omitempty" minimum:"0" doc:"Nanoseconds after which it is taken back"`
	Reason   string            `json:"reason,omitempty" maxLength:"2000"`
	Incident string            `json:"incident,omitempty" maxLength:"100" doc:"That it belongs to"`
}

func (r *ActionRequest) by(who string) *action.Request {
	return &action.Request{ID: r.ID, Kind: r.Kind, Target: r.Target, Params: r.Params, TTL: r.TTL, Reason: r.Reason, Incident: r.Incident, By: who}
}

func (s *Server) planAction(ctx context.Context, in *struct{ Body ActionRequest }) (*struct{ Body action.Plan }, error) {
	r := in.Body.by(caller(ctx).name)
	a, err := s.ask(ctx, hostOf(r), action.Command{Op: action.OpPlan, Request: r})
	if err == nil && a.Plan == nil {
		err = errors.New("the agent's answer holds no plan")
	}
	if err != nil {
		return nil, s.fail(ctx, "planning to "+string(r.Kind), err)
	}
	a.Plan.Effects, a.Plan.Hits = all(a.Plan.Effects), all(a.Plan.Hits)
	return &struct{ Body action.Plan }{*a.Plan}, nil
}

type resultOut struct{ Body action.Result }

// forAdmins are the acts that cannot be taken back, or not what ends by them.
var forAdmins = []action.Kind{
	action.Kill, action.Cut, action.RevokeToken, action.Scale, action.Suspend, action.Evict, action.DeletePod, action.Drain,
	action.RequeueJob, action.CancelJob, action.ResetGPU,
}

func (s *Server) doAction(ctx context.Context, in *struct{ Body ActionRequest }) (*resultOut, error) {
	r := in.Body.by(caller(ctx).name)
	if who := caller(ctx); slices.Contains(forAdmins, r.Kind) && who.role < Admin {
		s.audit(ctx, AuditEntry{What: "action." + string(r.Kind), Object: hostOf(r) + " " + r.Target.String(), Detail: "refused: needs admin"})
		return nil, huma.Error403Forbidden(fmt.Sprintf("%s cannot be taken back and needs the role admin; %s is %s", r.Kind, who.name, who.role))
	}
	return s.act(ctx, string(r.Kind), hostOf(r), r.Target.String(), action.Command{Op: action.OpDo, Request: r})
}

// ActionReason is why an act is taken back, or all are stopped.
type ActionReason struct {
	Reason string `json:"reason,omitempty" maxLength:"2000"`
}

func (s *Server) undoAction(ctx context.Context, in *struct {
	ActOn
	Body ActionReason
},
) (*resultOut, error) {
	r := &action.Request{ID: in.ID, By: caller(ctx).name, Reason: in.Body.Reason}
	return s.act(ctx, "undo", in.Host, in.ID, action.Command{Op: action.OpUndo, Request: r})
}

// ActionTime is for how long an act is held from now, in nanoseconds.
type ActionTime struct {
	TTL time.Duration `json:"ttl" minimum:"1"`
}

func (s *Server) extendAction(ctx context.Context, in *struct {
	ActOn
	Body ActionTime
},
) (*resultOut, error) {
	return s.act(ctx, "extend", in.Host, in.ID, action.Command{Op: action.OpExtend, ID: in.ID, TTL: in.Body.TTL, By: caller(ctx).name})
}

// ActionAnswer is a person's word on an act whose outcome is unknown.
type ActionAnswer struct {
	Holds bool `json:"holds" doc:"It was done, and holds; else nothing of it holds"`
}

func (s *Server) answerAction(ctx context.Context, in *struct {
	ActOn
	Body ActionAnswer
},
) (*resultOut, error) {
	return s.act(ctx, "answer", in.Host, in.ID, action.Command{Op: action.OpAnswer, ID: in.ID, Holds: in.Body.Holds, By: caller(ctx).name})
}

// HostOf names a host.
type HostOf struct {
	Host string `query:"host" required:"true" maxLength:"200" doc:"The host"`
}

func (s *Server) stopActions(ctx context.Context, in *struct {
	HostOf
	Body ActionReason
},
) (*struct{}, error) {
	_, err := s.act(ctx, "stop", in.Host, "", action.Command{Op: action.OpStop, By: caller(ctx).name, Reason: in.Body.Reason})
	return nil, err
}

func (s *Server) resumeActions(ctx context.Context, in *struct{ HostOf }) (*struct{}, error) {
	_, err := s.act(ctx, "resume", in.Host, "", action.Command{Op: action.OpResume, By: caller(ctx).name})
	return nil, err
}

// act has a host do something, and puts that into the audit log whatever comes of it.
func (s *Server) act(ctx context.Context, what, host, object string, c action.Command) (*resultOut, error) {
	a, err := s.ask(ctx, host, c)
	entry := AuditEntry{What: "action." + what, Object: strings.TrimSpace(host + " " + object), OK: err == nil}
	switch {
	case err != nil:
		entry.Detail = err.Error()
	case a.Result != nil:
		entry.Detail = a.Result.ID + " " + string(a.Result.State) + ": " + a.Result.Detail
		entry.OK = a.Result.State == action.Done || a.Result.State == action.Undone
	}
	s.audit(ctx, entry)
	if err != nil {
		return nil, s.fail(ctx, what+" on "+host, err)
	}
	if a.Result == nil {
		a.Result = &action.Result{}
	}
	return &resultOut{*a.Result}, nil
}

// ask asks the agent of a host.
func (s *Server) ask(ctx context.Context, host string, c action.Command) (action.Answer, error) {
	if host == "" {
		return action.Answer{}, fmt.Errorf("%w: it does not say on which host", ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, actTime)
	defer cancel()
	a, err := s.deps.Actions.Ask(ctx, host, c)
	if err == nil {
		err = a.Err()
	}
	switch {
	case errors.Is(err, action.ErrInvalid), errors.Is(err, action.ErrGone), errors.Is(err, action.ErrProtected):
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(err, action.ErrNotFound):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: the agent of %s said nothing within %s; it may have been done: look with GET /api/v1/actions", ErrAway, host, actTime)
	}
	return a, err
}
