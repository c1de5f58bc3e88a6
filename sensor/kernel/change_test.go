package kernel

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

var changes = []event.Kind{
	event.FileLink, event.FileMkdir, event.FileTruncate, event.FileChown, event.FileAttr, event.FileRename, event.FileDelete,
}

// TestChangesOfFiles makes each change by each system call that can, and compares all that is told.
func TestChangesOfFiles(t *testing.T) {
	r := newRecording(t, only(changes...))
	dir := realTempDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("f"))
	base := openAt(t, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	fd := openAt(t, in("f"), unix.O_RDWR)
	st := stat(t, in("f"))
	held := func(size int64) event.File {
		return event.File{Path: in("f"), Dev: kernelDev(st.Dev), Ino: st.Ino, Size: size, Mode: st.Mode}
	}
	with := func(f event.File, change event.FileChange) event.File {
		f.FileChange = change
		return f
	}
	named := event.File{Path: in("f")}
	for _, c := range []struct {
		name string
		do   func() error
		kind event.Kind
		want event.File
	}{
		{"link", func() error { return unix.Link(in("f"), in("l1")) }, event.FileLink, event.File{Path: in("l1"), Old: in("f")}},
		{"linkat", func() error { return unix.Linkat(base, "f", base, "l2", 0) }, event.FileLink, event.File{Path: in("l2"), Old: in("f")}},
		{"linkat of a descriptor", func() error { return unix.Linkat(fd, "", base, "l3", unix.AT_EMPTY_PATH) }, event.FileLink, event.File{Path: in("l3"), Old: in("f")}},
		{"symlink", func() error { return unix.Symlink("/etc/shadow", in("s1")) }, event.FileLink, event.File{Path: in("s1"), Old: "/etc/shadow", Mode: unix.S_IFLNK}},
		{"symlinkat", func() error { return unix.Symlinkat("../x", base, "s2") }, event.FileLink, event.File{Path: in("s2"), Old: filepath.Join(dir, "../x"), Mode: unix.S_IFLNK}},
		{"mkdir", func() error { return unix.Mkdir(in("d1"), 0o700) }, event.FileMkdir, event.File{Path: in("d1"), Mode: unix.S_IFDIR}},
		{"mkdirat", func() error { return unix.Mkdirat(base, "d1/../d2", 0o700) }, event.FileMkdir, event.File{Path: in("d2"), Mode: unix.S_IFDIR}},
		{"truncate", func() error { return unix.Truncate(in("f"), 7) }, event.FileTruncate, event.File{Path: in("f"), Size: 7}},
		{"ftruncate", func() error { return unix.Ftruncate(fd, 9000) }, event.FileTruncate, held(9000)},
		{"fallocate", func() error { return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096) }, event.FileTruncate, held(9000)},
		{"chown", func() error { return unix.Chown(in("f"), 1, 2) }, event.FileChown, with(named, event.FileChange{Owner: 1, Group: 2})},
		{"lchown", func() error { return unix.Lchown(in("f"), -1, 3) }, event.FileChown, with(named, event.FileChange{Owner: event.NoOwner, Group: 3})},
		{"fchown", func() error { return unix.Fchown(fd, 0, 4) }, event.FileChown, with(held(0), event.FileChange{Owner: 0, Group: 4})},
		{"fchownat", func() error { return unix.Fchownat(base, "f", 5, -1, 0) }, event.FileChown, with(named, event.FileChange{Owner: 5, Group: event.NoOwner})},
		{"fchownat of a descriptor", func() error { return unix.Fchownat(fd, "", 0, 0, unix.AT_EMPTY_PATH) }, event.FileChown, with(held(0), event.FileChange{})},
		{"setxattr", func() error { return unix.Setxattr(in("f"), "trusted.a", []byte("1"), 0) }, event.FileAttr, with(named, event.FileChange{Attribute: "trusted.a"})},
		{"lsetxattr", func() error { return unix.Lsetxattr(in("f"), "trusted.b", []byte("1"), 0) }, event.FileAttr, with(named, event.FileChange{Attribute: "trusted.b"})},
		{"fsetxattr", func() error { return unix.Fsetxattr(fd, "trusted.c", []byte("1"), 0) }, event.FileAttr, with(held(9000), event.FileChange{Attribute: "trusted.c"})},
		{"removexattr", func() error { return unix.Removexattr(in("f"), "trusted.a") }, event.FileAttr, with(named, event.FileChange{Attribute: "trusted.a", Removed: true})},
		{"fremovexattr", func() error { return unix.Fremovexattr(fd, "trusted.c") }, event.FileAttr, with(held(9000), event.FileChange{Attribute: "trusted.c", Removed: true})},
		{"setxattrat", func() error { return setxattrat(base, "f", "trusted.d") }, event.FileAttr, with(named, event.FileChange{Attribute: "trusted.d"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			since := r.decoder.clock.wall(bootNow())
			if err := c.do(); err == unix.ENOSYS || err == unix.EOPNOTSUPP { //nolint:errorlint // the system calls themselves
				t.Skip("neither kernel nor file system has it: ", err)
			} else if err != nil {
				t.Fatal(err)
			}
			e := r.find(t, c.kind, func(e *event.Event) bool {
				return e.Process.TID == uint32(unix.Gettid()) && !e.Time.Before(since)
			})
			if diff := cmp.Diff(c.want, e.File); diff != "" || e.Errno != 0 || e.Process.PID != uint32(os.Getpid()) || e.Truncated {
				t.Errorf("%s%+v", diff, e)
			}
		})
	}
}

