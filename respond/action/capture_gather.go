package action

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on what one process can fill an archive with.
const (
	maxFiles  = 4096     // open files and mapped files of one process
	maxText   = 4 << 20  // of one file of /proc
	maxDigest = 64 << 20 // of a file that is read for its digest
	maxExe    = 128 << 20
	patience  = 2 * time.Second // with one read
)

// gathering is one capture under way.
type gathering struct {
	c   *capture
	ctx context.Context
	a   *archive

	models     []openOne
	sockets    map[uint64]map[uint64]socket // by network namespace, by inode
	kept       map[[2]uint64]string         // executables, by device and inode
	containers []*changes                   // of the processes
}

var errStuck = errors.New("it did not answer in time")

// boxed runs a read that a workload could hold up, and gives it up when it takes too long.
func boxed[T any](g *gathering, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	if err := g.ctx.Err(); err != nil {
		return none, errors.New("the time was over")
	}
	if g.c.stuck.Load() >= maxStuck {
		return none, errors.New("too many reads hang")
	}
	ch := make(chan answer, 1)
	go func() {
		v, err := f()
		ch <- answer{v, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case a := <-ch:
		return a.v, a.err
	case <-limit.C:
	case <-g.ctx.Done():
	}
	g.c.stuck.Add(1)
	go func() {
		<-ch
		g.c.stuck.Add(-1)
	}()
	return none, errStuck
}

// boxedReader reads another's file piece by piece, each of which may be given up.
type boxedReader struct {
	g *gathering
	f *os.File
}

func (r boxedReader) Read(p []byte) (int, error) {
	b, err := boxed(r.g, func() ([]byte, error) {
		own := make([]byte, len(p)) // p is the caller's again when the read is given up
		n, err := r.f.Read(own)
		return own[:n], err
	})
	return copy(p, b), err
}

// all collects by how soon it may vanish: processes and their sockets, then what the sensor saw, then
// files; and meanwhile headers of packets.
func (g *gathering) all(t *Target, lives []*life) {
	defer g.listen(lives[:min(len(lives), maxProcesses)])()
	g.sockets, g.kept = map[uint64]map[uint64]socket{}, map[[2]uint64]string{}
	g.a.json("processes.json", lives)
	g.a.json("ancestors.json", ancestors(lives))
	for i, l := range lives {
		if i == maxProcesses {
			g.a.lacks("processes", fmt.Sprintf("%d more than %d: only processes.json names them", len(lives)-maxProcesses, maxProcesses))
			break
		}
		g.process(l)
	}
	g.events(t)
	for i, l := range lives {
		if i < maxProcesses {
			g.executable(l)
		}
	}
	g.changed()
	g.digestModels()
}

func (g *gathering) events(t *Target) {
	if g.c.o.Events == nil {
		g.a.lacks("events.jsonl", "nobody records events here")
		return
	}
	text, err := boxed(g, func() (string, error) {
		lines := &strings.Builder{}
		err := g.c.o.Events(g.ctx, t, func(e json.RawMessage) {
			if lines.Len()+len(e) < 4*maxText {
				lines.Write(e)
				lines.WriteByte('\n')
			}
		})
		return lines.String(), err
	})
	if err != nil {
		g.a.lacks("events.jsonl", err)
	}
	g.a.add("events.jsonl", []byte(text))
}

// process collects what /proc says of one.
func (g *gathering) process(l *life) {
	dir := path.Join("process", strconv.Itoa(l.PID))
	for _, name := range []string{"status", "stat", "cgroup", "limits", "maps", "mountinfo"} {
		g.text(l, dir, name, func(b []byte) any {
			if name == "mountinfo" {
				g.over(l, string(b))
			}
			return b
		})
	}
	for _, name := range []string{"cmdline", "environ"} {
		if g.c.o.Redact == nil {
			g.a.lacks(path.Join(dir, name), "secrets in it could not be masked")
			continue
		}
		g.text(l, dir, name, func(b []byte) any { return g.masked(name, b) })
	}
	links := map[string]string{}
	for _, name := range []string{"exe", "cwd", "root"} {
		links[name], _ = boxed(g, func() (string, error) { return l.link(name) })
	}
	spaces, _ := boxed(g, func() ([]string, error) { return l.list("ns") })
	for _, name := range spaces {
		links["ns/"+name], _ = boxed(g, func() (string, error) { return l.link("ns/" + name) })
	}
	g.a.json(path.Join(dir, "links.json"), links)
	g.openFiles(l, dir, links["ns/net"])
}

// masked is arguments or variables without their secrets. A variable stands for itself; what an
// option of one argument means, the next may say.
func (g *gathering) masked(name string, b []byte) []string {
	words := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	if name == "cmdline" {
		return g.c.o.Redact(words)
	}
	var vars []string
	for _, w := range words {
		vars = append(vars, g.c.o.Redact([]string{w})...)
	}
	return vars
}

// text puts one file of /proc in: as it is, or as JSON.
func (g *gathering) text(l *life, dir, name string, as func([]byte) any) {
	at := path.Join(dir, name)
	b, err := boxed(g, func() ([]byte, error) { return l.read(name, maxText) })
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT):
		g.a.lacks(at, "the process has ended")
		return
	case err != nil:
		g.a.lacks(at, err)
		return
	case len(b) == 0 && name == "cmdline" && l.Parent != 2 && l.PID != 2: // those of the kernel have none
		g.a.lacks(at, "the process has taken it away")
	case len(b) == maxText:
		g.a.lacks(at, fmt.Sprintf("what follows its first %d bytes", maxText))
	}
	switch v := as(b).(type) {
	case []byte:
		g.a.add(at, v)
	default:
		g.a.json(at+".json", v)
	}
}

