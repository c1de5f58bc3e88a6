package workload

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	maxSurveyed    = 256  // workloads
	maxSurveyPIDs  = 64   // processes of one that are looked into; all are counted
	maxSurveyFiles = 256  // of one
	maxSurveyFDs   = 1024 // descriptors of one process
	maxSurveyMaps  = 4    // processes of one whose mappings are read: its workers map what its root does
	maxSockets     = 16 << 10
	maxListens     = 64
)

// Survey looks at what runs. It remembers what does not change from one look to the next, and is for
// one goroutine.
type Survey struct {
	t        *Tracker
	versions map[event.Key]installed
	jobs     map[event.Key]*event.Job // of workloads with so many processes
	sizes    map[event.Key]int
}

// installed is what a workload's packages are.
type installed struct {
	engine   string
	packages []event.Package
}

// Open is a model file that a workload has open.
type Open struct {
	Path    string
	Format  string
	Model   *event.Model
	Info    os.FileInfo
	Process *event.Process
}

// Surveyed is a workload that runs, with the model files that it has open.
type Surveyed struct {
	event.Running
	Open []Open
}

// Survey returns a Survey of what the tracker knows.
func (t *Tracker) Survey() *Survey {
	return &Survey{t: t, versions: map[event.Key]installed{}, jobs: map[event.Key]*event.Job{}, sizes: map[event.Key]int{}}
}

// group is a workload and its own processes, the root first.
type group struct {
	w       event.Workload
	members []*event.Process
	count   int
}

// groups returns the workloads that run, by id, and how many there are beyond maxSurveyed.
func (t *Tracker) groups() (out []*group, cut int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byID := map[string]*group{}
	for id, o := range t.workloads {
		if t.alive(o) {
			byID[id] = &group{w: *o.w}
		}
	}
	if len(byID) == 0 {
		return nil, 0
	}
	for _, n := range t.tree.byKey {
		p := n.proc
		if !n.exited.IsZero() || p.Workload == nil || !p.Member() {
			continue
		}
		g := byID[p.Workload.ID]
		if g == nil {
			continue
		}
		g.count++
		g.members = append(g.members, p)
	}
	for _, g := range byID {
		root := g.w.Root
		slices.SortFunc(g.members, func(a, b *event.Process) int {
			switch {
			case a.Key() == root:
				return -1
			case b.Key() == root:
				return 1
			}
			return int(int64(a.PID) - int64(b.PID))
		})
		g.members = g.members[:min(len(g.members), maxSurveyPIDs)]
		if len(g.members) > 0 {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *group) int { return strings.Compare(a.w.ID, b.w.ID) })
	if cut = len(out) - maxSurveyed; cut > 0 {
		return out[:maxSurveyed], cut
	}
	return out, 0
}

// Look returns the workloads that run, and how many more there are than it looks at. It reads /proc.
func (s *Survey) Look() (out []Surveyed, cut int) {
	groups, cut := s.t.groups()
	nets := map[uint32]map[string]string{} // listening sockets by inode, of each network namespace
	living := map[event.Key]bool{}
	for _, g := range groups {
		living[g.members[0].Key()] = true
		out = append(out, s.look(g, nets))
	}
	for k := range s.versions {
		if !living[k] {
			delete(s.versions, k)
			delete(s.jobs, k)
			delete(s.sizes, k)
		}
	}
	return out, cut
}

func (s *Survey) look(g *group, nets map[uint32]map[string]string) Surveyed {
	root := g.members[0]
	r := Surveyed{Running: event.Running{
		Host: s.t.opts.Host, ID: g.w.ID, Kind: g.w.Kind, Engine: g.w.Engine, Name: g.w.Name, Container: root.Container,
		PID: root.PID, Processes: g.count, Started: root.Start, Exe: root.Exe, Files: []event.ModelFile{},
	}}
	l := looking{s: s, r: &r, seen: map[string]bool{}, libs: map[string]bool{}}
	for i, p := range g.members {
		if p.User != "" && !slices.Contains(r.Users, p.User) && len(r.Users) < 16 {
			r.Users = append(r.Users, p.User)
		}
		if nets[p.NS.Net] == nil {
			nets[p.NS.Net] = s.t.proc.listening(p.PID)
		}
		l.descriptors(p, nets[p.NS.Net])
		if i < maxSurveyMaps {
			l.mappings(p)
		}
	}
	slices.Sort(r.Users)
	slices.Sort(r.Listens)
	slices.Sort(r.GPUs)
	if s.sizes[root.Key()] != g.count { // an environment does not change, but ranks may be added
		s.jobs[root.Key()], s.sizes[root.Key()] = s.t.proc.job(g.members), g.count
	}
	r.Job = s.jobs[root.Key()]
	v, ok := s.versions[root.Key()]
	if !ok {
		v = s.t.packages(root, g.w.Engine, l.libs)
		s.versions[root.Key()] = v
	}
	r.Version, r.Packages = v.engine, v.packages
	return r
}

