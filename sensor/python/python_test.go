package python

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/event"
	"picket/sensor/uprobe"
)

// interpreters returns the Pythons of this host, by the version that they say.
func interpreters(t testing.TB) map[string]string {
	t.Helper()
	found := find()
	if len(found) == 0 {
		t.Skip("no Python here")
	}
	return found
}

var find = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	names := []string{"/usr/bin/python3"}
	for minor := 8; minor < 15; minor++ {
		names = append(names, fmt.Sprintf("python3.%d", minor))
	}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if head, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(head, []byte("\x7fELF")) {
			continue // a script that picks one
		}
		said, err := exec.Command(path, "-c", "import sys; print(sys.version.split()[0], sys.executable)").Output()
		if f := strings.Fields(string(said)); err == nil && len(f) == 2 {
			if real, err := filepath.EvalSymlinks(f[1]); err == nil {
				out[f[0]+" "+filepath.Base(filepath.Dir(filepath.Dir(real)))] = real
			}
		}
	}
	return out
})

type told struct {
	*Sensor
	mu     sync.Mutex
	events []*event.Event
	end    func()
}

func newTold(t testing.TB, o Options) *told {
	t.Helper()
	needRoot(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return hear(t, s)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "root") {
			t.Fatal("not root")
		}
		t.Skip("probes need root")
	}
}

func hear(t testing.TB, s *Sensor) *told {
	t.Helper()
	r := &told{Sensor: s}
	s.set.Scan(t.Context())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(e *event.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		})
	}()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.end)
	return r
}

// of returns what a process was told to have done: "pickle.find_class posix.system".
func (r *told) of(pid int) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Process.PID == uint32(pid) {
			out = append(out, strings.TrimSpace(e.Python.Event+" "+e.Python.Argument))
		}
	}
	return out
}

func (r *told) wait(t testing.TB, pid int, what string) {
	t.Helper()
	for range 300 {
		if slices.Contains(r.of(pid), what) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%q was not told of: %q", what, r.of(pid))
}

// python runs a program, with $ADDRESS for a server of ours.
func python(t testing.TB, interpreter, program string) int {
	t.Helper()
	cmd := exec.Command(interpreter, "-I", "-c", program)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return cmd.Process.Pid
}

const hostile = `
import pickle, os
pickle.loads(b"cposix\nsystem\n(S'exit 0 # by a pickle'\ntR.")
`

func TestAHostilePickleIsHeard(t *testing.T) {
	for version, path := range interpreters(t) {
		t.Run(version, func(t *testing.T) {
			for _, each := range []bool{false, true} {
				r := newTold(t, Options{Each: each, Known: []string{path, filepath.Join(filepath.Dir(path), "../lib/libpython3.[0-9]*.so.1.0")}})
				pid := python(t, path, hostile)
				r.wait(t, pid, "pickle.find_class posix.system")
				r.wait(t, pid, "os.system exit 0 # by a pickle")
				r.end()
				if pid := python(t, path, hostile); len(r.of(pid)) > 0 {
					t.Errorf("heard behind the end: %q", r.of(pid))
				}
			}
		})
	}
}

func TestEventsOfEachSort(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for version, path := range interpreters(t) {
		t.Run(version, func(t *testing.T) {
			r := newTold(t, Options{Known: []string{path, filepath.Join(filepath.Dir(path), "../lib/libpython3.[0-9]*.so.1.0")}})
			pid := python(t, path, fmt.Sprintf(`
import socket, subprocess, os
try:
    import ctypes
    ctypes.CDLL("libc.so.6")
except ImportError: # built without
    pass
exec("a = 1")
socket.create_connection(("127.0.0.1", %d)).close()
subprocess.run(["/bin/true", "x"])
if not os.fork():
    os.execv("/bin/true", ["true"])
os.wait()
os.system("exit 0 # \u20ac")
`, server.Addr().(*net.TCPAddr).Port))
			r.wait(t, pid, "socket.connect 127.0.0.1")
			r.wait(t, pid, "exec")
			r.wait(t, pid, "os.system exit 0 # €") // bytes, in the file system's encoding
			static := slices.ContainsFunc(r.Held(), func(h uprobe.Held) bool { return strings.Contains(h.Detail, "static probe") })
			if static {
				r.wait(t, pid, "subprocess.Popen /bin/true")
			}
			if slices.ContainsFunc(r.of(pid), func(s string) bool { return strings.HasPrefix(s, "import ctypes") }) {
				r.wait(t, pid, "ctypes.dlopen libc.so.6")
			}
		})
	}
}

// Places that a file was refused are there for the next one.
func TestPlacesAreGivenBack(t *testing.T) {
	needRoot(t)
	s, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, err := s.keep(make([]pythonPlace, 2*maxPlaces)); err == nil {
		t.Errorf("%d places were kept", len(n))
	}
	numbers, err := s.keep(make([]pythonPlace, maxOfOne))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.drop(numbers); err != nil {
		t.Error(err)
	}
	if len(s.used) != 0 {
		t.Errorf("%d places are kept for nobody", len(s.used))
	}
}

func TestManyOfOneSortAreCounted(t *testing.T) {
	for version, path := range interpreters(t) {
		t.Run(version, func(t *testing.T) {
			r := newTold(t, Options{Known: []string{path, filepath.Join(filepath.Dir(path), "../lib/libpython3.[0-9]*.so.1.0")}})
			pid := python(t, path, `
import pickle, time
for i in range(1000):
    pickle.loads(b"cbuiltins\nlist\n.")
time.sleep(1.1)
pickle.loads(b"cbuiltins\nlist\n.")
`)
			r.wait(t, pid, "pickle.find_class builtins.list")
			for range 300 {
				r.mu.Lock()
				n, times := 0, uint32(0)
				for _, e := range r.events {
					if e.Process.PID == uint32(pid) && e.Python.Event == "pickle.find_class" {
						n++
						times += e.Count
					}
				}
				r.mu.Unlock()
				if times == 1001 && n <= 3 {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%q", r.of(pid))
		})
	}
}
