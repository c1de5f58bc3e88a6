// Package inventory says what each model file on a host is: it judges those that are written or first
// opened, once for each version, and remembers what came of it.
//
// Reading a model file is left to a child without privilege, one file at a time, within a budget of
// bytes a second: see Worker and Work.
package inventory

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/artifact"
	"picket/artifact/sign"
	"picket/event"
)

const (
	maxQueue   = 1024
	maxResults = 4096
	maxUsers   = 64               // of one version, that are told apart
	maxRecent  = 4096             // files whose readers are remembered
	settleTime = 2 * time.Second  // without a change, before a file that was written is read
	settleMost = 30 * time.Minute // for which a file that goes on changing is waited for
	idleWorker = 20 * time.Second // after which a child with nothing to do ends
	saveEvery  = 30 * time.Second
)

// Options sets up a Scanner. Run is needed.
type Options struct {
	Log        *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
	File       string                // keeps results over restarts; "" keeps none
	Version    string                // of Picket: results of another one do not count
	Run        Run                   // starts the child
	Rate       int64                 // bytes a second that are read at most; 0: no bound
	Trust      []sign.Trust          // whose signatures count
	Proc       string                // where proc is mounted; "": /proc
	// Told is called for each version of a file and each user of it: a workload, or where the file is
	// hostile each program. It is called by the scanner's goroutine.
	Told func(Sighting, event.Artifact)
}

// Sighting is a model file as a process had it.
type Sighting struct {
	Process  *event.Process
	Path     string // as the process has it
	Dev, Ino uint64 // as the kernel has them; 0 where they are not known
	Model    *event.Model
	Use      string // event.UseRead or event.UseWritten; Asked or Foreseen
}

// Uses of which nobody is told: somebody waits to know what the file is, or may want to soon.
const (
	Asked    = "asked"
	Foreseen = "foreseen"
)

func (x Sighting) quiet() bool { return x.Use == Asked || x.Use == Foreseen }

// errand is what makes two sightings that wait one: a path in a mount namespace, and who uses it how.
type errand struct {
	mnt             uint32
	path, use, user string
}

func (x Sighting) errand() errand {
	e := errand{mnt: x.Process.NS.Mnt, path: x.Path, use: x.Use}
	if x.Use == event.UseRead {
		e.user = x.user(true)
	}
	return e
}

// fileID is a file as the kernel's events name it.
type fileID struct{ dev, ino uint64 }

// Scanner judges model files. Its methods are safe for concurrent use; See never waits.
type Scanner struct {
	o       Options
	log     *slog.Logger
	m       metrics
	trust   string // fingerprint of what is trusted
	wake    chan struct{}
	results *results

	mu      sync.Mutex
	queue   []task
	waiting map[errand]bool
	recent  map[fileID]map[string]bool // readers of a file that were taken note of
	hostile map[fileID]bool
	failed  map[Version]time.Time // those that ended their reader, and when
}

// task is a sighting that is to be looked into.
type task struct {
	Sighting
	due, since time.Time
}

// New makes a scanner, with what an earlier one kept in o.File.
func New(o Options) *Scanner {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.Told == nil {
		o.Told = func(Sighting, event.Artifact) {}
	}
	s := &Scanner{
		o: o, log: o.Log, wake: make(chan struct{}, 1), trust: fingerprint(o.Trust),
		waiting: map[errand]bool{}, recent: map[fileID]map[string]bool{}, hostile: map[fileID]bool{}, failed: map[Version]time.Time{},
	}
	s.results = loadResults(o.File, o.Version+" "+s.trust, o.Log)
	s.m = newMetrics(o.Registerer, s)
	return s
}

// Judged reports whether a file by this name is one to judge: of a model's format, or, in a model's
// directory, what is obeyed when it is loaded.
func Judged(path string, inModel bool) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	ext := ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		ext = strings.ToLower(name[i+1:])
	}
	switch ext {
	case "txt", "log", "tmp", "so", "md", "c", "go", "js":
		return false // most of what is written
	}
	if strings.HasPrefix(path, "/usr/lib/") || strings.HasPrefix(path, "/proc/") || strings.Contains(path, "/site-packages/") || strings.Contains(path, "/dist-packages/") {
		return false
	}
	switch ext {
	case "safetensors", "gguf", "pt", "pth", "ckpt", "onnx", "keras", "mlmodel", "pkl", "pickle", "joblib", "nemo", "mar", "npy", "npz":
		return true
	case "bin", "h5", "hdf5", "jinja", "py", "json", "engine", "trt", "plan":
		return inModel
	}
	return strings.Contains(path, "/models/blobs/sha256-") || strings.Contains(path, "/blobs/") && strings.Contains(path, "/models--")
}

