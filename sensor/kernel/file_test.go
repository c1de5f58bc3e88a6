package kernel

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

func stat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFileChanges(t *testing.T) {
	r := newRecording(t, Demand{})
	dir := realTempDir(t)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("12345"), 0o640); err != nil {
		t.Fatal(err)
	}
	st := stat(t, name)
	// O_CREATE of a file that is there writes; it does not create.
	if err := os.WriteFile(filepath.Join(dir, ".", "..", filepath.Base(dir), "f"), []byte("123"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(name, 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o711); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fchmod(int(f.Fd()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat(int(f.Fd()), "f", int(f.Fd()), "g"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	mine := func(path string) func(*event.Event) bool {
		return func(e *event.Event) bool { return e.Process.PID == uint32(os.Getpid()) && e.File.Path == path }
	}
	c := r.find(t, event.FileCreate, mine(name))
	if !c.File.Created || c.File.Ino != st.Ino || c.File.Dev != kernelDev(st.Dev) || c.File.Mode != st.Mode || c.File.Deleted || c.File.Size != 0 || c.Errno != 0 || c.Truncated {
		t.Errorf("create %+v", c)
	}
	w := r.find(t, event.FileWrite, mine(name))
	if w.File.Created || w.File.Ino != st.Ino {
		t.Errorf("write %+v", w.File)
	}
	for _, mode := range []uint32{0o4755, 0o711} {
		m := r.find(t, event.FileChmod, func(e *event.Event) bool { return mine(name)(e) && e.File.Mode&0o7777 == mode })
		if m.Process.StartBoot != c.Process.StartBoot {
			t.Errorf("chmod by %+v", m.Process)
		}
	}
	if m := r.find(t, event.FileChmod, mine(dir)); m.File.Ino != stat(t, dir).Ino || m.File.Mode&0o7777 != 0o700 {
		t.Errorf("fchmod %+v", m.File)
	}
	if m := r.find(t, event.FileRename, mine(filepath.Join(dir, "g"))); m.File.Old != name {
		t.Errorf("rename %+v", m.File)
	}
	d := r.find(t, event.FileDelete, mine(filepath.Join(dir, "g")))
	if !d.File.Deleted || d.Time.Before(c.Time) || time.Since(d.Time) > time.Minute {
		t.Errorf("delete %+v at %v", d.File, d.Time)
	}
}

func TestReadsOfWatchedDirectories(t *testing.T) {
	r := newRecording(t, only(event.FileRead))
	dir, other := realTempDir(t), realTempDir(t)
	deep := filepath.Join(dir, "deep")
	for _, d := range []string{deep, filepath.Join(other, "x")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(deep, "m"), filepath.Join(other, "n")} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(deep, "m"), filepath.Join(other, "link")); err != nil {
		t.Fatal(err)
	}
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.WatchDir(filepath.Join(dir, "missing")); err == nil {
		t.Error("want an error for a directory that is not there")
	}
	read := func(path string) {
		t.Helper()
		if _, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	is := func(path string) func(*event.Event) bool {
		return func(e *event.Event) bool { return e.File.Path == path }
	}
	read(filepath.Join(other, "n"))
	read(filepath.Join(deep, "m"))
	if e := r.find(t, event.FileRead, is(filepath.Join(deep, "m"))); e.File.Ino != stat(t, filepath.Join(deep, "m")).Ino || e.File.Size != 1 {
		t.Errorf("read %+v", e.File)
	}
	read(filepath.Join(other, "link"))
	r.find(t, event.FileRead, is(filepath.Join(other, "link")))

	late := filepath.Join(dir, "late")
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(late, "k"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := make(chan bool)
	go func() { // the new directory is noticed soon, not at once
		defer close(seen)
		for range 500 * slow() {
			_, _ = os.ReadFile(filepath.Join(late, "k"))
			time.Sleep(10 * time.Millisecond)
			r.mu.Lock()
			last := r.events[len(r.events)-1].File.Path
			r.mu.Unlock()
			if last == filepath.Join(late, "k") {
				return
			}
		}
	}()
	r.find(t, event.FileRead, is(filepath.Join(late, "k")))
	<-seen
	if err := r.UnwatchDir(dir); err != nil {
		t.Fatal(err)
	}
	read(filepath.Join(deep, "m"))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.File.Path == filepath.Join(other, "n") {
			t.Error("an unwatched file was told of")
		}
	}
}

func TestPathsOfDemand(t *testing.T) {
	dir, other := realTempDir(t), realTempDir(t)
	d := only(event.FileCreate)
	d.Paths = []string{dir + "/"}
	r := newRecording(t, d)
	for _, f := range []string{filepath.Join(other, "a"), filepath.Join(dir, "b")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == filepath.Join(dir, "b") })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.File.Path == filepath.Join(other, "a") {
			t.Error("a file outside the wanted paths was told of")
		}
	}
}

// TestPathRace opens a path that another thread changes all the time, and compares the event with
// what the opener really got.
func TestPathRace(t *testing.T) {
	r := newRecording(t, only(event.FileWrite))
	dir := realTempDir(t)
	names := map[string]uint64{}
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		names[filepath.Join(dir, n)] = stat(t, filepath.Join(dir, n)).Ino
	}
	path := append([]byte(filepath.Join(dir, "a")), 0)
	last := &path[len(path)-2]
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			*last ^= 'a' ^ 'b'
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var got []uint64
	for range 3000 {
		cwd := int64(unix.AT_FDCWD)
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&path[0])), unix.O_WRONLY, 0, 0, 0)
		if errno != 0 {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(fd), &st); err != nil {
			t.Fatal(err)
		}
		got = append(got, st.Ino)
		_ = unix.Close(int(fd))
	}
	stop.Store(true)
	<-done
	tid := uint32(unix.Gettid())
	var told []event.Event
	r.wait(t, "every open", func(e *event.Event) bool {
		if e.Kind == event.FileWrite && e.Process.TID == tid && names[e.File.Path] != 0 {
			told = append(told, *e)
		}
		return len(told) == len(got)
	})
	for i, e := range told {
		if e.File.Ino != got[i] || names[e.File.Path] != got[i] {
			t.Fatalf("open %d got inode %d; the event says %s, inode %d", i, got[i], e.File.Path, e.File.Ino)
		}
	}
}

// TestSaturation lets nobody read while more is written than the ring holds.
func TestSaturation(t *testing.T) {
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	s, err := Open(Options{Demand: only(event.FileWrite, event.ProcessExit), SelfPID: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	name := filepath.Join(t.TempDir(), "f")
	const opens = 40_000
	for range opens {
		fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
	}
	st := s.Stats()
	if st.Dropped[event.FileWrite] == 0 || st.Sent[event.FileWrite]+st.Dropped[event.FileWrite] < opens-1 {
		t.Errorf("sent %v, dropped %v of %d", st.Sent, st.Dropped, opens)
	}
	if st.Dropped[event.ProcessExit] != 0 {
		t.Errorf("files filled the ring of processes: %v", st.Dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second*slow())
	defer cancel()
	want := st.Sent[event.FileWrite]
	var n uint64
	if err := s.Run(ctx, func(e *event.Event) {
		if e.Kind == event.FileWrite {
			if n++; n >= want {
				cancel()
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if st = s.Stats(); n < want || st.Malformed != 0 {
		t.Errorf("received %d of %d, malformed %d", n, want, st.Malformed)
	}
}
