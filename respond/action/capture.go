package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// CaptureOptions say where evidence goes, how much of it, and who lends a hand.
type CaptureOptions struct {
	// Dir holds the archives; a directory of root's alone, which is made where it is missing.
	Dir string
	// Redact masks secrets among arguments and variables. Without it neither is kept.
	Redact func(args []string) []string
	// Events tells what the sensor saw of the target lately, each event as JSON.
	Events func(ctx context.Context, t *Target, tell func(json.RawMessage)) error
	Time   time.Duration // the box: what is not collected by then is named as missing; 0: 10 s
	Bytes  int64         // of one archive, before compression; 0: 256 MiB
	Keep   int64         // of all archives in Dir; over it nothing is collected; 0: 4 GiB
}

// capture puts what is known of processes into an archive, before they are harmed.
//
// All is read through a process's own directory in /proc, held open: another that gets its number
// later is not read by mistake. What a read hangs on (a program can hold up one of its own memory,
// a file system one of its files) is given up and named as missing. No path of the workload's is
// followed: files are opened by what the process has open.
type capture struct {
	o     CaptureOptions
	stuck atomic.Int32 // reads that were given up and have not come back
}

const (
	maxStuck     = 32
	maxProcesses = 256 // collected whole; of more only the tree
)

// NewCapture returns the act of collecting evidence.
func NewCapture(o CaptureOptions) (Action, error) {
	if o.Time <= 0 {
		o.Time = 10 * time.Second
	}
	if o.Bytes <= 0 {
		o.Bytes = 256 << 20
	}
	if o.Keep <= 0 {
		o.Keep = 4 << 30
	}
	if err := ownDir(o.Dir); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &capture{o: o}, nil
}

func (*capture) Kind() Kind   { return Capture }
func (*capture) Class() Class { return Observe }

// custody says who had evidence collected, of what, and what came of it. It lies beside the archive,
// and all but the archive's own digest in it.
type custody struct {
	Request  string    `json:"request"`
	Run      string    `json:"run,omitempty"`
	Step     string    `json:"step,omitempty"`
	Incident string    `json:"incident,omitempty"`
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	Target   Target    `json:"target"`
	Host     string    `json:"host"`
	Kernel   string    `json:"kernel"`
	BootID   string    `json:"boot_id"`
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Clock    string    `json:"clock"` // what the times are of
	Archive  string    `json:"archive,omitempty"`
	Size     int64     `json:"size,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
}

// Plan says whose evidence would be collected.
func (c *capture) Plan(_ context.Context, r *Request) (*Plan, error) {
	t, lives, err := choose(r.Target)
	if err != nil {
		return nil, err
	}
	defer closeAll(lives)
	plan := &Plan{Target: t, Class: Observe, Undo: "nothing to take back: evidence is kept"}
	plan.Effects = []string{fmt.Sprintf("evidence of the processes listed is written to %s, within %s and %d MiB", c.o.Dir, c.o.Time, c.o.Bytes>>20)}
	for _, l := range lives {
		plan.Hits = append(plan.Hits, fmt.Sprintf("%d %s", l.PID, l.Name))
	}
	return plan, nil
}

// Do collects.
func (c *capture) Do(ctx context.Context, r *Request) (*Result, error) {
	if old, err := c.read(r.ID); err == nil {
		return c.result(r, old, nil), nil // done, and the end of it was not written down
	}
	if n := c.stuck.Load(); n >= maxStuck {
		return &Result{ID: r.ID, State: Refused, At: time.Now(), Detail: fmt.Sprintf("%d reads of earlier captures hang: no more are begun", n)}, nil
	}
	switch used, err := usedBy(c.o.Dir); {
	case err != nil:
		return &Result{ID: r.ID, State: Refused, At: time.Now(), Detail: fmt.Sprintf("how much evidence there is already cannot be told: %v", err)}, nil
	case used > c.o.Keep:
		return &Result{
			ID: r.ID, State: Refused, At: time.Now(),
			Detail: fmt.Sprintf("%s holds %d MiB of evidence, of %d allowed: take archives away from there", c.o.Dir, used>>20, c.o.Keep>>20),
		}, nil
	}
	t, lives, err := choose(r.Target)
	if err != nil {
		return outcome(r, err), nil
	}
	defer closeAll(lives)
	cust := &custody{
		Request: r.ID, Run: r.Run, Step: r.Step, Incident: r.Incident, By: r.By, Reason: r.Reason,
		Target: t, BootID: bootID(), Begun: time.Now().UTC(), Clock: "UTC, of this host",
	}
	cust.Host, cust.Kernel = hostAndKernel()
	a, err := newArchive(filepath.Join(c.o.Dir, fileID(r.ID)+".tar.zst"), c.o.Bytes)
	if err != nil {
		return outcome(r, err), nil
	}
	defer a.abandon()
	box, cancel := context.WithTimeout(ctx, c.o.Time)
	defer cancel()
	g := &gathering{c: c, ctx: box, a: a}
	g.all(&t, lives)
	cust.Ended = time.Now().UTC()
	if err := a.seal(cust); err != nil {
		return outcome(r, fmt.Errorf("sealing evidence: %w", err)), nil
	}
	cust.Archive, cust.Size, cust.SHA256 = a.path, a.size(), a.digest()
	if err := writeJSON(c.sidecar(r.ID), cust); err != nil {
		return outcome(r, err), nil
	}
	return c.result(r, cust, a.missing), nil
}

func (c *capture) result(r *Request, cust *custody, missing []lack) *Result {
	res := &Result{
		ID: r.ID, State: Done, At: cust.Ended, Output: cust.Archive, Detail: "evidence is in " + cust.Archive,
		Evidence: []Evidence{{Path: cust.Archive, SHA256: cust.SHA256, Size: cust.Size}},
	}
	if len(missing) > 0 {
		res.Detail += fmt.Sprintf("; %d things are missing, such as %s: %s", len(missing), missing[0].What, missing[0].Why)
	}
	return res
}

// Verify reads the archive and compares it with its custody record.
func (c *capture) Verify(ctx context.Context, r *Request) (bool, string, error) {
	cust, err := c.read(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return false, "no evidence was kept", nil
	}
	if err != nil {
		return false, "", err
	}
	root, err := os.OpenRoot(filepath.Dir(cust.Archive))
	if err != nil {
		return false, "", err
	}
	defer root.Close() //nolint:errcheck // only a handle
	kept, err := digestTree(ctx, root, filepath.Base(cust.Archive))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, cust.Archive + " is not there any more", nil
	case err != nil:
		return false, "", err
	case sumOf(kept) != cust.SHA256:
		return false, cust.Archive + " is not what was collected", nil
	}
	return true, cust.Archive + " is as it was collected", nil
}

// Undo takes nothing back: evidence is kept.
func (*capture) Undo(_ context.Context, r *Request) (*Result, error) {
	return &Result{ID: r.ID, State: Undone, At: time.Now(), Detail: "nothing to take back: evidence is kept"}, nil
}

func (c *capture) sidecar(id string) string {
	return filepath.Join(c.o.Dir, fileID(id)+".custody.json")
}

func (c *capture) read(id string) (*custody, error) {
	b, err := os.ReadFile(c.sidecar(id))
	if err != nil {
		return nil, err
	}
	cust := &custody{}
	if err := json.Unmarshal(b, cust); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.sidecar(id), err)
	}
	return cust, nil
}

func usedBy(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	var n int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n, err
}

func hostAndKernel() (host, kernel string) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "", ""
	}
	return unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Release[:])
}