// executable digests a program, and keeps a copy of one that has no name any more.
func (g *gathering) executable(l *life) {
	at := path.Join("process", strconv.Itoa(l.PID), "exe")
	f, err := boxed(g, func() (*os.File, error) { return l.open("exe") })
	if err != nil {
		if l.Parent != 2 && l.PID != 2 { // a kernel thread has none
			g.a.lacks(at, err)
		}
		return
	}
	defer f.Close() //nolint:errcheck // only read from
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		g.a.lacks(at, err)
		return
	}
	id := [2]uint64{st.Dev, st.Ino}
	about := openOne{To: at, Dev: st.Dev, Inode: st.Ino, Size: st.Size, Deleted: st.Nlink == 0}
	if same, ok := g.kept[id]; ok {
		about.SameAs = same
		g.a.json(at+".json", about)
		return
	}
	g.kept[id] = at
	if about.Deleted && st.Size <= maxExe {
		g.a.stream(at, st.Size, boxedReader{g, f})
		if n := len(g.a.files); n > 0 && g.a.files[n-1].Path == at {
			about.SHA256 = g.a.files[n-1].SHA256
		}
	} else {
		about.SHA256, about.Note = g.digest(f, st.Size)
	}
	g.a.json(at+".json", about)
}

// digest reads a file for its digest, if it is not too large.
func (g *gathering) digest(f *os.File, size int64) (sum, note string) {
	if size > maxDigest {
		return "", fmt.Sprintf("not digested: larger than %d MiB", maxDigest>>20)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(boxedReader{g, f}, maxDigest)); err != nil {
		return "", "not digested: " + err.Error()
	}
	return hex.EncodeToString(h.Sum(nil)), ""
}

// digestModels lists the model files that are open, each once, the small ones first.
func (g *gathering) digestModels() {
	slices.SortStableFunc(g.models, func(a, b openOne) int { return cmp.Compare(a.Size, b.Size) })
	seen := map[[2]uint64]bool{}
	var list []openOne
	for _, m := range g.models {
		if id := [2]uint64{m.Dev, m.Inode}; !seen[id] {
			seen[id] = true
			if f, err := boxed(g, m.reopen); err != nil {
				m.Note = "not digested: " + err.Error()
			} else {
				m.SHA256, m.Note = g.digest(f, m.Size)
				_ = f.Close()
			}
			list = append(list, m)
		}
	}
	g.a.json("models.json", list)
}

// ancestors are those that started the processes, from the one to init.
func ancestors(lives []*life) []*life {
	seen := map[int]bool{}
	for _, l := range lives {
		seen[l.PID] = true
	}
	all := []*life{}
	for _, l := range lives {
		for pid := l.Parent; pid > 0 && !seen[pid] && len(all) < maxProcesses; {
			seen[pid] = true
			a, err := openLife(pid)
			if err != nil {
				break
			}
			_ = a.dir.Close()
			all = append(all, a)
			pid = a.Parent
		}
	}
	return all
}
