package detect

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"picket/event"
	"picket/sigma"
)

// Replay runs recorded events through an Engine, line by line. The same recordings give the same
// findings in the same order, byte for byte.
//
// Picket's own events go to Engine.Process; those of other programs to Engine.ProcessForeign. Both
// move the same sequences on. A line that cannot be read costs that line.
type Replay struct {
	Engine *Engine
	Format string           // of the recordings; "" to tell it from their first lines
	Source *sigma.Logsource // of all foreign events; nil to tell it from each
	// Found is called with each finding, in order.
	Found func(event.Finding)
	// Progress, unless nil, is called now and then with how many bytes of a recording were read,
	// before any decompression.
	Progress func(bytes int64)

	clocks  map[string]time.Time // of the hosts in the recordings
	readers map[string]*Foreign
	routed  map[sigma.Logsource]bool
	rules   map[string]*RuleCount
	summary ReplaySummary
}

// ReplaySummary says what came of a replay.
type ReplaySummary struct {
	Recordings []Recording    `json:"recordings"`
	Events     int            `json:"events"`
	Unreadable int            `json:"unreadable"` // lines
	Faults     []*sigma.Error `json:"-"`          // the first of each recording
	Unrouted   int            `json:"unrouted"`   // events that no rule has a log source for
	Repeats    uint64         `json:"repeats"`    // matches kept quiet because a finding had just said it
	Findings   int            `json:"findings"`
	Rules      []RuleCount    `json:"rules"` // that found something, the worst first
}

// Recording is a file that was replayed.
type Recording struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Events int    `json:"events"`
}

// RuleCount says how often a rule found something.
type RuleCount struct {
	Rule     string         `json:"rule"`
	Level    event.Severity `json:"level"`
	Findings int            `json:"findings"`
}

const (
	maxFaults  = 5    // of one recording
	firstLines = 20   // from which a format is told
	pause      = 4096 // lines between two looks at the context
)

// Read replays one recording: JSON lines, plain or compressed with gzip. The name is for messages.
// It returns an error where the recording could not be read to its end; what came before counts.
// Lines that could not be read are in the Summary.
func (r *Replay) Read(ctx context.Context, name string, src io.Reader) error {
	p, err := r.begin(name, src)
	if err != nil {
		return err
	}
	defer p.close()
	for {
		more, err := p.step()
		if err != nil || !more {
			return err
		}
		if p.in.n%pause == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.Progress != nil {
				r.Progress(p.in.count.n)
			}
		}
	}
}

// Summary returns what came of the recordings so far.
func (r *Replay) Summary() ReplaySummary {
	s := r.summary
	s.Repeats = r.Engine.Stats().Repeats
	s.Rules = nil
	for _, c := range r.rules {
		s.Rules = append(s.Rules, *c)
	}
	slices.SortFunc(s.Rules, func(a, b RuleCount) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(b.Findings, a.Findings), cmp.Compare(a.Rule, b.Rule))
	})
	return s
}

// pass is one recording on its way through.
type pass struct {
	*Replay
	name   string
	in     *lines
	format string // "" while it is not known
	events int
	faults int
	join   auditJoin

	hold  bool // what was read waits for its turn among other recordings
	held  []held
	last  time.Time // of the event that had its turn last
	ended bool
}

// begin begins a recording.
func (r *Replay) begin(name string, src io.Reader) (*pass, error) {
	in, err := newLines(name, src)
	if err != nil {
		return nil, err
	}
	return &pass{Replay: r, name: name, in: in, format: r.Format}, nil
}

// step reads the next line. It reports whether there may be more.
func (p *pass) step() (more bool, err error) {
	line, err := p.in.next()
	wrong, isWrong := errors.AsType[*sigma.Error](err)
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case isWrong:
		p.fault(wrong)
	case err != nil:
		return false, err
	case !remark(line):
		if err := p.take(line); err != nil {
			return false, err
		}
	}
	return true, nil
}

// close replays what waited for more lines, and adds the recording to the summary.
func (p *pass) close() {
	p.end()
	p.summary.Recordings = append(p.summary.Recordings, Recording{Name: p.name, Format: cmp.Or(p.format, fallback), Events: p.events})
}

// fallback is the format of records that none recognises.
const fallback = "sigma"

// fault notes a line that could not be read.
func (p *pass) fault(err *sigma.Error) {
	p.summary.Unreadable++
	if p.faults++; p.faults <= maxFaults {
		p.summary.Faults = append(p.summary.Faults, err)
	}
}

