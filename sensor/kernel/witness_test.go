package kernel

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// witnessed returns a recording with a second witness of a directory, after something was told of.
func witnessed(t *testing.T, dir string) *recording {
	t.Helper()
	r := newRecording(t, only(event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete, event.FileMkdir, event.FileLink, event.FileChmod, event.FileAttr))
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	require(t, "fanotify", r.witness.Load() != nil, "fanotify is not to be had here")
	return r
}

// blind takes the programs' sight of changes: the calls of these handlers go nowhere.
func (r *recording) blind(t *testing.T, handlers ...uint32) {
	t.Helper()
	for _, h := range handlers {
		if err := r.maps["handlers"].Delete(h); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSecondWitness makes changes that the programs do not see.
func TestSecondWitness(t *testing.T) {
	dir := realTempDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("old"))
	r := witnessed(t, dir)
	r.blind(t, handleOpen, handleRename, handleUnlink, handleMkdir)
	for _, c := range []struct {
		do   func() error
		want event.Event
	}{
		{func() error { return os.WriteFile(in("made"), nil, 0o640) }, event.Event{Kind: event.FileCreate, File: event.File{Path: in("made"), Created: true}}},
		{func() error { return os.WriteFile(in("old"), []byte("changed"), 0) }, event.Event{Kind: event.FileWrite, File: event.File{Path: in("old")}}},
		{func() error { return os.Mkdir(in("dir"), 0o700) }, event.Event{Kind: event.FileMkdir, File: event.File{Path: in("dir")}}},
		{func() error { return os.Rename(in("old"), in("new")) }, event.Event{Kind: event.FileRename, File: event.File{Path: in("new"), Old: in("old")}}},
		{func() error { return os.Remove(in("new")) }, event.Event{Kind: event.FileDelete, File: event.File{Path: in("new"), Deleted: true}}},
		{func() error { return os.Chtimes(in("made"), time.Unix(1, 0), time.Unix(1, 0)) }, event.Event{Kind: event.FileAttr, File: event.File{Path: in("made")}}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		_ = unix.Stat(c.want.File.Path, &st)
		e := r.find(t, c.want.Kind, func(e *event.Event) bool { return e.File.Path == c.want.File.Path && e.Message != "" })
		if f := e.File; f.Old != c.want.File.Old || f.Created != c.want.File.Created || f.Deleted != c.want.File.Deleted || f.Ino != st.Ino ||
			e.Process.PID != uint32(os.Getpid()) || e.Message != witnessRemark || time.Since(e.Time) > time.Minute {
			t.Errorf("%s %+v by %+v", e.Kind, f, e.Process)
		}
	}
}

// A directory may have a second witness without being watched: changes in it are told, reads are not,
// and the end of another watch leaves it.
func TestWitnessDir(t *testing.T) {
	dir, other := realTempDir(t), realTempDir(t)
	r := newRecording(t, only(event.FileCreate, event.FileRead))
	for _, d := range []string{dir, dir, filepath.Join(dir, "missing")} {
		if err := r.WitnessDir(d); err != nil {
			t.Fatal(err)
		}
	}
	require(t, "fanotify", r.witness.Load() != nil, "fanotify is not to be had here")
	if err := r.WatchDir(other); err != nil {
		t.Fatal(err)
	}
	if err := r.UnwatchDir(other); err != nil {
		t.Fatal(err)
	}
	r.blind(t, handleOpen)
	file := filepath.Join(dir, "cron")
	write(t, file)
	e := r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == file })
	if e.Message != witnessRemark || e.Process.PID != uint32(os.Getpid()) {
		t.Errorf("%q by %+v", e.Message, e.Process)
	}
	if err := r.WitnessDir(file); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// TestSecondWitnessKeepsToItself makes changes that the programs see too, here and in another process.
func TestSecondWitnessKeepsToItself(t *testing.T) {
	dir := realTempDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	r := witnessed(t, dir)
	write(t, in("a"))
	write(t, in("a"))
	for _, do := range []error{
		os.Chmod(in("a"), 0o640), os.Rename(in("a"), in("b")), os.Link(in("b"), in("c")), os.Symlink("b", in("d")),
		os.Mkdir(in("e"), 0o700), os.Remove(in("e")), os.Remove(in("c")), exec.Command("cp", in("b"), in("f")).Run(),
		unix.Setxattr(in("b"), "trusted.x", nil, 0),
	} {
		if do != nil {
			t.Fatal(do)
		}
	}
	time.Sleep(witnessWait) // what fanotify says comes by then, or it would come last
	last := in("last")
	r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == in("f") })
	r.blind(t, handleMkdir)
	if err := os.Mkdir(last, 0o700); err != nil {
		t.Fatal(err)
	}
	r.find(t, event.FileMkdir, func(e *event.Event) bool { return e.File.Path == last })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Message != "" && e.File.Path != last {
			t.Errorf("told twice: %s %+v", e.Kind, e.File)
		}
	}
}

// TestSecondWitnessFollowsDirectories watches what is made later, and not what is watched no more.
func TestSecondWitnessFollowsDirectories(t *testing.T) {
	dir := realTempDir(t)
	late := filepath.Join(dir, "late")
	r := witnessed(t, dir)
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	w := r.witness.Load()
	for range 500 * int(slow()) {
		w.mu.Lock()
		n := len(w.dir)
		w.mu.Unlock()
		if n == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.blind(t, handleMkdir)
	if err := os.Mkdir(filepath.Join(late, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.find(t, event.FileMkdir, func(e *event.Event) bool { return e.File.Path == filepath.Join(late, "x") })
	if err := r.UnwatchDir(dir); err != nil {
		t.Fatal(err)
	}
	if len(w.dir) != 0 {
		t.Errorf("still listened to: %v", w.dir)
	}
}

// FuzzWitness reads records that no kernel writes.
func FuzzWitness(f *testing.F) {
	record := func(mask uint64, info ...byte) []byte {
		b := make([]byte, metadataSize)
		binary.NativeEndian.PutUint16(b[6:], metadataSize)
		binary.NativeEndian.PutUint64(b[8:], mask)
		b[20] = 7
		return append(b, info...)
	}
	dir := make([]byte, 16+4)
	dir[8] = 4
	f.Add(record(unix.FAN_CREATE, append(append([]byte{unix.FAN_EVENT_INFO_TYPE_DFID_NAME, 0, 26, 0}, dir...), 'n', 0)...))
	f.Add(record(unix.FAN_Q_OVERFLOW))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < metadataSize {
			return
		}
		w := &witness{s: &Sensor{}, dir: map[string]string{string(dir): "/d"}}
		w.take(b, 1)
		for _, v := range w.wait {
			if filepath.Dir(v.path) != "/d" && !strings.HasPrefix(v.path, "/") || v.pid == 0 {
				t.Errorf("%+v", v)
			}
		}
	})
}
