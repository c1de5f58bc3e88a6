package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"picket/event"
	"picket/respond/action"
	"picket/sensor/enforce"
	"picket/sensor/kernel"
	"picket/stream"
)

const (
	maxCommand  = 64 << 10
	maxCallers  = 16               // of the agent's socket, at the same time
	callerPause = 30 * time.Second // that a caller may take to say what it wants
	actTime     = time.Minute      // that an act may take, longest
)

// actSocket is where the agent takes commands of root on its own host, also while the server is away.
func actSocket(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "action.sock") }

// acts carries out what people and playbooks want done on this host.
type acts struct {
	log   *slog.Logger
	local *action.Local
	host  *containment
	wrong error                                               // why none are carried out; nil where they are
	runs  func(context.Context, action.Command) action.Answer // of this host's own playbooks; nil: there are none
}

// recording tells what the sensor saw of a target lately, each event as JSON.
type recording func(ctx context.Context, t *action.Target, tell func(json.RawMessage)) error

// openActs makes the acts of this host. What keeps it from that stops nothing else: the agent sees and
// tells, and says why it does not act. More are acts on what others of its parts know.
func openActs(cfg *Config, log *slog.Logger, enforcer func() (*enforce.Enforcer, error), seen recording, told func(action.Request, action.Result), more ...action.Action) *acts {
	a := &acts{log: log}
	groups, err := enforce.OpenCgroups()
	if err == nil {
		groups.Ready()
		a.host = &containment{boot: bootID(), groups: groups, enforcer: enforcer}
		kinds := slurmActs(cfg, log)
		kinds = append(kinds, action.NewCheckpoint(a.host), action.NewFreeze(a.host), action.NewKill(a.host), action.NewIsolate(a.host), action.NewCut(a.host), action.NewExcludeGPU(a.host))
		a.local, err = action.Open(
			action.Options{Log: log, Dir: cfg.dir("agent"), Host: cfg.Host, BootID: a.host.boot, Told: told},
			slices.Concat(kinds, keepers(cfg, log, a.host, seen), more)...,
		)
	}
	if err != nil {
		a.wrong = fmt.Errorf("this agent carries out no acts: %w", err)
		log.Error("no acts are carried out on this host", "error", err)
	}
	return a
}

// slurmActs are the acts on Slurm, where this host has its programs.
func slurmActs(cfg *Config, log *slog.Logger) []action.Action {
	acts, err := action.NewSlurm(action.SlurmOptions{Dir: filepath.Join(cfg.dir("agent"), "slurm"), Conf: os.Getenv("SLURM_CONF")})
	if err != nil && !errors.Is(err, action.ErrNoSlurm) {
		log.Error("nothing can be done in Slurm from this host", "error", err)
	}
	return acts
}

// keepers are the acts that put something away on this host. One whose directory others may enter is
// left out, and the rest go on.
func keepers(cfg *Config, log *slog.Logger, host *containment, seen recording) (out []action.Action) {
	evidence, err := action.NewCapture(action.CaptureOptions{Dir: filepath.Join(cfg.dir("agent"), "evidence"), Redact: kernel.Redact, Events: seen})
	if err == nil {
		out = append(out, evidence)
	} else {
		log.Error("no evidence can be collected on this host", "error", err)
	}
	files, err := action.NewQuarantine(action.QuarantineOptions{
		Dirs: []string{filepath.Join(cfg.dir("agent"), "quarantine")}, Protected: []string{cfg.Data, "/etc/picket"},
		Inside: host.inside,
	})
	if err == nil {
		out = append(out, files)
	} else {
		log.Error("no file can be put into quarantine on this host", "error", err)
	}
	back, err := newRollback(cfg)
	if err == nil {
		out = append(out, back)
	} else {
		log.Error("no model can be switched back on this host", "error", err)
	}
	return out
}

func (a *acts) close() error {
	if a.wrong != nil {
		return nil
	}
	return errors.Join(a.host.groups.Close(), a.local.Close())
}

// run takes acts back in time, and answers on the socket, until ctx ends.
func (a *acts) run(ctx context.Context, l net.Listener) {
	var all sync.WaitGroup
	defer all.Wait()
	if a.wrong == nil {
		all.Go(func() { _ = a.local.Run(ctx) }) // it ends with ctx
	}
	if l == nil {
		return
	}
	context.AfterFunc(ctx, func() { _ = l.Close() }) // which ends Accept
	callers := make(chan struct{}, maxCallers)
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			a.log.Warn("a command on the socket was not taken", "error", err)
			time.Sleep(100 * time.Millisecond) // as where too many files are open
			continue
		}
		callers <- struct{}{}
		all.Go(func() {
			defer func() { <-callers }()
			a.serve(ctx, c)
		})
	}
}

