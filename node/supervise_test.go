package node

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASecondInstanceIsRefused(t *testing.T) {
	dir := t.TempDir()
	release, err := lock(dir, "run")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(dir, "run")
	if Code(err) != ExitRunning || !strings.Contains(err.Error(), "pid") {
		t.Errorf("got %v (exit code %d), want a refusal that names the pid", err, Code(err))
	}
	release()
	again, err := lock(dir, "run")
	if err != nil {
		t.Fatalf("the lock was not released: %v", err)
	}
	again()
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = portFree("api.listen", l.Addr().String())
	if Code(err) != ExitHost || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "api.listen") {
		t.Errorf("got %v, want the address and the key", err)
	}
}

func TestAFullDiskAndAReadOnlyDiskAreNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts small file systems")
	}
	mount := func(t *testing.T, opts string, flags uintptr) string {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, opts); err != nil {
			t.Skipf("this host does not let a tmpfs be mounted: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	t.Run("full", func(t *testing.T) {
		dir := mount(t, "size=64k", 0)
		if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 60<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkWritable(dir); Code(err) != ExitHost || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		dir := mount(t, "", unix.MS_RDONLY)
		if err := checkWritable(dir); Code(err) != ExitHost || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAgentNamesFitASubject(t *testing.T) {
	for host, want := range map[string]string{"gpu-7": "gpu-7", "node_1": "node_1"} {
		if got := AgentName(host); got != want {
			t.Errorf("%s became %s", host, got)
		}
	}
	a, b := AgentName("a.example"), AgentName("a-example")
	if a == b || strings.ContainsAny(a, ".*> ") {
		t.Errorf("a.example became %q, a-example %q", a, b)
	}
}

func TestExitCodes(t *testing.T) {
	if Code(nil) != 0 || Code(errors.New("x")) != ExitFailure || Code(&Error{Err: errors.New("x"), Code: ExitConfig}) != ExitConfig {
		t.Error("exit codes are mixed up")
	}
}
