package node

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
	"picket/respond"
	"picket/respond/action"
	"picket/store/events"
)

// What is told of a plan is what is known of the fleet, with its evidence; what is not known is not guessed.
func TestCosts(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	job := func(host string, ranks ...int) event.Running {
		return event.Running{
			Host: host, ID: "t-" + host, Kind: event.Training, Engine: "torchrun", Name: "finetune", PID: 100, Started: now.Add(-3 * time.Hour),
			GPUs: []string{"/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"}, Job: &event.Job{ID: "job7", Size: 8, Ranks: ranks},
		}
	}
	serve := func(host, id string) event.Running {
		return event.Running{Host: host, ID: id, Kind: event.Inference, Engine: "vllm", Name: "llama-70b", PID: 200, Container: &event.Container{ID: "c-" + id}}
	}
	freeze := func(hits ...string) respond.Act {
		return respond.Act{Kind: action.Freeze, Target: action.Target{Host: "a", Process: &action.ProcessPin{PID: 100}, Lineage: true}, Hits: hits}
	}
	contained := respond.Act{Kind: action.Isolate, Target: action.Target{Host: "a", Container: "c-s1"}}
	load := event.Event{Kind: event.ServiceMetrics, Time: now.Add(-10 * time.Second), Host: "a", Service: &event.Service{Engine: "vllm", Address: "127.0.0.1:8000", Running: event.Measured(12)}}
	wrote := func(file string, ago time.Duration) event.Event {
		return event.Event{Kind: event.FileWrite, Time: now.Add(-ago), Host: "a", File: event.File{Path: file}}
	}
	for _, c := range []struct {
		name    string
		running []event.Running
		acts    []respond.Act
		events  []event.Event
		away    bool
		want    []string // what of: value
		says    string   // in the evidence
	}{
		{name: "nothing is stopped", running: []event.Running{job("a", 0)}, acts: []respond.Act{{Kind: action.Capture, Target: action.Target{Host: "a"}}}},
		{
			name: "no workload", running: []event.Running{job("b", 0)}, acts: []respond.Act{freeze("100 python3")},
			want: []string{"workload : not known"}, says: "nothing that would be hit is a workload of the inventory",
		},
		{
			name: "a job on two hosts", running: []event.Running{job("a", 0, 1), job("b", 2, 3)}, acts: []respond.Act{freeze("90 bash", "100 python3")},
			events: []event.Event{wrote("/ckpt/step-100.pt", 90*time.Minute), wrote("/ckpt/log.txt", time.Minute), wrote("/ckpt/step-50.pt", 2*time.Hour)},
			want:   []string{"ranks finetune on a: of job job7 ranks 0, 1 of 8; those on b wait for them, and give up after their time-out", "gpu-hours finetune on a: 3.0 of 2 GPUs of a"},
			says:   "/ckpt/step-100.pt at 2026-11-29 10:30:00 UTC",
		},
		{
			name: "no checkpoint", running: []event.Running{job("a")}, acts: []respond.Act{freeze("100 python3")},
			want: []string{"ranks finetune on a: of job job7 those of this host, not known which of 8", "gpu-hours finetune on a: not known"},
			says: "no checkpoint seen since it started at 2026-11-29 09:00:00 UTC: at most 6.0 GPU-hours of 2 GPUs of a",
		},
		{
			name: "the store is away", running: []event.Running{job("a", 1)}, acts: []respond.Act{freeze("100 python3")}, away: true,
			want: []string{"ranks finetune on a: of job job7 ranks 1 of 8", "gpu-hours finetune on a: not known"}, says: "the store of events does not answer",
		},
		{
			name: "a service", running: []event.Running{serve("a", "s1"), serve("b", "s2"), serve("c", "s3")}, acts: []respond.Act{contained}, events: []event.Event{load},
			want: []string{"requests llama-70b on a: 12 running, not known how many waiting", "replicas llama-70b on a: 2 left, on b, c"}, says: "asked at 127.0.0.1:8000",
		},
		{
			name: "the last of a service", running: []event.Running{serve("a", "s1")}, acts: []respond.Act{contained},
			want: []string{"requests llama-70b on a: not known", "replicas llama-70b on a: none is left: it is the only one, or all are hit"}, says: "see ingest.metrics",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := costing{running: func() []event.Running { return c.running }, now: func() time.Time { return now }}
			k.query = func(_ context.Context, q events.Query, fn func(json.RawMessage) error) error {
				if c.away {
					return errors.New("connection refused")
				}
				for _, e := range c.events {
					if !strings.Contains(q.Q, `"`+e.Kind.String()+`"`) {
						continue
					}
					if err := fn(e.AppendRecord(nil)); err != nil {
						return err
					}
				}
				return nil
			}
			var got []string
			said := ""
			for _, one := range k.costs(t.Context(), nil, c.acts) {
				got = append(got, one.What+" "+one.Of+": "+one.Value)
				said += one.Evidence + "\n"
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("%s\nwant %s", said, c.says)
			}
		})
	}
}
