package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func newQuarantine(t *testing.T, o QuarantineOptions) *quarantine {
	t.Helper()
	if len(o.Dirs) == 0 {
		o.Dirs = []string{filepath.Join(t.TempDir(), "quarantine")}
	}
	return must(NewQuarantine(o))(t).(*quarantine)
}

func fileRequest(path string) *Request {
	return &Request{ID: "r1", Kind: Quarantine, Target: Target{File: &FilePin{Path: path}}, By: "alice", Reason: "test"}
}

// TestQuarantineRoundTrip takes a file and a directory away and puts them back, on their own file
// system and over to another one.
func TestQuarantineRoundTrip(t *testing.T) {
	needsRoot(t)
	for _, disk := range []string{"own", "other"} {
		for _, what := range []string{"file", "directory"} {
			t.Run(what+" on its "+disk+" file system", func(t *testing.T) {
				home := t.TempDir()
				if disk == "other" {
					home = otherDisk(t)
				}
				path := filepath.Join(home, "models", "llama")
				files := []string{path} // not named as models are: a Picket that watches this host would read them
				if what == "directory" {
					files = []string{filepath.Join(path, "a.part"), filepath.Join(path, "deep", "b.part"), filepath.Join(path, "deep"), path}
				}
				for i, f := range files[:max(1, len(files)-2)] {
					writeFile(t, f, fmt.Sprint("weights ", i))
				}
				if what == "directory" {
					_ = os.Symlink("a.part", filepath.Join(path, "latest"))
					_ = unix.Mkfifo(filepath.Join(path, "pipe"), 0o600)
				}
				old := time.Date(2021, 3, 4, 5, 6, 7, 8000, time.UTC)
				before := map[string]look{}
				for _, f := range files {
					_ = unix.Setxattr(f, "user.team", []byte("vision"), 0)
					_ = os.Chown(f, 12345, 54321)
					_ = os.Chmod(f, 0o751|os.ModeSetgid)
					_ = os.Chtimes(f, old, old.Add(time.Hour))
				}
				for _, f := range files {
					before[f] = lookAt(t, f)
				}
				inner := func(p cmp.Path) bool { return p.String() == "Accessed" } // reading a directory sets it
				q := newQuarantine(t, QuarantineOptions{})
				r := fileRequest(path)
				res := must(q.Do(t.Context(), r))(t)
				if res.State != Done || exists(path) {
					t.Fatalf("%+v, still there: %v", res, exists(path))
				}
				if holds, detail, err := q.Verify(t.Context(), r); !holds || err != nil {
					t.Errorf("verify: %v %q %v", holds, detail, err)
				}
				if out, err := exec.Command("setpriv", "--reuid=12345", "--regid=54321", "--clear-groups", "cat", res.Output).CombinedOutput(); err == nil {
					t.Errorf("its owner reads it in quarantine: %s", out)
				}
				undone := must(q.Undo(t.Context(), r))(t)
				if undone.State != Undone {
					t.Fatalf("%+v", undone)
				}
				for _, f := range files {
					var skip cmp.Options
					if filepath.Base(f) == "deep" {
						skip = cmp.Options{cmp.FilterPath(inner, cmp.Ignore())}
					}
					if diff := cmp.Diff(before[f], lookAt(t, f), skip); diff != "" {
						t.Errorf("%s:\n%s", f, diff)
					}
				}
				if exists(filepath.Dir(res.Output)) {
					t.Errorf("%s is left behind", res.Output)
				}
				if again := must(q.Undo(t.Context(), r))(t); again.State != Undone {
					t.Errorf("undone twice: %+v", again)
				}
			})
		}
	}
}

func TestQuarantineManifest(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(otherDisk(t), "models", "m")
	writeFile(t, filepath.Join(path, "a.gguf"), "abc")
	_ = unix.Mkfifo(filepath.Join(path, "pipe"), 0o600)
	q := newQuarantine(t, QuarantineOptions{})
	res := must(q.Do(t.Context(), fileRequest(path)))(t)
	var h held
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(filepath.Dir(res.Output), manifestName)))(t), &h); err != nil {
		t.Fatal(err)
	}
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if diff := cmp.Diff([]keptFile{{Path: "a.gguf", Size: 3, SHA256: abc}}, h.Files); diff != "" {
		t.Error(diff)
	}
	if h.Path != path || h.By != "alice" || h.SHA256 != res.Evidence[0].SHA256 || !cmp.Equal(h.Left, []string{"pipe"}) {
		t.Errorf("manifest %+v", h)
	}
}

