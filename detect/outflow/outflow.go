// Package outflow sets what is read of models against what is sent out: whoever carries a model away
// reads it and sends about as much, whatever tools, copies, archives and encryption lie between. What
// was read and what was sent are added up by container, or by lineage where there is none, so that
// several processes may share the work; a file that a reader of a model wrote counts as the model
// wherever it is read.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is
// bounded, whatever processes do.
package outflow

import (
	"cmp"
	"net/netip"
	"time"

	"picket/detect"
	"picket/event"
)

// Bounds of what leads to a deviation and of what is remembered.
const (
	Least     = 50_000_000 // bytes, sent out or staged, from which on it is told
	leastRead = 0.6        // of what was sent, that was read: less is not the model
	maxScopes = 512
	maxModels = 8     // of a scope, told apart
	maxPeers  = 32    // of a scope, likewise
	telling   = 4     // a destination that took a fourth or more of what left is told by itself
	maxNamed  = 4     // of destinations that are told together
	maxProcs  = 4096  // whose counts are followed
	maxFiles  = 16384 // of all of them together
	maxCopies = 1024
	maxCalled = 256 // peers that a workload's own processes connected to
	keepProc  = time.Minute
	beside    = 10 * time.Minute // since a process read of a model, that others of its parent may have it from it
	keepAll   = 24 * time.Hour
)

// Options sets up a Watch.
type Options struct {
	Host string
	// Usual reports whether a workload is wont to send to a peer, and whether that is known already;
	// nil: it is not known of any.
	Usual func(p *event.Process, to netip.AddrPort) (usual, known bool)
}

// Watch follows who reads models, and what they and their kin send.
type Watch struct {
	opts    Options
	scopes  map[string]*scope
	procs   map[event.Key]*proc
	copies  map[fileID]copied
	kin     map[event.Key]copied // parents whose child read a model last
	files   int                  // that processes' counts are known of
	dropped uint64
}

type fileID struct{ dev, ino uint64 }

// copied is that something got parts of a model, and when.
type copied struct {
	model *event.Model
	at    time.Time
}

// proc is a process that reads or writes large files.
type proc struct {
	files    map[fileID]event.FileChange // counts as they were last told
	took     *event.Model                // that it read and is a stranger to
	ended    time.Time
	lastSeen time.Time
}

// New returns a Watch that has seen nothing yet.
func New(o Options) *Watch {
	if o.Usual == nil {
		o.Usual = func(*event.Process, netip.AddrPort) (bool, bool) { return false, false }
	}
	return &Watch{opts: o, scopes: map[string]*scope{}, procs: map[event.Key]*proc{}, copies: map[fileID]copied{}, kin: map[event.Key]copied{}}
}

// Dropped counts scopes, processes and copies that were given up for want of room.
func (w *Watch) Dropped() uint64 { return w.dropped }

// See takes an event of any kind, stamped, and returns what it shows, nil for nothing. Kinds other than
// FileIO, NetConnect and ProcessExit cost a comparison.
func (w *Watch) See(e *event.Event) []*event.Event {
	if e.Process == nil || e.Process.PID == 0 {
		return nil
	}
	switch e.Kind {
	case event.FileIO:
		return w.moved(e)
	case event.NetConnect:
		if p := e.Process; p.Member() && e.Errno == 0 && foreign(e.Net.Remote.Addr()) {
			w.scope(e.Time, p).call(e.Net.Remote)
		}
	case event.ProcessExit:
		if one := w.procs[e.Process.Key()]; one != nil {
			one.ended = e.Time
		}
	}
	return nil
}