// looking is the look at one workload.
type looking struct {
	s    *Survey
	r    *Surveyed
	seen map[string]bool // paths
	libs map[string]bool // site-packages directories
}

// descriptors takes in what one process has open.
func (l *looking) descriptors(p *event.Process, listening map[string]string) {
	f := l.s.t.proc
	dir, err := os.Open(f.path(p.PID, "fd"))
	if err != nil {
		return
	}
	defer dir.Close() //nolint:errcheck // it was only read
	names, _ := dir.Readdirnames(maxSurveyFDs)
	buf := make([]byte, unix.PathMax)
	for _, n := range names {
		size, err := unix.Readlinkat(int(dir.Fd()), n, buf)
		if err != nil {
			continue
		}
		to := string(buf[:size])
		switch {
		case strings.HasPrefix(to, "socket:["):
			if at := listening[to[len("socket:["):len(to)-1]]; at != "" && !slices.Contains(l.r.Listens, at) && len(l.r.Listens) < maxListens {
				l.r.Listens = append(l.r.Listens, at)
			}
		case isGPU(to):
			if !slices.Contains(l.r.GPUs, to) && len(l.r.GPUs) < 64 {
				l.r.GPUs = append(l.r.GPUs, to)
			}
		case strings.HasPrefix(to, "/"):
			if l.wanted(to) {
				if st, err := os.Stat(f.path(p.PID, "fd", n)); err == nil {
					l.file(to, st, p)
				}
			}
		}
	}
}

// mappings takes in what one process has mapped.
func (l *looking) mappings(p *event.Process) {
	f := l.s.t.proc
	for _, m := range f.mapped(p.PID) {
		if at := strings.Index(m, "-packages/"); at > 0 && len(l.libs) < 16 {
			l.libs[m[:at+len("-packages")]] = true
		}
		if l.wanted(m) {
			if st, ok := f.stat(p.PID, m); ok {
				l.file(m, st, p)
			}
		}
	}
}

// isGPU reports whether a device file is a GPU's, not one that controls all of them.
func isGPU(dev string) bool {
	for _, prefix := range [...]string{"/dev/nvidia", "/dev/dri/renderD", "/dev/accel/accel"} {
		if rest, ok := strings.CutPrefix(dev, prefix); ok && rest != "" && strings.Trim(rest, "0123456789") == "" {
			return true
		}
	}
	return dev == "/dev/kfd"
}

// wanted reports whether a path may be a model's file that was not looked at yet.
func (l *looking) wanted(file string) bool {
	if l.seen[file] || formatOf(file) == formatNone && !isBlob(file) || !learnable(file) {
		return false
	}
	l.seen[file] = true
	if len(l.r.Open) >= maxSurveyFiles {
		l.r.FilesCut++
		return false
	}
	return true
}

func (l *looking) file(file string, st os.FileInfo, p *event.Process) {
	if !st.Mode().IsRegular() {
		return
	}
	fm := formatOf(file)
	if fm == rawBinary && st.Size() < minBinary && !generic(strings.TrimSuffix(base(file), ".bin")) {
		return // a name that all sorts of files have
	}
	o := Open{Path: file, Format: formatNames[fm], Info: st, Process: p}
	l.s.t.mu.Lock()
	if m := l.s.t.models.find(p, file, fileID{}); m != nil {
		o.Model = m.as(p.Workload.ID, fm)
	}
	l.s.t.mu.Unlock()
	l.r.Open = append(l.r.Open, o)
}

// listening returns the addresses of listening TCP sockets in the network namespace of a process, by
// the number of the socket.
func (f proc) listening(pid uint32) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		for line := range strings.Lines(string(f.read(pid, name, 8<<20))) {
			v := strings.Fields(line)
			if len(v) < 10 || v[3] != "0A" || len(out) >= maxSockets {
				continue
			}
			if at, ok := hexAddr(v[1]); ok {
				out[v[9]] = at
			}
		}
	}
	return out
}

// hexAddr reads an address as /proc/net/tcp writes it: words of 32 bits in the host's order, then the port.
func hexAddr(s string) (string, bool) {
	addr, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b)%4 != 0 {
		return "", false
	}
	for i := 0; i < len(b); i += 4 { // little endian on amd64 and arm64
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)).String(), ok
}

// jobVars are the variables that say of which distributed job a process is. They hold names and numbers,
// no secrets; no other is read.
var jobVars = []string{
	"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_PROCID", "SLURM_NTASKS",
	"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "RAY_JOB_ID",
}