// TestQuarantineAims holds what must not be hit, by whatever a workload does to the path.
func TestQuarantineAims(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	q := newQuarantine(t, QuarantineOptions{Protected: []string{filepath.Join(dir, "keep")}})
	precious := filepath.Join(dir, "precious")
	writeFile(t, filepath.Join(precious, "key"), "k")
	writeFile(t, filepath.Join(dir, "keep", "f"), "k")
	writeFile(t, filepath.Join(dir, "twice"), "t")
	writeFile(t, filepath.Join(dir, "f"), "f")
	_ = os.Symlink(precious, filepath.Join(dir, "models"))
	_ = os.Symlink(filepath.Join(precious, "key"), filepath.Join(dir, "link"))
	_ = os.Link(filepath.Join(dir, "twice"), filepath.Join(dir, "second"))
	self := must(os.Executable())(t)
	for _, c := range []struct {
		name  string
		file  FilePin
		state State
		says  string
	}{
		{"a link on the way", FilePin{Path: filepath.Join(dir, "models/key")}, Failed, "symbolic link"},
		{"a link itself", FilePin{Path: filepath.Join(dir, "link")}, Failed, "neither a file nor a directory"},
		{"a path that is not whole", FilePin{Path: "models/key"}, Failed, "write it whole"},
		{"the root", FilePin{Path: "/"}, Failed, "no path of a file"},
		{"a directory at the root", FilePin{Path: "/home"}, Refused, "at the root"},
		{"a system file", FilePin{Path: "/etc/shadow"}, Refused, "of the system"},
		{"by a longer way", FilePin{Path: "/tmp/../etc/shadow"}, Refused, "of the system"},
		{"what holds Picket's own", FilePin{Path: "/var/lib"}, Refused, "of the system or of Picket"},
		{"Picket's own program", FilePin{Path: self}, Refused, "Picket itself"},
		{"a protected file", FilePin{Path: filepath.Join(dir, "keep/f")}, Refused, "protected"},
		{"what holds a protected one", FilePin{Path: filepath.Join(dir, "keep")}, Refused, "protected"},
		{"a file with another name", FilePin{Path: filepath.Join(dir, "twice")}, Refused, "links=close"},
		{"another file than the pinned", FilePin{Path: filepath.Join(dir, "f"), Inode: 1}, Gone, "another file"},
		{"another content than the pinned", FilePin{Path: filepath.Join(dir, "f"), SHA256: strings.Repeat("0", 64)}, Gone, "another one now"},
		{"nothing", FilePin{Path: filepath.Join(dir, "none")}, Gone, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := fileRequest(c.file.Path)
			r.Target.File = &c.file
			before, _ := os.ReadFile(c.file.Path)
			res := must(q.Do(t.Context(), r))(t)
			if res.State != c.state || !strings.Contains(res.Detail, c.says) {
				t.Errorf("%s: %s, want %s: %s", res.State, res.Detail, c.state, c.says)
			}
			if after, _ := os.ReadFile(c.file.Path); string(after) != string(before) {
				t.Errorf("%s is not what it was", c.file.Path)
			}
		})
	}
	if left := must(os.ReadDir(q.o.Dirs[0]))(t); len(left) != 0 {
		t.Errorf("%v left in quarantine", left)
	}
}

func TestQuarantineClosesOtherNames(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o755)
	path, second := filepath.Join(dir, "m.gguf"), filepath.Join(dir, "second")
	writeFile(t, path, "w")
	_ = os.Link(path, second)
	q, r := newQuarantine(t, QuarantineOptions{}), fileRequest(path)
	r.Params = map[string]string{"links": "close"}
	if res := must(q.Do(t.Context(), r))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	if m := must(os.Stat(second))(t).Mode(); m.Perm() != 0 {
		t.Errorf("the other name has mode %v", m)
	}
	if res := must(q.Undo(t.Context(), r))(t); res.State != Undone || must(os.Stat(second))(t).Mode().Perm() != 0o644 {
		t.Errorf("%+v", res)
	}
}

func TestQuarantineOverwritesNothing(t *testing.T) {
	needsRoot(t)
	for _, home := range []string{t.TempDir(), otherDisk(t)} {
		path := filepath.Join(home, "m.gguf")
		writeFile(t, path, "first")
		q, r := newQuarantine(t, QuarantineOptions{}), fileRequest(path)
		must(q.Do(t.Context(), r))(t)
		writeFile(t, path, "second")
		if holds, detail, _ := q.Verify(t.Context(), r); !holds || !strings.Contains(detail, "another file stands") {
			t.Errorf("verify: %v %s", holds, detail)
		}
		res := must(q.Undo(t.Context(), r))(t)
		if res.State != Failed || !strings.Contains(res.Detail, "something else stands") {
			t.Errorf("%+v", res)
		}
		if b, _ := os.ReadFile(path); string(b) != "second" {
			t.Errorf("overwritten: %q", b)
		}
		_ = os.Remove(path)
		if res := must(q.Undo(t.Context(), r))(t); res.State != Undone || lookAt(t, path).Content != "first" {
			t.Errorf("%+v", res)
		}
	}
}

