package workload

import (
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"picket/event"
)

const (
	maxJobs   = 1024
	maxOpened = 1024
	maxListed = 512
	sweepTime = time.Minute
)

// job is a look at a running process that Stamp has no time for.
type job struct {
	key event.Key
	at  time.Time
	dir *model // list this model's files, rather than look at the process's
}

// plan asks for looks at a process's arguments, open files and libraries after each delay.
func (t *Tracker) plan(k event.Key, now time.Time, delays ...time.Duration) {
	for _, d := range delays {
		if len(t.jobs) >= maxJobs {
			t.metrics.jobsDropped.Inc()
			continue
		}
		t.jobs = append(t.jobs, job{key: k, at: now.Add(d)})
	}
}

func (t *Tracker) list(k event.Key, m *model) {
	if len(t.jobs) >= maxJobs {
		t.metrics.jobsDropped.Inc()
		return
	}
	t.jobs = append(t.jobs, job{key: k, dir: m})
}

// look is what Advance found out about a process.
type look struct {
	job   job
	libs  []string
	open  []found
	files []fileID
}

type found struct {
	path string
	f    format
	id   fileID
}

// Advance does the slow work that is due at now: it looks at the open files and mapped libraries
// of processes that were recognised, at once and again 2 and 10 seconds and a minute later, because
// weights are loaded within seconds or after a download, and reads are reported only inside
// directories that are known by then. It forgets what is long gone. Stamp may go on meanwhile.
// Call it about once a second; now is on the clock of the events' times.
func (t *Tracker) Advance(now time.Time) {
	for range 4 { // what was learned may plan more that is due
		t.mu.Lock()
		due := t.due(now)
		t.mu.Unlock()
		if len(due) == 0 {
			break
		}
		for i := range due {
			t.examine(&due[i].look, due[i].proc)
		}
		t.mu.Lock()
		for i := range due {
			t.apply(&due[i].look, now)
		}
		t.mu.Unlock()
	}
	t.mu.Lock()
	t.tree.expire(now)
	t.cgroups.expire(now, keepCgroup)
	t.mu.Unlock()
	t.sweep(now)
}

type task struct {
	look look
	proc *event.Process
}

func (t *Tracker) due(now time.Time) []task {
	var out []task
	rest := t.jobs[:0]
	for _, j := range t.jobs {
		n := t.tree.byKey[j.key]
		switch {
		case n == nil || !n.exited.IsZero():
		case j.at.After(now):
			rest = append(rest, j)
		default:
			out = append(out, task{look{job: j}, n.proc})
		}
	}
	clear(t.jobs[len(rest):])
	t.jobs = rest
	return out
}

// examine reads /proc, without the lock.
func (t *Tracker) examine(l *look, p *event.Process) {
	if start, _, _, ok := t.proc.start(p.PID); !ok || start != p.StartBoot-p.StartBoot%tick {
		return // gone, and the pid perhaps another's
	}
	if l.job.dir != nil {
		l.files = t.proc.files(p.PID, l.job.dir.path, maxListed)
		return
	}
	if p.Workload == nil {
		l.libs = t.proc.mapped(p.PID)
		return
	}
	if !p.Member() {
		return
	}
	for _, file := range t.proc.opened(p.PID, maxOpened) {
		f := formatOf(file)
		if f == formatNone && !strings.Contains(file, "/blobs/") {
			continue
		}
		st, ok := t.proc.stat(p.PID, file)
		if !ok || st.IsDir() || !t.weighty(p.PID, file, f, st) {
			continue
		}
		if f == formatNone {
			f = magic(t.proc.head(p.PID, file, magicLen))
		}
		id, _ := idOf(st)
		l.open = append(l.open, found{file, f, id})
	}
}

// named learns the models and data sets that a process names by argument, where they are paths
// that exist. It is done at once, so that reads in them are reported from the first one on.
func (t *Tracker) named(p *event.Process, id identity, now time.Time) {
	if p.Workload == nil || !p.Member() {
		return
	}
	args := slices.Concat(id.models, id.data)
	for i, arg := range append(args, t.caches(p, id)...) {
		if !path.IsAbs(arg) {
			if p.CWD == "" || strings.Contains(arg, "://") {
				continue
			}
			arg = path.Join(p.CWD, arg)
		}
		arg = t.resolve(p.PID, path.Clean(arg))
		if isBlob(arg) {
			arg = modelDir(arg)
		}
		st, ok := t.proc.stat(p.PID, arg)
		f := formatOf(arg)
		if !ok || !st.IsDir() && f == formatNone {
			continue
		}
		if st.IsDir() {
			f = formatNone
		}
		if m := t.learn(p, arg, f, true, now); m != nil {
			if st.IsDir() && i >= len(id.models) && i < len(args) || strings.Contains(arg, "/datasets--") {
				m.dataset = true
			}
			if fileID, ok := idOf(st); ok && f != formatNone {
				t.models.file(fileID, m)
			}
		}
	}
}

