package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Roles in the order in which they start; they stop in the reverse order, so that what the agent
// saw last still reaches the server, and what the server holds the store.
var roles = []string{"store", "server", "agent"}

// fallbackUID is the id that server and store run as where the configured user does not exist.
// It lies in a range that neither people nor packages are given (systemd's dynamic users).
const fallbackUID = 61_942

// Child is what the supervisor knows of one program it keeps running.
type Child struct {
	PID      int       `json:"pid"` // 0: not running just now
	Started  time.Time `json:"started"`
	Restarts int       `json:"restarts"`
	LastExit string    `json:"last_exit,omitempty"`
	Addr     string    `json:"addr,omitempty"` // store: where it listens
}

// Status is the supervisor's word on its children, kept in <data>/run/status.json for the server's
// health page and for the store's client, which must know when the store was restarted.
type Status struct {
	PID      int              `json:"pid"`
	Children map[string]Child `json:"children"`
}

// ReadStatus reads what the supervisor last wrote. It fails where none runs.
func ReadStatus(c *Config) (Status, error) {
	var s Status
	b, err := os.ReadFile(filepath.Join(c.dir("run"), "status.json"))
	if err != nil {
		return s, fmt.Errorf("supervisor's status: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("supervisor's status: %w", err)
	}
	return s, nil
}

// Supervisor runs agent, server and store as children of this program and restarts what ends.
type Supervisor struct {
	cfg   *Config
	log   *slog.Logger
	uid   int
	store string // address the store listens on

	mu     sync.Mutex
	status Status
	final  bool // this is the end: nobody starts the agent again
}

// NewSupervisor prepares the data directory and takes its lock.
func NewSupervisor(cfg *Config, log *slog.Logger) (*Supervisor, func(), error) {
	s := &Supervisor{cfg: cfg, log: log, status: Status{PID: os.Getpid(), Children: map[string]Child{}}}
	s.uid = userID(cfg.User)
	if err := os.MkdirAll(cfg.Data, 0o711); err != nil { // roles pass through, and see only their own
		return nil, nil, dirError(cfg.Data, err)
	}
	if err := ownData(cfg.Data); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(checkWritable(cfg.Data), reachable(cfg.Data, s.uid)); err != nil {
		return nil, nil, err
	}
	for role, uid := range map[string]int{"agent": 0, "server": s.uid, "store": s.uid} {
		if err := makeDir(cfg.dir(role), uid); err != nil {
			return nil, nil, err
		}
	}
	if err := os.MkdirAll(cfg.dir("run"), 0o755); err != nil {
		return nil, nil, dirError(cfg.dir("run"), err)
	}
	release, err := lock(cfg.dir("run"), "run")
	if err != nil {
		return nil, nil, err
	}
	for key, addr := range map[string]string{"api.listen": cfg.API.Listen, "stream.listen": cfg.Stream.Listen} {
		if err := portFree(key, addr); err != nil {
			release()
			return nil, nil, err
		}
	}
	if s.store, err = freeAddr(); err != nil {
		release()
		return nil, nil, err
	}
	return s, release, nil
}

// reachable checks that the user of server and store may pass through the directories above dir.
func reachable(dir string, uid int) error {
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return dirError(dir, err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if mode := info.Mode().Perm(); ok && mode&0o001 == 0 && (int(st.Uid) != uid || mode&0o100 == 0) {
			return &Error{
				Err:  fmt.Errorf("data directory %s: %s is closed to the user that server and store run as (%d)", dir, up, uid),
				Hint: "choose another place with `data:` in picket.yaml or --data, or open it: chmod o+x " + up, Code: ExitHost,
			}
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

// userID returns the number of the named user, or one that no one else has.
func userID(name string) int {
	if name != "" {
		if u, err := user.Lookup(name); err == nil {
			if id, err := strconv.Atoi(u.Uid); err == nil && id > 0 {
				return id
			}
		}
	}
	return fallbackUID
}

// portFree says early and clearly that a port is taken.
func portFree(key, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return &Error{
			Err:  fmt.Errorf("%s: cannot listen on %s: %w", key, addr, err),
			Hint: "stop what uses the port, or choose another with " + key + " in picket.yaml",
			Code: ExitHost,
		}
	}
	return l.Close()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("store: no free port on loopback: %w", err)
	}
	defer l.Close() //nolint:errcheck // the number is all that was wanted
	return l.Addr().String(), nil
}

// Run starts the children and keeps them running until ctx ends; then it stops them in order and
// returns. It returns an error at once where a child says that the host cannot run it.
func (s *Supervisor) Run(ctx context.Context) error {
	dead := make(chan error, len(roles))
	stop := make([]context.CancelFunc, len(roles))
	done := make([]chan struct{}, len(roles))
	s.note("store", func(*Child) {}) // where it will be: the server may be there first
	for i, role := range roles {
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
			if err := s.keep(rctx, role); err != nil {
				dead <- err
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-dead:
	}
	s.final = err != nil || interrupted(ctx)
	for i := range slices.Backward(roles) {
		stop[i]()
		<-done[i]
	}
	_ = os.Remove(filepath.Join(s.cfg.dir("run"), "status.json")) // nothing runs: an absent file says so too
	return err
}

// keep runs one role until ctx ends. It gives up only where the role ended within its first
// seconds, never having run, with an exit code that says another try cannot help.
func (s *Supervisor) keep(ctx context.Context, role string) error {
	runtime.LockOSThread() // for good: see confine; and PR_SET_PDEATHSIG watches the thread that started the child
	if err := confine(s.userOf(role)); err != nil {
		s.log.Warn("a program starts with more privilege than it needs", "role", role, "error", err)
	}
	delay := 100 * time.Millisecond
	for first := true; ; first = false {
		began := time.Now()
		code, err := s.runOnce(ctx, role)
		if ctx.Err() != nil {
			return nil
		}
		ran := time.Since(began)
		if first && ran < 10*time.Second && code >= ExitUsage && code <= ExitRunning {
			return &Error{Err: fmt.Errorf("picket %s cannot run here: %w", role, err), Code: code}
		}
		if ran > 5*time.Second {
			delay = 100 * time.Millisecond
		}
		s.log.Warn("restarting a program that ended", "role", role, "exit", err, "after", ran.Round(time.Millisecond), "in", delay)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay + rand.N(delay/4)):
		}
		delay = min(2*delay, 10*time.Second)
	}
}

// runOnce starts a role and waits for its end. When ctx ends it asks the child to stop, and kills
// it after 20 s.
func (s *Supervisor) runOnce(ctx context.Context, role string) (code int, err error) {
	cmd, err := s.command(role)
	if err != nil {
		return ExitFailure, err
	}
	if err := cmd.Start(); err != nil {
		return ExitFailure, fmt.Errorf("starting it: %w", err)
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close() // the child has its own
	}
	s.note(role, func(c *Child) { c.PID, c.Started = cmd.Process.Pid, time.Now() })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		end := syscall.SIGTERM
		if s.final && role == "agent" {
			end = syscall.SIGINT
		}
		_ = cmd.Process.Signal(end) // gone already is as good
		select {
		case err = <-ended:
		case <-time.After(20 * time.Second):
			s.log.Error("killing a program that does not stop", "role", role)
			_ = cmd.Process.Kill()
			err = <-ended
		}
	}
	s.note(role, func(c *Child) {
		c.PID, c.LastExit = 0, cmd.ProcessState.String()
		if ctx.Err() == nil {
			c.Restarts++
		}
	})
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return cmd.ProcessState.ExitCode(), err
}

