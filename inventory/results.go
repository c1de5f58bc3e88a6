package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"picket/artifact/sign"
	"picket/event"
)

// Version names a file's contents without reading them: whoever changes a file changes its ctime.
type Version struct {
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"`
	CTime int64  `json:"ctime"`
}

// VersionOf returns the version of a file as stat told of it.
func VersionOf(st os.FileInfo) (Version, bool) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return Version{}, false
	}
	return Version{s.Dev, s.Ino, s.Size, s.Mtim.Nano(), s.Ctim.Nano()}, true
}

// Result is what is known of a version of a file.
type Result struct {
	Version  Version        `json:"version"`
	Path     string         `json:"path"` // by which it was read
	Model    *event.Model   `json:"model,omitempty"`
	Format   string         `json:"format,omitempty"`
	Artifact event.Artifact `json:"artifact"`
	Seen     time.Time      `json:"seen"` // last

	users map[string]bool
}

// results remembers versions. Of more than maxResults the one that was longest not seen goes.
type results struct {
	file, key string
	log       *slog.Logger

	mu      sync.Mutex
	all     map[Version]*Result
	changed bool
}

// kept is the file of results.
type kept struct {
	Key     string   `json:"key"` // Picket's version, and what is trusted: other results do not count
	Results []Result `json:"results"`
}

const maxKept = 16 << 20 // bytes of the file

func loadResults(file, key string, log *slog.Logger) *results {
	r := &results{file: file, key: key, log: log, all: map[Version]*Result{}}
	if file == "" {
		return r
	}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return r
	}
	var k kept
	if err == nil {
		err = json.NewDecoder(io.LimitReader(f, maxKept)).Decode(&k)
		_ = f.Close() // it was only read
	}
	if err != nil {
		log.Warn("what was known of model files cannot be read: they are read again", "file", file, "error", err)
		return r
	}
	if k.Key != key || len(k.Results) > maxResults {
		return r
	}
	for _, one := range k.Results {
		r.all[one.Version] = &one
	}
	return r
}

func (r *results) get(v Version) (Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.all[v]; x != nil {
		return *x, true
	}
	return Result{}, false
}

// use notes that user has the version, and reports whether that is new.
func (r *results) use(v Version, user string, workload string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.all[v]
	if x == nil {
		return false
	}
	x.Seen = now
	if x.users == nil {
		x.users = map[string]bool{}
	}
	fresh := !x.users[user]
	for _, u := range []string{user, workload} {
		if len(x.users) < maxUsers {
			x.users[u] = true
		}
	}
	return fresh && x.users[user]
}

func (r *results) put(x Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for v := range r.all { // the file as it was is no more
		if v.Dev == x.Version.Dev && v.Ino == x.Version.Ino {
			delete(r.all, v)
		}
	}
	if len(r.all) >= maxResults {
		var oldest *Result
		for _, o := range r.all {
			if oldest == nil || o.Seen.Before(oldest.Seen) {
				oldest = o
			}
		}
		delete(r.all, oldest.Version)
	}
	r.all[x.Version] = &x
	r.changed = true
}

// used returns the results of a workload's files, by path, of one path the latest first.
func (r *results) used(workload string) []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Result
	for _, x := range r.all {
		if x.users[workload] {
			out = append(out, *x)
		}
	}
	slices.SortFunc(out, func(a, b Result) int { return cmp.Or(strings.Compare(a.Path, b.Path), b.Seen.Compare(a.Seen)) })
	return out
}

// drop forgets the files that a signature at a path may cover, as candidates has them.
func (r *results) drop(sig string) {
	below := ""
	if dir, name := path.Split(sig); name == "model.sig" && dir != "/" {
		below = dir
	}
	blobs, _, cache := strings.Cut(sig, "/snapshots/")
	blobs += "/blobs/"
	r.mu.Lock()
	defer r.mu.Unlock()
	for v, x := range r.all {
		if cache && strings.HasPrefix(x.Path, blobs) || x.Path+".sig" == sig || below != "" && strings.HasPrefix(x.Path, below) {
			delete(r.all, v)
			r.changed = true
		}
	}
}

// save writes the results where they changed, whole or not at all.
func (r *results) save() {
	r.mu.Lock()
	if r.file == "" || !r.changed {
		r.mu.Unlock()
		return
	}
	k := kept{Key: r.key, Results: make([]Result, 0, len(r.all))}
	for _, x := range r.all {
		k.Results = append(k.Results, *x)
	}
	r.changed = false
	r.mu.Unlock()
	b, err := json.Marshal(k)
	if err == nil {
		err = replace(r.file, b)
	}
	if err != nil {
		r.mu.Lock()
		r.changed = true
		r.mu.Unlock()
		r.log.Warn("what is known of model files was not kept: a restart reads them again", "file", r.file, "error", err)
	}
}

func replace(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".inventory-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
	}
	return err
}

func fingerprint(trust []sign.Trust) string {
	b, err := json.Marshal(trust)
	if err != nil {
		return "" // bytes and text always can be written
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
