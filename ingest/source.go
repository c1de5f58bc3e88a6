package ingest

import (
	"bytes"
	"cmp"
	"os"
	"time"

	"picket/event"
)

// source is a log that is read.
type source struct {
	Source
	file    *os.File
	id      fileID
	process *event.Process
	found   time.Time // when it was last there
	off     int64     // how far it was read
	buf     []byte    // the beginning of a line
	told    time.Time // the time of the last event: no two have the same, so that equal requests are two
	skip    bool      // the rest of a line that is too long, or whose beginning was not read
	cut     [2]pieces // of lines that the container's runtime cut, by stream: they come in between one another
	fold    fold[alike, event.Request]
	audit   bool // of Kubernetes
	entries fold[alikeAudit, event.Event]
}

// pieces are those of a line that were read.
type pieces struct {
	text []byte
	skip bool // the others: they are too many
}

// poll reads what the log has grown by, at most maxPoll, and tells of the requests in it.
func (s *source) poll(now time.Time, told func(*event.Event)) {
	defer s.flush(now, told)
	st, err := s.file.Stat()
	if err != nil {
		return
	}
	size := st.Size()
	if size < s.off { // cut and begun anew
		s.off, s.buf, s.cut, s.skip = 0, s.buf[:0], [2]pieces{}, false
	}
	if behind := size - s.off; behind > maxBehind {
		s.Lost += uint64(behind - maxPoll)
		s.off, s.buf, s.cut, s.skip = size-maxPoll, s.buf[:0], [2]pieces{}, true // in the middle of a line
	}
	s.Lag = size - s.off
	if s.Lag == 0 {
		return
	}
	chunk := make([]byte, min(s.Lag, maxPoll))
	n, err := s.file.ReadAt(chunk, s.off)
	if n == 0 && err != nil {
		return
	}
	s.off += int64(n)
	s.Lag -= int64(n)
	s.take(now, chunk[:n], told)
}

// take splits bytes into lines.
func (s *source) take(now time.Time, b []byte, told func(*event.Event)) {
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		switch {
		case !whole && s.skip:
			return
		case !whole:
			if len(s.buf)+len(line) > s.longest() {
				s.skip, s.buf = true, s.buf[:0]
				s.Lines++
				s.Refused++
				return
			}
			s.buf = append(s.buf, line...)
			return
		case s.skip:
			s.skip = false
		case len(s.buf)+len(line) > s.longest():
			s.Lines++
			s.Refused++
		default:
			s.line(now, append(s.buf, line...), told)
		}
		s.buf, b = s.buf[:0], rest
	}
}

// line reads one line.
func (s *source) line(now time.Time, line []byte, told func(*event.Event)) {
	text, stream, goesOn := unwrap(line)
	if p := &s.cut[stream]; goesOn || len(p.text) > 0 || p.skip {
		if !p.skip && len(p.text)+len(text) > s.longest() {
			s.Lines++
			s.Refused++
			p.skip, p.text = true, nil
		}
		if !p.skip {
			p.text = append(p.text, text...)
		}
		if goesOn {
			return
		}
		whole := *p
		*p = pieces{}
		if whole.skip {
			return
		}
		text = whole.text
	}
	s.Lines++
	if s.audit {
		s.entry(now, text, told)
		return
	}
	r, v := Parse(text)
	switch v {
	case Broken:
		s.Refused++
	case Request:
		s.Requests++
		r.Engine = s.Engine
		if r.Principal == "" && r.Client.IsValid() {
			r.Principal, r.PrincipalKind = r.Client.Addr().String(), "client"
			if r.UserAgent != "" {
				r.Principal += " " + r.UserAgent
			}
		}
		single := r.TokensIn.Known || r.TokensOut.Known // what each cost is of interest
		if !s.fold.take(now, alikeOf(&r), single, r, s.tell(told)) {
			s.Dropped++
		}
	}
}

// longest is how long a line may be.
func (s *source) longest() int {
	if s.audit {
		return maxAudit
	}
	return maxLine
}

