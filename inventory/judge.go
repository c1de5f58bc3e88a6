package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picket/artifact"
	"picket/event"
)

// judge is the scanner's hand: it opens files and has the child read them.
type judge struct {
	s      *Scanner
	worker *Worker
	trust  *os.File
	last   time.Time    // when the child had something to do
	stuck  atomic.Int32 // opens that have not come back
}

const (
	openTime = 10 * time.Second // that a file system may take to open a file
	maxStuck = 4
)

func (j *judge) end() {
	if j.worker != nil {
		_ = j.worker.Close() // it was ended: all that it said is here
		j.worker = nil
	}
	if j.trust != nil {
		_ = j.trust.Close() // nothing is written any more
	}
}

// idle ends a child that has had nothing to do for a while.
func (j *judge) idle() {
	if j.worker != nil && time.Since(j.last) >= idleWorker {
		_ = j.worker.Close() // as above
		j.worker = nil
	}
}

// look looks into one sighting. It reports whether to do so again, as the file is being written.
func (j *judge) look(ctx context.Context, t task) (again bool) {
	s := j.s
	o, err := j.open(t.Sighting)
	if err != nil {
		s.m.unread.Inc()
		s.log.Debug("a model file cannot be read", "path", t.Path, "error", err)
		return false
	}
	defer o.close()
	v, ok := VersionOf(o.info)
	if !ok {
		return false
	}
	if v.Size == 0 { // it was opened to be written a moment ago
		return busy(o.file, o.info) && time.Since(t.since) < settleMost
	}
	if known, ok := s.results.get(v); ok {
		s.tell(t.Sighting, known)
		return false
	}
	if busy(o.file, o.info) {
		if time.Since(t.since) < settleMost {
			return true
		}
		s.m.unread.Inc()
		return false
	}
	r := Result{Version: v, Path: t.Path, Model: t.Model, Seen: time.Now()}
	if s.Failed(v) {
		return false
	}
	if err := j.judge(ctx, t.Sighting, o, &r); err != nil {
		if ctx.Err() == nil {
			s.fail(v)
			s.m.unread.Inc()
			s.log.Warn("a model file was not judged: its reader ended", "path", t.Path, "error", err)
		}
		return false
	}
	if r.Artifact.Digest == "" && r.Artifact.Verdict == artifact.Failed.String() && time.Since(t.since) < settleMost {
		if now, err := o.file.Stat(); err == nil {
			if is, _ := VersionOf(now); is != v {
				return true // it changed while it was read
			}
		}
	}
	s.m.judged.Inc()
	s.m.bytes.Add(float64(v.Size))
	s.results.put(r)
	s.tell(t.Sighting, r)
	return false
}

// tell says what a file is to who uses it, once to each.
func (s *Scanner) tell(x Sighting, r Result) {
	if x.Ino != 0 {
		id := fileID{x.Dev, x.Ino}
		s.mu.Lock()
		switch {
		case !r.Artifact.Hostile(): // the file is another now, or its number another file's
			delete(s.hostile, id)
		case len(s.hostile) < maxResults:
			s.hostile[id] = true
		}
		s.mu.Unlock()
	}
	if x.quiet() {
		return
	}
	workload := ""
	if x.Process.Workload != nil {
		workload = x.Process.Workload.ID
	}
	if !s.results.use(r.Version, x.user(r.Artifact.Hostile()), workload, time.Now()) {
		return
	}
	a := r.Artifact
	a.Use = x.Use
	s.o.Told(x, a)
}

// judge has the child read a file.
func (j *judge) judge(ctx context.Context, x Sighting, o *opened, r *Result) error {
	if err := j.ready(ctx); err != nil {
		return err
	}
	job := Job{
		Name: o.name, File: o.file, Identify: true, Rate: j.s.o.Rate, Trust: j.trust, Signatures: o.signatures,
		Judged: func(rep artifact.Report) { // reading a large one whole takes long: what is hostile is told at once
			a := event.Artifact{Use: x.Use, Verdict: rep.Verdict.String(), Issue: worst(rep)}
			if !x.quiet() && a.Hostile() && j.s.o.Rate > 0 && r.Version.Size > j.s.o.Rate {
				j.s.o.Told(x, a)
			}
		},
	}
	rep, a, err := j.worker.Judge(job)
	j.last = time.Now()
	if err != nil {
		why := j.worker.Close()
		j.worker = nil
		return errors.Join(why, err)
	}
	r.Artifact = a
	if len(rep.Formats) > 0 {
		r.Format = clip(rep.Formats[0])
	}
	return nil
}

// ready has a child, and what is trusted in a file for it.
func (j *judge) ready(ctx context.Context) (err error) {
	if j.trust == nil {
		b, err := json.Marshal(j.s.o.Trust)
		if err != nil {
			return err
		}
		fd, err := unix.MemfdCreate("trust", unix.MFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("handing over what is trusted: %w", err)
		}
		f := os.NewFile(uintptr(fd), "trust")
		if _, err := f.Write(b); err != nil {
			_ = f.Close() // the error says more
			return err
		}
		j.trust = f
	}
	if j.worker == nil {
		j.worker, err = StartWorker(ctx, j.s.o.Run, "scan", "--worker")
	}
	return err
}

