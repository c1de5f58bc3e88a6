package action

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// written makes a journal of three settled records.
func written(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "j")
	j, err := openJournal(name)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for i := range 3 {
		r := &Record{Request: *request(fmt.Sprint(i), "break", "/x"), Result: Result{State: Done}}
		if err := j.append(entry{Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func TestAnEntryThatACrashCutOffIsDropped(t *testing.T) {
	whole, err := os.ReadFile(written(t))
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(string(whole[:len(whole)-1]), '\n') + 1
	for cut := last; cut < len(whole); cut++ {
		name := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(name)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if len(j.records) != 2 {
			t.Fatalf("cut at %d: %d records", cut, len(j.records))
		}
		if err := j.append(entry{Record: &Record{Request: *request("new", "break", "/x")}}); err != nil {
			t.Fatal(err)
		}
		j.close()
		if j, err = openJournal(name); err != nil || len(j.records) != 3 {
			t.Fatalf("cut at %d: afterwards %v", cut, err)
		}
		j.close()
	}
}

func TestADamagedEntryIsNamed(t *testing.T) {
	name := written(t)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[strings.IndexByte(string(b), '\n')+20] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(name); err == nil || !strings.Contains(err.Error(), name+":2: the entry is damaged") {
		t.Errorf("got %v", err)
	}
}

func TestTheJournalIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, err := openJournal(name)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(1_800_000_000, 0)
	held := &Record{Request: *request("held", "hold", "/x"), Class: Reversible, Begun: begin, Result: Result{State: Done}}
	for _, e := range []entry{{Record: held}, {Fence: &fence{"run", 7, begin}}, {Trips: map[Kind]time.Time{Kill: begin}}} {
		if err := j.append(e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3000 {
		r := &Record{Request: *request(fmt.Sprint("r", i), "break", "/x"), Begun: begin.Add(time.Duration(i) * time.Second), Result: Result{State: Done}}
		r.Request.Reason = strings.Repeat("x", 4000)
		line, err := formatEntry(entry{Record: r})
		if err != nil {
			t.Fatal(err)
		}
		if j.size+int64(len(line)) > journalBytes {
			if err := j.compact(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.file.Write(line); err != nil { // as append does, without a sync each
			t.Fatal(err)
		}
		j.size += int64(len(line))
		j.take(entry{Record: r})
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(name); err != nil || st.Size() > journalBytes || st.Size() != j.size {
		t.Errorf("%d bytes, counted %d, %v", st.Size(), j.size, err)
	}
	back, err := openJournal(name)
	if err != nil {
		t.Fatal(err)
	}
	defer back.close()
	if back.records["held"] == nil || back.fences["run"].N != 7 || len(back.trips) != 1 || back.records["r2999"] == nil {
		t.Errorf("lost what must be kept: %d records", len(back.records))
	}
	if back.records["r0"] != nil {
		t.Error("the oldest is kept")
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := openJournal(name); err == nil {
			j.close()
		}
	})
}