// take replays one line. It fails only where no line can be read.
func (p *pass) take(line []byte) error {
	format, err := p.formatOf(line)
	if err != nil {
		return err
	}
	if format == ownFormat {
		p.takeOwn(line)
		return nil
	}
	f, err := p.reader(format)
	if err != nil {
		return err
	}
	if format == auditFormat {
		p.join.add(p.in.n, line, func(n int, record []byte) { p.takeForeign(f, n, record) })
		return nil
	}
	p.takeForeign(f, p.in.n, line)
	return nil
}

// end replays what waited for more lines.
func (p *pass) end() {
	if f := p.readers[auditFormat]; f != nil {
		p.join.flush(func(n int, record []byte) { p.takeForeign(f, n, record) })
	}
}

// takeForeign replays a record of another program, which began in line n.
func (p *pass) takeForeign(f *Foreign, n int, record []byte) {
	if err := f.Parse(p.name, n, record); err != nil {
		p.fault(asFaults(err, p.name, n)[0])
		return
	}
	if !p.hold {
		p.matchForeign(f)
		return
	}
	p.turn(f.time(), func() {
		if f.Parse(p.name, n, record) == nil { // once more: others read with f meanwhile
			p.matchForeign(f)
		}
	})
}

func (p *pass) matchForeign(f *Foreign) {
	p.event(f.Logsources())
	p.found(p.Engine.ProcessForeign(f))
}

// takeOwn replays one of Picket's own events.
func (p *pass) takeOwn(line []byte) {
	e, wrong := ownEvent(p.name, p.in.n, line, p.events)
	if wrong != nil {
		p.fault(wrong)
		return
	}
	p.turn(e.Time, func() {
		p.event(logsources(e))
		p.found(p.Engine.Process(e))
		p.passed(e.Host, e.Time)
	})
}

// maxClocks bounds the hosts whose time is remembered: a record may name any.
const maxClocks = 4096

// passed lets windows close as time goes by at a host of a recording, once a second, as a live agent
// does.
func (p *pass) passed(host string, now time.Time) {
	if last, known := p.clocks[host]; known && now.Sub(last) < time.Second {
		return
	}
	if p.clocks == nil || len(p.clocks) >= maxClocks {
		p.clocks = map[string]time.Time{}
	}
	p.clocks[host] = now
	p.found(p.Engine.Heard(host, now))
}

// event counts an event of some log sources.
func (p *pass) event(sources []sigma.Logsource) {
	p.events++
	p.summary.Events++
	if !slices.ContainsFunc(sources, p.covered) {
		p.summary.Unrouted++
	}
}

// maxRouted bounds the log sources that are remembered: a record may name any product.
const maxRouted = 1024

// covered reports whether a rule is about events of a log source.
func (r *Replay) covered(src sigma.Logsource) bool {
	is, known := r.routed[src]
	if !known {
		is = slices.ContainsFunc(r.Engine.sigmaRules(), func(rule *sigma.Rule) bool { return rule.Logsource.Covers(src) })
		if r.routed == nil {
			r.routed = map[sigma.Logsource]bool{}
		}
		if len(r.routed) < maxRouted {
			r.routed[src] = is
		}
	}
	return is
}

func (r *Replay) found(list []event.Finding) {
	for _, f := range list {
		r.summary.Findings++
		if r.rules == nil {
			r.rules = map[string]*RuleCount{}
		}
		c := r.rules[f.Rule.ID]
		if c == nil {
			c = &RuleCount{Rule: f.Rule.Name, Level: f.Severity}
			r.rules[f.Rule.ID] = c
		}
		c.Findings++
		if r.Found != nil {
			r.Found(f)
		}
	}
}

// formatOf returns the format of a line: the one that is set or was recognised, or for now the
// fallback.
func (p *pass) formatOf(line []byte) (string, error) {
	if p.format != "" {
		return p.format, nil
	}
	for _, name := range formatOrder {
		f, err := p.reader(name)
		if err != nil {
			return "", err
		}
		if f.Parse(p.name, p.in.n, line) == nil && slices.ContainsFunc(f.format.Recognise, f.holds) {
			p.format = name
			return name, nil
		}
	}
	if p.in.n >= firstLines {
		p.format = fallback
	}
	return fallback, nil
}

// reader returns the reader of a format, made once.
func (r *Replay) reader(format string) (*Foreign, error) {
	if f, ok := r.readers[format]; ok {
		return f, nil
	}
	f, err := NewForeign(format, r.Source, r.Engine.sigmaRules())
	if err != nil {
		return nil, err
	}
	if r.readers == nil {
		r.readers = map[string]*Foreign{}
	}
	r.readers[format] = f
	return f, nil
}