// moved takes what a process read and wrote of a file.
func (w *Watch) moved(e *event.Event) []*event.Event {
	p, f := e.Process, &e.File
	id := fileID{f.Dev, f.Ino}
	model := f.Model
	if model == nil {
		model = w.copyOf(e, id)
	}
	if model == nil && (f.BytesWritten == 0 || !w.reads(p, e.Time)) {
		return nil // a file like any other
	}
	one := w.proc(p.Key())
	was, known := one.files[id]
	if !known {
		w.files++
	}
	one.files[id], one.lastSeen = f.FileChange, e.Time
	read, written := grown(f.BytesRead, was.BytesRead), grown(f.BytesWritten, was.BytesWritten)
	own := f.Model != nil && (!e.Stranger() || server(p))
	var out []*event.Event
	if model != nil && read > 0 {
		if !own {
			one.took = model
			if p.Parent != nil {
				w.relate(p.Parent.Key(), model, e.Time)
			}
		}
		s := w.scope(e.Time, p)
		a := s.account(own)
		a.read.add(e.Time, read)
		a.note(model, read)
		out = w.judge(out, e.Time, a, own)
	}
	if taken := w.taken(p, one, e.Time); taken != nil && written > 0 && f.Model == nil {
		w.copy(id, taken, e.Time)
		out = w.stage(out, e, w.scope(e.Time, p), taken, written)
	}
	return out
}

// server reports whether a process is a server's or a job's own: those may share a model.
func server(p *event.Process) bool {
	return p.Member() && (p.Workload.Kind == event.Inference || p.Workload.Kind == event.Training)
}

// reads reports whether a process, or one that its parent started beside it, took something of a model.
func (w *Watch) reads(p *event.Process, now time.Time) bool {
	return w.taken(p, w.procs[p.Key()], now) != nil
}

// taken is the model that a process or its neighbour in a pipeline took, nil for none.
func (w *Watch) taken(p *event.Process, one *proc, now time.Time) *event.Model {
	if one != nil && one.took != nil {
		return one.took
	}
	if p.Parent == nil || p.Member() {
		return nil
	}
	k, ok := w.kin[p.Parent.Key()]
	if !ok || now.Sub(k.at) > beside {
		return nil
	}
	return k.model
}

// copyOf is the model that a file is a copy of, nil for none. One that somebody else wrote from its begin
// is another file, which got the number of a copy that is gone.
func (w *Watch) copyOf(e *event.Event, id fileID) *event.Model {
	c, known := w.copies[id]
	if known && e.File.BytesWritten > 0 && e.File.BytesWritten >= uint64(e.File.Size)/10*9 && !w.reads(e.Process, e.Time) {
		delete(w.copies, id)
		return nil
	}
	return c.model
}

// relate notes that a child of a process took something of a model. The children of the host's first
// process have nothing to do with each other.
func (w *Watch) relate(parent event.Key, m *event.Model, now time.Time) {
	if parent.PID == 1 {
		return
	}
	if _, known := w.kin[parent]; !known && len(w.kin) >= maxProcs {
		halve(w, w.kin)
	}
	w.kin[parent] = copied{m, now}
}

// copy notes that a file holds what was read of a model.
func (w *Watch) copy(id fileID, m *event.Model, now time.Time) {
	if _, known := w.copies[id]; !known && len(w.copies) >= maxCopies {
		halve(w, w.copies)
	}
	w.copies[id] = copied{m, now}
}

// Sent takes what a process, stamped, has sent to a peer since the last call, and returns what that shows.
func (w *Watch) Sent(now time.Time, p *event.Process, to netip.AddrPort, bytes uint64) []*event.Event {
	if bytes == 0 || p == nil || !foreign(to.Addr()) {
		return nil
	}
	s := w.scopes[scopeOf(p)]
	if s == nil {
		return nil // nobody there has read a model
	}
	s.seen = now
	own := p.Member()
	if one := w.procs[p.Key()]; one != nil && one.took != nil {
		own = false // a notebook that read what a server serves
	}
	switch usual, known := w.opts.Usual(p, to); {
	case usual && known, own && !known, own && !s.called[to]:
		return nil
	}
	a := s.account(own)
	a.sent.add(now, bytes)
	a.last = p
	a.to(now, p, to, bytes)
	return w.judge(nil, now, a, own)
}

