package uprobe

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel says of a mapping is what the file system says of the file, where none lies over another.
func TestWhatLiesBehindAMapping(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("asking the kernel needs root")
	}
	s, err := New(Options{Match: func(string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs a file system of its own: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, make([]byte, 1<<14), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 1<<14, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	m, err := s.behind(uint32(os.Getpid()), uint64(uintptr(unsafe.Pointer(&b[0]))))
	if err != nil || m.Ino != st.Ino || m.Magic != unix.TMPFS_MAGIC {
		t.Errorf("%+v, %v; want inode %d of a tmpfs", m, err, st.Ino)
	}
	all, err := mappingsOfAll(s.iter)
	if err != nil {
		t.Fatal("as older kernels do it: ", err)
	}
	_ = all.Close()
	if _, err := s.behind(1<<22+1, 0); err == nil {
		t.Error("a process that is not there has mappings")
	}
}

// Where a look is kept waiting the next ones go on, and no more wait than there are places.
func TestALookThatDoesNotEnd(t *testing.T) {
	s := &Set{busy: make(chan struct{}, maxStuck)}
	end := make(chan struct{})
	defer close(end)
	for range maxStuck {
		go s.within("a file system that does not answer", func() { <-end })
	}
	for len(s.busy) < maxStuck {
		time.Sleep(time.Millisecond)
	}
	s.within("another", func() { t.Error("one more waits") })
	if s.late.Load() != 1 {
		t.Error("what was not looked at is not counted")
	}
}

// A program may end its first thread and go on in others. Only those have its memory, and what runs in it.
func TestAProcessWithoutItsFirstThread(t *testing.T) {
	cmd := exec.Command("python3", "-c", `
import ctypes, platform, threading, time
threading.Thread(target=lambda: (print("runs", flush=True), time.sleep(600))).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("needs python3: ", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	pid, found := uint32(cmd.Process.Pid), 0
	all := func(string) bool { return true }
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if strings.Contains(string(b), ") Z ") {
			break
		}
	}
	_ = mappings(pid, all, func(mapping) { t.Fatal("the first thread has memory: this test tests nothing") })
	if err := mappings(living(pid), all, func(mapping) { found++ }); err != nil || found == 0 {
		t.Errorf("%d files by thread %d of %d, %v", found, living(pid), pid, err)
	}
}
