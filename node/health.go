package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/api"
)

// Report tells how the parts of the server are, and the programs beside it.
func (s *server) Report(ctx context.Context) api.Report {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r := api.Report{Status: api.StatusOK, Version: Version}
	add := func(c api.Component) {
		if c.Status == "" {
			c.Status = api.StatusOK
		}
		if c.Status == api.StatusFailed || c.Status == api.StatusDegraded && r.Status == api.StatusOK {
			r.Status = c.Status
		}
		r.Components = append(r.Components, c)
	}
	children := map[string]Child{}
	if st, err := ReadStatus(s.cfg); err == nil {
		children = st.Children
	}
	agent := s.agentHealth(ctx)
	agent.Restarts = children["agent"].Restarts
	add(agent)
	add(api.Component{Name: "server", Detail: "up since " + s.started.UTC().Format(time.RFC3339), Restarts: children["server"].Restarts})
	add(component("store", s.client.Ready(ctx), s.client.URL(), children["store"].Restarts))
	add(component("state", s.state.Ready(ctx), "answers", 0))
	add(s.streamHealth())
	for _, o := range s.outbox.Status() {
		lag := o.Lag.Seconds()
		c := api.Component{Name: "sink " + o.Name, Detail: fmt.Sprintf("%d sent to %s", o.Sent, o.To), Lag: &lag}
		if !o.OK && o.Error != "" {
			c.Status, c.Detail = api.StatusDegraded, fmt.Sprintf("%s; %d records wait", o.Error, o.Pending)
		}
		if o.Lost > 0 {
			c.Status, c.Detail = api.StatusDegraded, fmt.Sprintf("%s; %d records were lost", c.Detail, o.Lost)
		}
		add(c)
	}
	return r
}

// countRestarts shows how often the supervisor had to start each program again.
func countRestarts(cfg *Config, reg prometheus.Registerer) {
	for _, role := range roles {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "picket_node_restarts_total", Help: "How often a program ended and was started again.", ConstLabels: prometheus.Labels{"role": role},
		}, func() float64 {
			st, err := ReadStatus(cfg)
			if err != nil {
				return 0 // nobody supervises
			}
			return float64(st.Children[role].Restarts)
		}))
	}
}

func component(name string, err error, fine string, restarts int) api.Component {
	c := api.Component{Name: name, Detail: fine, Restarts: restarts}
	if err != nil {
		c.Status, c.Detail = api.StatusFailed, err.Error()
	}
	return c
}

func (s *server) agentHealth(ctx context.Context) api.Component {
	agents, _ := s.fleet.Agents(ctx) // it has no way to fail
	c := api.Component{Name: "agent"}
	ok, dropped := 0, uint64(0)
	for _, a := range agents {
		if a.Status == api.AgentOK {
			ok++
		}
		dropped += a.Counters["sensor_dropped"]
	}
	c.Detail = fmt.Sprintf("%d of %d agents report", ok, len(agents))
	if ok < len(agents) || len(agents) == 0 {
		c.Status = api.StatusDegraded
	}
	if dropped > 0 {
		c.Status, c.Detail = api.StatusDegraded, fmt.Sprintf("%s; sensors lost %d events", c.Detail, dropped)
	}
	return c
}

func (s *server) streamHealth() api.Component {
	if s.hub == nil {
		return component("stream", errors.New("starting"), "", 0)
	}
	c := component("stream", s.hub.Health(), "", 0)
	ev, fi, err := s.hub.Lag()
	switch {
	case c.Status != "":
	case err != nil:
		c.Status, c.Detail = api.StatusDegraded, err.Error()
	default:
		c.Detail = fmt.Sprintf("%d event batches and %d findings wait; %d MiB kept", ev.Waiting, fi.Waiting, (ev.Bytes+fi.Bytes)>>20)
	}
	return c
}