// command builds the command for a role. Server and store run as another user, without the means
// to become root again.
func (s *Supervisor) command(role string) (*exec.Cmd, error) {
	args := []string{role, "--supervised", "--data", s.cfg.Data, "--config", "fd:3"}
	if role == "store" {
		return program(s.cfg, s.userOf(role), append(args, "--listen", s.store)...)
	}
	for _, dir := range s.cfg.ruleFlags {
		args = append(args, "--rules", dir)
	}
	return program(s.cfg, s.userOf(role), args...)
}

// userOf returns the user that a role runs as.
func (s *Supervisor) userOf(role string) int {
	if role == "agent" {
		return 0
	}
	return s.uid
}

// note changes what is known of a child and publishes it.
func (s *Supervisor) note(role string, change func(*Child)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.status.Children[role]
	change(&c)
	if role == "store" {
		c.Addr = s.store
	}
	s.status.Children[role] = c
	b, err := json.Marshal(s.status)
	if err == nil {
		err = replaceFile(filepath.Join(s.cfg.dir("run"), "status.json"), b, 0o644)
	}
	if err != nil {
		s.log.Error("status could not be written", "error", err)
	}
}

// Status returns what is known of the children now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{PID: s.status.PID, Children: map[string]Child{}}
	maps.Copy(out.Children, s.status.Children)
	return out
}

// Signal sends sig to a role that runs.
func (s *Supervisor) Signal(role string, sig syscall.Signal) {
	if pid := s.Status().Children[role].PID; pid > 0 {
		_ = syscall.Kill(pid, sig) // it may have ended just now; its successor reads the files anyway
	}
}

// replaceFile writes a file in one step: a reader sees the old content or the new.
func replaceFile(name string, b []byte, mode os.FileMode) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, b, mode); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// keepFile replaces a file; what it returned for outlives the machine where sure says so.
func keepFile(name string, b []byte, sure bool) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && sure {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil || !sure {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