// See takes note of a model file. It is looked into soon, or dropped and counted where too many wait.
func (s *Scanner) See(x Sighting) {
	id, now := fileID{x.Dev, x.Ino}, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.Use == event.UseWritten {
		delete(s.recent, id)
	} else if !x.quiet() && id.ino != 0 && !s.first(id, x.user(s.hostile[id])) {
		return
	}
	if s.waiting[x.errand()] { // a file that is written is looked into once it is left alone
		return
	}
	if len(s.queue) >= maxQueue {
		s.m.dropped.Inc()
		delete(s.recent, id) // the next read of it is a first one again
		return
	}
	s.waiting[x.errand()] = true
	if x.Use == Asked { // before all others
		s.queue = slices.Insert(s.queue, 0, task{x, now, now})
	} else {
		s.queue = append(s.queue, task{x, now, now})
	}
	s.signal()
}

// first reports whether a user reads a file for the first time since it was written.
func (s *Scanner) first(id fileID, user string) bool {
	users := s.recent[id]
	if users[user] {
		return false
	}
	if users == nil {
		if len(s.recent) >= maxRecent {
			clear(s.recent) // who reads again is told apart by the results
		}
		users = map[string]bool{}
		s.recent[id] = users
	}
	if len(users) < maxUsers {
		users[user] = true
	}
	return true
}

// user is who a version is told of once: the workload; of a hostile file each program.
func (x Sighting) user(hostile bool) string {
	switch {
	case hostile:
		return x.Use + " " + x.Process.UID
	case x.Process.Workload != nil:
		return x.Process.Workload.ID
	}
	return ""
}

// Hostile reports whether a file, as the kernel names it, was found to be hostile.
func (s *Scanner) Hostile(dev, ino uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.hostile) > 0 && s.hostile[fileID{dev, ino}]
}

// Resign forgets what is known of the files that a signature which was written may cover: that of one
// file, or of the directory that it lies in.
func (s *Scanner) Resign(sig string) { s.results.drop(sig) }

func (s *Scanner) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run looks into what was seen until ctx ends, and keeps what came of it.
func (s *Scanner) Run(ctx context.Context) {
	j := &judge{s: s}
	defer j.end()
	defer s.results.save()
	timer := time.NewTimer(0)
	defer timer.Stop()
	saved := time.Now()
	for ctx.Err() == nil {
		t, wait := s.next(time.Now())
		if t != nil {
			if again := j.look(ctx, *t); again {
				t.due = time.Now().Add(max(settleTime, min(time.Since(t.since)/8, time.Minute)))
				s.again(*t)
			}
			continue
		}
		if now := time.Now(); now.Sub(saved) >= saveEvery {
			saved = now
			s.results.save()
		}
		j.idle()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// next returns a task that is due, or how long there is none.
func (s *Scanner) next(now time.Time) (*task, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := idleWorker
	for i, t := range s.queue {
		if d := t.due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		s.queue = append(s.queue[:i], s.queue[i+1:]...)
		delete(s.waiting, t.errand())
		return &t, 0
	}
	return nil, wait
}

func (s *Scanner) again(t task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxQueue {
		s.m.dropped.Inc()
		return
	}
	s.waiting[t.errand()] = true
	s.queue = append(s.queue, t)
}

// Known returns what is known of a file that is open, and whether it was judged.
func (s *Scanner) Known(v Version) (Result, bool) { return s.results.get(v) }

// Failed reports whether a file ended its reader a while ago: what it is is not known.
func (s *Scanner) Failed(v Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.failed[v]
	return ok && time.Since(at) < settleMost
}

func (s *Scanner) fail(v Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) >= maxResults {
		clear(s.failed)
	}
	s.failed[v] = time.Now()
}

// Used returns what is known of the files that a workload used.
func (s *Scanner) Used(workload string) []Result { return s.results.used(workload) }

// Waiting reports how many files wait to be looked into.
func (s *Scanner) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// worst is the sentence of the worst that a scan found.
func worst(r artifact.Report) string {
	text, v := "", artifact.Clean
	for _, i := range r.Issues {
		if i.Verdict > v {
			text, v = i.Text, i.Verdict
		}
	}
	return clip(text)
}

const maxText = 400

// clip makes text of a child, and so perhaps of the file, fit to be kept.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
