package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

// ring is as little of io_uring as a test needs: one request after another.
type ring struct {
	fd       int
	sq, sqes []byte
	params   [30]uint32
}

// sqe is a request, as the kernel lays it out.
type sqe struct {
	op, flags byte
	ioprio    uint16
	fd        int32
	off, addr uint64
	len       uint32
	opFlags   uint32
	data      uint64
	buf, pers uint16
	file      uint32
	rest      [2]uint64
}

const (
	sqeFixed = 1 << 0
	sqeAsync = 1 << 4
	sqeQuiet = 1 << 6
	anySlot  = ^uint32(0)
)

func newRing(t *testing.T) *ring {
	t.Helper()
	r := &ring{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		require(t, "uring", false, "io_uring is not to be had here: "+errno.Error())
	}
	r.fd = int(fd)
	t.Cleanup(func() { _ = unix.Close(r.fd) })
	var err error
	// One mapping holds both rings, from 5.4 on; its size is that of the one that ends later.
	size := max(int(r.params[16])+int(r.params[0])*4, int(r.params[25])+int(r.params[1])*16)
	if r.sq, err = unix.Mmap(r.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		t.Fatal(err)
	}
	if r.sqes, err = unix.Mmap(r.fd, 0x10000000, int(r.params[0])*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(r.sq); _ = unix.Munmap(r.sqes) })
	return r
}

func (r *ring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.sq[off])) }

// do submits one request and returns its result; of a quiet one that works 0. Linux 6.1 cancels a
// request where a signal comes as it makes a worker for it.
func (r *ring) do(t *testing.T, q sqe) (res int32) {
	t.Helper()
	for range 10 {
		if res = r.once(t, q); res != -int32(unix.ECANCELED) {
			break
		}
	}
	return res
}

func (r *ring) once(t *testing.T, q sqe) int32 {
	t.Helper()
	tail, mask := r.word(r.params[11]), *r.word(r.params[12])
	i := *tail & mask
	*(*sqe)(unsafe.Pointer(&r.sqes[i*64])) = q
	*r.word(r.params[16] + 4*i) = i
	atomic.AddUint32(tail, 1)
	head, end := r.word(r.params[20]), r.word(r.params[21])
	wait := uintptr(1)
	if q.flags&sqeQuiet != 0 {
		wait = 0
	}
	// A signal, such as Go's own, may end the wait and leave the request submitted.
	for submit := uintptr(1); ; {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, wait, wait, 0, 0)
		if errno != 0 && !errors.Is(errno, unix.EINTR) {
			t.Fatal(errno)
		}
		if errno == 0 && n > 0 {
			submit = 0
		}
		if atomic.LoadUint32(head) != atomic.LoadUint32(end) {
			break
		}
		if submit == 0 && wait == 0 {
			return 0
		}
	}
	at := r.params[25] + 16*(*head&*r.word(r.params[22]))
	res := int32(*r.word(at + 8))
	atomic.AddUint32(head, 1)
	return res
}

// cstring is a path as the kernel takes it, which lives as long as the test's frame holds it.
func cstring(s string) (*byte, uint64) {
	b := append([]byte(s), 0)
	return &b[0], uint64(uintptr(unsafe.Pointer(&b[0])))
}

const (
	opOpenat    = 18
	opOpenat2   = 28
	opRenameat  = 35
	opUnlinkat  = 36
	opMkdirat   = 37
	opSymlinkat = 38
	opLinkat    = 39
)

// slots gives the ring a table of files of its own.
func (r *ring) slots(t *testing.T, n int) {
	t.Helper()
	table := make([]int32, n)
	for i := range table {
		table[i] = -1
	}
	const registerFiles = 2
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerFiles, uintptr(unsafe.Pointer(&table[0])), uintptr(n), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

// TestOpensThroughIOUring opens a watched file in every way that io_uring knows.
func TestOpensThroughIOUring(t *testing.T) {
	r := newRecording(t, only(event.FileRead, event.FileWrite, event.FileCreate))
	q := newRing(t)
	q.slots(t, 8)
	dir := realTempDir(t)
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	base, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(base) }()
	for _, c := range []struct {
		name string
		q    sqe
	}{
		{"openat", sqe{op: opOpenat}},
		{"by a worker", sqe{op: opOpenat, flags: sqeAsync}},
		{"openat2", sqe{op: opOpenat2}},
		{"in a slot", sqe{op: opOpenat, file: 3}},
		{"in any slot", sqe{op: opOpenat2, file: anySlot}},
		{"without a word", sqe{op: opOpenat, flags: sqeQuiet, file: 5}},
		{"without a word, by a worker", sqe{op: opOpenat2, flags: sqeQuiet | sqeAsync, file: 6}},
	} {
		for kind, flags := range map[event.Kind]uint64{event.FileRead: unix.O_RDONLY, event.FileWrite: unix.O_WRONLY} {
			t.Run(c.name+", "+kind.String(), func(t *testing.T) {
				file := filepath.Join(dir, c.name+" "+kind.String())
				write(t, file)
				req, how := c.q, [3]uint64{flags}
				path, addr := cstring(filepath.Base(file))
				req.fd, req.addr = int32(base), addr
				if req.op == opOpenat {
					req.opFlags = uint32(flags)
				} else {
					req.len, req.off = 24, uint64(uintptr(unsafe.Pointer(&how)))
				}
				got := q.do(t, req)
				runtime.KeepAlive(path)
				runtime.KeepAlive(&how)
				if got < 0 {
					t.Fatal(unix.Errno(-got))
				}
				if req.file == 0 {
					_ = unix.Close(int(got))
				}
				st := stat(t, file)
				e := r.find(t, kind, func(e *event.Event) bool { return e.File.Path == file })
				if e.File.Ino != st.Ino || e.File.Dev != kernelDev(st.Dev) || e.File.Size != 1 || e.Process.PID != uint32(os.Getpid()) || e.File.Created {
					t.Errorf("%+v by %+v", e.File, e.Process)
				}
			})
		}
	}
	t.Run("not watched", func(t *testing.T) {
		other := filepath.Join(realTempDir(t), "other")
		write(t, other)
		path, addr := cstring(other)
		q.do(t, sqe{op: opOpenat, fd: unix.AT_FDCWD, addr: addr, flags: sqeQuiet, file: 8})
		runtime.KeepAlive(path)
		created := filepath.Join(dir, "created")
		path, addr = cstring(created)
		if got := q.do(t, sqe{op: opOpenat, fd: unix.AT_FDCWD, addr: addr, opFlags: unix.O_CREAT | unix.O_WRONLY, len: 0o640}); got < 0 {
			t.Fatal(unix.Errno(-got))
		}
		runtime.KeepAlive(path)
		e := r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == created })
		if e.File.Mode != 0o100640 || !e.File.Created {
			t.Errorf("%+v", e.File)
		}
		r.silent(t, event.FileRead, other)
	})
}

// silent fails where an event of a kind came for a path.
func (r *recording) silent(t *testing.T, k event.Kind, path string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == k && e.File.Path == path {
			t.Errorf("%s was told of %s", k, path)
		}
	}
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}
