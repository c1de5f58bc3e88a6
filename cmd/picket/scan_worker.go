package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"picket/artifact"
	"picket/node"
)

// A scan is done by a child without privilege, with bounds on its memory and time, as a model file may be
// made to break what reads it. The child opens nothing: it is handed descriptors, one message a file.

const (
	workerMemory = 3 << 30 // of address space; Go reserves more than it uses
	workerTime   = 11 * time.Minute
)

// answer is what the child writes for each file, after any number of ticks.
type answer struct {
	Tick   int64            `json:"tick,omitempty"`
	Report *artifact.Report `json:"report,omitempty"`
}

// scanWorker is the parent's side of a child.
type scanWorker struct {
	conn *net.UnixConn
	dec  *json.Decoder
	stop context.CancelFunc
	done chan error
}

func (c *scanCmd) startWorker(ctx context.Context) (*scanWorker, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reaching the scanner: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "scanner"), os.NewFile(uintptr(fds[1]), "scanner")
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own
	if err != nil {
		_ = theirs.Close() // the error says more
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r, w := io.Pipe()
	worker := &scanWorker{conn: conn.(*net.UnixConn), dec: json.NewDecoder(r), stop: stop, done: make(chan error, 1)} //nolint:forcetypeassert // a socket pair
	args := []string{"scan", "--worker"}
	for _, a := range c.Allow {
		args = append(args, "--allow="+a)
	}
	go func() {
		err := node.RunConfined(ctx, theirs, w, io.Discard, args...)
		_ = theirs.Close()
		_ = w.CloseWithError(io.ErrUnexpectedEOF) // never fails
		worker.done <- err
	}()
	return worker, nil
}

func (w *scanWorker) close() error {
	_ = w.conn.Close() // tells the child to end
	w.stop()
	return <-w.done
}

// scan hands a file to the child and waits for its report.
func (w *scanWorker) scan(name string, f *os.File, tick func(int64)) (artifact.Report, error) {
	late := time.AfterFunc(workerTime, w.stop)
	defer late.Stop()
	if len(name) > 4096 {
		name = name[:4096]
	}
	if _, _, err := w.conn.WriteMsgUnix([]byte(name), unix.UnixRights(int(f.Fd())), nil); err != nil {
		return artifact.Report{}, err
	}
	for {
		var a answer
		if err := w.dec.Decode(&a); err != nil {
			return artifact.Report{}, err
		}
		if a.Report != nil {
			return *a.Report, nil
		}
		tick(a.Tick)
	}
}

// work is the child.
func (c *scanCmd) work(a *app) error {
	// Where a limit cannot be set, that of the parent and those of the scan still hold.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: workerMemory, Max: workerMemory})
	debug.SetMemoryLimit(workerMemory / 4)
	in, err := net.FileConn(os.NewFile(3, "parent"))
	if err != nil {
		return fmt.Errorf("--worker is for picket itself: %w", err)
	}
	conn, ok := in.(*net.UnixConn)
	if !ok {
		return errors.New("--worker is for picket itself")
	}
	enc := json.NewEncoder(a.out)
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, k, _, _, err := conn.ReadMsgUnix(name, rights)
		if n == 0 || err != nil {
			return nil //nolint:nilerr // the parent is done
		}
		f, err := received(rights[:k])
		if err != nil {
			return err
		}
		limitCPU()
		r, err := c.one(string(name[:n]), f, func(n int64) { _ = enc.Encode(answer{Tick: n}) })
		_ = f.Close() // it was only read
		if err != nil {
			return err
		}
		if err := enc.Encode(answer{Report: &r}); err != nil {
			return err
		}
	}
}

func received(rights []byte) (*os.File, error) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(msgs) != 1 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	return os.NewFile(uintptr(fds[0]), "model"), nil
}

// limitCPU gives the child as much more CPU time as one file may take.
func limitCPU() {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used) // at worst the parent's clock ends it
	most := uint64(used.Utime.Sec+used.Stime.Sec) + uint64(workerTime/time.Second)
	_ = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY})
}

type sized struct {
	*os.File
	size int64
}

// Size implements artifact.Source.
func (s sized) Size() int64 { return s.size }

// one scans a file, and says so where it changed meanwhile.
func (c *scanCmd) one(name string, f *os.File, tick func(int64)) (artifact.Report, error) {
	before, err := f.Stat()
	if err != nil {
		return artifact.Report{}, err
	}
	r := artifact.Scan(name, sized{f, before.Size()}, artifact.Options{Allow: c.Allow, Now: time.Now, Tick: tick})
	after, err := f.Stat()
	if err == nil && (after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
		r.Verdict = max(r.Verdict, artifact.Failed)
		r.Issues = append(r.Issues, artifact.Issue{Rule: "changed", Verdict: artifact.Failed, Offset: -1, Text: "The file changed while it was read: scan it again."})
	}
	return r, err
}
