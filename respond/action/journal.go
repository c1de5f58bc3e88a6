package action

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Record is what is kept of one act.
type Record struct {
	Request Request   `json:"request"` // with its target pinned
	Class   Class     `json:"class"`
	Boot    string    `json:"boot"` // of the host, in which it was begun
	Begun   time.Time `json:"begun"`
	Hits    []string  `json:"hits,omitempty"`  // the first of those that it was to reach
	Asked   bool      `json:"asked,omitempty"` // a person is asked whether it holds
	Result  Result    `json:"result"`          // State is empty: begun, and not known how it came out
}

// held reports whether the act holds, as far as is known, and can be taken back.
func (r *Record) held() bool { return r.Result.State == Done && r.Class == Reversible }

// timed reports whether it is taken back by itself: what holds, and what may.
func (r *Record) timed() bool { return (r.held() || r.doubted()) && !r.Result.Until.IsZero() }

// doubted reports whether nobody knows if the act holds, or a part of it, and it can be taken back.
func (r *Record) doubted() bool { return r.Result.State == Unknown && r.Class == Reversible }

// open reports whether the record must be kept whatever its age.
func (r *Record) open() bool { return r.Result.State == "" || r.held() || r.doubted() }

// journal is a file of lines, each a checksum and an entry in JSON, that only grows. What append
// returned without an error is on the disk. It is written anew when it has grown large.
type journal struct {
	path string
	file *os.File
	size int64

	records map[string]*Record
	fences  map[string]fence // by run
	trips   map[Kind]time.Time
}

// entry is one line. Later ones replace what earlier ones said of the same thing.
type entry struct {
	Record *Record            `json:"record,omitempty"`
	Fence  *fence             `json:"fence,omitempty"`
	Trips  map[Kind]time.Time `json:"trips,omitempty"` // all of them
	Reset  bool               `json:"reset,omitempty"` // of Trips
}

// fence is the highest that a run's holder has shown.
type fence struct {
	Run  string    `json:"run"`
	N    uint64    `json:"n"`
	Seen time.Time `json:"seen"`
}

const (
	journalBytes = 8 << 20 // past which the journal is written anew
	keepRecords  = 1000    // settled ones, the newest
	keepFences   = 10_000  // runs, those seen last
	maxEntry     = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal reads a journal, or begins one. An entry that a crash cut off is dropped; one that is
// damaged with others after it is an error: what was done can then not be known.
func openJournal(path string) (*journal, error) {
	j := &journal{path: path, records: map[string]*Record{}, fences: map[string]fence{}, trips: map[Kind]time.Time{}}
	whole, err := j.read()
	if err != nil {
		return nil, fmt.Errorf("journal of acts: %w", err)
	}
	j.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(j.file.Truncate(whole), syncDir(filepath.Dir(path)))
	}
	if err == nil {
		_, err = j.file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal of acts: %w", err), j.close())
	}
	j.size = whole
	return j, nil
}

// read takes all entries over. It returns where the last whole one ends.
func (j *journal) read() (whole int64, err error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read from
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // nothing, or what a crash cut off
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		e, bad := parseEntry(line)
		if bad != nil {
			if _, err := in.Peek(1); errors.Is(err, io.EOF) {
				return whole, nil
			}
			return whole, fmt.Errorf("%s:%d: %w: what was done on this host is not known any more; look at the file, and move it away to begin anew", j.path, n, bad)
		}
		j.take(e)
		whole += int64(len(line))
	}
}

func parseEntry(line []byte) (e entry, err error) {
	sum, text, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.Checksum(text, castagnoli) {
		return e, errors.New("the entry is damaged")
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("the entry is not understood: %w", err)
	}
	return e, nil
}

func (j *journal) take(e entry) {
	if e.Record != nil {
		j.records[e.Record.Request.ID] = e.Record
	}
	if e.Fence != nil {
		j.fences[e.Fence.Run] = *e.Fence
	}
	if e.Reset {
		clear(j.trips)
	}
	maps.Copy(j.trips, e.Trips)
}

// append puts an entry on the disk, and then takes it over.
func (j *journal) append(e entry) error { return j.write(e, true) }

// write puts an entry into the file, where it outlives this program, and takes it over. One that is
// durable is on the disk by then, where it outlives the host.
func (j *journal) write(e entry, durable bool) error {
	line, err := formatEntry(e)
	if err != nil {
		return err
	}
	if j.size+int64(len(line)) > journalBytes {
		if err := j.compact(); err != nil {
			return err
		}
	}
	n, err := j.file.Write(line)
	if err == nil && durable {
		err = j.file.Sync()
	}
	if err != nil { // what stands there of it must not be taken for damage
		_, seek := j.file.Seek(j.size, io.SeekStart)
		return fmt.Errorf("journal of acts: %w", errors.Join(err, j.file.Truncate(j.size), seek))
	}
	j.size += int64(n)
	j.take(e)
	return nil
}

func formatEntry(e entry) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("journal of acts: %w", err)
	}
	if len(text) > maxEntry {
		return nil, fmt.Errorf("journal of acts: an entry of %d bytes: at most %d", len(text), maxEntry)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// compact writes the journal anew without what is old.
func (j *journal) compact() error {
	var out bytes.Buffer
	add := func(e entry) error {
		line, err := formatEntry(e)
		out.Write(line)
		return err
	}
	all := j.sorted()
	settled := 0
	var err error
	for i := range all {
		if !all[i].open() {
			if settled++; settled > keepRecords || out.Len() > journalBytes/4 {
				delete(j.records, all[i].Request.ID)
				continue
			}
		}
		err = errors.Join(err, add(entry{Record: all[i]}))
	}
	fences := make([]fence, 0, len(j.fences))
	for _, f := range j.fences {
		fences = append(fences, f)
	}
	slices.SortFunc(fences, func(a, b fence) int { return b.Seen.Compare(a.Seen) })
	for i, f := range fences {
		if i >= keepFences {
			delete(j.fences, f.Run)
			continue
		}
		err = errors.Join(err, add(entry{Fence: &f}))
	}
	err = errors.Join(err, add(entry{Reset: true, Trips: j.trips}))
	if err != nil {
		return err
	}
	return j.replace(out.Bytes())
}

// replace puts another file in the journal's place, which is whole before it is there.
func (j *journal) replace(b []byte) error {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("journal of acts: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync())
	if err == nil {
		err = errors.Join(os.Rename(j.path+".new", j.path), syncDir(filepath.Dir(j.path)))
	}
	if err != nil {
		return fmt.Errorf("journal of acts: %w", errors.Join(err, f.Close()))
	}
	_ = j.file.Close() // all of it was synced
	j.file, j.size = f, int64(len(b))
	return nil
}

// sorted returns all records, the newest first.
func (j *journal) sorted() []*Record {
	out := make([]*Record, 0, len(j.records))
	for _, r := range j.records {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Record) int {
		return cmp.Or(b.Begun.Compare(a.Begun), cmp.Compare(a.Request.ID, b.Request.ID))
	})
	return out
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// syncDir makes that a file was made or renamed in a directory outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