// busy reports whether somebody has the file open for writing, or changed it a moment ago.
func busy(f *os.File, info os.FileInfo) bool {
	if d := time.Since(info.ModTime()); d >= 0 && d < settleTime {
		return true
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK) // refused where there is a writer
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) // closing it would do as well
	}
	return errors.Is(err, unix.EAGAIN)
}

// opened is a file with the signatures that may cover it.
type opened struct {
	file       *os.File
	name       string // that who uses it knows it by
	info       os.FileInfo
	signatures []Signature
}

func (o *opened) close() {
	_ = o.file.Close() // it was only read
	for _, s := range o.signatures {
		_ = s.File.Close() // as above
	}
}

// open opens what a process had. A file system that does not answer is waited for, for a while.
func (j *judge) open(x Sighting) (*opened, error) {
	if n := j.stuck.Load(); n >= maxStuck {
		return nil, fmt.Errorf("%d files before it could not be opened in time", n)
	}
	type got struct {
		o   *opened
		err error
	}
	done := make(chan got, 1)
	go func() {
		o, err := openFile(j.s.o.Proc, x)
		done <- got{o, err}
	}()
	late := time.NewTimer(openTime)
	defer late.Stop()
	select {
	case g := <-done:
		return g.o, g.err
	case <-late.C:
		j.stuck.Add(1)
		go func() { // it may answer yet
			if g := <-done; g.o != nil {
				g.o.close()
			}
			j.stuck.Add(-1)
		}()
		return nil, fmt.Errorf("its file system did not answer within %v", openTime)
	}
}

// openFile opens the file that a process has open, else what has its path now.
func openFile(proc string, x Sighting) (*opened, error) {
	root, err := rootOf(proc, x.Process)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written
	o := &opened{name: x.Path}
	if o.file = held(proc, x); o.file == nil {
		if o.file, err = within(root, x.Path); err != nil {
			return nil, err
		}
	}
	if o.info, err = o.file.Stat(); err == nil && !o.info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		_ = o.file.Close() // the error says more
		return nil, err
	}
	names, may := cached(root, x.Path, o.info)
	if len(names) > 0 {
		o.name = names[0]
	}
	for _, c := range append(may, candidates(x)...) {
		if f, err := within(root, c.at); err == nil {
			if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
				_ = f.Close() // it is none
				continue
			}
			o.signatures = append(o.signatures, Signature{c.name, f})
		}
	}
	return o, nil
}

// rootOf opens the root directory of a process, or of an ancestor with the same mounts where it is gone.
func rootOf(proc string, p *event.Process) (int, error) {
	mnt := p.NS.Mnt
	for at := p; at != nil; at = at.Parent {
		if at.PID == 0 || at.NS.Mnt != mnt {
			continue
		}
		dir := filepath.Join(proc, strconv.FormatUint(uint64(at.PID), 10))
		if link, err := os.Readlink(dir + "/ns/mnt"); err != nil || mnt != 0 && link != fmt.Sprintf("mnt:[%d]", mnt) {
			continue
		}
		if fd, err := unix.Open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			return fd, nil
		}
	}
	if link, err := os.Readlink(filepath.Join(proc, "self/ns/mnt")); err == nil && (mnt == 0 || link == fmt.Sprintf("mnt:[%d]", mnt)) {
		return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	return -1, errors.New("the process is gone, and its file system with it")
}

// within opens a regular file below a root for reading. Links lead to where the process finds them,
// never out of its root; a pipe is not waited for.
func within(root int, name string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	path := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: how.Resolve}
	fd, err := unix.Openat2(root, filepath.Join("/", name), path) // neither waits nor wakes a device
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < 8; tries++ {
		fd, err = unix.Openat2(root, filepath.Join("/", name), path)
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("it is no regular file")
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), int(how.Flags), 0) //nolint:gosec // the file that was just looked at
}

const maxHeld = 1024 // descriptors of a process that are looked at

// held opens what a process holds open under a path: another file may have the path by now.
func held(proc string, x Sighting) *os.File {
	dir := filepath.Join(proc, strconv.FormatUint(uint64(x.Process.PID), 10), "fd")
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // it was only read
	names, _ := d.Readdirnames(maxHeld)
	for _, n := range names {
		if to, err := os.Readlink(dir + "/" + n); err != nil || to != x.Path {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(dir+"/"+n, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if f, err := os.OpenFile(dir+"/"+n, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			return f
		}
	}
	return nil
}

// candidate is where a signature may be, and the name that the file has in it.
type candidate struct{ at, name string }

// candidates are the signatures that may cover a file: its own, and one of the directory that it is in
// or of those above, up to the model's own.
func candidates(x Sighting) []candidate {
	out := []candidate{{x.Path + ".sig", "."}}
	dir, rel := path.Dir(x.Path), path.Base(x.Path)
	for len(out) < maxSignatures && dir != "/" && dir != "." {
		out = append(out, candidate{dir + "/model.sig", rel})
		if x.Model != nil && !strings.HasPrefix(dir, x.Model.Path+"/") {
			break
		}
		rel, dir = path.Base(dir)+"/"+rel, path.Dir(dir)
	}
	return out
}
