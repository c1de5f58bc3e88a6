package workload

import (
	"path"
	"slices"
	"strings"
	"time"

	"picket/event"
)

const (
	maxModels     = 1024
	maxModelsEach = 128 // that one workload owns first
	keepModel     = 24 * time.Hour
	maxModelFiles = 64 << 10
	maxOwners     = 16
	maxPlaces     = 64
	minBinary     = 1 << 20 // a smaller .bin is no model by its name alone
)

// models are the known model and data set directories.
type models struct {
	all    []*model
	byPath map[string][]*model
	byFile map[fileID]*model // files seen in them: the same file by another path
}

// model is one directory, or one file where its directory holds all sorts of things.
type model struct {
	path       string
	name       string
	format     format
	dataset    bool
	configured bool
	places     []place
	owners     []string // workload ids, the first one first
	seen       time.Time
	made       map[variant]*event.Model
	watched    []string
}

// place is where a path means this model: a mount namespace, and the container that it belongs to.
type place struct {
	mnt       uint32
	container string
}

type variant struct {
	owner string
	f     format
}

func newModels() *models {
	return &models{byPath: map[string][]*model{}, byFile: map[fileID]*model{}}
}

func placeOf(p *event.Process) place {
	pl := place{mnt: p.NS.Mnt}
	if p.Container != nil {
		pl.container = p.Container.ID
	}
	return pl
}

// here reports whether m's path means the same for the process.
func (m *model) here(p *event.Process) bool {
	if m.configured {
		return true
	}
	for i := range m.places {
		pl := &m.places[i]
		if pl.mnt != 0 && pl.mnt == p.NS.Mnt || p.Container != nil && pl.container == p.Container.ID {
			return true
		}
		if pl.mnt == 0 && pl.container == "" && p.NS.Mnt == 0 && p.Container == nil {
			return true
		}
	}
	return false
}

// find returns the model that a file belongs to: by the directories above it, the nearest first,
// or because it is a file that was seen in one.
func (s *models) find(p *event.Process, file string, id fileID) *model {
	if len(s.all) == 0 {
		return nil
	}
	for at := file; len(at) > 1; {
		for _, m := range s.byPath[at] {
			if m.here(p) {
				return m
			}
		}
		i := strings.LastIndexByte(at, '/')
		if i <= 0 {
			break
		}
		at = at[:i]
	}
	if id.ino == 0 {
		return nil
	}
	return s.byFile[id]
}

// as returns the model as an event carries it: with the format of the file in question, and, of
// several workloads that share the directory, the one that asks.
func (m *model) as(asking string, f format) *event.Model {
	v := variant{f: f}
	if slices.Contains(m.owners, asking) {
		v.owner = asking
	} else if len(m.owners) > 0 {
		v.owner = m.owners[0]
	}
	if r, ok := m.made[v]; ok {
		return r
	}
	r := &event.Model{Path: m.path, Name: m.name, Format: formatNames[f], Dataset: m.dataset, Workload: v.owner}
	m.made[v] = r
	return r
}

// stampFile names the model of a file event, and learns from what a workload's own processes open.
func (t *Tracker) stampFile(e *event.Event, n *node) {
	p, f := n.proc, formatOf(e.File.Path)
	e.File.Model = nil
	m := t.models.find(p, e.File.Path, fileID{e.File.Dev, e.File.Ino})
	if m == nil && (e.Kind == event.FileRename || e.Kind == event.FileLink) {
		m = t.models.find(p, e.File.Old, fileID{})
	}
	if (f != formatNone || isBlob(e.File.Path)) && e.Errno == 0 {
		m = t.teach(e, p, f, m)
	}
	if m == nil {
		return
	}
	m.seen = e.Time
	t.models.follow(e, m, f)
	if f == formatNone && isBlob(e.File.Path) {
		f = m.format
	}
	asking := ""
	if p.Workload != nil {
		asking = p.Workload.ID
	}
	e.File.Model = m.as(asking, f)
}

// teach learns a model from a file that a process opened, and returns it, or m.
func (t *Tracker) teach(e *event.Event, p *event.Process, f format, m *model) *model {
	if e.Kind != event.FileRead && e.Kind != event.FileWrite && e.Kind != event.FileCreate {
		return m
	}
	if p.Workload == nil {
		if e.Kind != event.FileRead && m == nil && isPython(base(p.Exe)) {
			t.plan(p.Key(), e.Time, time.Second) // its libraries will tell
		}
		return m
	}
	if m != nil && len(m.owners) > 0 || !p.Member() {
		return m
	}
	if f == rawBinary && e.File.Size < minBinary && !generic(strings.TrimSuffix(base(e.File.Path), ".bin")) {
		return m
	}
	if f == formatNone {
		return t.learn(p, modelDir(e.File.Path), f, false, e.Time)
	}
	return t.learn(p, e.File.Path, f, false, e.Time)
}

// follow keeps the known inodes true: a new file of a model is known by any name, and the number of
// a deleted one is given away again.
func (s *models) follow(e *event.Event, m *model, f format) {
	id := fileID{e.File.Dev, e.File.Ino}
	switch e.Kind {
	case event.FileDelete:
		if e.Errno == 0 {
			delete(s.byFile, id)
		}
	case event.FileCreate, event.FileWrite, event.FileRead:
		if e.Errno == 0 && f != formatNone {
			s.file(id, m)
		}
	}
}

