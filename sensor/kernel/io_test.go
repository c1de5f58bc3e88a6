package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

// TestBytesOfFiles moves a file's bytes in every way there is and wants each of them counted.
func TestBytesOfFiles(t *testing.T) {
	r := newRecording(t, only(event.FileIO))
	q := newRing(t)
	dir := realTempDir(t)
	const size, chunk = 3 << 20, 1<<16 + 1
	large := func(name string) (string, int) {
		t.Helper()
		name = filepath.Join(dir, name)
		write(t, name)
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
		return name, openAt(t, name, unix.O_RDWR)
	}
	_, sink := large("sink")
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, chunk)
	uring := func(op byte, fd int, at int64, n int) (int, error) {
		got := q.do(t, sqe{op: op, fd: int32(fd), off: uint64(at), addr: uint64(uintptr(unsafe.Pointer(&buf[0]))), len: uint32(n)})
		return int(got), nil
	}
	const opRead, opWrite = 22, 23
	ways := []struct {
		name    string
		written bool
		do      func(fd int, at int64, n int) (int, error)
	}{
		{"read", false, func(fd int, _ int64, n int) (int, error) { return unix.Read(fd, buf[:n]) }},
		{"pread", false, func(fd int, at int64, n int) (int, error) { return unix.Pread(fd, buf[:n], at) }},
		{"readv", false, func(fd int, _ int64, n int) (int, error) { return unix.Readv(fd, [][]byte{buf[:1], buf[1:n]}) }},
		{"preadv", false, func(fd int, at int64, n int) (int, error) { return unix.Preadv(fd, [][]byte{buf[:n]}, at) }},
		{"preadv2", false, func(fd int, at int64, n int) (int, error) { return unix.Preadv2(fd, [][]byte{buf[:n]}, at, 0) }},
		{"sendfile", false, func(fd int, _ int64, n int) (int, error) { return unix.Sendfile(sink, fd, nil, n) }},
		{"copy_file_range", false, func(fd int, _ int64, n int) (int, error) {
			var at int64
			return unix.CopyFileRange(fd, nil, sink, &at, n, 0)
		}},
		{"splice", false, func(fd int, _ int64, n int) (int, error) {
			got, err := unix.Splice(fd, nil, pipe[1], nil, min(n, 4096), 0)
			_, _ = unix.Read(pipe[0], buf)
			return int(got), err
		}},
		{"io_uring read", false, func(fd int, at int64, n int) (int, error) { return uring(opRead, fd, at, n) }},
		{"io_uring splice", false, func(fd int, at int64, n int) (int, error) {
			got := q.do(t, sqe{op: 30, fd: int32(pipe[1]), off: ^uint64(0), addr: uint64(at), len: uint32(min(n, 4096)), file: uint32(fd)})
			_, _ = unix.Read(pipe[0], buf)
			return int(got), nil
		}},
		{"write", true, func(fd int, _ int64, n int) (int, error) { return unix.Write(fd, buf[:n]) }},
		{"pwrite", true, func(fd int, at int64, n int) (int, error) { return unix.Pwrite(fd, buf[:n], at) }},
		{"writev", true, func(fd int, _ int64, n int) (int, error) { return unix.Writev(fd, [][]byte{buf[:n]}) }},
		{"pwritev2", true, func(fd int, at int64, n int) (int, error) { return unix.Pwritev2(fd, [][]byte{buf[:n]}, at, 0) }},
		{"io_uring write", true, func(fd int, at int64, n int) (int, error) { return uring(opWrite, fd, at, n) }},
	}
	for _, way := range ways { // all of them first: the look at the counts comes every few seconds
		_, fd := large(way.name)
		for at := int64(0); at < size; {
			n, err := way.do(fd, at, int(min(chunk, size-at)))
			if err != nil || n <= 0 {
				t.Fatal(way.name, n, err)
			}
			at += int64(n)
		}
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			name := filepath.Join(dir, way.name)
			want := event.FileChange{BytesRead: size}
			if way.written {
				want = event.FileChange{BytesWritten: size}
			}
			st := stat(t, name)
			e := r.find(t, event.FileIO, func(e *event.Event) bool { return e.File.Path == name && e.File.FileChange == want })
			if e.File.Ino != st.Ino || e.File.Dev != kernelDev(st.Dev) || e.File.Size != size || e.Process.PID != uint32(os.Getpid()) || e.File.Old != "" {
				t.Errorf("%+v", e.File)
			}
		})
	}
	runtime.KeepAlive(buf)
	if st := r.Stats(); st.Malformed != 0 || st.Dropped[event.FileIO] != 0 {
		t.Errorf("%+v", st)
	}
}

// TestBytesAreToldAtAStepAndAtTheEnd reads more than a step, and lets a program end that read less.
func TestBytesAreToldAtAStepAndAtTheEnd(t *testing.T) {
	r := newRecording(t, only(event.FileIO))
	dir := realTempDir(t)
	large, other, small := filepath.Join(dir, "large"), filepath.Join(dir, "other"), filepath.Join(dir, "small")
	for name, size := range map[string]int64{large: 80 << 20, other: 3 << 20, small: 1<<20 - 1} {
		write(t, name)
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.ReadFile(small); err != nil {
		t.Fatal(err)
	}
	fd, buf := openAt(t, large, unix.O_RDONLY), make([]byte, 1<<20)
	for range 80 {
		if n, err := unix.Read(fd, buf); n != len(buf) || err != nil {
			t.Fatal(n, err)
		}
	}
	is := func(pid int, read uint64) func(*event.Event) bool {
		return func(e *event.Event) bool {
			return e.Process.PID == uint32(pid) && e.File.Path == large && e.File.BytesRead == read
		}
	}
	r.find(t, event.FileIO, is(os.Getpid(), 64<<20))
	r.find(t, event.FileIO, is(os.Getpid(), 80<<20))
	cmd := exec.Command("cat", other)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "the bytes of a program that ended", func(e *event.Event) bool {
		return e.Process.PID == uint32(cmd.ProcessState.Pid()) && e.File.Path == other && e.File.BytesRead == 3<<20
	})
	r.silent(t, event.FileIO, small)
}

// TestBytesOfMappings reads a file through a mapping, twice. What is mapped already is not read again.
func TestBytesOfMappings(t *testing.T) {
	r := newRecording(t, only(event.FileIO))
	if !hasTracepoint(t, "mm_filemap_map_pages") {
		t.Skip("this kernel does not say which pages of a file are mapped (Linux 6.12 does)")
	}
	const size = 8 << 20
	page := os.Getpagesize()
	name := filepath.Join(realTempDir(t), "weights")
	write(t, name)
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(openAt(t, name, unix.O_RDONLY), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	var sum byte
	for range 2 {
		for at := 0; at < size; at += page {
			sum += b[at]
		}
	}
	runtime.KeepAlive(sum)
	e := r.find(t, event.FileIO, func(e *event.Event) bool { return e.File.Path == name && e.File.BytesRead == size })
	if e.File.BytesWritten != 0 || e.Process.PID != uint32(os.Getpid()) {
		t.Errorf("%+v", e.File)
	}
}