// TestQuarantineCutShort ends the copy half way, and the whole act after the file was renamed aside.
func TestQuarantineCutShort(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(otherDisk(t), "models", "m.gguf")
	writeFile(t, path, "weights")
	q, r := newQuarantine(t, QuarantineOptions{}), fileRequest(path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := must(q.Do(ctx, r))(t); res.State != Failed || lookAt(t, path).Content != "weights" || lookAt(t, path).Mode != 0o644 {
		t.Fatalf("%+v %+v", res, lookAt(t, path))
	}
	// As one who was killed after the rename leaves it.
	p, st, err := q.find(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	own := filepath.Join(q.o.Dirs[0], "r1")
	_ = os.Mkdir(own, 0o700)
	h := &held{Request: "r1", Path: path, Content: filepath.Join(own, contentName), Aside: asideName("r1"), Dev: st.Dev, Inode: st.Ino, Dress: dressOf(must(os.Lstat(path))(t))}
	if err := errors.Join(q.write(h), rename(p, p.name, h.Aside)); err != nil {
		t.Fatal(err)
	}
	if holds, _, err := q.Verify(t.Context(), r); holds || err == nil || !strings.Contains(err.Error(), "undo gives it its name") {
		t.Errorf("half of it holds: %v %v", holds, err)
	}
	if res := must(q.Undo(t.Context(), r))(t); res.State != Undone || lookAt(t, path).Content != "weights" {
		t.Errorf("%+v", res)
	}
}

// TestQuarantineImmutable takes a file that its owner made immutable, which keeps it from root too.
func TestQuarantineImmutable(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(t.TempDir(), "m.gguf")
	writeFile(t, path, "w")
	out, err := exec.Command("chattr", "+i", path).CombinedOutput()
	needs(t, "chattr", err == nil, fmt.Sprintf("cannot make a file immutable here: %s", out))
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", path).Run() })
	q, r := newQuarantine(t, QuarantineOptions{}), fileRequest(path)
	if res := must(q.Do(t.Context(), r))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	if res := must(q.Undo(t.Context(), r))(t); res.State != Undone {
		t.Fatalf("%+v", res)
	}
	if err := os.Remove(path); err == nil {
		t.Error("it is not immutable any more")
	}
}

// TestQuarantineInContainer takes files by the paths that a container knows them by: of its image,
// written since, and on a mount that only the container has.
func TestQuarantineInContainer(t *testing.T) {
	pid, id := container(t, map[string]string{"model/weights": "of the image"},
		"mkdir -p /data; echo dropped > /data/dropped; echo secret > /dev/shm/x")
	root := fmt.Sprintf("/proc/%d/root", pid)
	for _, path := range []string{"/model/weights", "/data/dropped", "/dev/shm/x"} {
		for _, by := range []string{"process", "container"} {
			t.Run(by+path, func(t *testing.T) {
				q := newQuarantine(t, QuarantineOptions{Inside: func(c string) (*ProcessPin, error) {
					if c != id {
						return nil, errors.New("no such container")
					}
					return pinOf(t, pid), nil
				}})
				r := fileRequest(path)
				if by == "process" {
					r.Target.Process = pinOf(t, pid)
				} else {
					r.Target.Container = id
				}
				before := lookAt(t, root+path)
				plan := must(q.Plan(t.Context(), r))(t)
				if plan.Target.File.Inode == 0 || len(plan.Effects) == 0 {
					t.Errorf("plan %+v", plan)
				}
				res := must(q.Do(t.Context(), r))(t)
				if res.State != Done || exists(root+path) {
					t.Fatalf("%+v, still there: %v", res, exists(root+path))
				}
				if res := must(q.Undo(t.Context(), r))(t); res.State != Undone {
					t.Fatalf("%+v", res)
				}
				if diff := cmp.Diff(before, lookAt(t, root+path)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
	stranger := pinOf(t, pid)
	stranger.Start++
	r := fileRequest("/data/dropped")
	r.Target.Process = stranger
	if res := must(newQuarantine(t, QuarantineOptions{}).Do(t.Context(), r))(t); res.State != Gone {
		t.Errorf("by another process's eyes: %+v", res)
	}
}

func TestQuarantinePlanNamesUsers(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(t.TempDir(), "m.gguf")
	writeFile(t, path, "w")
	pid := process(t, "sh", "-c", "exec 7<"+path+"; echo ready; exec sleep 300")
	plan := must(newQuarantine(t, QuarantineOptions{}).Plan(t.Context(), fileRequest(path)))(t)
	if diff := cmp.Diff([]string{fmt.Sprintf("%d sleep", pid)}, plan.Hits); diff != "" {
		t.Error(diff)
	}
}

// TestQuarantineGivesUp waits for nobody for ever.
func TestQuarantineGivesUp(t *testing.T) {
	needsRoot(t)
	free := make(chan struct{})
	defer close(free)
	q := newQuarantine(t, QuarantineOptions{Inside: func(string) (*ProcessPin, error) {
		<-free
		return nil, errors.New("no such container")
	}})
	r := fileRequest("/data/x")
	r.Target.Container = "0123456789ab"
	if res := must(q.Do(t.Context(), r))(t); res.State != Failed || !strings.Contains(res.Detail, "does not answer") {
		t.Errorf("%+v", res)
	}
}
