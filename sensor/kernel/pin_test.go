package kernel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"picket/event"
)

// bpfDir mounts a bpf file system of the test's own.
func bpfDir(t *testing.T) string {
	t.Helper()
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	dir := t.TempDir()
	if err := haveBPF(dir); err != nil {
		require(t, "bpf", false, err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "picket", "test")
}

// TestSensorProcess is no test but the process that others kill: a sensor that says what it sees.
func TestSensorProcess(t *testing.T) {
	dir := os.Getenv("PICKET_TEST_PINS")
	if dir == "" {
		t.Skip("runs only as a process of other tests")
	}
	s, err := Open(Options{Host: "testhost", Demand: only(event.ProcessStart, event.ProcessFork, event.ProcessExit, event.ProcessSignal, event.FileCreate), Pins: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // a clean stop is asked for by the end of input
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	fmt.Printf("taken %+v\n", s.Taken())
	pause, _ := time.ParseDuration(os.Getenv("PICKET_TEST_PAUSE"))
	n := 0
	err = s.Run(ctx, func(e *event.Event) {
		switch {
		case e.Kind == event.FileCreate && strings.Contains(e.File.Path, "/load-"):
			fmt.Println("saw", filepath.Base(e.File.Path))
			if n++; n%8 == 0 {
				time.Sleep(pause)
			}
		case e.Kind == event.ProcessSignal && e.Call.Number == 9:
			fmt.Println("killed", e.Call.Target.PID, "by", e.Process.PID, e.Process.Exe)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	fmt.Printf("dropped %d, lost %d\n", st.Dropped[event.FileCreate], st.Lost)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// sensorProcess is a run of TestSensorProcess.
type sensorProcess struct {
	cmd   *exec.Cmd
	stop  func()
	mu    sync.Mutex
	lines []string
	done  chan struct{}
}

func startSensor(t *testing.T, dir string, env ...string) *sensorProcess {
	t.Helper()
	p := &sensorProcess{cmd: exec.Command(os.Args[0], "-test.run=^TestSensorProcess$"), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "PICKET_TEST_PINS="+dir), env...)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stop = func() { _ = in.Close() }
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for r := bufio.NewScanner(out); r.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, r.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.await(t, "taken ")
	return p
}

// await waits for a line and returns it.
func (p *sensorProcess) await(t *testing.T, begin string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second * slow()); time.Now().Before(end); time.Sleep(time.Millisecond) {
		p.mu.Lock()
		for _, l := range p.lines {
			if strings.HasPrefix(l, begin) {
				p.mu.Unlock()
				return l
			}
		}
		p.mu.Unlock()
		select {
		case <-p.done:
			t.Fatalf("it ended before it said %q: %q", begin, p.lines)
		default:
		}
	}
	t.Fatalf("it did not say %q; last it said %q", begin, p.lines[max(0, len(p.lines)-3):])
	return ""
}

// kill ends it as an attacker does.
func (p *sensorProcess) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	_ = p.cmd.Wait()
}

// finish asks it to stop and waits.
func (p *sensorProcess) finish(t *testing.T) {
	t.Helper()
	p.stop()
	<-p.done
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, p.lines)
	}
}

// load makes files, each of another name, until stop is called, which returns how many. It rests for
// pause after each 16.
func load(t *testing.T, pause time.Duration) (stop func() int) {
	t.Helper()
	dir, ended, n := realTempDir(t), make(chan struct{}), 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for ; ; n++ {
			select {
			case <-ended:
				return
			default:
			}
			name := filepath.Join(dir, fmt.Sprintf("load-%d", n))
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Error(err)
			}
			if n%16 == 15 {
				time.Sleep(pause)
			}
		}
	})
	return sync.OnceValue(func() int { close(ended); wg.Wait(); return n })
}

// A sensor that is killed loses nothing that it does not count, the next one tells nothing twice,
// and knows who did it. A clean end tells the rest and leaves nothing in the kernel.
func TestKilledSensor(t *testing.T) {
	t.Run("reader keeps up", func(t *testing.T) { killedSensor(t, 10, time.Millisecond, 0) })
	t.Run("rings overflow", func(t *testing.T) {
		if dropped := killedSensor(t, 4, 0, time.Millisecond); dropped == 0 {
			t.Error("no ring overflowed")
		}
	})
}

