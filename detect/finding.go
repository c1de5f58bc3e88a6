package detect

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"picket/event"
)

// Bounds of what one finding carries.
const (
	maxEvidence = 10      // event records
	maxRecord   = 8 << 10 // bytes of one record
	maxNodes    = 12      // the actor and its ancestors
	maxCmdline  = 4 << 10 // bytes of the actor's command line; its ancestors' a quarter of it
)

// match is what a finding needs to know of one event that a rule fired on. It holds no pointer
// into the process tree, so it can be written down and outlives the agent.
type match struct {
	ID        string              `json:"id"`
	Time      time.Time           `json:"time"`
	Host      string              `json:"host"`
	Clause    string              `json:"clause"`
	Record    json.RawMessage     `json:"record"`
	Entities  []event.Entity      `json:"entities"`
	Processes []event.ProcessNode `json:"processes"`
	Container *event.Container    `json:"container,omitempty"`
	Workload  *event.Workload     `json:"workload,omitempty"`
	Model     *event.Model        `json:"model,omitempty"`
}

// matchOf describes that r fired on e.
func (r *rule) matchOf(e *event.Event) match {
	m := match{
		ID: e.ID(), Time: e.Time, Host: e.Host, Clause: r.clause(e), Record: record(e),
		Entities: entities(e), Processes: nodes(e.Process), Model: copyOf(e.File.Model),
	}
	if p := e.Process; p != nil {
		m.Container, m.Workload = copyOf(p.Container), copyOf(p.Workload)
		if (e.Kind == event.ProcessStart || e.Kind == event.ProcessSeen) && p.UID != "" {
			// The same process is found again when the agent starts anew: one id for both.
			m.ID = event.HashID("process", p.UID, p.Cmdline)
		}
	}
	return m
}

// finding makes the verdict of r on matches, oldest first. count is how many events matched.
func (r *rule) finding(matches []match, count int, summary string) event.Finding {
	lastOne := matches[len(matches)-1]
	f := event.Finding{
		Time: lastOne.Time, Host: lastOne.Host, Rule: r.info, Severity: r.severity, Summary: summary,
		Techniques: r.techniques, Processes: lastOne.Processes, Container: lastOne.Container, Workload: lastOne.Workload,
		Count: count,
	}
	ids := []string{"finding", r.info.ID}
	for _, m := range matches {
		ids = append(ids, m.ID)
		if len(f.Events) < maxEvidence {
			f.Events = append(f.Events, m.Record)
			f.EventIDs = append(f.EventIDs, m.ID)
		}
		for _, ent := range m.Entities {
			if !slices.Contains(f.Entities, ent) {
				f.Entities = append(f.Entities, ent)
			}
		}
		for _, n := range m.Processes {
			if len(f.Processes) < 2*maxNodes && !slices.ContainsFunc(f.Processes, func(have event.ProcessNode) bool { return have.UID == n.UID }) {
				f.Processes = append(f.Processes, n)
			}
		}
		if f.Container == nil {
			f.Container = m.Container
		}
		if f.Workload == nil {
			f.Workload = m.Workload
		}
		if m.Model != nil {
			f.Model = m.Model
		}
	}
	f.ID = event.HashID(ids...)
	return f
}

// record returns the event as evidence. Texts of one that is too long are cut.
func record(e *event.Event) json.RawMessage {
	b := e.AppendRecord(nil)
	for limit := 2048; len(b) > maxRecord && limit >= 32; limit /= 4 {
		c := e.Clone()
		c.Truncated = true
		c.File.Path, c.File.Old, c.Message = cut(e.File.Path, limit), cut(e.File.Old, limit), cut(e.Message, limit)
		c.Process, c.Extra = cutProcess(e.Process, limit, true), cutExtra(e.Extra, limit)
		b = c.AppendRecord(nil)
	}
	return b
}

func cutProcess(p *event.Process, limit int, withParent bool) *event.Process {
	if p == nil {
		return nil
	}
	c := *p
	for _, s := range []*string{&c.Cmdline, &c.Exe, &c.Invoked, &c.CWD, &c.Preload, &c.CgroupPath} {
		*s = cut(*s, limit)
	}
	if withParent {
		c.Parent = cutProcess(p.Parent, limit, false)
	} else {
		c.Parent = nil
	}
	c.Seal()
	return &c
}

// cutExtra keeps as many fields as a text may have bytes, by name, and cuts each.
func cutExtra(extra map[string]string, limit int) map[string]string {
	names := slices.Sorted(maps.Keys(extra))
	out := make(map[string]string, len(extra))
	for _, name := range names[:min(limit, len(names))] {
		out[name] = cut(extra[name], limit)
	}
	return out
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// nodes returns p and its ancestors, as far as a finding carries them.
func nodes(p *event.Process) []event.ProcessNode {
	if p == nil {
		return nil
	}
	out := []event.ProcessNode{node(p, maxCmdline)}
	for a := range p.Ancestors {
		if len(out) == maxNodes {
			break
		}
		out = append(out, node(a, maxCmdline/4))
	}
	return out
}

// node returns p with its texts cut to fit.
func node(p *event.Process, limit int) event.ProcessNode {
	n := p.Node()
	n.Cmdline, n.Exe, n.Name = cut(n.Cmdline, limit), cut(n.Exe, limit), cut(n.Name, 256)
	return n
}

// entities lists what a finding on e can share with others, from narrow to wide.
func entities(e *event.Event) []event.Entity {
	var out []event.Entity
	add := func(kind event.EntityKind, id, name string) {
		if id != "" {
			out = append(out, event.Entity{Kind: kind, ID: id, Name: clean(name, 120)})
		}
	}
	p := e.Process
	if p != nil {
		add(event.EntityProcess, p.UID, who(p))
		if p.Container != nil {
			add(event.EntityContainer, p.Container.ID, shortID(p.Container.ID))
		}
		if p.Workload != nil {
			add(event.EntityWorkload, p.Workload.ID, p.Workload.Name)
		}
	}
	if m := e.File.Model; m != nil {
		id := e.Host + ":" + m.Path // the same path in two containers is two models: the owner tells them apart
		if m.Workload != "" {
			id += ":" + m.Workload
		}
		add(event.EntityModel, id, m.Name)
	}
	if remote := e.Net.Remote.Addr().Unmap(); remote.IsValid() && !remote.IsLoopback() && !remote.IsUnspecified() {
		add(event.EntityAddress, remote.String(), remote.String())
	}
	if r := e.Request; r != nil {
		if client := r.Client.Addr().Unmap(); client.IsValid() && !client.IsLoopback() && !client.IsUnspecified() {
			add(event.EntityAddress, client.String(), client.String())
		}
	}
	if k := e.Kubernetes; k != nil {
		if ip, err := netip.ParseAddr(k.Source); err == nil && !ip.IsLoopback() && !ip.IsUnspecified() {
			add(event.EntityAddress, ip.Unmap().String(), ip.Unmap().String())
		}
		add(event.EntityUser, "kubernetes/"+k.User, k.User)
	}
	if p != nil && p.User != "" {
		add(event.EntityUser, e.Host+"/"+p.User, p.User)
	}
	add(event.EntityHost, e.Host, e.Host)
	return out
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
