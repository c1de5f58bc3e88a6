package enforce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picket/event"
)

// The test binary plays the process that a policy is about.
func TestMain(m *testing.M) {
	if role := os.Getenv("ENFORCE_TEST_ROLE"); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Print(err)
			os.Exit(0)
		}
		fmt.Print("ok")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func play(role string, args []string) error {
	var err error
	switch role {
	case "dial":
		var c net.Conn
		if c, err = net.Dial(args[0], args[1]); err == nil {
			_, err = c.Write([]byte("x"))
		}
	case "send": // without a connection
		var to *net.UDPAddr
		if to, err = net.ResolveUDPAddr("udp", args[0]); err != nil {
			return err
		}
		fd, _ := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
		sa := &syscall.SockaddrInet6{Port: to.Port, Addr: [16]byte(to.IP.To16())}
		if args[1] == "4" {
			fd, _ = syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
			err = syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
		} else {
			err = syscall.Sendto(fd, []byte("x"), 0, sa)
		}
	case "raw":
		_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, 255)
	case "open":
		_, err = os.OpenFile(args[0], os.O_RDWR, 0)
	case "write":
		err = os.WriteFile(args[0], []byte(args[1]), 0o644)
	case "talk": // what is read goes to the other end
		var c net.Conn
		if c, err = net.Dial("tcp4", args[0]); err == nil {
			_, err = io.Copy(c, os.Stdin)
		}
	case "change":
		return change(args[0])
	case "freeze": // until it is killed
		c, err := OpenCgroups()
		if err != nil {
			return err
		}
		if err := c.Freeze(args[0]); err != nil {
			return err
		}
		fmt.Println("frozen")
		time.Sleep(time.Hour) // where nothing sleeps Go takes it for a deadlock and ends the process
	case "opens": // 20,000 times; it says how many nanoseconds one took
		start := time.Now()
		for range 20_000 {
			fd, err := syscall.Open(args[0], syscall.O_RDONLY, 0)
			if err != nil {
				return err
			}
			_ = syscall.Close(fd)
		}
		return errors.New(strconv.FormatInt(int64(time.Since(start))/20_000, 10))
	case "reserve": // until it is killed
		return reserveUntilKilled(args[0], args[1])
	case "hold-models": // until it is killed
		return holdUntilKilled(args[0], args[1])
	case "hold":
		return holdConnections(args)
	case "protected":
		return actOnOwn(args[0])
	case "often":
		for range 50 {
			_, err = net.Dial("tcp4", args[0])
		}
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("errno %d", int(n))
	}
	return err
}

// require skips a test whose means are missing, unless PICKET_REQUIRE names the feature.
func require(t testing.TB, feature string, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if required(feature) {
		t.Fatal(why)
	}
	t.Skip(why)
}

func required(feature string) bool {
	return slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), feature)
}

// told is an enforcer under test and what it told so far.
type told struct {
	*Enforcer
	mu     sync.Mutex
	events []event.Event
}

func newTold(t testing.TB) *told {
	t.Helper()
	require(t, "root", os.Geteuid() == 0, "needs root to load eBPF programs")
	e, err := Open(Options{Host: "testhost"})
	if err != nil {
		t.Fatal(err)
	}
	r := &told{Enforcer: e}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- e.Run(ctx, func(ev *event.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, *ev)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// wait returns the first violation that fits, or fails after ten seconds.
func (r *told) wait(t *testing.T, what string, fits func(*event.Event) bool) event.Event {
	t.Helper()
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		i := slices.IndexFunc(r.events, func(e event.Event) bool { return fits(&e) })
		r.mu.Unlock()
		if i >= 0 {
			return r.events[i]
		}
	}
	t.Fatalf("no violation came: %s", what)
	return event.Event{}
}

func (r *told) number() int {
	time.Sleep(2 * hold)
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

var groups int

// group makes a cgroup below another, "" for the root, until the test ends.
func (r *told) group(t testing.TB, above string) string {
	t.Helper()
	groups++
	name := fmt.Sprintf("%s/picket-enforce-test-%d-%d", above, os.Getpid(), groups)
	dir := r.root + name
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		for range 200 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("cgroup %s could not be removed", dir)
	})
	return name
}

// command is a command that starts inside a cgroup.
func (r *told) command(t testing.TB, group string, argv ...string) *exec.Cmd {
	t.Helper()
	dir, err := os.Open(r.root + group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd
}

// act lets this binary play a role inside a cgroup and returns what it says.
func (r *told) act(t testing.TB, group, role string, args ...string) string {
	t.Helper()
	cmd := r.command(t, group, append([]string{"/proc/self/exe"}, args...)...)
	cmd.Env = append(os.Environ(), "ENFORCE_TEST_ROLE="+role)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", role, args, err, out)
	}
	return string(out)
}

func (r *told) bind(t testing.TB, group, name string, rules Rules) uint64 {
	t.Helper()
	if err := r.Apply(name, rules); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(Target{Cgroup: group}, name); err != nil {
		t.Fatal(err)
	}
	id, err := r.ID(group)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
