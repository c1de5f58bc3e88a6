package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"picket/event"
	"picket/inventory"
)

// openModels makes what judges model files.
func (a *agent) openModels() error {
	trust, err := readTrust(a.cfg.Models)
	if err != nil {
		return err
	}
	a.models = inventory.New(inventory.Options{
		Log: a.log.With("component", "inventory"), Registerer: a.reg, File: filepath.Join(a.cfg.dir("agent"), "models.json"), Version: Version,
		Run: runCalm, Rate: int64(a.cfg.Models.Rate), Trust: trust, Told: a.modelSeen,
	})
	return nil
}

// runCalm is RunConfined for work that gives way to everything else on the host.
func runCalm(ctx context.Context, in *os.File, out, said io.Writer, args ...string) error {
	return runReaderOf(ctx, true, "/proc/self/exe", in, out, said, append([]string{"picket"}, args...))
}

// startModels has model files judged until ctx ends. The channel it returns closes when that has ended.
func (a *agent) startModels(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.models.Run(ctx)
	}()
	return ended
}

// sight takes note of a model file that a process wrote, or that a server or job opened.
func (a *agent) sight(e *event.Event) {
	if a.models == nil || e.Errno != 0 || e.Process == nil || e.File.Path == "" {
		return
	}
	use := event.UseWritten
	switch e.Kind {
	case event.FileRead:
		use = event.UseRead
	case event.FileCreate, event.FileWrite, event.FileRename:
	default:
		return
	}
	if use == event.UseWritten && strings.HasSuffix(e.File.Path, ".sig") {
		a.models.Resign(e.File.Path)
		return
	}
	if !inventory.Judged(e.File.Path, e.File.Model != nil) && (use == event.UseWritten || !a.models.Hostile(e.File.Dev, e.File.Ino)) {
		return
	}
	a.models.See(inventory.Sighting{
		Process: e.Process, Path: e.File.Path, Dev: e.File.Dev, Ino: e.File.Ino, Model: e.File.Model, Use: use,
	})
}

// modelSeen makes an event of what a model file is. Who opens a hostile one next is to be seen too.
func (a *agent) modelSeen(x inventory.Sighting, is event.Artifact) {
	e := &event.Event{
		Kind: event.ModelSeen, Time: time.Now(), Host: a.cfg.Host, Process: x.Process, Artifact: &is,
		File: event.File{Path: x.Path, Dev: x.Dev, Ino: x.Ino, Model: x.Model},
	}
	if e.File.Model == nil {
		e.File.Model = &event.Model{Path: x.Path, Name: path.Base(x.Path)}
	}
	if is.Hostile() {
		a.log.Warn("a model file is hostile", "path", x.Path, "verdict", is.Verdict, "issue", is.Issue, "use", is.Use, "pid", x.Process.PID)
		a.watch(hostPath(x))
	}
	<-a.turn
	a.judge(e)
	a.turn <- struct{}{}
}

// hostPath is where the host finds a file of a process.
func hostPath(x inventory.Sighting) string {
	root := fmt.Sprintf("/proc/%d/root", x.Process.PID)
	if to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", x.Process.PID)); err == nil {
		if own, err := os.Readlink("/proc/self/ns/mnt"); err == nil && own != to {
			return root + filepath.Join("/", x.Path)
		}
	}
	return x.Path
}
