// Package device follows GPUs as such: what is set on them, memory of theirs that is nobody's, errors of
// memory that grow more, and work at hours at which there never is any.
//
// A Watch is a function of what it is given: it has no clock and starts no goroutine. Its memory is bounded.
package device

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"picket/event"
)

// Bounds of what leads to a deviation and of what is remembered.
const (
	maxGPUs   = 64
	settle    = 2 * time.Minute // of a GPU that is new: services that set it up still do
	pause     = 5 * time.Minute // that nobody looked, from which on what was followed is begun anew
	again     = time.Hour       // after which the same is told again
	orphaned  = 4 << 30         // bytes that are nobody's
	orphanFor = 10 * time.Minute
	hiddenFor = time.Minute
	ramp      = 12  // the sum of what lies above the usual errors of a minute
	rampLeast = 64  // errors
	perMinute = 8   // that one minute adds at most
	ofWeek    = 168 // hours
	weeks     = 2   // that hours are learned for
	busy      = 50  // percent
	busyFor   = 15  // minutes of the last twenty
	lookBack  = 20
	freeHours = ofWeek / 4 // of the week, that a GPU has to be idle in for its hours to say something
	workHours = 5          // and those that it has to work in
)

// Watch follows the GPUs of a host.
type Watch struct {
	host string
	gpus map[string]*one
}

// one is a GPU.
type one struct {
	first, last time.Time
	set         map[string]string // settings, as they were last seen
	orphan      time.Time         // since when memory is nobody's
	hidden      map[uint32]time.Time
	told        map[string]time.Time
	corrected   event.Measure
	minute      int64 // that errors and work are added up for
	errors      float64
	usual       float64      // errors in a minute
	up          float64      // the sum of what lies above
	grown       float64      // errors since it began to grow
	worked      bool         // in the minute at hand
	recent      uint32       // a bit for each of the last minutes in which it worked
	fresh       map[int]byte // work by hour of the week that is not learned yet
	odd         bool         // and will not be
	hours       *Hours
}

// Hours is in which hours of a week a GPU worked.
type Hours struct {
	Since time.Time    `json:"since"`
	Last  time.Time    `json:"last"`
	Busy  [ofWeek]byte `json:"busy"` // minutes, the most that were seen
}

// New returns a Watch that has seen nothing yet.
func New(host string) *Watch { return &Watch{host: host, gpus: map[string]*one{}} }

// Read takes a look at a GPU, and returns what it shows. Shown reports whether the host shows a process.
func (w *Watch) Read(now time.Time, d *event.GPUDevice, shown func(pid uint32) bool) (out []*event.Event) {
	g := w.gpus[d.UUID]
	if g == nil {
		if len(w.gpus) >= maxGPUs {
			return nil
		}
		g = &one{}
		w.gpus[d.UUID] = g
	}
	if g.set == nil || now.Sub(g.last) > pause || now.Before(g.last) {
		*g = one{first: now, set: map[string]string{}, hidden: map[uint32]time.Time{}, told: map[string]time.Time{}, hours: g.hours}
	}
	g.last = now
	tell := func(what, value, usual string, of *event.Process) {
		key := what + value
		if at, ok := g.told[key]; ok && now.Sub(at) < again {
			return
		}
		if len(g.told) >= maxGPUs {
			clear(g.told)
		}
		g.told[key] = now
		out = append(out, &event.Event{
			Kind: event.ProfileDeviation, Time: now, Host: w.host, Process: of, GPU: &event.GPUReport{GPU: d.GPU},
			Deviation: &event.Deviation{What: what, Value: value, Usual: usual},
		})
	}
	g.settings(now, &d.GPU, tell)
	g.memory(now, d, tell)
	g.strangers(now, d, shown, tell)
	g.time(now, &d.GPU, tell)
	return out
}

type teller func(what, value, usual string, of *event.Process)

// settings compares what is set with what was.
func (g *one) settings(now time.Time, d *event.GPU, tell teller) {
	is := map[string]string{
		"compute mode": d.ComputeMode, "persistence": d.Persistence, "error correction": d.ECCMode, "accounting": d.Accounting, "split into instances": d.MIG,
	}
	if d.PowerLimit.Known {
		is["power limit"] = fmt.Sprintf("%d W", d.PowerLimit.N/1000)
	}
	if d.ClockLimit.Known {
		is["clock for applications"] = fmt.Sprintf("%d MHz", d.ClockLimit.N)
	}
	for _, name := range [...]string{"accounting", "clock for applications", "compute mode", "error correction", "persistence", "power limit", "split into instances"} {
		was, value := g.set[name], is[name]
		if value == "" { // not told this time
			continue
		}
		if was != "" && was != value && now.Sub(g.first) >= settle {
			delete(g.told, event.DeviantSetting+name+": "+value) // each change counts
			tell(event.DeviantSetting, name+": "+value, was, nil)
		}
		g.set[name] = value
	}
}

