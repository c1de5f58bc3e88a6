package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"picket/event"
)

// TestEveryWayToAFile opens a watched file in ways that hide its name, and wants the file that was
// really opened: its inode, and the path by which the kernel reached it.
func TestEveryWayToAFile(t *testing.T) {
	r := newRecording(t, only(event.FileRead, event.FileWrite))
	dir, other := realTempDir(t), realTempDir(t)
	file := filepath.Join(dir, "model.safetensors")
	write(t, file)
	hard := filepath.Join(other, "hard")
	if err := os.Link(file, hard); err != nil {
		t.Fatal(err)
	}
	soft := filepath.Join(other, "soft")
	if err := os.Symlink(file, soft); err != nil {
		t.Fatal(err)
	}
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	late := filepath.Join(other, "linked later")
	if err := os.Link(file, late); err != nil {
		t.Fatal(err)
	}
	st := stat(t, file)
	for _, way := range []struct {
		name, path string // told; a handle has no name, and any that the file has is told
		open       func(flags int) (int, error)
	}{
		{"openat2 beneath a directory", file, func(flags int) (int, error) {
			return openat2(t, dir, "model.safetensors", flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
		}},
		{"openat2 in a root", file, func(flags int) (int, error) {
			return openat2(t, dir, "/../model.safetensors", flags, unix.RESOLVE_IN_ROOT)
		}},
		{"by handle", "", func(flags int) (int, error) { return byHandle(t, file, flags) }},
		{"proc root", file, func(flags int) (int, error) { return unix.Open("/proc/self/root"+file, flags, 0) }},
		{"a directory's descriptor in proc", file, func(flags int) (int, error) {
			return throughFD(t, dir, "/model.safetensors", flags)
		}},
		{"its own descriptor in proc", file, func(flags int) (int, error) { return throughFD(t, file, "", flags) }},
		{"dots", file, func(flags int) (int, error) {
			return unix.Open(other+"/./../../"+tail(dir, 2)+"//model.safetensors", flags, 0)
		}},
		{"symbolic link", file, func(flags int) (int, error) { return unix.Open(soft, flags, 0) }},
		{"hard link", hard, func(flags int) (int, error) { return unix.Open(hard, flags, 0) }},
		{"hard link of later", late, func(flags int) (int, error) { return unix.Open(late, flags, 0) }},
	} {
		for kind, flags := range map[event.Kind]int{event.FileRead: unix.O_RDONLY, event.FileWrite: unix.O_RDWR} {
			t.Run(way.name+", "+kind.String(), func(t *testing.T) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				since := bootNow()
				fd, err := way.open(flags | unix.O_CLOEXEC)
				if err != nil {
					t.Fatal(err)
				}
				_ = unix.Close(fd)
				from := r.decoder.clock.wall(since)
				e := r.find(t, kind, func(e *event.Event) bool {
					return !e.Time.Before(from) && e.File.Ino == st.Ino && e.Process.TID == uint32(unix.Gettid())
				})
				named := e.File.Path == way.path || way.path == "" && (e.File.Path == file || e.File.Path == hard || e.File.Path == late)
				if !named || e.File.Dev != kernelDev(st.Dev) || e.Process.PID != uint32(os.Getpid()) || e.Truncated {
					t.Errorf("%+v by %+v", e.File, e.Process)
				}
			})
		}
	}
}

// tail returns the last n parts of a path.
func tail(p string, n int) string {
	from := p
	for range n {
		from = filepath.Dir(from)
	}
	rel, _ := filepath.Rel(from, p)
	return rel
}

func openat2(t *testing.T, dir, name string, flags, resolve int) (int, error) {
	t.Helper()
	base, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(base) }()
	return unix.Openat2(base, name, &unix.OpenHow{Flags: uint64(flags), Resolve: uint64(resolve)})
}

func byHandle(t *testing.T, name string, flags int) (int, error) {
	t.Helper()
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, name, 0)
	if err != nil {
		t.Skip("the file system has no handles: ", err)
	}
	mount, err := unix.Open(filepath.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(mount) }()
	return unix.OpenByHandleAt(mount, h, flags)
}

