// Package artifact says what a model file would do to the program that loads it: it reads pickles,
// archives and tensor files as their loaders do, and never runs, imports or unpacks anything.
//
// A verdict is about the bytes: the name of a file counts only where it belies them. A file is read in
// pieces and never held in memory.
package artifact

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Verdict is what a scan comes to; a greater one is worse.
type Verdict uint8

// The verdicts. An unsupported or unreadable file is neither clean nor malicious.
const (
	Clean       Verdict = iota // of a known format, and nothing in it runs
	Unsupported                // no format that is known, so nothing was judged
	Unknown                    // it names code outside the lists; loading it runs that code
	Failed                     // broken, or past a limit: what was read was not judged whole
	Suspicious                 // what honest files do not hold
	Malicious                  // loading it runs what no model needs
)

var verdicts = [...]string{"clean", "unsupported", "unknown", "failed", "suspicious", "malicious"}

// String returns the word that records and the command line use.
func (v Verdict) String() string { return verdicts[v] }

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Verdict) UnmarshalText(b []byte) error {
	i := slices.Index(verdicts[:], string(b))
	if i < 0 {
		return fmt.Errorf("verdict %q: want one of %s", b, strings.Join(verdicts[:], ", "))
	}
	*v = Verdict(i)
	return nil
}

// Issue is one thing that a scan found.
type Issue struct {
	Rule    string  `json:"rule"`             // what it is an instance of, such as pickle-call
	Verdict Verdict `json:"verdict"`          // what this alone makes of the file
	Part    string  `json:"part,omitempty"`   // members from the outside in, joined by !: weights.tar.gz!data.pkl
	Offset  int64   `json:"offset"`           // byte in that part; -1 where none can be named
	Text    string  `json:"text"`             // one sentence for a person
	Name    string  `json:"name,omitempty"`   // the callable, operator, key or member that it is about
	Reader  string  `json:"reader,omitempty"` // the loader that it is about, where loaders differ
}

// Report is what a scan of one file came to.
type Report struct {
	Path    string   `json:"path"`
	Size    int64    `json:"size"`
	Formats []string `json:"formats"`       // of the file first, then of what is in it, each once
	Verdict Verdict  `json:"verdict"`       // the worst of the issues'
	Issues  []Issue  `json:"issues"`        // by part and offset
	Cut     int      `json:"cut,omitempty"` // issues beyond Limits.Issues, counted only
}

// Limits bounds a scan. A zero field takes its default; going past one is an issue, never a pass.
type Limits struct {
	Depth   int           // of archives and pickles in each other; 4
	Bytes   int64         // unpacked from compressed parts, of all parts together; 8 GiB
	Ratio   int64         // unpacked bytes to packed, once 16 MiB are unpacked; 1,000
	Opcodes int64         // of all pickles together; 200 million
	Members int           // of all archives together; 100,000
	Issues  int           // kept; 1,000
	Time    time.Duration // of the whole scan, asked of Options.Now; 10 minutes
}

// Options sets up a scan. The zero value has the default limits and no allow list.
type Options struct {
	Limits Limits
	Allow  []string         // callables that the user trusts, as module.name, a star for a last part
	Now    func() time.Time // the clock for Limits.Time; nil: no limit of time
	Tick   func(read int64) // called every few MiB with the bytes of the file read so far; may be nil
}

// Source is a file's bytes.
type Source interface {
	io.ReaderAt
	Size() int64
}
