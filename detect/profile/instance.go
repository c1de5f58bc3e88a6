package profile

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

// instance is a workload that runs.
type instance struct {
	key    instanceKey
	of     *Profile
	root   *event.Process
	began  time.Time // zero where it was not seen from its start
	order  []string  // of programs as it started, until that is told
	last   time.Time
	taught bool // it is to be counted as one that was seen from its start
	names  map[netip.Addr]string
}

// instance returns the instance that an event is of, and what is to be said of a new one.
func (w *Watch) instance(e *event.Event) (*instance, []*event.Event) {
	p := e.Process
	key := instanceKey{p.Workload.ID, p.Workload.Root}
	if in := w.instances[key]; in != nil && in.of != nil {
		return in, nil
	}
	if e.Kind == event.ProcessExit {
		return nil, nil
	}
	root := rootOf(p)
	if root == nil || root.Workload == nil {
		return nil, nil
	}
	if len(w.instances) >= maxInstances {
		w.evictInstance()
	}
	in := &instance{key: key, root: root, last: e.Time}
	if e.Kind == event.ProcessStart && root == p {
		in.began, in.taught = e.Time, w.Mapped
	}
	of, from := w.profile(root, e.Time)
	in.of, w.instances[key] = of, in
	name := event.HashID(w.opts.Host, strconv.FormatUint(key.root.Start, 10), strconv.FormatUint(uint64(key.root.PID), 10))[:8]
	if !slices.Contains(of.Roots, name) {
		of.Instances++
		if of.Roots = append(of.Roots, name); len(of.Roots) > 8 {
			of.Roots = of.Roots[1:]
		}
	}
	if from == nil {
		return in, nil
	}
	return in, w.tell(nil, in, e, &event.Deviation{What: event.DeviantVersion, Value: differs(of, from), Usual: "version " + strconv.Itoa(from.Version)})
}

func (w *Watch) evictInstance() {
	var oldest *instance
	for _, in := range w.instances {
		if oldest == nil || in.last.Before(oldest.last) {
			oldest = in
		}
	}
	delete(w.instances, oldest.key)
	w.dropped++
}

// In is the id of the profile of the workload that runs in a container, by the container's id; "" for none.
func (w *Watch) In(container string) string {
	for _, in := range w.instances {
		if c := in.root.Container; container != "" && c != nil && c.ID == container {
			return in.of.ID
		}
	}
	return ""
}

// rootOf is the process of which a workload was recognised, nil where it is not known.
func rootOf(p *event.Process) *event.Process {
	root := p.Workload.Root
	if root == (event.Key{}) {
		return nil
	}
	if p.Key() == root {
		return p
	}
	for a := range p.Ancestors {
		if a.Key() == root {
			return a
		}
	}
	return nil
}

// profile returns the profile of what a root was started from, and the one that a new one goes on from.
func (w *Watch) profile(root *event.Process, now time.Time) (of, from *Profile) {
	work, image := root.Workload, ""
	if w.opts.Image != nil {
		image = w.opts.Image(root)
	}
	if image == "" {
		image = root.Exe
	}
	name := work.Name
	id := event.HashID(string(work.Kind), work.Engine, image, work.Model, name)[:16]
	if of = w.profiles[id]; of != nil {
		return of, nil
	}
	of = &Profile{
		ID: id, Kind: work.Kind, Engine: work.Engine, Image: cut(image), Model: cut(work.Model), Name: cut(name), Version: 1, First: now, Last: now,
		Items: map[string]map[string]Item{}, Strange: map[string]Item{}, Other: map[string]uint64{}, Series: map[string]*Series{},
	}
	if from = w.before(of); from != nil {
		of.inherit(from)
	}
	if len(w.profiles) >= maxProfiles {
		w.evictProfile()
	}
	w.profiles[id] = of
	return of, from
}

// before is the newest profile that differs in the image alone, or in the model alone; nil for none.
func (w *Watch) before(of *Profile) (from *Profile) {
	for _, p := range w.profiles {
		if p.Kind != of.Kind || p.Engine != of.Engine || p.Image != of.Image && (p.Model != of.Model || p.Name != of.Name) {
			continue
		}
		if from == nil || p.Last.After(from.Last) || p.Last.Equal(from.Last) && p.ID < from.ID {
			from = p
		}
	}
	return from
}

// inherit takes over what a new version shares with the last. Another model runs the same programs; of
// another image they are learned anew.
func (p *Profile) inherit(from *Profile) {
	p.Version, p.Before = from.Version+1, from.ID
	for what, items := range from.Items {
		sameImage := p.Image == from.Image
		if sameImage && what == event.DeviantModel || !sameImage && (what == event.DeviantProgram || what == event.DeviantLibrary || what == event.DeviantStart) {
			continue
		}
		p.Items[what] = maps.Clone(items)
	}
	if p.Image == from.Image {
		p.Seen, p.Instances = from.Seen, from.Instances
	}
}

func differs(is, was *Profile) string {
	if is.Image != was.Image {
		return "image " + is.Image + " instead of " + was.Image
	}
	if is.Model != was.Model {
		return "model " + is.Model + " instead of " + was.Model
	}
	return is.Name + " instead of " + was.Name
}