func throughFD(t *testing.T, name, rest string, flags int) (int, error) {
	t.Helper()
	fd, err := unix.Open(name, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d%s", fd, rest), flags, 0)
}

// TestReadsThroughABindMount reads a watched file in another mount namespace, at another place.
func TestReadsThroughABindMount(t *testing.T) {
	r := newRecording(t, only(event.FileRead))
	dir, other := realTempDir(t), realTempDir(t)
	file := filepath.Join(dir, "w")
	write(t, file)
	alone := filepath.Join(other, "alone")
	write(t, alone)
	at := filepath.Join(other, "at")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	tid := make(chan int)
	onDoomedThread(func() {
		defer close(tid)
		if unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS) != nil || unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") != nil {
			return
		}
		if unix.Mount(file, alone, "", unix.MS_BIND, "") != nil || unix.Mount(dir, at, "", unix.MS_BIND, "") != nil {
			return
		}
		for _, name := range []string{alone, filepath.Join(at, "w")} {
			if fd, err := unix.Open(name, unix.O_RDONLY, 0); err == nil {
				_ = unix.Close(fd)
			}
		}
		tid <- unix.Gettid()
	})
	by, ok := <-tid
	require(t, "root", ok, "needs to make mount namespaces")
	for _, path := range []string{alone, filepath.Join(at, "w")} {
		e := r.find(t, event.FileRead, func(e *event.Event) bool { return e.Process.TID == uint32(by) && e.File.Path == path })
		if st := stat(t, file); e.File.Ino != st.Ino || e.File.Dev != kernelDev(st.Dev) || e.Process.PID != uint32(os.Getpid()) {
			t.Errorf("%+v", e.File)
		}
	}
}

// TestReadsOfWhatIsLinkedIn watches a directory into which a file from elsewhere is linked: it is
// told of under its old name too.
func TestReadsOfWhatIsLinkedIn(t *testing.T) {
	r := newRecording(t, only(event.FileRead))
	dir, other := realTempDir(t), realTempDir(t)
	for _, link := range []func(old, name string) error{os.Link, os.Symlink} {
		if err := r.WatchDir(dir); err != nil {
			t.Fatal(err)
		}
		file, err := os.CreateTemp(other, "*")
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		if err := link(file.Name(), filepath.Join(dir, filepath.Base(file.Name()))); err != nil {
			t.Fatal(err)
		}
		var done atomic.Bool
		over := make(chan struct{})
		go func() { // noticed soon, not at once
			defer close(over)
			for i := 0; i < 500*int(slow()) && !done.Load(); i++ {
				_, _ = os.ReadFile(file.Name())
				time.Sleep(10 * time.Millisecond)
			}
		}()
		e := r.find(t, event.FileRead, func(e *event.Event) bool { return e.File.Path == file.Name() })
		done.Store(true)
		<-over
		if e.File.Ino != stat(t, file.Name()).Ino {
			t.Errorf("%+v", e.File)
		}
	}
}

// TestReadRace opens a path that another thread rewrites all the time, ten thousand times in three
// ways, and compares each event with the file that the opener really got.
func TestReadRace(t *testing.T) {
	r := newRecording(t, only(event.FileRead))
	q := newRing(t)
	dir := realTempDir(t)
	names := map[string]uint64{}
	for _, n := range []string{"a", "b"} {
		write(t, filepath.Join(dir, n))
		names[filepath.Join(dir, n)] = stat(t, filepath.Join(dir, n)).Ino
	}
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	path := append([]byte(filepath.Join(dir, "a")), 0)
	addr, last := uintptr(unsafe.Pointer(&path[0])), &path[len(path)-2]
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			*last ^= 'a' ^ 'b'
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cwd, how := int64(unix.AT_FDCWD), [3]uint64{}
	var got []uint64
	for i := range 10_000 {
		var fd int
		switch i % 3 {
		case 0:
			n, _, _ := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), addr, unix.O_RDONLY, 0, 0, 0)
			fd = int(n)
		case 1:
			n, _, _ := unix.Syscall6(unix.SYS_OPENAT2, uintptr(cwd), addr, uintptr(unsafe.Pointer(&how)), 24, 0, 0)
			fd = int(n)
		case 2:
			fd = int(q.do(t, sqe{op: opOpenat, fd: unix.AT_FDCWD, addr: uint64(addr)}))
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		got = append(got, st.Ino)
		_ = unix.Close(fd)
	}
	stop.Store(true)
	<-done
	var told []event.Event
	r.wait(t, "every open", func(e *event.Event) bool {
		if e.Process.TID == uint32(unix.Gettid()) && names[e.File.Path] != 0 {
			told = append(told, *e)
		}
		return len(told) == len(got)
	})
	for i, e := range told {
		if e.File.Ino != got[i] || names[e.File.Path] != got[i] || e.Process.PID != uint32(os.Getpid()) {
			t.Fatalf("open %d got inode %d; the event says %s, inode %d", i, got[i], e.File.Path, e.File.Ino)
		}
	}
	runtime.KeepAlive(path)
}

// onDoomedThread calls f on a thread of its own, which ends with what f did to it. The first
// thread of the process is not taken: it never ends, and what it is, /proc/self says of the process.
func onDoomedThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f() // and never unlock
			return
		}
		begun := make(chan bool)
		onDoomedThread(func() {
			close(begun)
			f()
		})
		<-begun
		runtime.UnlockOSThread()
	}()
}