// memory tells of memory in use that no process holds, for a while.
func (g *one) memory(now time.Time, d *event.GPUDevice, tell teller) {
	held, known := int64(0), d.MemoryUsed.Known && d.MemoryTotal.Known && d.MIG != "enabled" && len(d.Uses) < maxGPUs
	for _, u := range d.Uses {
		known = known && u.Memory.Known
		held += u.Memory.N
	}
	free := d.MemoryUsed.N - held
	if !known || free < max(orphaned, d.MemoryTotal.N/20) {
		g.orphan = time.Time{}
		return
	}
	if g.orphan.IsZero() {
		g.orphan = now
	}
	if now.Sub(g.orphan) >= orphanFor {
		tell(event.DeviantOrphan, fmt.Sprintf("%d GiB that no process holds", free>>30), "what is in use is some process's", nil)
	}
}

// strangers tells of processes that the driver names and the host does not show.
func (g *one) strangers(now time.Time, d *event.GPUDevice, shown func(uint32) bool, tell teller) {
	is := map[uint32]time.Time{}
	for _, u := range d.Uses {
		if len(is) >= maxGPUs || shown(u.PID) {
			continue
		}
		since, known := g.hidden[u.PID]
		if !known {
			since = now
		}
		is[u.PID] = since
		if now.Sub(since) >= hiddenFor {
			tell(event.DeviantOrphan, fmt.Sprintf("process %d, which the host does not show, holds %d MiB", u.PID, u.Memory.N>>20), "the host shows each process", nil)
		}
	}
	g.hidden = is
}

// time adds up errors and work by the minute.
func (g *one) time(now time.Time, d *event.GPU, tell teller) {
	if at := now.Unix() / 60; at != g.minute {
		if g.minute != 0 {
			g.close(now, tell)
		}
		g.minute = at
	}
	if d.Corrected.Known {
		if g.corrected.Known && d.Corrected.N > g.corrected.N {
			g.errors += float64(d.Corrected.N - g.corrected.N)
		}
		g.corrected = d.Corrected
	}
	g.worked = g.worked || d.Util.Known && d.Util.N >= busy
}

// close ends a minute.
func (g *one) close(now time.Time, tell teller) {
	x := g.errors
	g.errors = 0
	// A sum of what lies above the usual (CUSUM), of logarithms: one page that is bad makes thousands at once.
	g.up = max(0, g.up+min(math.Log2(1+x), perMinute)-math.Log2(1+g.usual)-1)
	if g.grown += x; g.up == 0 {
		g.grown = 0
		g.usual += (x - g.usual) / 240
	}
	if g.up >= ramp && g.grown >= rampLeast {
		tell(event.DeviantErrors, fmt.Sprintf("%.0f corrected errors of memory since they began to grow", g.grown), fmt.Sprintf("%.1f in a minute", g.usual), nil)
		g.up, g.grown = 0, 0
	}
	g.recent <<= 1
	if g.worked {
		g.recent |= 1
	}
	g.worked = false
	g.hour(now, tell)
}

// hour sets the work of the last minutes against the hours of the week, and learns them.
func (g *one) hour(now time.Time, tell teller) {
	n := 0
	for i := range lookBack {
		n += int(g.recent >> i & 1)
	}
	h := g.hours
	if h == nil || now.Before(h.Last) || now.Sub(h.Last) > weeks*7*24*time.Hour {
		h = &Hours{Since: now}
		g.hours = h
	}
	h.Last = now
	at := int(now.UTC().Weekday())*24 + now.UTC().Hour()
	if g.fresh == nil {
		g.fresh = map[int]byte{}
	}
	g.fresh[at] = max(g.fresh[at], byte(n))
	known := now.Sub(h.Since) >= weeks*7*24*time.Hour
	if known && !g.odd && n >= busyFor && h.free(at) {
		g.odd = true // it is not learned by that
		tell(event.DeviantHours, now.UTC().Weekday().String()+" at "+now.UTC().Format("15:04")+" UTC", "at this hour and those beside it the GPU has not worked", nil)
	}
	if known && n > 0 {
		return // until the GPU rests
	}
	if !g.odd {
		for i, n := range g.fresh {
			h.Busy[i] = max(h.Busy[i], n)
		}
	}
	g.odd = false
	clear(g.fresh)
}

// free reports whether a GPU with hours of its own never works at one, and not beside it.
func (h *Hours) free(at int) bool {
	work := 0
	for _, n := range h.Busy {
		if n >= 5 {
			work++
		}
	}
	if ofWeek-work < freeHours || work < workHours {
		return false
	}
	for _, i := range [...]int{at, at + 1, at + ofWeek - 1} {
		if h.Busy[i%ofWeek] >= 5 {
			return false
		}
	}
	return true
}

// Snapshot returns the hours of all GPUs, to be given to Restore when the agent starts again.
func (w *Watch) Snapshot() ([]byte, error) {
	all := map[string]*Hours{}
	for id, g := range w.gpus {
		if g.hours != nil {
			all[id] = g.hours
		}
	}
	return json.Marshal(all)
}

// Restore takes over the hours of a Snapshot.
func (w *Watch) Restore(b []byte) error {
	all := map[string]*Hours{}
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("hours of GPUs: %w", err)
	}
	for id, h := range all {
		if h != nil && len(w.gpus) < maxGPUs {
			w.gpus[id] = &one{hours: h}
		}
	}
	return nil
}
