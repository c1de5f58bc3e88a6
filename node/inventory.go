package node

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"picket/api"
	"picket/event"
	"picket/inventory"
	"picket/workload"
)

const (
	inventoryEvery = 30 * time.Second // at most so often it is told, where it changed
	inventoryAgain = 2 * time.Minute  // and so often where it did not: a server that was away has none
	maxFiles       = 256              // of one workload
	maxInventory   = 1 << 20          // bytes of all
)

// startInventory tells the server what runs here until ctx ends. The channel it returns closes then.
func (a *agent) startInventory(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		survey, last, told := a.tracker.Survey(), "", time.Time{}
		for wait := 5 * time.Second; ; wait = inventoryEvery { // first soon: the looks at what ran before take seconds
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			now := time.Now()
			inv := a.takeInventory(survey, now)
			if is := fingerprintOf(inv); is != last || now.Sub(told) >= inventoryAgain {
				last, told = is, now
				a.stream.Inventory(inv)
			}
		}
	}()
	return ended
}

// fingerprintOf is equal for two inventories that differ in their time alone.
func fingerprintOf(inv event.Inventory) string {
	inv.Time = time.Time{}
	b, err := json.Marshal(inv)
	if err != nil {
		return "" // texts and numbers always can be written
	}
	return event.HashID(string(b))
}

// takeInventory looks at what runs, and has judged what it finds open for the first time.
func (a *agent) takeInventory(survey *workload.Survey, now time.Time) event.Inventory {
	running, cut := survey.Look()
	inv := event.Inventory{Host: a.cfg.Host, Time: now, Running: []event.Running{}, Cut: cut}
	size := 0
	for _, w := range running {
		r := w.Running
		a.listFiles(&r, w.Open)
		b, err := json.Marshal(r)
		if err == nil && size+len(b) > maxInventory {
			r.FilesCut += len(r.Files)
			r.Files = []event.ModelFile{}
			b, err = json.Marshal(r)
		}
		if err != nil || size+len(b) > maxInventory {
			inv.Cut++
			continue
		}
		size += len(b)
		inv.Running = append(inv.Running, r)
	}
	return inv
}

// listFiles fills in the files that a workload has open, and then those that it had.
func (a *agent) listFiles(r *event.Running, open []workload.Open) {
	listed := map[string]bool{}
	for _, o := range open {
		f := event.ModelFile{Path: o.Path, Role: roleOf(o.Path, o.Model), Format: o.Format, Size: o.Info.Size(), Open: true, Model: nameOf(o.Model)}
		v, ok := inventory.VersionOf(o.Info)
		if known, judged := a.models.Known(v); ok && judged {
			f.Artifact, f.Format = known.Artifact, known.Format
		} else {
			f.Pending = inventory.Judged(o.Path, true)
		}
		if f.Pending || f.Artifact.Hostile() { // that it is open may be all that was seen of it
			a.models.See(inventory.Sighting{Process: o.Process, Path: o.Path, Model: o.Model, Use: event.UseRead})
		}
		listed[o.Path] = true
		r.Files = append(r.Files, f)
	}
	for _, u := range a.models.Used(r.ID) {
		switch {
		case listed[u.Path]:
		case len(r.Files) >= maxFiles:
			r.FilesCut++
		default:
			listed[u.Path] = true // a checkpoint that is replaced is listed as it is now
			r.Files = append(r.Files, event.ModelFile{
				Path: u.Path, Role: roleOf(u.Path, u.Model), Format: u.Format, Size: u.Version.Size, Artifact: u.Artifact, Model: nameOf(u.Model),
			})
		}
	}
	slices.SortStableFunc(r.Files, func(x, y event.ModelFile) int { return strings.Compare(x.Path, y.Path) })
}

func nameOf(m *event.Model) string {
	if m == nil {
		return ""
	}
	return m.Name
}

// roleOf says what a file is to the workload that uses it, by its name.
func roleOf(file string, m *event.Model) string {
	name := strings.ToLower(path.Base(file))
	switch {
	case m != nil && m.Dataset || strings.HasSuffix(name, ".parquet"):
		return "dataset"
	case strings.Contains(name, "adapter") || strings.Contains(name, "lora"):
		return "adapter"
	case strings.HasSuffix(name, ".jinja") || strings.HasPrefix(name, "chat_template"):
		return "template"
	case strings.HasPrefix(name, "tokenizer") || strings.HasPrefix(name, "vocab"):
		return "tokenizer"
	case strings.HasSuffix(name, ".py"):
		return "code"
	case strings.HasSuffix(name, ".json"):
		return "configuration"
	}
	return "model"
}

// inventories is what the agents last said that runs on their hosts.
type inventories struct {
	mu     sync.Mutex
	byHost map[string]event.Inventory
}

const maxHosts = 10_000

// take keeps the newest of a host. What it says of other hosts is not believed.
func (i *inventories) take(host string, inv event.Inventory) {
	inv.Host = host
	for n := range inv.Running {
		inv.Running[n].Host = host
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.byHost == nil {
		i.byHost = map[string]event.Inventory{}
	}
	if old, ok := i.byHost[host]; !ok && len(i.byHost) >= maxHosts || old.Time.After(inv.Time) {
		return
	}
	i.byHost[host] = inv
}

// Inventory returns what runs, by host and workload.
func (i *inventories) Inventory(_ context.Context, q api.InventoryQuery) ([]event.Running, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []event.Running{}
	for _, inv := range i.byHost {
		for _, r := range inv.Running {
			if q.Takes(&r) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b event.Running) int {
		if c := strings.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}