// killedSensor kills a sensor again and again beside a load that rests for pause, while its reader
// rests for reader after each 8. It returns how many had no room.
func killedSensor(t *testing.T, kills int, pause, reader time.Duration) (dropped int) {
	dir := bpfDir(t)
	var programs []ebpf.ProgramID // of all generations
	slowly := "PICKET_TEST_PAUSE=" + reader.String()
	p := startSensor(t, dir, slowly)
	stop := load(t, pause)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	told, lost := map[string]int{}, 0
	var lines []string
	for i := range kills {
		p.await(t, "saw ")
		programs = append(programs, programsOf(t, dir)...)
		pid := p.cmd.Process.Pid
		p.kill(t)
		lines = append(lines, p.lines...)
		p = startSensor(t, dir, slowly)
		if taken := p.await(t, "taken "); !strings.Contains(taken, "Over:true") {
			t.Fatalf("restart %d took nothing over: %s", i, taken)
		}
		p.await(t, fmt.Sprintf("killed %d by %d %s", pid, os.Getpid(), self))
	}
	n := stop()
	programs = append(programs, programsOf(t, dir)...)
	p.finish(t)
	for _, l := range append(lines, p.lines...) {
		if name, ok := strings.CutPrefix(l, "saw "); ok {
			told[name]++
		}
		_, _ = fmt.Sscanf(l, "dropped %d, lost %d", &dropped, &lost)
	}
	missing, twice := 0, 0
	for i := range n {
		switch told[fmt.Sprintf("load-%d", i)] {
		case 0:
			missing++
		case 1:
		default:
			twice++
		}
	}
	t.Logf("%d made, %d told, %d missing, %d twice; %d dropped, %d with the killed", n, len(told), missing, twice, dropped, lost)
	// Others on this host make files too.
	if missing < dropped/100*98 || missing > dropped+lost || twice > 0 || lost > 2*kills {
		t.Error("what was seen does not add up")
	}
	nothingLeft(t, dir, programs)
	return dropped
}

// What another user put where pins are to lie is replaced: a bpf file system may be open to all.
func TestOwnDir(t *testing.T) {
	root := filepath.Dir(filepath.Dir(bpfDir(t)))
	for name, make := range map[string]func(string) error{
		"nothing":     func(string) error { return nil },
		"a directory": func(at string) error { return errors.Join(os.Mkdir(at, 0o777), os.Chown(at, 65534, 65534)) },
		"a link":      func(at string) error { return os.Symlink("/etc", at) },
		"our own":     func(at string) error { return os.Mkdir(at, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			at := filepath.Join(root, "picket")
			if err := make(at); err != nil {
				t.Fatal(err)
			}
			if err := ownDir(at); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(at)
			if err != nil || info.Mode() != os.ModeDir|0o700 || info.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("there is %v, %v", info.Mode(), err)
			}
			if err := os.Remove(at); err != nil {
				t.Error(err)
			}
		})
	}
}

// programsOf returns the programs of the sensor that is kept in a directory. Other tests have theirs.
func programsOf(t *testing.T, dir string) (ids []ebpf.ProgramID) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // an earlier generation goes meanwhile
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil // a map
		}
		defer l.Close()
		if info, err := l.Info(); err == nil {
			ids = append(ids, info.Program)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		t.Fatalf("no programs are kept in %s: %v", dir, err)
	}
	return ids
}

// nothingLeft fails where one of the programs is in the kernel still, or a pin.
func nothingLeft(t *testing.T, dir string, programs []ebpf.ProgramID) {
	t.Helper()
	left := func() (names []string) {
		for _, id := range programs {
			prog, err := ebpf.NewProgramFromID(id)
			if err != nil {
				continue
			}
			names = append(names, prog.String())
			_ = prog.Close()
		}
		return names
	}
	for end := time.Now().Add(20 * time.Second); len(left()) > 0; time.Sleep(50 * time.Millisecond) { // the kernel frees them a moment later
		if time.Now().After(end) {
			t.Fatalf("programs are left: %v", left())
		}
	}
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(dir)), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "picket/") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
