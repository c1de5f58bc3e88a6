package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/api"
	"picket/api/client"
)

// loaded is what a load did.
type loaded struct {
	opens uint64
	took  time.Duration
}

func (l loaded) perSecond() float64 { return float64(l.opens) / l.took.Seconds() }

const files = 64

// filesFor makes the directory that a load opens files of.
func filesFor() (string, error) {
	dir, err := os.MkdirTemp("", "picket-saturate-")
	for i := 0; i < files && err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600)
	}
	return dir, err
}

// runLoad opens and closes files of dir n times, in a process of its own.
func runLoad(dir, how string, threads int, n uint64) (out loaded, err error) {
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	text, err := exec.Command(self, "load", dir, how, strconv.Itoa(threads), strconv.FormatUint(n, 10)).Output()
	if err != nil {
		return out, fmt.Errorf("the load: %w", err)
	}
	if _, err := fmt.Sscan(string(text), &out.opens, &out.took); err != nil {
		return out, fmt.Errorf("the load's answer %q: %w", text, err)
	}
	return out, nil
}

// load is runLoad's process: it prints how many opens it did, and in how many nanoseconds.
func load(args []string) error {
	if len(args) != 4 {
		return errors.New("want a directory, read or write, threads, opens")
	}
	flags := uintptr(unix.O_RDONLY)
	if args[1] == "write" {
		flags = unix.O_WRONLY
	}
	threads, err := strconv.Atoi(args[2])
	if err != nil || threads < 1 {
		return fmt.Errorf("threads %q: want a number from 1 on", args[2])
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return fmt.Errorf("opens: %w", err)
	}
	var all sync.WaitGroup
	var opens atomic.Uint64
	var failed atomic.Pointer[error]
	began := time.Now()
	for range threads {
		all.Go(func() {
			did, err := openAll(args[0], flags, n/threads)
			opens.Add(uint64(did))
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	fmt.Println(opens.Load(), int64(time.Since(began)))
	return nil
}

// openAll opens without telling Go's scheduler: its word for a call would be the larger part.
func openAll(dir string, flags uintptr, n int) (did int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	at := unix.AT_FDCWD
	var names [files]*byte
	for i := range names {
		if names[i], err = unix.BytePtrFromString(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return 0, err
		}
	}
	for ; did < n; did++ {
		fd, _, e := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(names[did%files])), flags, 0, 0, 0)
		if e != 0 {
			return did, fmt.Errorf("open a file of %s: %w", dir, e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0); e != 0 {
			return did, e
		}
	}
	return did, nil
}

func fleet(c *client.Client) ([]api.Agent, error) { return c.Fleet(context.Background()) }
