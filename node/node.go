// Package node makes a running Picket out of the other packages: it reads the configuration, wires
// the three roles (agent, server, store), supervises them on one machine and shuts them down.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is set by the program at start; it shows in heartbeats and on the page.
var Version = "dev"

// Exit codes that a role ends with, so that a supervisor and a script can tell them apart.
const (
	ExitFailure = 1
	ExitUsage   = 2
	ExitConfig  = 3 // the configuration is wrong
	ExitHost    = 4 // the host lacks something: privilege, BTF, a free port, a writable directory
	ExitRunning = 5 // another Picket runs on this data directory
	ExitInput   = 6 // a recording could not be read, or not all of it
	ExitRefused = 7 // an act was refused: protected, over budget or stopped
	ExitGone    = 8 // what was to be acted on is not there any more
)

// Error is an error for a person: what went wrong, what to do, and the exit code it deserves.
type Error struct {
	Err  error
	Hint string
	Code int
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "\n  " + e.Hint
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code for err.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return ExitFailure
}

// The folders below the data directory. Each belongs to the role it is named after.
func (c *Config) dir(role string) string { return filepath.Join(c.Data, role) }

// makeDir creates a role's folder, owned by uid, closed to others.
func makeDir(dir string, uid int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dirError(dir, err)
	}
	if os.Geteuid() == 0 && uid > 0 {
		if err := os.Chown(dir, uid, uid); err != nil {
			return dirError(dir, err)
		}
	}
	return nil
}

func dirError(dir string, err error) error {
	hint := "choose another place with `data:` in picket.yaml or --data"
	switch {
	case errors.Is(err, unix.EROFS):
		hint = "the file system is mounted read-only; " + hint
	case errors.Is(err, unix.ENOSPC):
		hint = "the disk is full; free some space or " + hint
	case errors.Is(err, fs.ErrPermission):
		hint = "run as root, or " + hint
	}
	return &Error{Err: fmt.Errorf("data directory %s: %w", dir, err), Hint: hint, Code: ExitHost}
}

// checkWritable proves that the data directory takes a file, so that a full or read-only disk is
// reported at start with its name and not later by whoever writes first.
func checkWritable(dir string) error {
	name := filepath.Join(dir, ".write-check")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return dirError(dir, err)
	}
	_, werr := f.Write(make([]byte, 64<<10))
	cerr := f.Close()
	_ = os.Remove(name) // left behind it does no harm: the next start overwrites it
	if err := errors.Join(werr, cerr); err != nil {
		return dirError(dir, err)
	}
	return nil
}

// lock takes the data directory's lock for role and returns its release.
// It fails with ExitRunning where another process holds it, naming that process.
func lock(dir, role string) (release func(), err error) {
	name := filepath.Join(dir, role+".lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dirError(dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(name)
		_ = f.Close() // nothing was written
		return nil, &Error{
			Err:  fmt.Errorf("picket %s is running already on %s (pid %s)", role, dir, strings.TrimSpace(string(pid))),
			Hint: "stop that one first, or give this one its own --data",
			Code: ExitRunning,
		}
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		_ = f.Close() // the lock goes with it
		return nil, dirError(dir, err)
	}
	return func() { _ = f.Close() }, nil // closing releases the lock; the file stays
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// bootID returns the kernel's id of this boot; with it a pid and start time name a process for good.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// cleanup is a stack of named undo steps, run last in first out.
type cleanup struct {
	log   *slog.Logger
	steps []step
}

type step struct {
	name string
	undo func() error
}

func (c *cleanup) add(name string, undo func() error) { c.steps = append(c.steps, step{name, undo}) }

func (c *cleanup) run() {
	for _, s := range slices.Backward(c.steps) {
		if err := s.undo(); err != nil && !errors.Is(err, context.Canceled) {
			c.log.Warn("stopping did not go cleanly", "step", s.name, "error", err)
		}
	}
}
