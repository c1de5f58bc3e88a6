package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"picket/respond"
)

// maxLocalRuns bounds what is kept while the server is away. Of more the oldest that hold nothing go.
const maxLocalRuns = 200

// localRuns keeps the runs of an agent's own playbooks, a file each, until the server has taken them over.
type localRuns struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	runs map[string]*respond.Handover
}

// openLocalRuns reads what an earlier agent kept. A file that cannot be read is put aside.
func openLocalRuns(dir string, log *slog.Logger) (*localRuns, error) {
	if err := makeDir(dir, 0); err != nil {
		return nil, err
	}
	j := &localRuns{dir: dir, log: log, runs: map[string]*respond.Handover{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		h := &respond.Handover{}
		if err == nil {
			err = json.Unmarshal(b, h)
		}
		if err == nil && h.Kept.ID+".json" != filepath.Base(name) {
			err = errors.New("it holds another run")
		}
		if err != nil {
			log.Error("a run of this agent's own cannot be read and is put aside", "file", name+".bad", "error", err)
			_ = os.Rename(name, name+".bad") // what holds ends in its time: that is in the journal of acts
			continue
		}
		j.runs[h.Kept.ID] = h
	}
	return j, nil
}

// TakeOver gives the number 0: one agent at a time has the directory, and a server, whose numbers begin
// at 1, takes a run over from it by any of its own.
func (j *localRuns) TakeOver(context.Context) (uint64, error) { return 0, nil }

// Save writes a run and what happened to it.
func (j *localRuns) Save(_ context.Context, _ uint64, k respond.Kept, records []respond.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.runs[k.ID]
	if old == nil {
		if err := j.makeRoom(); err != nil {
			return err
		}
		old = &respond.Handover{}
	}
	if k.Plan == nil {
		k.Plan = old.Kept.Plan
	}
	next := &respond.Handover{Kept: k, Records: append(slices.Clip(old.Records), records...)}
	b, err := json.Marshal(next)
	if err == nil {
		err = keepFile(filepath.Join(j.dir, k.ID+".json"), b, !k.Soon)
	}
	if err != nil {
		return fmt.Errorf("keeping run %s: %w", k.ID, err)
	}
	j.runs[k.ID] = next
	return nil
}

// makeRoom takes the oldest run that is done with out where there are too many.
func (j *localRuns) makeRoom() error {
	if len(j.runs) < maxLocalRuns {
		return nil
	}
	var oldest *respond.Handover
	for _, h := range j.runs {
		still := h.Kept.Open && h.Kept.State != string(respond.Suggested)
		if !still && (oldest == nil || h.Kept.Opened.Before(oldest.Kept.Opened)) {
			oldest = h
		}
	}
	if oldest == nil {
		return fmt.Errorf("%d runs go on or hold something, and no more are begun", len(j.runs))
	}
	j.log.Warn("a run of this agent's own is forgotten before the server heard of it", "run", oldest.Kept.ID)
	return j.forget(oldest.Kept.ID)
}

// Forget takes a run out.
func (j *localRuns) Forget(_ context.Context, id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.forget(id)
}

func (j *localRuns) forget(id string) error {
	if j.runs[id] == nil {
		return fmt.Errorf("run %s: %w", id, respond.ErrNotFound)
	}
	if err := os.Remove(filepath.Join(j.dir, id+".json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(j.runs, id)
	return nil
}

// Run returns one.
func (j *localRuns) Run(_ context.Context, id string) (respond.Kept, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if h := j.runs[id]; h != nil {
		return h.Kept, nil
	}
	return respond.Kept{}, respond.ErrNotFound
}

// Runs lists them, the latest first.
func (j *localRuns) Runs(_ context.Context, q respond.Query) ([]respond.Kept, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []respond.Kept
	for _, h := range j.runs {
		if (q.Incident == "" || q.Incident == h.Kept.Incident) && (!q.Open || h.Kept.Open) {
			out = append(out, h.Kept)
		}
	}
	slices.SortFunc(out, func(a, b respond.Kept) int {
		if c := b.Opened.Compare(a.Opened); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	if q.Limit > 0 && !q.Open {
		out = out[:min(q.Limit, len(out))]
	}
	return out, nil
}

// Records returns what happened to a run.
func (j *localRuns) Records(_ context.Context, run string) ([]respond.Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if h := j.runs[run]; h != nil {
		return slices.Clone(h.Records), nil
	}
	return nil, respond.ErrNotFound
}

// Stopped says that nobody stops an agent's runs as such: its acts as a whole are stopped by picket action stop.
func (j *localRuns) Stopped(context.Context) (string, error) { return "", nil }

// SetStopped is not asked for on an agent.
func (j *localRuns) SetStopped(context.Context, string) error { return respond.ErrInvalid }

// over counts the runs that the server can take over.
func (j *localRuns) over() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, h := range j.runs {
		if respond.State(h.Kept.State).Over() {
			n++
		}
	}
	return n
}

// noTransport sends no request: an agent's own playbooks have none.
type noTransport struct{}

// RoundTrip refuses.
func (noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("an agent sends no requests of playbooks")
}
