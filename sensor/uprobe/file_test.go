package uprobe

import (
	"os"
	"path/filepath"
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
