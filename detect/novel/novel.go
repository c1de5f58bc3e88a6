// Package novel says what somebody does for the first time, once what he is wont to do is known: an
// agent that calls a tool which it never called, a tool whose description is not what it was, a user or
// namespace of a cluster that never asked for GPUs.
//
// A Watch is a function of what it is given: it has no clock and does no I/O. Its memory is bounded. Who is
// known keeps his place; where all places are taken, who comes new is counted and not learned.
package novel

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"picket/event"
)

const (
	settle      = 24 * time.Hour // for which what is done is taken for usual
	settleCalls = 20             // calls of tools in that time, at least
	approved    = 3              // times that a description was seen before another one is a change
	forget      = 30 * 24 * time.Hour

	maxAgents = 512
	maxTools  = 128  // of an agent
	maxAskers = 4096 // users and namespaces
)

// Watch knows who does what.
type Watch struct {
	agents map[uint64]*subject // by name and version
	askers *subject            // of GPUs
	lists  map[string][]string // tools that agents may call, by name of the agent; * is all others

	unlearned atomic.Uint64
}

// subject is one who is watched, by hashes of what he does.
type subject struct {
	First  int64             `json:"first"` // seconds since 1970
	Last   int64             `json:"last"`
	Calls  int64             `json:"calls"`
	Things map[uint64]*thing `json:"things"`
}

type thing struct {
	Digest uint64 `json:"digest,omitempty"` // of a tool's description
	Seen   int64  `json:"seen"`
	Called bool   `json:"called,omitempty"`
}

// New returns a Watch that knows nobody yet. lists names the tools that agents may call, by the agent's
// name; those of * may be called by agents that are not named.
func New(lists map[string][]string) *Watch {
	return &Watch{agents: map[uint64]*subject{}, askers: &subject{Things: map[uint64]*thing{}}, lists: lists}
}

// Unlearned counts those who were not learned for want of room.
func (w *Watch) Unlearned() uint64 { return w.unlearned.Load() }

// See notes what an event tells of, and writes into the event what of it is unusual. Others cost a comparison.
func (w *Watch) See(e *event.Event) {
	switch {
	case e.Kind == event.ServiceRequest && e.Request != nil:
		r := e.Request
		r.Unusual, r.Changed = "", ""
		if r.Agent != "" {
			w.agent(e.Time, r)
		}
	case e.Kind == event.KubernetesAudit && e.Kubernetes != nil:
		k := e.Kubernetes
		k.Unusual = ""
		if k.GPUs.N > 0 && k.Status.N < 400 && (k.Verb == "create" || k.Verb == "update" || k.Verb == "patch") {
			w.asker(e.Time, k)
		}
	}
}

func (w *Watch) agent(now time.Time, r *event.Request) {
	called := r.Operation == "execute_tool" && r.Tool != ""
	if called && !w.listed(r.Agent, r.Tool) {
		r.Unusual += "unlisted;"
	}
	if !called && r.Tools == "" {
		return
	}
	s := w.known(hash(r.Agent, r.AgentVersion), now)
	if s == nil {
		return
	}
	if called {
		settled := s.settled(now) && s.Calls >= settleCalls
		s.Calls++
		t := s.thing(hash(r.Tool), maxTools)
		if settled && (t == nil || !t.Called) {
			r.Unusual += "new;"
		}
		if t != nil {
			t.Called = true
		}
	}
	for one := range strings.SplitSeq(r.Tools, ";") {
		name, digest, ok := strings.Cut(one, "=")
		if t := s.thing(hash(name), maxTools); ok && t != nil && t.describe(hash(digest)) {
			r.Changed += name + ";"
		}
	}
	if r.Changed != "" {
		r.Unusual += "changed;"
	}
}

// describe notes a tool's description, and reports whether that was another one for long.
func (t *thing) describe(digest uint64) (changed bool) {
	if t.Digest == digest {
		t.Seen++
		return false
	}
	changed = t.Digest != 0 && t.Seen >= approved
	t.Digest, t.Seen = digest, 1
	return changed
}

// listed reports whether an agent may call a tool: nobody said that it may not.
func (w *Watch) listed(agent, tool string) bool {
	list, ok := w.lists[agent]
	if !ok {
		list, ok = w.lists["*"]
	}
	return !ok || slices.Contains(list, tool)
}

// asker notes who asks for GPUs. Controllers ask for others: their namespace counts, they do not.
func (w *Watch) asker(now time.Time, k *event.Kubernetes) {
	s := w.askers
	if s.First == 0 {
		s.First = now.Unix()
	}
	s.Last = now.Unix()
	settled := s.settled(now)
	for _, one := range [...]struct{ what, id string }{{"gpu-user", k.User}, {"gpu-namespace", k.Namespace}} {
		if one.id == "" || one.what == "gpu-user" && Controller(one.id) {
			continue
		}
		t := s.thing(hash(one.what, one.id), maxAskers)
		if t == nil {
			w.unlearned.Add(1)
		}
		if settled && (t == nil || t.Seen == 0) {
			k.Unusual += one.what + ";"
		}
		if t != nil {
			t.Seen++
		}
	}
}

// Controller reports whether a user of a cluster is one of its own controllers, which make what others
// ordered.
func Controller(user string) bool {
	name, ok := strings.CutPrefix(user, "system:serviceaccount:kube-system:")
	return ok && strings.HasSuffix(name, "-controller") || user == "system:kube-controller-manager"
}

// known returns the subject of a key; nil where there is no room for another.
func (w *Watch) known(key uint64, now time.Time) *subject {
	s := w.agents[key]
	if s == nil {
		if len(w.agents) >= maxAgents {
			for k, other := range w.agents {
				if now.Unix()-other.Last > int64(forget/time.Second) {
					delete(w.agents, k)
				}
			}
		}
		if len(w.agents) >= maxAgents {
			w.unlearned.Add(1)
			return nil
		}
		s = &subject{First: now.Unix(), Things: map[uint64]*thing{}}
		w.agents[key] = s
	}
	s.Last = max(s.Last, now.Unix())
	return s
}

func (s *subject) settled(now time.Time) bool { return now.Unix()-s.First >= int64(settle/time.Second) }

// thing returns what is known of a thing, made where it is new; nil where there is no room.
func (s *subject) thing(key uint64, most int) *thing {
	t := s.Things[key]
	if t == nil && len(s.Things) < most {
		t = new(thing)
		s.Things[key] = t
	}
	return t
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // it never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// kept is what Snapshot writes.
type kept struct {
	Agents map[uint64]*subject `json:"agents"`
	Askers *subject            `json:"askers"`
}

// Snapshot returns what is known, for Restore.
func (w *Watch) Snapshot() ([]byte, error) { return json.Marshal(kept{w.agents, w.askers}) }

// Restore takes over what a Snapshot holds.
func (w *Watch) Restore(b []byte) error {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("what was done before: %w", err)
	}
	for key, s := range k.Agents {
		if s != nil && s.Things != nil && len(w.agents) < maxAgents && !slices.Contains(values(s.Things), nil) {
			w.agents[key] = s
		}
	}
	if s := k.Askers; s != nil && s.Things != nil && !slices.Contains(values(s.Things), nil) {
		w.askers = s
	}
	return nil
}

func values(m map[uint64]*thing) (out []*thing) {
	for _, t := range m {
		out = append(out, t)
	}
	return out
}
