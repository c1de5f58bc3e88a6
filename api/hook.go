package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picket/respond"
)

// Hook lets a program outside, such as a SOAR, ask for runs by requests that it signs.
type Hook struct {
	Name   string
	Role   Role
	Secret func() (string, error) // read at each request, so that a new one counts at once
}

const (
	hookWindow = 5 * time.Minute // that a sender's clock may be off, and for how long ids are remembered
	hookIDs    = 10_000          // remembered at the same time
	hookMost   = 64 << 10
)

// hooks knows who may send, and what came already.
type hooks struct {
	list    map[string]Hook
	started time.Time // what was signed before may have been taken by an earlier run

	mu   sync.Mutex
	seen map[string]int64 // by hook and id, the latest timestamp
}

func newHooks(list []Hook, now time.Time) *hooks {
	h := &hooks{list: map[string]Hook{}, started: now, seen: map[string]int64{}}
	for _, one := range list {
		h.list[one.Name] = one
	}
	return h
}

var hookID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// errSigned is all that a sender without the secret is told.
var errSigned = errors.New("the request is not signed, signed by another, too old, or came before")

// errHooksFull says that more came within the window than is remembered.
var errHooksFull = errors.New("too many requests within five minutes")

// admit says whose a request is. A signature is the HMAC-SHA256 of id, timestamp and body, and counts
// once: the same id may come again, signed anew at a later second, as by one who had no answer.
func (h *hooks) admit(name string, r *http.Request, body []byte, now time.Time) (Hook, string, error) {
	hook, known := h.list[name]
	secret := ""
	if known {
		var err error
		if secret, err = hook.Secret(); err != nil {
			return hook, "", err
		}
	}
	id, at := r.Header.Get("X-Picket-Id"), r.Header.Get("X-Picket-Timestamp")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	good := hmac.Equal([]byte("sha256="+hex.EncodeToString(mac.Sum(nil))), []byte(r.Header.Get("X-Picket-Signature")))
	sec, err := strconv.ParseInt(at, 10, 64)
	signed := time.Unix(sec, 0)
	switch {
	case !known, secret == "", !good, err != nil, !hookID.MatchString(id):
		return hook, "", errSigned
	case signed.Before(now.Add(-hookWindow)), signed.After(now.Add(hookWindow)), !signed.After(h.started):
		return hook, "", errSigned
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := name + " " + id
	if last, ok := h.seen[key]; ok && sec <= last {
		return hook, "", errSigned
	}
	if len(h.seen) >= hookIDs {
		for k, last := range h.seen { // by now too old to be taken anyway
			if time.Unix(last, 0).Before(now.Add(-hookWindow)) {
				delete(h.seen, k)
			}
		}
	}
	if len(h.seen) >= hookIDs {
		return hook, "", errHooksFull
	}
	h.seen[key] = sec
	return hook, id, nil
}

// HookRequest is what a program outside asks for.
type HookRequest struct {
	Do       string            `json:"do" enum:"plan,start,approve,reject,undo,follow"`
	Playbook string            `json:"playbook,omitempty"`
	Incident string            `json:"incident,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
	Run      string            `json:"run,omitempty"`
	Hash     string            `json:"hash,omitempty"`
	Reason   string            `json:"reason,omitempty"`
}

// hook takes a signed request.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, hookMost+1))
	if err != nil || len(body) > hookMost {
		problem(w, http.StatusRequestEntityTooLarge, "a request of a hook has at most 64 KiB")
		return
	}
	hook, id, err := s.hooks.admit(r.PathValue("name"), r, body, s.opt.Now())
	switch {
	case errors.Is(err, errSigned):
		s.log.Info("a request of a hook was refused", "hook", hook.Name, "from", remote(r.Context()))
		problem(w, http.StatusUnauthorized, err.Error())
		return
	case errors.Is(err, errHooksFull):
		problem(w, http.StatusTooManyRequests, err.Error())
		return
	case err != nil:
		s.log.Error("the secret of a hook cannot be read", "hook", hook.Name, "err", err)
		problem(w, http.StatusServiceUnavailable, "the hook's secret cannot be read now; the server's log says why")
		return
	}
	ctx := context.WithValue(r.Context(), principalKey{}, principal{name: "hook:" + hook.Name, role: hook.Role})
	var q HookRequest
	if err := json.Unmarshal(body, &q); err != nil {
		problem(w, http.StatusBadRequest, "the body is no request of a hook: "+err.Error())
		return
	}
	if need := map[bool]Role{true: Viewer, false: Analyst}[q.Do == "follow"]; hook.Role < need {
		problem(w, http.StatusForbidden, q.Do+" needs the role "+need.String()+"; the hook has "+hook.Role.String())
		return
	}
	out, err := s.hooked(ctx, id, q)
	if p, ok := errors.AsType[huma.StatusError](err); ok {
		problem(w, p.GetStatus(), p.Error())
		return
	}
	if err != nil {
		s.log.Error("a request of a hook failed", "hook", hook.Name, "err", err)
		problem(w, http.StatusInternalServerError, "it failed; the server's log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = encode(w, out)
}

// hooked does what a hook asks for, on its behalf.
func (s *Server) hooked(ctx context.Context, id string, q HookRequest) (any, error) {
	run := func(what, object string, f func(r Runs, by string) (respond.Run, error)) (any, error) {
		out, err := s.change(ctx, what, object, f)
		if err != nil {
			return nil, err
		}
		return out.Body, nil
	}
	switch q.Do {
	case "plan":
		r, err := s.runs()
		if err != nil {
			return nil, s.failRun(ctx, "planning", err)
		}
		p, err := r.Plan(ctx, q.Playbook, q.Incident, q.Values, nil)
		if err != nil {
			return nil, s.failRun(ctx, "planning "+q.Playbook, err)
		}
		return p, nil
	case "start":
		return run("run.request", q.Playbook, func(r Runs, by string) (respond.Run, error) {
			return r.Request(ctx, respond.Request{ID: id, Playbook: q.Playbook, Incident: q.Incident, Given: q.Values, By: by, Reason: q.Reason, Hash: q.Hash})
		})
	case "approve":
		return run("run.approve", q.Run, func(r Runs, by string) (respond.Run, error) { return r.Approve(ctx, q.Run, by, q.Hash, q.Reason) })
	case "reject":
		return run("run.reject", q.Run, func(r Runs, by string) (respond.Run, error) { return r.Reject(ctx, q.Run, by, q.Reason) })
	case "undo":
		return run("run.undo", q.Run, func(r Runs, by string) (respond.Run, error) { return r.Undo(ctx, q.Run, by) })
	case "follow":
		out, err := s.getRun(ctx, &runPath{ID: q.Run})
		if err != nil {
			return nil, err
		}
		return out.Body, nil
	}
	return nil, huma.Error400BadRequest("do: want plan, start, approve, reject, undo or follow")
}
