package node

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/api"
	"picket/event"
	"picket/respond"
	"picket/respond/action"
	"picket/store/events"
)

const (
	maxCosted   = 8               // workloads whose costs are told
	metricsLast = 2 * time.Minute // how old a word of a service on its load may be
	notKnown    = respond.NotKnown
)

// stopping are the acts by which a workload does no more what it did.
var stopping = []action.Kind{
	action.Freeze, action.Kill, action.Isolate, action.Cut, action.ExcludeGPU, action.IsolatePod, action.Evict, action.DeletePod,
}

// costing says what acts would cost, by what is known of the fleet and kept of its events.
type costing struct {
	running func() []event.Running
	query   func(ctx context.Context, q events.Query, fn func(json.RawMessage) error) error
	now     func() time.Time
}

func (s *server) costing() costing {
	return costing{
		running: func() []event.Running {
			all, _ := s.runs.Inventory(context.Background(), api.InventoryQuery{}) // it has no way to fail
			return all
		},
		query: s.client.Query, now: time.Now,
	}
}

// costs tells, of each workload that acts would stop, what that costs.
func (c costing) costs(ctx context.Context, _ *event.Incident, acts []respond.Act) []respond.Cost {
	if !slices.ContainsFunc(acts, func(a respond.Act) bool { return slices.Contains(stopping, a.Kind) }) {
		return nil
	}
	all := c.running()
	var hit []event.Running
	for _, r := range all {
		if slices.ContainsFunc(acts, func(a respond.Act) bool { return stops(&a, &r) }) {
			hit = append(hit, r)
		}
	}
	if len(hit) == 0 {
		return []respond.Cost{{What: "workload", Value: notKnown, Evidence: "nothing that would be hit is a workload of the inventory"}}
	}
	var out []respond.Cost
	for _, r := range hit[:min(len(hit), maxCosted)] {
		of := r.Name + " on " + r.Host
		add := func(what, value, evidence string) {
			out = append(out, respond.Cost{What: what, Of: of, Value: value, Evidence: evidence})
		}
		if r.Kind == event.Inference {
			value, evidence := c.requests(ctx, &r)
			add("requests", value, evidence)
			value, evidence = replicas(&r, hit, all)
			add("replicas", value, evidence)
		}
		if r.Kind == event.Training || r.Job != nil {
			value, evidence := ranks(&r, hit, all)
			add("ranks", value, evidence)
		}
		if r.Kind == event.Training {
			value, evidence := c.gpuHours(ctx, &r)
			add("gpu-hours", value, evidence)
		}
	}
	if n := len(hit) - maxCosted; n > 0 {
		out = append(out, respond.Cost{What: "workload", Value: fmt.Sprintf("%d more", n), Evidence: "only the first are told"})
	}
	return out
}

// stops reports whether an act stops a workload: by its container, or by its first process.
func stops(a *respond.Act, r *event.Running) bool {
	if !slices.Contains(stopping, a.Kind) {
		return false
	}
	container := a.Target.Container
	if a.Target.Object != nil {
		container = a.Target.Object.Container
	} else if a.Target.Host != r.Host {
		return false
	}
	if container != "" {
		return r.Container != nil && r.Container.ID == container
	}
	return slices.ContainsFunc(a.Hits, func(hit string) bool {
		pid, _, _ := strings.Cut(hit, " ")
		n, err := strconv.ParseUint(pid, 10, 32)
		return err == nil && uint32(n) == r.PID
	})
}

// requests says how many requests a service works on, by its own word.
func (c costing) requests(ctx context.Context, r *event.Running) (value, evidence string) {
	value, evidence = notKnown, "the service has told no load within "+metricsLast.String()+": its metrics are not read, see ingest.metrics"
	q := fmt.Sprintf("event.kind:=%q ai.workload.id:=%q host:=%q", event.ServiceMetrics.String(), r.ID, r.Host)
	err := c.query(ctx, events.Query{Q: q, Start: c.now().Add(-metricsLast), End: c.now(), Limit: 1}, func(row json.RawMessage) error {
		e, err := event.ParseRecord(row)
		if err != nil || e.Service == nil || !e.Service.Running.Known && !e.Service.Waiting.Known {
			return nil
		}
		value, evidence = "", fmt.Sprintf("its metrics at %s, asked at %s", clock(e.Time), cutText(e.Service.Address, 100))
		for _, part := range []struct {
			n    event.Measure
			word string
		}{{e.Service.Running, "running"}, {e.Service.Waiting, "waiting"}} {
			if part.n.Known {
				value += fmt.Sprintf(", %d %s", part.n.N, part.word)
			} else {
				value += ", " + notKnown + " how many " + part.word
			}
		}
		value = strings.TrimPrefix(value, ", ")
		return nil
	})
	if err != nil {
		return notKnown, "the store of events does not answer: " + cutText(err.Error(), 200)
	}
	return value, evidence
}