// serve answers one command of root on this host.
func (a *acts) serve(ctx context.Context, c net.Conn) {
	defer c.Close() //nolint:errcheck // the caller sees what is missing
	_ = c.SetDeadline(time.Now().Add(callerPause))
	ask, err := io.ReadAll(io.LimitReader(c, maxCommand+1))
	if err != nil {
		return // it went away
	}
	_ = c.SetDeadline(time.Now().Add(actTime + callerPause))
	_, _ = c.Write(a.answer(ctx, ask)) // as above
}

// answer carries out a command that came over the socket or from the server.
func (a *acts) answer(ctx context.Context, ask []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, actTime)
	defer cancel()
	var c action.Command
	var out action.Answer
	switch err := json.Unmarshal(ask, &c); {
	case len(ask) > maxCommand:
		out.Error, out.Why = fmt.Sprintf("a command has at most %d bytes", maxCommand), "invalid"
	case err != nil:
		out.Error, out.Why = "the command is not understood: "+err.Error(), "invalid"
	case a.wrong != nil:
		out.Error = a.wrong.Error()
	case c.Op == action.OpRun || c.Op == action.OpTaken:
		if a.runs != nil {
			out = a.runs(ctx, c)
		}
	default:
		out = a.local.Answer(ctx, c)
	}
	b, err := json.Marshal(out)
	if err == nil && len(b) > stream.MaxPayload {
		b, err = json.Marshal(action.Answer{Error: "the answer is too large: ask for fewer"})
	}
	if err != nil {
		a.log.Error("an answer could not be written", "error", err)
	}
	return b
}

// startActs has acts carried out that root on this host or the server ask for. The channel it returns
// closes when none is under way any more.
func (a *agent) startActs(ctx context.Context) (<-chan struct{}, error) {
	l, err := listenPrivate(actSocket(a.cfg))
	if err != nil { // as where its path is too long; the server can ask all the same
		a.acts.log.Error("root on this host cannot ask for acts", "error", err)
		l = nil
	}
	if err := a.stream.Answer(func(ask []byte) []byte { return a.acts.answer(ctx, ask) }); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var all sync.WaitGroup
		if a.local != nil {
			all.Go(func() { a.local.run(ctx) })
		}
		a.acts.run(ctx, l)
		all.Wait()
	}()
	return ended, nil
}

// tellAct makes an event of an act that came out or ended.
func (a *agent) tellAct(r action.Request, res action.Result) {
	e := &event.Event{
		Kind: event.ActionDone, Time: res.At, Host: a.cfg.Host, Message: res.Detail,
		Action: &event.Action{ID: r.ID, Kind: string(r.Kind), State: string(res.State), Target: r.Target.String(), By: r.By, Incident: r.Incident},
	}
	if p := r.Target.Process; p != nil {
		e.Action.PID = uint32(p.PID)
	}
	a.stream.PublishEvents(append(e.AppendRecord(nil), '\n'), 1)
}

// AskAgent has the agent on this host carry out a command. It takes root, and no server.
func AskAgent(ctx context.Context, cfg *Config, c action.Command) (action.Answer, error) {
	var a action.Answer
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", actSocket(cfg))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return a, &Error{Err: errors.New("no agent runs on this data directory"), Hint: "start it with picket run, name its --data, or ask for another host with --host", Code: ExitFailure}
	case errors.Is(err, fs.ErrPermission):
		return a, &Error{Err: errors.New("acting on this host needs root"), Hint: "run it with sudo, or ask the server with --server and --host", Code: ExitHost}
	case err != nil:
		return a, fmt.Errorf("the agent's socket: %w", err)
	}
	defer conn.Close()                                      //nolint:errcheck // all was read
	defer context.AfterFunc(ctx, func() { conn.Close() })() //nolint:errcheck // as above
	b, err := json.Marshal(c)
	if err == nil {
		_, err = conn.Write(b)
	}
	if u, ok := conn.(*net.UnixConn); ok && err == nil {
		err = u.CloseWrite()
	}
	if err == nil {
		err = json.NewDecoder(conn).Decode(&a)
	}
	if err != nil {
		return a, fmt.Errorf("the agent on this host did not answer: %w", errors.Join(ctx.Err(), err))
	}
	return a, nil
}
