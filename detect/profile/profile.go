// Package profile learns what is usual for an AI workload, and says what deviates: programs, destinations,
// models, libraries, devices, GPUs, the order in which it starts, and how much it does in a minute.
//
// A profile belongs to what a workload is (its kind, engine, image and model), not to a pod or a process,
// so that all its instances teach it and each is judged by it. While it learns it says nothing; once it is
// sure enough it says what it has not seen before, and learns no more of that.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is
// bounded, whatever processes do; what had no room is counted.
package profile

import (
	"slices"
	"strings"
	"time"

	"picket/event"
)

// Bounds of what is learned and told.
const (
	maxProfiles  = 200
	maxInstances = 512
	maxStrange   = 64 // deviations of a profile that are remembered
	maxValue     = 200
	maxNames     = 256 // of addresses that an instance connected to
	maxTold      = 30  // deviations of a profile in an hour
	sure         = 70  // percent, from which on a profile judges
	learnFor     = 24 * time.Hour
	learnFrom    = 3                // instances
	settle       = 10 * time.Minute // of the first instance that is seen from its start
	startFor     = time.Minute      // what runs in it is the order of starting
	pause        = 10 * time.Minute // that nobody looked, from which on a workload's time does not count
	again        = 24 * time.Hour   // after which the same deviation is told again
	forgotten    = 30 * again       // after which it is none that was told before
)

// room is how many different things of a sort a profile holds.
var room = map[string]int{
	event.DeviantProgram: 96, event.DeviantDestination: 96, event.DeviantModel: 32, event.DeviantLibrary: 256,
	event.DeviantDevice: 32, event.DeviantGPU: 16, event.DeviantStart: 8,
}

// Profile is what is usual for a workload.
type Profile struct {
	ID        string             `json:"id"` // derived from what follows up to Model
	Kind      event.WorkloadKind `json:"kind"`
	Engine    string             `json:"engine"`
	Image     string             `json:"image"` // digest of the image, or the root's executable
	Model     string             `json:"model,omitempty"`
	Name      string             `json:"name"`
	Version   int                `json:"version"`
	Before    string             `json:"before,omitempty"` // the version that this one goes on from
	Frozen    bool               `json:"frozen,omitempty"` // it judges, and learns nothing, whatever its age
	First     time.Time          `json:"first"`
	Last      time.Time          `json:"last"`
	Seen      time.Duration      `json:"seen"` // for how long instances ran
	Instances int                `json:"instances"`
	Starts    int                `json:"starts"` // instances that were seen from their start, with their libraries
	Roots     []string           `json:"roots,omitempty"`

	Items   map[string]map[string]Item `json:"items"`             // by sort and value
	Strange map[string]Item            `json:"strange,omitempty"` // what deviated, by sort, a colon and value
	Other   map[string]uint64          `json:"other,omitempty"`   // by sort: different things for which there was no room
	Series  map[string]*Series         `json:"series,omitempty"`
	Hushed  uint64                     `json:"hushed,omitempty"` // deviations that were not told, as too many were

	told int // in the hour
	hour int64
}

// Item is one thing that was seen.
type Item struct {
	Count uint64 `json:"count"`
	Last  int64  `json:"last"` // seconds since the epoch
}

// Confidence is how sure the profile is of what is usual, in percent: by how long it has seen the workload
// run, and by how many instances.
func (p *Profile) Confidence() int64 {
	return int64(60*min(p.Seen, learnFor)/learnFor) + int64(40*min(p.Instances, learnFrom)/learnFrom)
}

// Known reports whether the profile judges.
func (p *Profile) Known() bool { return p.Frozen || p.Confidence() >= sure }

// State is learning, known or frozen.
func (p *Profile) State() string {
	switch {
	case p.Frozen:
		return "frozen"
	case p.Known():
		return "known"
	}
	return "learning"
}

// Options sets up a Watch.
type Options struct {
	Host string
	// Image names what a workload's root was started from: the digest of its image, or what stands for it;
	// nil, or where it returns "": the executable does.
	Image func(root *event.Process) string
}

// Watch learns and judges.
type Watch struct {
	// Mapped says that libraries are told of: an instance that starts teaches its own.
	Mapped bool

	opts      Options
	profiles  map[string]*Profile
	instances map[instanceKey]*instance
	minute    int64
	dropped   uint64
}

type instanceKey struct {
	workload string
	root     event.Key
}

// New returns a Watch that knows no profile.
func New(o Options) *Watch {
	return &Watch{opts: o, profiles: map[string]*Profile{}, instances: map[instanceKey]*instance{}}
}

