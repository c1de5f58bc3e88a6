package kernel

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"picket/event"
)

// TestMappings maps a file in each way that matters, and in some that do not.
func TestMappings(t *testing.T) {
	r := newRecording(t, only(event.FileMap))
	dir, other := realTempDir(t), realTempDir(t)
	for _, name := range []string{filepath.Join(dir, "w"), filepath.Join(other, "lib.so"), filepath.Join(other, "late.so"), filepath.Join(other, "plain")} {
		if err := os.WriteFile(name, make([]byte, 4096), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WatchDir(dir); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mapped := func(name string, prot, flags int) []byte {
		t.Helper()
		b, err := unix.Mmap(openAt(t, name, unix.O_RDWR), 0, 4096, prot, flags)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(b) })
		return b
	}
	mapped(filepath.Join(other, "plain"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED) // not watched
	mapped(filepath.Join(dir, "w"), unix.PROT_READ, unix.MAP_SHARED)
	mapped(filepath.Join(dir, "w"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE) // does not reach the file
	mapped(filepath.Join(dir, "w"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	mapped(filepath.Join(other, "lib.so"), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	late := mapped(filepath.Join(other, "late.so"), unix.PROT_READ, unix.MAP_PRIVATE)
	if err := unix.Mprotect(late, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	want := map[string]event.Access{
		filepath.Join(dir, "w"):         event.AccessRead | event.AccessWrite,
		filepath.Join(other, "lib.so"):  event.AccessRead | event.AccessExec,
		filepath.Join(other, "late.so"): event.AccessRead | event.AccessExec,
	}
	tid := uint32(unix.Gettid())
	r.find(t, event.FileMap, func(e *event.Event) bool { return e.File.Path == filepath.Join(other, "late.so") })
	r.mu.Lock()
	defer r.mu.Unlock()
	got := map[string]event.Access{}
	for _, e := range r.events {
		if e.Process.TID != tid {
			continue
		}
		got[e.File.Path] = e.File.Access
		if st := stat(t, e.File.Path); e.File.Ino != st.Ino || e.File.Dev != kernelDev(st.Dev) || e.File.Size != 4096 || e.File.Mode != st.Mode {
			t.Errorf("%+v", e.File)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMappedOnce maps one library again and again: it is told of once a second, and the rest is counted.
func TestMappedOnce(t *testing.T) {
	d := only(event.FileMap)
	d.MapOnce = true
	r := newRecording(t, d)
	lib, other := filepath.Join(realTempDir(t), "lib.so"), filepath.Join(realTempDir(t), "other.so")
	for _, name := range []string{lib, other} {
		if err := os.WriteFile(name, make([]byte, 4096), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const times = 50
	f := openAt(t, lib, unix.O_RDONLY)
	start := time.Now()
	for range times {
		b, err := unix.Mmap(f, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Munmap(b)
	}
	windows := 2 + int(time.Since(start)/time.Second)
	b, err := unix.Mmap(openAt(t, other, unix.O_RDONLY), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	r.find(t, event.FileMap, func(e *event.Event) bool { return e.File.Path == other })
	r.mu.Lock()
	defer r.mu.Unlock()
	told := 0
	for _, e := range r.events {
		if e.File.Path == lib {
			told++
		}
	}
	if told < 1 || told > windows {
		t.Errorf("told of %d times, want once in each of at most %d seconds", told, windows)
	}
	if n := r.Stats().Collapsed[event.FileMap]; n < uint64(times-told) {
		t.Errorf("%d were counted, want %d", n, times-told)
	}
}
