package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"picket/api"
	"picket/event"
)

// silentAfter is how long an agent may say nothing before it counts as silent: three heartbeats.
const silentAfter = 3 * heartbeatEvery

// fleet is what the agents last said of themselves.
type fleet struct {
	now func() time.Time

	mu     sync.Mutex
	agents map[string]*agentState // by host
	hosts  map[string]string      // by the agent's name in its certificate
}

type agentState struct {
	beat    event.Heartbeat
	seen    time.Time // by the server's clock
	metrics []*dto.MetricFamily
	silent  bool // reported as silent
}

func newFleet(now func() time.Time) *fleet {
	return &fleet{now: now, agents: map[string]*agentState{}, hosts: map[string]string{}}
}

// heard takes a heartbeat. It reports whether the agent is new or was silent.
func (f *fleet) heard(from string, b event.Heartbeat) (back bool) {
	families := labelled(b.Metrics, b.Host)
	b.Metrics = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.agents[b.Host]
	f.hosts[from] = b.Host
	f.agents[b.Host] = &agentState{beat: b, seen: f.now(), metrics: families}
	return old == nil || old.silent
}

// restore takes a heartbeat of an earlier run of the server.
func (f *fleet) restore(b event.Heartbeat, seen time.Time) {
	f.heard(AgentName(b.Host), b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.agents[b.Host].seen = seen
}

// host returns the host of an agent that was heard of, or "".
func (f *fleet) host(from string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosts[from]
}

// silence returns the hosts that fell silent since the last call.
func (f *fleet) silence() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for host, a := range f.agents {
		if !a.silent && f.now().Sub(a.seen) > silentAfter {
			a.silent = true
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return out
}

// Agents lists the fleet by host name.
func (f *fleet) Agents(context.Context) ([]api.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []api.Agent{}
	for _, host := range slices.Sorted(maps.Keys(f.agents)) {
		out = append(out, f.row(host, f.agents[host]))
	}
	return out, nil
}

// agent returns one row of Agents, and false where nothing was heard of the host.
func (f *fleet) agent(host string) (api.Agent, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.agents[host]
	if a == nil {
		return api.Agent{}, false
	}
	return f.row(host, a), true
}

// row says how an agent is. The caller holds the lock.
func (f *fleet) row(host string, a *agentState) api.Agent {
	seen, beat := a.seen, a.beat
	row := api.Agent{Host: host, Status: api.AgentOK, LastSeen: &seen, Heartbeat: &beat, Counters: counters(a.metrics)}
	if f.now().Sub(seen) > silentAfter {
		row.Status = api.AgentSilent
	}
	return row
}

// Gather returns the agents' metrics, each with its host: one scrape of the server shows the fleet.
func (f *fleet) Gather() ([]*dto.MetricFamily, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	byName := map[string]*dto.MetricFamily{}
	for _, host := range slices.Sorted(maps.Keys(f.agents)) {
		for _, m := range f.agents[host].metrics {
			sum := byName[m.GetName()]
			if sum == nil {
				sum = &dto.MetricFamily{Name: m.Name, Help: m.Help, Type: m.Type}
				byName[m.GetName()] = sum
			}
			if sum.GetType() == m.GetType() { // an agent of another version may disagree: the first one's word holds
				sum.Metric = append(sum.Metric, m.Metric...)
			}
		}
	}
	out := make([]*dto.MetricFamily, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out, nil
}

var _ prometheus.Gatherer = (*fleet)(nil)

// labelled parses an agent's metrics and adds its host to each. Text that does not parse, and
// names that are not Picket's, are left out: an agent is not to speak for the server.
func labelled(text, host string) []*dto.MetricFamily {
	p := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil
	}
	key := "host"
	var out []*dto.MetricFamily
	for _, name := range slices.Sorted(maps.Keys(parsed)) {
		if !strings.HasPrefix(name, "picket_") {
			continue
		}
		for _, m := range parsed[name].Metric {
			m.Label = append(slices.DeleteFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == key }), &dto.LabelPair{Name: &key, Value: &host})
		}
		out = append(out, parsed[name])
	}
	return out
}

// counters adds up an agent's counters and gauges over their labels, by short name.
func counters(families []*dto.MetricFamily) map[string]uint64 {
	out := map[string]uint64{}
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "picket_"), "_total")
		for _, m := range f.Metric {
			switch {
			case m.Counter != nil:
				out[name] += uint64(m.Counter.GetValue())
			case m.Gauge != nil && m.Gauge.GetValue() >= 0:
				out[name] += uint64(m.Gauge.GetValue())
			}
		}
	}
	return out
}
