// Package rig starts and stops Picket for the benchmarks, each time with a data directory and ports
// of its own, and reads what its programs cost.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"picket/api/client"
	"picket/node"
)

// Picket is a running `picket run`.
type Picket struct {
	Dir    string // temporary; the server's user may pass through it
	Config *node.Config

	cmd   *exec.Cmd
	ended chan error
}

// TempDir makes a directory that the server's user may pass through.
func TempDir() (string, error) {
	dir, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// Start runs the picket executable and waits until it watches the host. The configuration is the
// default one with free ports, errors only in the log, and the lines of extra.
func Start(picket, extra string) (*Picket, error) {
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	p := &Picket{Dir: dir, ended: make(chan error, 1)}
	if err := p.start(picket, extra); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

// reread has a program read from the disk anew. One that was just linked lies in memory in large pieces,
// which count for each process that runs it: 66 MB for picket version, where 37 is what it takes.
func reread(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing is written
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

func (p *Picket) start(picket, extra string) error {
	if err := reread(picket); err != nil {
		return err
	}
	api, err := freeAddr()
	if err != nil {
		return err
	}
	stream, err := freeAddr()
	if err != nil {
		return err
	}
	data, conf := filepath.Join(p.Dir, "data"), filepath.Join(p.Dir, "picket.yaml")
	text := fmt.Sprintf("data: %s\nlog: {level: error}\napi: {listen: %s}\nstream: {listen: %s}\n%s", data, api, stream, extra)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if p.Config, err = node.Load(conf); err != nil {
		return err
	}
	ready := &waiter{want: []byte("sign in"), seen: make(chan struct{})}
	p.cmd = exec.Command(picket, "run", "--config", conf)
	p.cmd.Stdout, p.cmd.Stderr = ready, os.Stderr
	runtime.LockOSThread() // whose end is what the next line watches
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	select {
	case <-ready.seen:
		if err := p.watched(); err != nil {
			return errors.Join(err, p.end())
		}
		return nil
	case err := <-p.ended:
		return fmt.Errorf("%s run ended at start: %w", picket, err)
	case <-time.After(time.Minute):
		return errors.Join(fmt.Errorf("%s run did not become ready within a minute", picket), p.end())
	}
}

// watched waits for the agent's word: the welcome comes without it where the agent takes long, and
// then nothing would be measured.
func (p *Picket) watched() error {
	if err := p.Config.Complete(); err != nil {
		return err
	}
	c, err := p.Client()
	if err != nil {
		return err
	}
	return Until(time.Minute, "the agent's first report", func() (bool, error) {
		agents, err := c.Fleet(context.Background())
		for _, a := range agents {
			if a.Host == p.Config.Host && a.Heartbeat != nil {
				return true, nil
			}
		}
		return false, err
	})
}

// Stop ends Picket and removes its data.
func (p *Picket) Stop() error { return errors.Join(p.end(), os.RemoveAll(p.Dir)) }

func (p *Picket) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil { // and no sensor goes on
		return err
	}
	return <-p.ended
}

// Client talks to the server through its private socket.
func (p *Picket) Client() (*client.Client, error) {
	return client.New("unix://"+node.SocketPath(p.Config), "")
}

// PIDs returns the process ids by role; the supervisor's is "run".
func (p *Picket) PIDs() (map[string]int, error) {
	s, err := node.ReadStatus(p.Config)
	if err != nil {
		return nil, err
	}
	pids := map[string]int{"run": p.cmd.Process.Pid}
	for role, c := range s.Children {
		pids[role] = c.PID
	}
	return pids, nil
}

// Until calls done every 100 ms until it reports true, for at most the given time.
func Until(limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %s", what, limit), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// waiter closes seen when want has been written to it.
type waiter struct {
	want, got []byte
	seen      chan struct{}
	done      bool
}

func (w *waiter) Write(p []byte) (int, error) {
	if !w.done {
		w.got = append(w.got, p...)
		if w.done = bytes.Contains(w.got, w.want); w.done {
			close(w.seen)
		}
	}
	return len(p), nil
}
