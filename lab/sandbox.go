package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The addresses of the server and of the attacker who calls it. All are reserved for documentation
// (RFC 5737), so that a mistake could reach nobody.
const (
	serverAddr   = "192.0.2.10:8080"
	attackerAddr = "198.51.100.23"
)

const dirPrefix = "picket-lab-"

// sandbox is one running container with the internet it believes in.
type sandbox struct {
	id     string // container id, and name of its directory
	dir    string // a tmpfs: image, overlay, runtime state
	root   string // the container's root file system: an overlay, so that a file written inside is drift
	runc   string
	pose   pose
	python string     // the interpreter, "" for none
	lent   []ociMount // what belongs to it
	log    *slog.Logger
	net    *network
	web    *exec.Cmd // the internet
	client *http.Client
	undo   []undoStep

	mu      sync.Mutex
	seen    []outside // what arrived at the internet
	webEnd  chan struct{}
	traces  chan []byte   // that arrived
	handed  chan struct{} // closed when all were handed over
	handErr error         // behind handed
}

type undoStep struct {
	name string
	do   func() error
}

// outside is one thing that arrived at an address outside the container.
type outside struct {
	Kind   string    `json:"kind"` // received or login
	Host   string    `json:"host"`
	Port   int       `json:"port"`
	Path   string    `json:"path,omitempty"`
	Bytes  int64     `json:"bytes,omitempty"`
	Time   time.Time `json:"time"`
	Traces []byte    `json:"traces,omitempty"` // as they were sent
}

// start makes and starts the sandbox. When it fails nothing is left.
func start(ctx context.Context, opts *Options, host hostParts) (box *sandbox, err error) {
	id := dirPrefix + strconv.FormatUint(opts.Seed, 10)
	s := &sandbox{id: id, dir: filepath.Join(os.TempDir(), id), runc: host.runc, log: opts.Log, webEnd: make(chan struct{}), traces: make(chan []byte, tracesWait), handed: make(chan struct{})}
	s.root = filepath.Join(s.dir, "root")
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.pose, err = poseOf(opts.Scenario.Sandbox.Server); err != nil {
		return nil, err
	}
	if slices.Contains(opts.Scenario.Sandbox.Assets, python) {
		if s.python, s.lent, err = lendPython(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.mountRoot(host, opts.Seed, opts.Scenario.Sandbox.Assets); err != nil {
		return nil, err
	}
	if err := s.startInternet(opts.Binary, opts.Traces); err != nil {
		return nil, err
	}
	if err := s.startContainer(ctx, opts.Binary); err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return s.net.dial(ctx, attackerAddr, addr)
		},
	}}
	s.push("connections to the server", func() error { s.client.CloseIdleConnections(); return nil })
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sandbox) push(name string, do func() error) { s.undo = append(s.undo, undoStep{name, do}) }

// mountRoot builds the image and lays an overlay over it.
func (s *sandbox) mountRoot(host hostParts, seed uint64, assets []string) error {
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the sandbox directory: %w (another lab with the same seed is running, or was killed: remove it)", err)
	}
	s.push("directory", func() error { return os.Remove(s.dir) })
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", unix.MS_NODEV, "mode=0755,size=768m"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", s.dir, err)
	}
	s.push("tmpfs", func() error { return unmount(s.dir) })
	if err := os.WriteFile(filepath.Join(s.dir, "owner"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("note the owner: %w", err)
	}
	image := filepath.Join(s.dir, "image")
	if err := makeImage(image, host.busybox, seed, s.pose, assets); err != nil {
		return err
	}
	if err := nameInterpreter(image, s.python); err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	upper, work := filepath.Join(s.dir, "upper"), filepath.Join(s.dir, "work")
	for _, d := range []string{upper, work, s.root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("make the sandbox directory: %w", err)
		}
	}
	how := "lowerdir=" + image + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", s.root, "overlay", 0, how); err != nil {
		return fmt.Errorf("mount the container's root: %w (does this kernel have overlayfs?)", err)
	}
	s.push("root file system", func() error { return unmount(s.root) })
	return nil
}

