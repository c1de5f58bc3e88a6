package workload

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

const (
	maxModels     = 1024
	maxModelFiles = 4096 // of one model, whose inodes are remembered
)

// models knows which files belong to a model: by the path that the owner's mount namespace has for
// them, and by inode, under whatever path they are reached.
type models struct {
	byPath  map[place]*model
	byInode map[fileID]*model
	watch   func(string)
	refused func()
}

// place is a path as seen in a scope: a container's id, or "" on the host.
type place struct{ scope, path string }

// model is one directory or file, with the record for each format that its files have, made once.
type model struct {
	event.Model
	byFormat [formats]*event.Model
}

func newModels(watch func(string), refused func()) models {
	if watch == nil {
		watch = func(string) {}
	}
	return models{byPath: map[place]*model{}, byInode: map[fileID]*model{}, watch: watch, refused: refused}
}

// anywhere is the scope of configured directories: any mount namespace.
const anywhere = "*"

func (m *models) configure(dir string, dataset bool) {
	dir = path.Clean(dir)
	k := place{anywhere, dir}
	m.byPath[k] = &model{Model: event.Model{Path: dir, Name: modelName(dir), Dataset: dataset}}
	m.inodes(m.byPath[k], dir)
}

// shallow are directories too wide to belong to one model: a model there is a single file.
var shallow = map[string]bool{
	"/": true, "/tmp": true, "/var/tmp": true, "/dev/shm": true, "/root": true, "/home": true, "/etc": true, "/usr": true, "/var": true,
	"/opt": true, "/mnt": true, "/srv": true, "/media": true, "/workspace": true, "/app": true,
}

// learn notes that the model at file, seen by p, belongs to p's workload: the directory that the
// file lies in, or isDir, the path itself.
func (m *models) learn(f proc, p *event.Process, file string, isDir, dataset bool) {
	if p.Workload == nil {
		return
	}
	dir := path.Clean(file)
	if !isDir && !shallow[path.Dir(dir)] {
		dir = path.Dir(dir)
	}
	k := place{scope(p), dir}
	if old := m.byPath[k]; old != nil || shallow[dir] {
		if old != nil && old.Workload != p.Workload.ID && p.Workload.Root == p.Key() {
			m.byPath[k] = m.make(old.Path, p.Workload.ID, old.Dataset) // a new server took the model over
			m.inodes(m.byPath[k], f.inside(p.PID, dir))
		}
		return
	}
	if len(m.byPath) >= maxModels {
		m.refused()
		return
	}
	m.byPath[k] = m.make(dir, p.Workload.ID, dataset)
	host := f.inside(p.PID, dir)
	m.inodes(m.byPath[k], host)
	m.watch(host)
}

func (m *models) make(dir, workload string, dataset bool) *model {
	return &model{Model: event.Model{Path: dir, Name: modelName(dir), Dataset: dataset, Workload: workload}}
}

// inodes remembers the files of a model, so that a hard link or another mount does not hide them.
func (m *models) inodes(mod *model, host string) {
	names := []string{""}
	if entries, err := os.ReadDir(host); err == nil {
		names = names[:0]
		for _, e := range entries[:min(len(entries), maxModelFiles)] {
			names = append(names, "/"+e.Name())
		}
	}
	for _, n := range names {
		st, err := os.Stat(host + n)
		if err != nil || st.IsDir() || formatOf(host+n) == formatNone {
			continue
		}
		if id, ok := idOf(st); ok && len(m.byInode) < maxModels*16 {
			m.byInode[id] = mod
		}
	}
}

// scope says in which mounts a path of p means what it says.
func scope(p *event.Process) string {
	if p.Container != nil {
		return p.Container.ID
	}
	return ""
}

// find returns the model that a file belongs to, nil for none. It allocates only for the first file
// of a format.
func (m *models) find(p *event.Process, f *event.File) *event.Model {
	if len(m.byPath) == 0 {
		return nil
	}
	mod := m.at(scope(p), f.Path)
	if mod == nil && f.Old != "" {
		mod = m.at(scope(p), f.Old)
	}
	if mod == nil && f.Ino != 0 {
		mod = m.byInode[fileID{f.Dev, f.Ino}]
	}
	if mod == nil {
		return nil
	}
	kind := formatOf(f.Path)
	if kind == formatNone {
		kind = formatOf(f.Old)
	}
	if mod.byFormat[kind] == nil {
		c := mod.Model
		c.Format = formatNames[kind]
		mod.byFormat[kind] = &c
	}
	return mod.byFormat[kind]
}

// at looks for a file and the directories above it.
func (m *models) at(scope, file string) *model {
	for at := file; len(at) > 1; {
		if mod := m.byPath[place{scope, at}]; mod != nil {
			return mod
		}
		if mod := m.byPath[place{anywhere, at}]; mod != nil {
			return mod
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return nil
		}
		at = at[:i]
	}
	return nil
}

func (m *models) list() []event.Model {
	out := make([]event.Model, 0, len(m.byPath))
	for _, mod := range m.byPath {
		out = append(out, mod.Model)
	}
	slices.SortFunc(out, func(a, b event.Model) int { return strings.Compare(a.Path+a.Workload, b.Path+b.Workload) })
	return out
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

type metrics struct{ evicted, refused prometheus.Counter }

func newMetrics(reg prometheus.Registerer, t *Tracker) metrics {
	m := metrics{
		evicted: prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_workload_evicted_total", Help: "Exited processes forgotten early for want of room."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_workload_models_refused_total", Help: "Models not learned for want of room."}),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, n func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "picket_workload_" + name, Help: help}, func() float64 {
			t.mu.Lock()
			defer t.mu.Unlock()
			return float64(n())
		})
	}
	reg.MustRegister(m.evicted, m.refused,
		gauge("processes", "Processes remembered.", func() int { return len(t.tree.byKey) }),
		gauge("running", "AI workloads that run.", func() int { return len(t.jobs) }),
		gauge("models", "Models and datasets known.", func() int { return len(t.models.byPath) }))
	return m
}
