// Respond measures what a run of a playbook costs: from the request to the act at an executor that
// answers at once. Its acts can be taken back, and are written down as such are.
//
//	go run ./bench/respond -dir /var/tmp
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"picket/event"
	"picket/node"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", os.TempDir(), "where the state lies; its disk is what is measured")
	url := flag.String("state", "", "postgres:// URL instead")
	flag.Parse()
	if err := run(*dir, *url); err != nil {
		log.Fatal(err)
	}
}

// executor does nothing, and says when.
type executor struct {
	mu  sync.Mutex
	hit map[string]time.Time // by run: the first act
}

func (x *executor) Plan(_ context.Context, r *action.Request) (*action.Plan, error) {
	return &action.Plan{Target: r.Target, Class: action.Reversible}, nil
}

func (x *executor) Do(_ context.Context, r *action.Request) (*action.Result, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hit[r.Run].IsZero() {
		x.hit[r.Run] = time.Now()
	}
	return &action.Result{ID: r.ID, State: action.Done, At: time.Now()}, nil
}

func (x *executor) Verify(context.Context, *action.Request) (bool, string, error) {
	return true, "", nil
}

func (x *executor) Undo(_ context.Context, r *action.Request) (*action.Result, error) {
	return &action.Result{ID: r.ID, State: action.Undone}, nil
}

type incidents struct{}

func (incidents) Incident(_ context.Context, id string) (event.Incident, error) {
	return event.Incident{
		ID: id, Status: event.IncidentOpen, Hosts: []string{"h"}, Processes: []event.ProcessNode{{UID: "p", PID: 100, Container: "c"}},
		Findings: []event.FindingRef{{Host: "h", Process: "p"}},
	}, nil
}

// steps is a playbook of so many steps, one after the other.
func steps(n int) []byte {
	id := func(kind string, i int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, i) }
	flow := map[string]any{id("start", 1): map[string]any{"type": "start", "on_completion": id("action", 0)}, id("end", 1): map[string]any{"type": "end"}}
	for i := range n {
		next := id("action", i+1)
		if i == n-1 {
			next = id("end", 1)
		}
		flow[id("action", i)] = map[string]any{
			"type": "action", "agent": id("security-category", 1), "on_completion": next,
			"commands": []any{map[string]any{"type": "openc2-http", "command": "POST /x HTTP/1.1", "content": `{"action": "deny", "target": {"x-picket": {"entity": "container"}}, "args": {"duration": 3600000}}`}},
		}
	}
	data, err := json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", n), "name": "steps", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1), "workflow": flow,
		"agent_definitions": map[string]any{id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"endpoint"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	return data
}

func run(dir, url string) error {
	dir, err := os.MkdirTemp(dir, "picket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a directory of the benchmark's own
	ctx := context.Background()
	s, err := state.Open(ctx, state.Options{Dir: filepath.Join(dir, "state"), URL: url})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // nothing of it is kept
	lib, err := respond.ReadLibrary(fstest.MapFS{"s1.json": {Data: steps(1)}, "s10.json": {Data: steps(10)}, "s100.json": {Data: steps(100)}})
	if err != nil {
		return err
	}
	ended := make(chan respond.Run, 10_000)
	x := &executor{hit: map[string]time.Time{}}
	e, err := respond.New(ctx, respond.Options{
		Journal: node.NewJournal(s), Library: lib, Incidents: incidents{}, Executor: x,
		Changed: func(r respond.Run) {
			if !r.Ended.IsZero() {
				ended <- r
			}
		},
	})
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it has no way to fail
	return measure(ctx, e, x, ended)
}

func measure(ctx context.Context, e *respond.Engine, x *executor, ended chan respond.Run) error {
	one := func(book string) (respond.Run, time.Time, error) {
		began := time.Now()
		r, err := e.Request(ctx, respond.Request{Playbook: book, Incident: "i", By: "bench"})
		return r, began, err
	}
	var hits []time.Duration
	for range 200 {
		r, began, err := one("s1")
		if err != nil {
			return err
		}
		<-ended
		x.mu.Lock()
		hits = append(hits, x.hit[r.ID].Sub(began))
		x.mu.Unlock()
	}
	slices.Sort(hits)
	fmt.Printf("1 step, request to act: p50 %.2f ms, p99 %.2f ms (limit p50 5 ms)\n", ms(hits[100]), ms(hits[198]))
	for _, book := range []string{"s10", "s100"} {
		var took []time.Duration
		for range 5 {
			_, began, err := one(book)
			if err != nil {
				return err
			}
			if r := <-ended; r.State != respond.Succeeded {
				return fmt.Errorf("a run %s: %s", r.State, r.Failure)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Printf("%s steps, request to end: median %.1f ms (limit of 100: 100 ms)\n", strings.TrimPrefix(book, "s"), ms(took[2]))
	}
	began, errs := time.Now(), make(chan error, 200)
	var wait sync.WaitGroup
	work := make(chan int)
	for range 16 {
		wait.Go(func() {
			for range work {
				if _, _, err := one("s1"); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := range 200 {
		work <- i
	}
	close(work)
	wait.Wait()
	bad := len(errs)
	for range 200 - bad {
		if r := <-ended; r.State != respond.Succeeded {
			bad++
		}
	}
	fmt.Printf("200 requests, 16 at a time, to their ends: %.0f ms, %d errors (limit 1000 ms, 0)\n", ms(time.Since(began)), bad)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	fmt.Printf("heap after the runs: %.1f MB\n", float64(m.HeapAlloc)/(1<<20))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