// judge says what left: to each destination that took as much as is told, or a telling share of what left
// together; and again each time it is four times as much. What went to destinations of which none took such
// a share is told as their sum.
func (w *Watch) judge(out []*event.Event, now time.Time, a *account, own bool) []*event.Event {
	if a.last == nil {
		return out
	}
	read := a.read.day(now)
	for i := range a.told {
		for _, to := range a.due(now, i, read) {
			d := &event.Deviation{
				What: [...]string{event.DeviantLeft, event.DeviantDrip}[i], Value: to.name,
				Read: event.Measured(int64(read)), Sent: event.Measured(int64(to.bytes)), Usual: usualOf(own),
			}
			out = append(out, w.event(now, cmp.Or(to.by, a.last), greatest(a.models), d, to.addr))
		}
	}
	return out
}

func usualOf(own bool) string {
	if own {
		return "it does not send there"
	}
	return "who neither serves nor trains the model sends nothing of it"
}

// stage says that much was written of what was read.
func (w *Watch) stage(out []*event.Event, e *event.Event, s *scope, m *event.Model, written uint64) []*event.Event {
	a := s.account(false)
	a.staged.add(e.Time, written)
	n, read := a.staged.window(e.Time), a.read.day(e.Time)
	if n < a.toldStaged/4 {
		a.toldStaged = 0
	}
	if n < max(Least, a.toldStaged) || read < Least {
		return out
	}
	a.toldStaged = 4 * n
	return append(out, w.event(e.Time, e.Process, m, &event.Deviation{
		What: event.DeviantStaged, Value: e.File.Path, Read: event.Measured(int64(read)), Sent: event.Measured(int64(n)),
	}, netip.AddrPort{}))
}

func (w *Watch) event(now time.Time, p *event.Process, m *event.Model, d *event.Deviation, to netip.AddrPort) *event.Event {
	e := &event.Event{Kind: event.ProfileDeviation, Time: now, Host: w.opts.Host, Process: p, Deviation: d, File: event.File{Model: m}}
	if m != nil {
		e.File.Path = m.Path
	}
	e.Net.Remote = to
	return e
}

func (w *Watch) proc(key event.Key) *proc {
	one := w.procs[key]
	full := one == nil && len(w.procs) >= maxProcs || w.files >= maxFiles
	if full {
		halve(w, w.procs)
	}
	if one == nil {
		one = &proc{files: map[fileID]event.FileChange{}}
	}
	w.procs[key] = one
	if full {
		if len(one.files) > maxFiles/4 { // what is given up counts anew: rather too much than nothing
			halve(w, one.files)
		}
		w.files = 0
		for _, left := range w.procs {
			w.files += len(left.files)
		}
	}
	return one
}

// halve gives up half of a table: a flood does not choose which.
func halve[K comparable, V any](w *Watch, table map[K]V) {
	n := len(table) / 2
	for k := range table {
		if n--; n < 0 {
			return
		}
		delete(table, k)
		w.dropped++
	}
}

// Advance forgets what is over.
func (w *Watch) Advance(now time.Time) {
	for key, one := range w.procs {
		if !one.ended.IsZero() && now.Sub(one.ended) > keepProc || now.Sub(one.lastSeen) > keepAll {
			w.files -= len(one.files)
			delete(w.procs, key)
		}
	}
	for key, k := range w.kin {
		if now.Sub(k.at) > beside {
			delete(w.kin, key)
		}
	}
	for id, c := range w.copies {
		if now.Sub(c.at) > keepAll {
			delete(w.copies, id)
		}
	}
	for at, s := range w.scopes {
		if now.Sub(s.seen) > keepAll {
			delete(w.scopes, at)
		}
	}
}

// grown is by how much a count grew: it began anew where it is less than it was.
func grown(is, was uint64) uint64 {
	if is < was {
		return is
	}
	return is - was
}

// foreign reports whether an address is another machine's, as far as it can be told from it.
func foreign(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

// scopeOf names what belongs together: a container, or a lineage.
func scopeOf(p *event.Process) string {
	if p.Container != nil && p.Container.ID != "" {
		return p.Container.ID
	}
	return detect.Lineage(p)
}