// TestFailedChangesAreNotTold makes changes that cannot be, and one that is none.
func TestFailedChangesAreNotTold(t *testing.T) {
	dir := realTempDir(t)
	r := newRecording(t, only(changes...))
	write(t, filepath.Join(dir, "f"))
	fd := openAt(t, filepath.Join(dir, "f"), unix.O_RDWR)
	missing := filepath.Join(dir, "missing", "x")
	_ = unix.Link(missing, filepath.Join(dir, "l"))
	_ = unix.Mkdir(missing, 0o700)
	_ = unix.Truncate(missing, 0)
	_ = unix.Chown(missing, 0, 0)
	_ = unix.Removexattr(missing, "trusted.x")
	if err := unix.Fallocate(fd, 0, 0, 4096); err != nil {
		t.Fatal(err)
	}
	memory, err := unix.MemfdCreate("m", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Ftruncate(memory, 4096)
	_ = unix.Close(memory)
	q := newRing(t)
	path, addr := cstring(missing)
	if got := q.do(t, sqe{op: opMkdirat, fd: unix.AT_FDCWD, addr: addr}); got >= 0 {
		t.Error("a directory was made in one that is missing")
	}
	runtime.KeepAlive(path)
	last := filepath.Join(dir, "last")
	if err := unix.Mkdir(last, 0o700); err != nil {
		t.Fatal(err)
	}
	r.find(t, event.FileMkdir, func(e *event.Event) bool { return e.File.Path == last })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Process.PID == uint32(os.Getpid()) && e.File.Path != last {
			t.Errorf("%s was told of %+v", e.Kind, e.File)
		}
	}
}

// TestChangesThroughIOUring makes changes that no system call stands for, with an answer and without.
func TestChangesThroughIOUring(t *testing.T) {
	r := newRecording(t, only(changes...))
	q := newRing(t)
	dir := realTempDir(t)
	base := int32(openAt(t, dir, unix.O_RDONLY|unix.O_DIRECTORY))
	const opFallocate, opFtruncate = 17, 55
	for flags, how := range map[byte]string{0: "", sqeAsync: " by a worker", sqeQuiet: " without a word"} {
		in := func(name string) string { return filepath.Join(dir, name+how) }
		write(t, in("f"))
		fd := int32(openAt(t, in("f"), unix.O_RDWR))
		st := stat(t, in("f"))
		held := event.File{Path: in("f"), Dev: kernelDev(st.Dev), Ino: st.Ino, Mode: st.Mode}
		for _, c := range []struct {
			name     string
			q        sqe
			one, two string
			kind     event.Kind
			want     event.File
		}{
			{"fallocate", sqe{op: opFallocate, fd: fd, addr: 1, len: unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE}, "", "", event.FileTruncate, with(held, 1)},
			{"ftruncate", sqe{op: opFtruncate, fd: fd, off: 5}, "", "", event.FileTruncate, with(held, 5)},
			{"mkdirat", sqe{op: opMkdirat, fd: base, len: 0o700}, "d" + how, "", event.FileMkdir, event.File{Path: in("d"), Mode: unix.S_IFDIR}},
			{"symlinkat", sqe{op: opSymlinkat, fd: base}, "f" + how, "s" + how, event.FileLink, event.File{Path: in("s"), Old: in("f"), Mode: unix.S_IFLNK}},
			{"linkat", sqe{op: opLinkat, fd: base, len: uint32(base)}, "f" + how, "h" + how, event.FileLink, event.File{Path: in("h"), Old: in("f")}},
			{"renameat", sqe{op: opRenameat, fd: base, len: uint32(base)}, "h" + how, "r" + how, event.FileRename, event.File{Path: in("r"), Old: in("h")}},
			{"unlinkat", sqe{op: opUnlinkat, fd: base}, "r" + how, "", event.FileDelete, event.File{Path: in("r"), Deleted: true}},
		} {
			t.Run(c.name+how, func(t *testing.T) {
				if c.kind == event.FileTruncate && flags&sqeQuiet != 0 {
					t.Skip("what a quiet request does to a descriptor is not told of")
				}
				req := c.q
				req.flags = flags
				one, addr := cstring(c.one)
				two, addr2 := cstring(c.two)
				if c.one != "" {
					req.addr = addr
				}
				if c.two != "" {
					req.off = addr2
				}
				got := q.do(t, req)
				runtime.KeepAlive(one)
				runtime.KeepAlive(two)
				if got == -int32(unix.EINVAL) && c.q.op == opFtruncate {
					t.Skip("this kernel has no ftruncate in io_uring")
				}
				if got < 0 {
					t.Fatal(unix.Errno(-got))
				}
				e := r.find(t, c.kind, func(e *event.Event) bool { return e.File.Path == c.want.Path && e.File.Size == c.want.Size })
				if diff := cmp.Diff(c.want, e.File); diff != "" || e.Process.PID != uint32(os.Getpid()) || e.Truncated {
					t.Errorf("%s%+v", diff, e)
				}
			})
		}
	}
}

func with(f event.File, size int64) event.File {
	f.Size = size
	return f
}

func openAt(t *testing.T, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// setxattrat is of 6.13.
func setxattrat(dir int, name, attribute string) error {
	n, a := append([]byte(name), 0), append([]byte(attribute), 0)
	value := []byte("1")
	args := struct {
		value       uint64
		size, flags uint32
	}{uint64(uintptr(unsafe.Pointer(&value[0]))), 1, 0}
	_, _, errno := unix.Syscall6(463, uintptr(dir), uintptr(unsafe.Pointer(&n[0])), 0, uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	runtime.KeepAlive(value)
	if errno != 0 {
		return errno
	}
	return nil
}