// ranks says which ranks of a job stand still, and which others of it wait for them then.
func ranks(r *event.Running, hit, all []event.Running) (value, evidence string) {
	if r.Job == nil {
		return notKnown, "the inventory of " + r.Host + " names no job that it is a part of"
	}
	value = "of job " + cutText(r.Job.ID, 60) + " "
	if len(r.Job.Ranks) == 0 {
		value += "those of this host, " + notKnown + " which"
	} else {
		value += "ranks " + listRanks(r.Job.Ranks)
	}
	if r.Job.Size > 0 {
		value += fmt.Sprintf(" of %d", r.Job.Size)
	}
	var others []string
	for _, o := range all {
		isHit := slices.ContainsFunc(hit, func(h event.Running) bool { return h.Host == o.Host && h.ID == o.ID })
		if o.Job != nil && o.Job.ID == r.Job.ID && !isHit && !slices.Contains(others, o.Host) {
			others = append(others, o.Host)
		}
	}
	if len(others) > 0 {
		value += "; those on " + listNames(others) + " wait for them, and give up after their time-out"
	}
	return value, "inventory of " + r.Host
}

// replicas says what else of the fleet serves the same.
func replicas(r *event.Running, hit, all []event.Running) (value, evidence string) {
	evidence = "inventory of the fleet: the same engine and name"
	if r.Name == "" || r.Name == r.Engine {
		return notKnown, "the service has no name of its own by which others could be told to be the same"
	}
	var hosts []string
	n := 0
	for _, o := range all {
		isHit := slices.ContainsFunc(hit, func(h event.Running) bool { return h.Host == o.Host && h.ID == o.ID })
		if !isHit && o.Kind == r.Kind && o.Engine == r.Engine && o.Name == r.Name {
			n++
			if !slices.Contains(hosts, o.Host) {
				hosts = append(hosts, o.Host)
			}
		}
	}
	if n == 0 {
		return "none is left: it is the only one, or all are hit", evidence
	}
	return fmt.Sprintf("%d left, on %s", n, listNames(hosts)), evidence
}

// gpuHours says how much work of GPUs is lost where a job does not go on: since its last checkpoint.
func (c costing) gpuHours(ctx context.Context, r *event.Running) (value, evidence string) {
	gpus := 0
	for _, file := range r.GPUs {
		if isGPU(file) {
			gpus++
		}
	}
	var at time.Time
	var file string
	q := fmt.Sprintf("event.kind:in(%q,%q,%q) ai.workload.id:=%q host:=%q", event.FileWrite.String(), event.FileCreate.String(), event.FileRename.String(), r.ID, r.Host)
	err := c.query(ctx, events.Query{Q: q, Start: r.Started.Add(-time.Second), End: c.now(), Limit: 200}, func(row json.RawMessage) error {
		e, err := event.ParseRecord(row)
		if err == nil && e.Time.After(at) && isCheckpoint(e.File.Path) {
			at, file = e.Time, e.File.Path
		}
		return nil
	})
	if err != nil {
		return notKnown, "the store of events does not answer: " + cutText(err.Error(), 200)
	}
	seen := "no checkpoint seen since it started at " + clock(r.Started)
	if !at.IsZero() {
		seen = fmt.Sprintf("newest checkpoint that it was seen to write: %s at %s; whether it is whole is not known", cutText(file, 200), clock(at))
	}
	held := countOf(gpus, "GPU", "GPUs") + " of " + r.Host
	switch {
	case gpus == 0:
		return notKnown, "the inventory of " + r.Host + " sees no GPU that it has open; " + seen
	case at.IsZero():
		return notKnown, fmt.Sprintf("%s: at most %.1f GPU-hours of %s", seen, float64(gpus)*c.now().Sub(r.Started).Hours(), held)
	}
	return fmt.Sprintf("%.1f of %s", float64(gpus)*max(0, c.now().Sub(at).Hours()), held), seen
}

// isGPU reports whether a device file is a GPU, and not what is shared by all.
func isGPU(file string) bool {
	for _, prefix := range []string{"/dev/nvidia", "/dev/dri/renderD", "/dev/accel/accel"} {
		if n, ok := strings.CutPrefix(file, prefix); ok {
			_, err := strconv.ParseUint(n, 10, 16)
			return err == nil
		}
	}
	return false
}

var checkpointEnds = []string{".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".distcp", ".tar", ".h5", ".keras", ".npz", ".msgpack", ".nemo", ".index", ".metadata"}

// isCheckpoint reports whether a file is named as those that training writes.
func isCheckpoint(file string) bool {
	name := strings.ToLower(path.Base(file))
	return slices.ContainsFunc(checkpointEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

func clock(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func cutText(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

const maxListed = 16

func listNames(names []string) string {
	slices.Sort(names)
	if n := len(names); n > maxListed {
		return strings.Join(names[:maxListed], ", ") + fmt.Sprintf(" and %d more", n-maxListed)
	}
	return strings.Join(names, ", ")
}

func listRanks(list []int) string {
	words := make([]string, min(len(list), maxListed))
	for i := range words {
		words[i] = strconv.Itoa(list[i])
	}
	if n := len(list); n > maxListed {
		words = append(words, fmt.Sprintf("and %d more", n-maxListed))
	}
	return strings.Join(words, ", ")
}