// flush tells of what was counted.
func (s *source) flush(now time.Time, told func(*event.Event)) {
	s.fold.flush(now, s.tell(told))
	s.entries.flush(now, s.tellEntry(told))
}

// tell makes an event of a request.
func (s *source) tell(told func(*event.Event)) func(time.Time, event.Request, uint32) {
	return func(at time.Time, r event.Request, count uint32) {
		if !at.After(s.told) {
			at = s.told.Add(1)
		}
		s.told = at
		e := &event.Event{Kind: event.ServiceRequest, Time: at, Request: &r}
		if count > 1 {
			e.Count = count
		}
		if p := s.process; p != nil {
			e.Process = &event.Process{PID: p.PID, TID: p.PID, StartBoot: p.StartBoot, LoginUID: ^uint32(0)}
		}
		told(e)
	}
}

const (
	foldFor   = 5 * time.Second // for which more of the same is only counted
	maxFolds  = 4096
	maxSecond = 500 // requests told of one log in a second
	maxOne    = 125 // of them, of one client or principal
	reserved  = 250 // beside them, of those of whom few were told in that second
	few       = 5
)

// likeness is what two things have in common that are told of together.
type likeness[K any] interface {
	comparable
	asker() who // on whose account they are
	wider() K   // what remains in common where there are too many
}

// fold tells of a thing at once, and of more like it together.
type fold[K likeness[K], T any] struct {
	seen   map[K]*folded[T]
	second int64
	told   int
	by     map[who]int // told, by who asked
}

// who is whose requests are told of in a second, none at the cost of the others.
type who struct{ client, principal string }

// alike is what two requests have in common that are told of together.
type alike struct {
	client, principal, method, path, query string
	status                                 int64
}

func (a alike) asker() who { return who{a.client, a.principal} }

func (a alike) wider() alike {
	a.path, a.query = "", ""
	return a
}

func alikeOf(r *event.Request) alike {
	return alike{r.Client.Addr().String(), r.Principal, r.Method, r.Path, r.Query, r.Status.N}
}

type folded[T any] struct {
	until time.Time
	last  T
	count uint32
}

// take takes a thing in; a single one is told by itself. Where there are too many to be told of one by
// one, those with a wider likeness are counted together; it reports false for what is told of in no way.
func (f *fold[K, T]) take(now time.Time, key K, single bool, r T, tell func(time.Time, T, uint32)) bool {
	if have := f.seen[key]; have != nil && !single {
		have.last, have.count = r, have.count+1
		return true
	}
	if now.Unix() != f.second {
		f.second, f.told, f.by = now.Unix(), 0, map[who]int{}
	}
	if f.seen == nil {
		f.seen = map[K]*folded[T]{}
	}
	asker := key.asker()
	if len(f.seen) >= maxFolds || !f.room(asker) {
		key = key.wider()
		have := f.seen[key]
		if single || have == nil && len(f.seen) >= 2*maxFolds {
			return false
		}
		if have == nil {
			have = &folded[T]{until: now.Add(foldFor)}
			f.seen[key] = have
		}
		have.last, have.count = r, have.count+1
		return true
	}
	f.told++
	f.by[asker]++
	if !single {
		f.seen[key] = &folded[T]{until: now.Add(foldFor)}
	}
	tell(now, r, 1)
	return true
}

// room reports whether one more request of somebody is told of in this second.
func (f *fold[K, T]) room(asker who) bool {
	had := f.by[asker]
	return f.told < maxSecond && had < maxOne || f.told < maxSecond+reserved && had < few
}

// flush tells of what was counted, where its time is over.
func (f *fold[K, T]) flush(now time.Time, tell func(time.Time, T, uint32)) {
	for key, have := range f.seen {
		if now.Before(have.until) {
			continue
		}
		delete(f.seen, key)
		if have.count > 0 {
			tell(now, have.last, cmp.Or(have.count, 1))
		}
	}
}