// See takes an event of any kind, stamped, and returns what deviates, nil for nothing. An event of a
// process that belongs to no workload costs a comparison.
func (w *Watch) See(e *event.Event) []*event.Event {
	p := e.Process
	if p == nil || p.Workload == nil || e.Kind == event.ProfileDeviation {
		return nil
	}
	in, out := w.instance(e)
	if in == nil {
		return nil
	}
	in.last = e.Time
	in.pass(e.Time)
	what, value := in.thing(e)
	if what != "" {
		out = w.take(out, in, e, what, value)
	}
	switch e.Kind {
	case event.ProcessStart:
		out = in.begun(w, out, e)
		in.of.series(programs).add(1)
	case event.NetConnect:
		in.of.series(connects).add(float64(max(e.Count, 1)))
	case event.GPUSample:
		if u := e.GPU.Use; u != nil {
			in.of.series(gpuUtil).top(u.Util)
			in.of.series(gpuMemory).top(u.Memory)
		}
	case event.ProcessExit:
		if p.Key() == in.key.root {
			in.settled()
			delete(w.instances, in.key)
		}
	}
	return out
}

// take learns a thing, or says that it is unusual.
func (w *Watch) take(out []*event.Event, in *instance, e *event.Event, what, value string) []*event.Event {
	p := in.of
	value = cut(value)
	if it, usual := p.Items[what][value]; usual {
		p.Items[what][value] = Item{it.Count + 1, e.Time.Unix()}
		return out
	}
	if !p.Frozen && (!p.Known() || p.Starts == 0 && !in.began.IsZero() && e.Time.Sub(in.began) < settle) {
		p.learn(what, value, e.Time)
		return out
	}
	return w.tell(out, in, e, &event.Deviation{What: what, Value: value, Usual: p.usual(what)})
}

func (p *Profile) learn(what, value string, now time.Time) {
	items := p.Items[what]
	if items == nil {
		items = map[string]Item{}
		p.Items[what] = items
	}
	if len(items) >= room[what] {
		p.Other[what]++
		return
	}
	items[value] = Item{1, now.Unix()}
}

// usual names the things of a sort that were seen most, in words.
func (p *Profile) usual(what string) string {
	items := p.Items[what]
	values := make([]string, 0, len(items))
	for v := range items {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b string) int {
		if items[a].Count != items[b].Count {
			return int(min(items[b].Count, 1<<30)) - int(min(items[a].Count, 1<<30))
		}
		return strings.Compare(a, b)
	})
	if len(values) == 0 {
		return "none"
	}
	s := strings.Join(values[:min(len(values), 3)], ", ")
	if len(values) > 3 {
		s += "…"
	}
	return s
}

// makeRoom forgets deviations that were not told for long and, where there is no room, the one that was not for
// the longest time.
func (p *Profile) makeRoom(now time.Time) {
	oldest, full := "", len(p.Strange) >= maxStrange
	for key, s := range p.Strange {
		switch {
		case now.Unix()-s.Last > int64(forgotten/time.Second):
			delete(p.Strange, key)
		case oldest == "" || s.Last < p.Strange[oldest].Last || s.Last == p.Strange[oldest].Last && key < oldest:
			oldest = key
		}
	}
	if full && len(p.Strange) >= maxStrange {
		delete(p.Strange, oldest)
	}
}

// tell says what deviates, once a day, and so many in an hour.
func (w *Watch) tell(out []*event.Event, in *instance, e *event.Event, d *event.Deviation) []*event.Event {
	p := in.of
	key := d.What + ":" + d.Value
	was, known := p.Strange[key]
	if known && e.Time.Unix()-was.Last < int64(again/time.Second) {
		p.Strange[key] = Item{was.Count + 1, was.Last}
		return out
	}
	if !known {
		p.makeRoom(e.Time)
	}
	p.Strange[key] = Item{was.Count + 1, e.Time.Unix()}
	if hour := e.Time.Unix() / 3600; hour != p.hour {
		p.hour, p.told = hour, 0
	}
	if p.told++; p.told > maxTold {
		p.Hushed++
		return out
	}
	d.Profile, d.Confidence, d.Age = p.ID, p.Confidence(), p.Seen
	made := &event.Event{Kind: event.ProfileDeviation, Time: e.Time, Host: w.opts.Host, Process: e.Process, Deviation: d, File: event.File{Path: e.File.Path, Model: e.File.Model}}
	if d.What == event.DeviantDestination {
		made.Net = event.Net{Remote: e.Net.Remote, Protocol: e.Net.Protocol, Initiated: true, Hostname: e.Net.Hostname}
	}
	return append(out, made)
}

func cut(s string) string {
	if len(s) > maxValue {
		return strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return s
}

// Dropped counts profiles and instances that were given up for want of room.
func (w *Watch) Dropped() uint64 { return w.dropped }
