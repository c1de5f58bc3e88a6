package artifact

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// Default limits of a scan.
var defaults = Limits{
	Depth: 4, Bytes: 8 << 30, Ratio: 1000, Opcodes: 200e6, Members: 100_000, Issues: 1000, Time: 10 * time.Minute,
}

// errOver is what reads return after a limit of the whole scan was met: the issue is there already.
var errOver = errors.New("a limit of the scan was met")

// scan is one scan under way.
type scan struct {
	o        Options
	report   Report
	deadline time.Time
	over     bool  // a limit of the whole scan was met
	read     int64 // of the file
	ticked   int64 // read when Tick was last called
	unpacked int64
	opcodes  int64
	members  int
}

// Scan judges one file. It returns whatever the file holds; what could not be judged is an issue.
func Scan(name string, src Source, o Options) Report {
	o.Limits = o.Limits.orDefaults()
	s := &scan{o: o, report: Report{Path: name, Size: src.Size(), Formats: []string{}, Issues: []Issue{}}}
	if o.Now != nil {
		s.deadline = o.Now().Add(o.Limits.Time)
	}
	root := &part{size: src.Size(), name: path.Base(name)}
	root.ReaderAt = &metered{s: s, p: root, src: src}
	known := s.inside(root)
	switch {
	case src.Size() == 0:
		s.issue(root, Issue{Rule: "empty", Verdict: Clean, Offset: -1, Text: "The file is empty."})
	case !known && !s.over:
		s.issue(root, Issue{Rule: "unsupported", Verdict: Unsupported, Offset: -1, Text: "Its format is not known; nothing was judged."})
	}
	s.belied(root)
	slices.SortStableFunc(s.report.Issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Offset, b.Offset))
	})
	return s.report
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Depth: cmp.Or(l.Depth, defaults.Depth), Bytes: cmp.Or(l.Bytes, defaults.Bytes), Ratio: cmp.Or(l.Ratio, defaults.Ratio),
		Opcodes: cmp.Or(l.Opcodes, defaults.Opcodes), Members: cmp.Or(l.Members, defaults.Members),
		Issues: cmp.Or(l.Issues, defaults.Issues), Time: cmp.Or(l.Time, defaults.Time),
	}
}

// issue adds what was found in a part. The verdict counts even where the list is full.
func (s *scan) issue(p *part, i Issue) {
	i.Part = p.name
	s.report.Verdict = max(s.report.Verdict, i.Verdict)
	if len(s.report.Issues) < s.o.Limits.Issues {
		s.report.Issues = append(s.report.Issues, i)
		return
	}
	s.report.Cut++
	for k := range s.report.Issues { // the worst must not hide behind a thousand lesser ones
		if s.report.Issues[k].Verdict < i.Verdict {
			s.report.Issues[k] = i
			return
		}
	}
}

// stop ends the whole scan because of a limit. What was found so far stands.
func (s *scan) stop(p *part, off int64, text string) {
	if !s.over {
		s.over = true
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: off, Text: text + " The rest was not judged."})
	}
}

// broken tells of a part that could not be read to its end, unless a limit was why.
func (s *scan) broken(p *part, off int64, format string, err error) {
	if s.over || errors.Is(err, errOver) {
		return
	}
	s.issue(p, Issue{Rule: "malformed", Verdict: Failed, Offset: off, Text: fmt.Sprintf("It cannot be read as %s: %v.", format, err)})
}

// nested scans a member of a part, and reports whether the limits let it.
func (s *scan) nested(p *part) bool {
	if s.members++; s.members > s.o.Limits.Members {
		s.stop(p, -1, fmt.Sprintf("The archives hold more than %d members.", s.o.Limits.Members))
	}
	if s.timely(p); !s.over { // many small members unpack and read little
		s.inside(p)
	}
	if c, ok := p.ReaderAt.(io.Closer); ok {
		_ = c.Close() // a temporary file without a name
	}
	return !s.over
}

// inside scans a part as everything that it may be, and reports whether any format fits.
func (s *scan) inside(p *part) (known bool) {
	head := make([]byte, 4096)
	n, err := p.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		s.broken(p, 0, "a file", err)
		return true
	}
	for _, f := range formats() {
		if s.over || !f.sniff(head[:n], p) {
			continue
		}
		known = true
		if p.depth > s.o.Limits.Depth {
			s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: -1, Text: fmt.Sprintf("It lies more than %d archives deep and was not judged.", s.o.Limits.Depth)})
			return true
		}
		s.is(f.name)
		f.scan(s, p)
	}
	return known
}

// is adds a format to the report.
func (s *scan) is(format string) {
	if !slices.Contains(s.report.Formats, format) {
		s.report.Formats = append(s.report.Formats, format)
	}
}

// timely checks the time that the scan has, and stops it.
func (s *scan) timely(p *part) {
	if s.o.Now != nil && !s.over && s.o.Now().After(s.deadline) {
		s.stop(p, -1, fmt.Sprintf("The scan took longer than %v.", s.o.Limits.Time))
	}
}

// harmless are the formats that a name promises, of files that hold no code.
var harmless = map[string]string{
	".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".npy": "npy", ".h5": "hdf5", ".hdf5": "hdf5",
}

// belied tells where the name promises a format without code and the bytes are one with code.
func (s *scan) belied(p *part) {
	want, ok := harmless[strings.ToLower(path.Ext(p.name))]
	if !ok || len(s.report.Formats) == 0 || slices.Contains(s.report.Formats, want) {
		return
	}
	is := s.report.Formats[0]
	s.issue(p, Issue{
		Rule: "name-belied", Verdict: Suspicious, Offset: 0, Name: is,
		Text: fmt.Sprintf("Its name says %s, its bytes are %s.", want, is),
	})
}

// metered counts what is read of the file.
type metered struct {
	s   *scan
	p   *part
	src io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (m *metered) ReadAt(b []byte, off int64) (int, error) {
	if m.s.over {
		return 0, errOver
	}
	if off < 0 {
		return 0, fmt.Errorf("offset %d", off)
	}
	n, err := m.src.ReadAt(b, off)
	m.s.read += int64(n)
	if m.s.read-m.s.ticked >= 4<<20 {
		m.s.ticked = m.s.read
		m.s.timely(m.p)
		if m.s.o.Tick != nil {
			m.s.o.Tick(m.s.read)
		}
	}
	return n, err
}