// weighty reports whether a file with a model's name is one: .bin is used for all sorts of
// things, and a hub's blobs have no ending at all.
func (t *Tracker) weighty(pid uint32, file string, f format, st os.FileInfo) bool {
	if f == formatNone {
		return st.Size() >= minBinary
	}
	if f != rawBinary || st.Size() >= minBinary || generic(strings.TrimSuffix(base(file), ".bin")) {
		return true
	}
	_, ok := t.proc.stat(pid, path.Join(path.Dir(file), "config.json"))
	return ok
}

// resolve follows the links of a path as the process sees it: the kernel reports real paths.
func (t *Tracker) resolve(pid uint32, p string) string {
	for range 8 {
		to, err := t.proc.readlink(pid, p)
		if err != nil {
			return p
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(p), to)
		}
		p = path.Clean(to)
	}
	return p
}

// apply takes in what examine found.
func (t *Tracker) apply(l *look, now time.Time) {
	n := t.tree.byKey[l.job.key]
	if n == nil {
		return
	}
	if m := l.job.dir; m != nil {
		for _, id := range l.files {
			t.models.file(id, m)
		}
		return
	}
	if n.proc.Workload == nil {
		t.byLibraries(n, l.libs, now)
		return
	}
	if !n.proc.Member() {
		return
	}
	for _, f := range l.open {
		if f.f == formatNone {
			f.path = modelDir(f.path) // a blob: its folder
		}
		if m := t.learn(n.proc, f.path, f.f, false, now); m != nil {
			t.models.file(f.id, m)
		}
	}
}

func (s *models) file(id fileID, m *model) {
	if id.ino != 0 && len(s.byFile) < maxModelFiles && s.byFile[id] == nil {
		s.byFile[id] = m
	}
}

// byLibraries recognises an AI workload by what it has mapped.
func (t *Tracker) byLibraries(n *node, libs []string, now time.Time) {
	p := *n.proc
	id, ok := ofLibraries(&p, libs)
	if !ok {
		return
	}
	w := &event.Workload{Kind: id.kind, Engine: id.engine, Name: id.name, Model: id.model, Root: p.Key()}
	w.ID = t.workloadID(&p, w, genuine(&p))
	t.keep(w, &p, genuine(&p), now)
	t.convert(n, w)
	t.metrics.recognised.Inc()
	t.log.Info("recognised an AI workload by its libraries", "engine", w.Engine, "kind", w.Kind, "name", w.Name, "pid", p.PID)
	t.named(n.proc, id, now)
	t.plan(p.Key(), now, looks...)
}

// ofLibraries reads mapped libraries. CUDA alone makes no AI workload: games and miners use it.
func ofLibraries(p *event.Process, libs []string) (identity, bool) {
	id := identity{kind: event.Inference}
	for _, l := range libs {
		name := base(l)
		switch {
		case strings.HasPrefix(name, "libllama"), strings.HasPrefix(name, "libggml"):
			id.engine = "llama.cpp"
		case strings.HasPrefix(name, "libtorch") && (id.engine == "" || id.engine == "onnxruntime"):
			id.engine = "pytorch"
		case strings.HasPrefix(name, "libonnxruntime") && id.engine == "":
			id.engine = "onnxruntime"
		}
	}
	if id.engine == "" {
		return id, false
	}
	prog := programOf(p)
	script := strings.ToLower(base(prog.script) + " " + prog.module)
	for _, word := range [...]string{"train", "finetune", "fine_tune", "fine-tune", "sft", "lora"} {
		if strings.Contains(script, word) {
			id.kind = event.Training
		}
	}
	id.arguments(prog)
	if id.name == id.engine && prog.script != "" {
		id.name = clip(strings.TrimSuffix(base(prog.script), ".py"))
	}
	return id, true
}

// sweep finds processes whose end was missed, once a minute.
func (t *Tracker) sweep(now time.Time) {
	t.mu.Lock()
	if now.Sub(t.swept) < sweepTime {
		t.mu.Unlock()
		return
	}
	first := t.swept.IsZero()
	t.swept = now
	t.forget(now)
	var living []event.Key
	if !first {
		for k, n := range t.tree.byKey {
			if n.exited.IsZero() && now.Sub(n.proc.Start) > sweepTime {
				living = append(living, k)
			}
		}
	}
	t.mu.Unlock()
	var dead []event.Key
	for _, k := range living {
		if start, _, _, ok := t.proc.start(k.PID); !ok || start != k.Start-k.Start%tick {
			dead = append(dead, k)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range dead {
		if n := t.tree.byKey[k]; n != nil {
			t.tree.exit(n, now)
		}
	}
}

// below reports whether p is dir or lies in it.
func below(p, dir string) bool {
	return dir != "" && strings.HasPrefix(p, dir) && (len(p) == len(dir) || p[len(dir)] == '/' || strings.HasSuffix(dir, "/"))
}