// evictProfile gives up the one that was longest not seen; those that a person froze last.
func (w *Watch) evictProfile() {
	var oldest *Profile
	for _, p := range w.profiles {
		if oldest == nil || oldest.Frozen && !p.Frozen || oldest.Frozen == p.Frozen && p.Last.Before(oldest.Last) {
			oldest = p
		}
	}
	w.drop(oldest.ID)
	w.dropped++
}

func (w *Watch) drop(id string) {
	delete(w.profiles, id)
	for key, in := range w.instances {
		if in.of.ID == id {
			delete(w.instances, key)
		}
	}
}

// pass lets the time of a workload go on.
func (in *instance) pass(now time.Time) {
	if d := now.Sub(in.of.Last); d > 0 {
		if d < pause {
			in.of.Seen += d
		}
		in.of.Last = now
	}
	if !in.began.IsZero() && now.Sub(in.began) >= settle {
		in.settled()
	}
}

// settled counts an instance that was seen from its start, once: what it needs at its start is learned.
func (in *instance) settled() {
	if in.taught {
		in.taught = false
		in.of.Starts++
	}
}

// thing is what an event shows of a workload: its sort and value, "" for nothing.
func (in *instance) thing(e *event.Event) (what, value string) {
	p := e.Process
	switch e.Kind {
	case event.ProcessStart, event.ProcessSeen:
		if p.Memfd {
			return event.DeviantProgram, "a program without a file"
		}
		return event.DeviantProgram, p.Exe
	case event.NetConnect:
		if a := e.Net.Remote.Addr().Unmap(); a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() {
			in.name(a, e.Net.Hostname)
			return event.DeviantDestination, in.place(e.Net.Remote)
		}
	case event.FileRead, event.FileIO:
		if m := e.File.Model; m != nil {
			return event.DeviantModel, m.Path
		}
	case event.FileMap:
		if e.File.Access&event.AccessExec != 0 && p.Member() {
			return event.DeviantLibrary, shape(e.File.Path)
		}
	case event.DeviceOpen:
		return event.DeviantDevice, e.File.Path
	case event.GPUSample:
		if e.GPU.Use != nil {
			return event.DeviantGPU, strings.TrimSpace(e.GPU.Name + " " + e.GPU.Use.MIG)
		}
	}
	return "", ""
}

func (in *instance) name(a netip.Addr, host string) {
	if host == "" {
		return
	}
	if in.names == nil || len(in.names) >= maxNames {
		in.names = map[netip.Addr]string{}
	}
	in.names[a] = host
}

// place is a destination as a profile knows it: a name that was asked for, or a small network; and the port.
func (in *instance) place(to netip.AddrPort) string {
	a := to.Addr().Unmap()
	port := ":" + strconv.Itoa(int(to.Port()))
	if host := in.names[a]; host != "" {
		return host + port
	}
	size := 24
	if a.Is6() {
		size = 64
	}
	n, _ := a.Prefix(size) // it fits
	return n.String() + port
}

// shape is a path without the parts that a cache makes up: those of twenty letters and digits or more.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts[:len(parts)-1] {
		if len(part) >= 20 && strings.ContainsAny(part, "0123456789") && !strings.Contains(part, ".") {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// begun notes a program of a workload that is just starting.
func (in *instance) begun(w *Watch, out []*event.Event, e *event.Event) []*event.Event {
	if in.began.IsZero() {
		return out
	}
	if e.Time.Sub(in.began) >= startFor {
		return in.started(w, out, e)
	}
	if name := e.Process.Name(); len(in.order) < 8 && !slices.Contains(in.order, name) {
		in.order = append(in.order, name)
	}
	return out
}

// started takes the order in which a workload started, once that is over.
func (in *instance) started(w *Watch, out []*event.Event, e *event.Event) []*event.Event {
	if in.began.IsZero() || in.order == nil || e.Time.Sub(in.began) < startFor {
		return out
	}
	order := strings.Join(in.order, " > ")
	in.order = nil
	return w.take(out, in, e, event.DeviantStart, order)
}

// Usual reports whether a workload is wont to connect to a peer, and whether its profile is sure of that.
func (w *Watch) Usual(p *event.Process, to netip.AddrPort) (usual, known bool) {
	if p.Workload == nil {
		return false, false
	}
	in := w.instances[instanceKey{p.Workload.ID, p.Workload.Root}]
	if in == nil {
		return false, false
	}
	_, usual = in.of.Items[event.DeviantDestination][in.place(to)]
	return usual, in.of.Known()
}

// Sent takes how much a workload's process has sent to another machine since the last call.
func (w *Watch) Sent(p *event.Process, to netip.AddrPort, bytes uint64) {
	if p.Workload == nil || to.Addr().Unmap().IsLoopback() {
		return
	}
	if in := w.instances[instanceKey{p.Workload.ID, p.Workload.Root}]; in != nil {
		in.of.series(egress).add(float64(bytes))
	}
}