func unmount(dir string) error {
	err := unix.Unmount(dir, 0)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(dir, unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// startInternet starts the process that answers for every address but the server's.
// It dies with this process, however that ends.
func (s *sandbox) startInternet(binary string, traces Traces) error {
	s.web = exec.Command(binary, "internet")
	s.web.Env = []string{RoleEnv + "=" + roleInternet}
	s.web.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := s.web.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the internet: %w", err)
	}
	var stderr bytes.Buffer
	s.web.Stderr = &stderr
	if s.net, err = newNetwork(s.web.Start); err != nil {
		return fmt.Errorf("start the internet: %w", err)
	}
	s.push("network", s.net.close)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 2*tracesBytes)
	ok := lines.Scan() // the first line says that it listens
	go s.read(lines)
	go s.handOver(traces)
	s.push("internet", func() error {
		_ = s.web.Process.Kill() // it may have ended already
		<-s.webEnd
		_ = s.web.Wait() // killed: its status says nothing
		<-s.handed
		return s.handErr
	})
	if !ok {
		return fmt.Errorf("the internet did not start: %s", strings.TrimSpace(stderr.String()))
	}
	return nil
}

func (s *sandbox) read(lines *bufio.Scanner) {
	defer close(s.webEnd)
	defer close(s.traces)
	for lines.Scan() {
		var o outside
		if json.Unmarshal(lines.Bytes(), &o) == nil {
			if o.Traces != nil {
				s.traces <- o.Traces
				o.Traces = nil
			}
			s.mu.Lock()
			s.seen = append(s.seen, o)
			s.mu.Unlock()
		}
	}
}

// arrived returns what reached the internet so far.
func (s *sandbox) arrived() []outside {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]outside(nil), s.seen...)
}

func (s *sandbox) startContainer(ctx context.Context, binary string) error {
	if err := writeJSON(filepath.Join(s.dir, "config.json"), s.spec(binary)); err != nil {
		return fmt.Errorf("write the container's configuration: %w", err)
	}
	logName := filepath.Join(s.dir, "server.log")
	out, err := os.Create(logName)
	if err != nil {
		return fmt.Errorf("make the server's log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the container writes to its own copy
	cmd := exec.CommandContext(ctx, s.runc, "--root", s.state(), "run", "--detach", "--pid-file", s.pidFile(), "--bundle", s.dir, s.id)
	cmd.SysProcAttr = ownGroup()
	cmd.Stdout, cmd.Stderr = out, out // files, not pipes: the container keeps them open
	s.push("container", s.deleteContainer)
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(logName)
		return fmt.Errorf("runc run: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// ownGroup keeps Ctrl-C, which the terminal sends to every process of a group, from ending a
// program in the middle of its work: stopping is ours to order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func (s *sandbox) pidFile() string { return filepath.Join(s.dir, "pid") }

// inside opens the container's file system as its processes see it. Links that lead out are refused.
func (s *sandbox) inside() (*os.Root, error) {
	pid, err := os.ReadFile(s.pidFile())
	if err != nil {
		return nil, fmt.Errorf("look into the container: %w", err)
	}
	return os.OpenRoot("/proc/" + strings.TrimSpace(string(pid)) + "/root")
}

func (s *sandbox) state() string { return filepath.Join(s.dir, "state") }

// deleteContainer kills what runs in the container and removes its cgroups.
func (s *sandbox) deleteContainer() error { return deleteContainer(s.runc, s.state(), s.id) }

func deleteContainer(runc, state, id string) error {
	if _, err := os.Stat(filepath.Join(state, id)); err != nil {
		return nil // it was never made
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, runc, "--root", state, "delete", "--force", id)
	cmd.SysProcAttr = ownGroup()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("runc delete: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// ready waits until the server answers.
func (s *sandbox) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := s.health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
			return fmt.Errorf("the inference server did not come up: %w: %s", err, strings.TrimSpace(string(said)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *sandbox) health(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+serverAddr+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// exec makes the server run a command, through the hole it has.
func (s *sandbox) exec(ctx context.Context, command string) (execReply, error) {
	var reply execReply
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+serverAddr+"/exec", strings.NewReader(command))
	if err != nil {
		return reply, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return reply, fmt.Errorf("call the server: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return reply, fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return reply, fmt.Errorf("the server answered %s: %s", resp.Status, bytes.TrimSpace(body))
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return reply, fmt.Errorf("read the server's answer: %w", err)
	}
	return reply, nil
}

// stop takes everything down, last made first, and reports what it could not remove.
func (s *sandbox) stop() error {
	var errs []error
	for _, u := range slices.Backward(s.undo) {
		if err := u.do(); err != nil {
			errs = append(errs, fmt.Errorf("clean up %s: %w", u.name, err))
		}
	}
	s.undo = nil
	return errors.Join(errs...)
}