// forget lets go of models whose owners are gone and that nobody touched for a day: until then a
// server that is down for a while finds them protected.
func (t *Tracker) forget(now time.Time) {
	for _, m := range slices.Clone(t.models.all) {
		switch {
		case m.configured:
		case !t.dead(m):
			m.seen = now
		case now.Sub(m.seen) >= keepModel:
			t.drop(m)
		}
	}
}

// drop forgets a model and has its reads reported no more.
func (t *Tracker) drop(m *model) {
	t.models.remove(m)
	for _, dir := range m.watched {
		shared := slices.ContainsFunc(t.models.all, func(o *model) bool { return slices.Contains(o.watched, dir) })
		if t.opts.Unwatch != nil && !shared {
			t.opts.Unwatch(dir)
		}
	}
}

// crowded reports whether a workload has as many models as one may have.
func (s *models) crowded(workload string) bool {
	n := 0
	for _, m := range s.all {
		if len(m.owners) > 0 && m.owners[0] == workload {
			n++
		}
	}
	return n >= maxModelsEach
}

// configure takes in a directory that the operator named.
func (t *Tracker) configure(dir string, dataset bool) {
	dir = path.Clean(dir)
	if !path.IsAbs(dir) || dir == "/" {
		t.log.Warn("a configured model path is not usable: it must be absolute, and not /", "path", dir)
		return
	}
	m := t.models.add(dir, formatOf(dir), t.drop, t.dead)
	if m == nil {
		t.metrics.modelsRefused.Inc()
		return
	}
	m.configured, m.dataset = true, dataset
	m.name = modelName(dir)
	t.watchDir(m, dir)
}

// add makes a model, in the place of the one longest unused whose owners are gone if there are
// too many; nil where there is no room.
func (s *models) add(p string, f format, drop func(*model), dead func(*model) bool) *model {
	if len(s.all) >= maxModels {
		var oldest *model
		for _, m := range s.all {
			if !m.configured && dead(m) && (oldest == nil || m.seen.Before(oldest.seen)) {
				oldest = m
			}
		}
		if oldest == nil {
			return nil
		}
		drop(oldest)
	}
	m := &model{path: p, name: modelName(p), format: f, dataset: f.dataset(), made: map[variant]*event.Model{}}
	s.all = append(s.all, m)
	s.byPath[p] = append(s.byPath[p], m)
	return m
}

func (s *models) remove(m *model) {
	is := func(o *model) bool { return o == m }
	s.all = slices.DeleteFunc(s.all, is)
	if s.byPath[m.path] = slices.DeleteFunc(s.byPath[m.path], is); len(s.byPath[m.path]) == 0 {
		delete(s.byPath, m.path)
	}
	for id, o := range s.byFile {
		if o == m {
			delete(s.byFile, id)
		}
	}
}

// dead reports whether none of a model's owners runs.
func (t *Tracker) dead(m *model) bool {
	for _, id := range m.owners {
		if o := t.workloads[id]; o != nil && t.alive(o) {
			return false
		}
	}
	return true
}

// learn notes that a workload's process uses a model file, or names a directory by argument.
// It returns nil where the path cannot be a model's.
func (t *Tracker) learn(p *event.Process, file string, f format, named bool, now time.Time) *model {
	dir := file
	if f != formatNone {
		dir = modelDir(file)
	}
	if !learnable(dir) {
		return nil
	}
	m := t.models.find(p, dir, fileID{})
	if m == nil {
		if !t.models.crowded(p.Workload.ID) {
			m = t.models.add(dir, f, t.drop, t.dead)
		}
		if m == nil {
			t.metrics.modelsRefused.Inc()
			return nil
		}
		t.log.Info("learned a model directory", "path", dir, "workload", p.Workload.Name, "dataset", m.dataset)
	}
	m.seen = now
	if m.format == formatNone {
		m.format = f
	}
	if pl := placeOf(p); !slices.Contains(m.places, pl) {
		m.places = append(m.places, pl)
		if len(m.places) > maxPlaces {
			m.places = m.places[1:]
		}
		watch := m.path
		if m.path == file && f != formatNone {
			watch = path.Dir(file)
		}
		if t.apart(p) {
			watch = t.proc.inside(p.PID, watch)
		}
		t.watchDir(m, watch)
		t.list(p.Key(), m)
	}
	t.claim(m, p, named)
	return m
}

// claim makes a workload an owner of a model: the first one that uses it; further ones that name
// it by argument, or that follow owners which are gone. One that runs beside a living owner in
// its container, or was started from within a workload, gets nothing that way: else whoever can
// start a second llama-server were no stranger.
func (t *Tracker) claim(m *model, p *event.Process, named bool) {
	if p.Workload == nil || slices.Contains(m.owners, p.Workload.ID) || len(m.owners) >= maxOwners {
		return
	}
	if len(m.owners) > 0 {
		o := t.workloads[p.Workload.ID]
		if o == nil || !o.trusted || !named && !t.dead(m) {
			return
		}
		for _, id := range m.owners {
			if other := t.workloads[id]; other != nil && o.container != "" && other.container == o.container && t.alive(other) {
				return
			}
		}
	}
	m.owners = append(m.owners, p.Workload.ID)
}

// watchDir has reads in a directory reported, once.
func (t *Tracker) watchDir(m *model, dir string) {
	if t.opts.Watch == nil || dir == "/" || slices.Contains(m.watched, dir) {
		return
	}
	if len(m.watched) >= maxPlaces {
		m.watched = m.watched[1:]
	}
	m.watched = append(m.watched, dir)
	t.opts.Watch(dir)
}
