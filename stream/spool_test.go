package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type spoolWatch struct {
	dropped uint32
	errs    []error
}

func testSpool(t testing.TB, dir string, size int64) (*spool, *spoolWatch) {
	t.Helper()
	w := &spoolWatch{}
	s, err := openSpool(dir, size, func(n uint32) { w.dropped += n }, func(err error) { w.errs = append(w.errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, w
}

func put(t testing.TB, s *spool, n, size int) {
	t.Helper()
	if err := s.append(record{id: fmt.Sprint(n), count: 1, payload: bytes.Repeat([]byte{'x'}, size)}); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s *spool) (out []string, last position) {
	t.Helper()
	for {
		r, p, ok := s.next()
		if !ok {
			return out, last
		}
		out, last = append(out, r.id), p
	}
}

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	s, _ := testSpool(t, dir, 1<<20)
	for n := range 10 {
		put(t, s, n, 100)
	}
	got, _ := get(t, s)
	if len(got) != 10 {
		t.Fatal(got)
	}
	s.rewind()
	_, _, _ = s.next()
	_, second, _ := s.next()
	s.done(second)
	s.rewind()
	if got, _ := get(t, s); len(got) != 8 || got[0] != "2" {
		t.Fatalf("after two acknowledged: %v", got)
	}
	s.close()

	s, _ = testSpool(t, dir, 1<<20) // as after a kill: nothing was tidied up
	got, last := get(t, s)
	if len(got) != 8 || got[0] != "2" {
		t.Fatalf("after a restart: %v", got)
	}
	s.done(last)
	if n := s.pending(); n != 0 {
		t.Errorf("%d bytes pending", n)
	}
	s.close()
	for round := range 3 { // numbers of files are not used again, or these would look old
		s, _ = testSpool(t, dir, 1<<20)
		put(t, s, 100+round, 10)
		s.close()
		s, _ = testSpool(t, dir, 1<<20)
		got, last = get(t, s)
		if len(got) != 1 || got[0] != fmt.Sprint(100+round) {
			t.Fatalf("round %d: %v", round, got)
		}
		s.done(last)
		s.close()
	}
}

func TestSpoolTornTail(t *testing.T) {
	for cut := 1; cut < 60; cut += 7 {
		dir := t.TempDir()
		s, _ := testSpool(t, dir, 1<<20)
		for n := range 3 {
			put(t, s, n, 40)
		}
		name := s.name(s.segs[0].num)
		s.close()
		i, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, i.Size()-int64(cut)); err != nil {
			t.Fatal(err)
		}
		s, _ = testSpool(t, dir, 1<<20)
		put(t, s, 9, 40)
		if got, _ := get(t, s); strings.Join(got, "") != "019" && strings.Join(got, "") != "09" {
			t.Errorf("cut by %d: %v", cut, got)
		}
	}
}

func TestSpoolDropsOldest(t *testing.T) {
	s, w := testSpool(t, t.TempDir(), 1<<20)
	for n := range 2000 {
		put(t, s, n, 1000)
	}
	if s.size > 1<<20+64<<10 {
		t.Errorf("%d bytes on disk", s.size)
	}
	got, last := get(t, s)
	if len(got)+int(w.dropped) != 2000 || got[len(got)-1] != "1999" || w.dropped == 0 {
		t.Errorf("%d there, %d dropped, last %s", len(got), w.dropped, got[len(got)-1])
	}
	for n := range 2000 { // what is on its way is dropped under the sender's feet
		put(t, s, n, 1000)
	}
	s.done(last)
	s.rewind()
	if got, _ := get(t, s); got[len(got)-1] != "1999" {
		t.Error("newest is gone")
	}
}

func TestSpoolFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs to mount a small disk: %s", out)
	}
	defer exec.Command("umount", "-l", dir).Run()
	s, w := testSpool(t, filepath.Join(dir, "s"), 64<<20)
	for n := range 1000 {
		put(t, s, n, 1000)
	}
	if len(w.errs) != 1 || w.errs[0] == nil {
		t.Errorf("told %v", w.errs)
	}
	var order []string
	for i := 0; ; i++ {
		r, p, ok := s.next()
		if !ok {
			break
		}
		order = append(order, r.id)
		s.done(p)
	}
	if len(order) != 1000 || w.dropped != 0 {
		t.Fatalf("%d came out, %d dropped", len(order), w.dropped)
	}
	for n, id := range order {
		if id != fmt.Sprint(n) {
			t.Fatalf("record %d is %s", n, id)
		}
	}
	put(t, s, 1, 1000)
	if len(w.errs) != 2 || w.errs[1] != nil {
		t.Errorf("told %v", w.errs)
	}
	for n := range 20_000 { // more than disk and memory hold
		put(t, s, n, 1000)
	}
	got, _ := get(t, s)
	if len(got)+int(w.dropped) != 20_001 || w.dropped == 0 {
		t.Errorf("%d there, %d dropped", len(got), w.dropped)
	}
}

func FuzzReadRecord(f *testing.F) {
	good, err := appendRecord(nil, &record{id: "id", count: 3, payload: []byte("payload")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(good, good[:9]...))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for off := int64(0); ; {
			rec, next, err := readRecord(r, off)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, errTorn) {
					t.Fatal(err)
				}
				return
			}
			again, err := appendRecord(nil, &rec)
			if err != nil || !bytes.Equal(again, b[off:next]) {
				t.Fatalf("record at %d does not come out as it went in: %v", off, err)
			}
			off = next
		}
	})
}