// job says which distributed job processes belong to, nil for none.
func (f proc) job(members []*event.Process) *event.Job {
	var j event.Job
	for _, p := range members {
		env := f.environ(p.PID, jobVars...)
		first := func(names ...string) string {
			for _, n := range names {
				if v := env[n]; v != "" && len(v) <= maxName {
					return strings.ToValidUTF8(v, "")
				}
			}
			return ""
		}
		if j.ID == "" {
			switch run := first("TORCHELASTIC_RUN_ID"); {
			case first("SLURM_JOB_ID") != "":
				j.ID = "slurm:" + first("SLURM_JOB_ID")
			case first("RAY_JOB_ID") != "":
				j.ID = "ray:" + first("RAY_JOB_ID")
			case run != "" && run != "none":
				j.ID = "run:" + run
			case first("MASTER_ADDR") != "" && first("RANK", "WORLD_SIZE") != "":
				j.ID = first("MASTER_ADDR") + ":" + first("MASTER_PORT")
			}
		}
		if n, err := strconv.Atoi(first("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")); err == nil && n > 0 {
			j.Size = max(j.Size, n)
		}
		if n, err := strconv.Atoi(first("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")); err == nil && n >= 0 && !slices.Contains(j.Ranks, n) {
			j.Ranks = append(j.Ranks, n)
		}
	}
	if j.ID == "" {
		return nil
	}
	slices.Sort(j.Ranks)
	return &j
}

// enginePackages are the names under which engines are installed in Python, where it is another.
var enginePackages = map[string]string{
	"llama.cpp": "llama_cpp_python", "tgi": "text_generation_server", "torchrun": "torch", "pytorch": "torch", "jupyter": "jupyterlab",
	"tensorrt-llm": "tensorrt_llm",
}

// frameworks are the packages that are worth telling beside the engine.
var frameworks = []string{
	"torch", "transformers", "tensorflow", "jax", "onnxruntime", "onnxruntime_gpu", "peft", "safetensors", "accelerate", "deepspeed", "diffusers",
	"vllm", "sglang", "ray", "langchain", "numpy",
}

// packages reads which versions of the engine and of frameworks a workload has installed: from the
// names of directories, which tell as much as their files.
func (t *Tracker) packages(p *event.Process, engine string, libs map[string]bool) (out installed) {
	if engine == "triton" {
		return installed{engine: version(t.proc.line(p.PID, "/opt/tritonserver/TRITON_VERSION"))}
	}
	want := enginePackages[engine]
	if want == "" {
		want = strings.ReplaceAll(engine, "-", "_")
	}
	for _, dir := range sitePackages(p, libs) {
		left := maxEntries
		t.proc.each(p.PID, dir, &left, func(e os.DirEntry) {
			stem, ok := strings.CutSuffix(e.Name(), ".dist-info")
			name, v, cut := strings.Cut(stem, "-")
			if v = version(v); !ok || !cut || v == "" {
				return
			}
			name = strings.ToLower(name)
			if name == want && out.engine == "" {
				out.engine = v
			}
			if slices.Contains(frameworks, name) && name != want && len(out.packages) < 32 && !slices.ContainsFunc(out.packages, func(p event.Package) bool { return p.Name == name }) {
				out.packages = append(out.packages, event.Package{Name: name, Version: v})
			}
		})
	}
	slices.SortFunc(out.packages, func(a, b event.Package) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// line reads the beginning of a small regular file.
func (f proc) line(pid uint32, name string) string {
	st, ok := f.stat(pid, name)
	if !ok || st.Size() > 256 {
		return ""
	}
	return string(f.head(pid, name, int(st.Size())))
}

// version returns s where it looks like a version, else "".
func version(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 || s[0] < '0' || s[0] > '9' || strings.Trim(s, "0123456789.abcdefghijklmnopqrstuvwxyz+-_!") != "" {
		return ""
	}
	return s
}

// sitePackages returns where a Python program may have its packages: where it has mapped libraries of
// them, below the prefix of its script, and where the system has them.
func sitePackages(p *event.Process, libs map[string]bool) []string {
	var out []string
	add := func(dir string) {
		if dir = path.Clean(dir); path.IsAbs(dir) && !slices.Contains(out, dir) && len(out) < 24 {
			out = append(out, dir)
		}
	}
	for dir := range libs {
		add(dir)
	}
	slices.Sort(out)
	python := base(p.Exe)
	if !isPython(python) {
		return out
	}
	script := programOf(p).script
	for _, bin := range []string{p.Invoked, script, p.Exe} {
		if bin != "" && !path.IsAbs(bin) {
			bin = path.Join(p.CWD, bin)
		}
		if prefix, ok := strings.CutSuffix(path.Dir(bin), "/bin"); ok {
			add(prefix + "/lib/" + python + "/site-packages")
			add(prefix + "/lib/" + python + "/dist-packages")
		}
	}
	add("/usr/local/lib/" + python + "/site-packages")
	add("/usr/local/lib/" + python + "/dist-packages")
	add("/usr/lib/python3/dist-packages")
	return out
}
