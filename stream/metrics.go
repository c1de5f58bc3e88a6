package stream

import (
	"github.com/prometheus/client_golang/prometheus"
)

type hubMetrics struct {
	events, findings, unreadable, discarded prometheus.Counter
}

func newHubMetrics(reg prometheus.Registerer, h *Hub) hubMetrics {
	m := hubMetrics{
		events:     counter(reg, "received_events_total", "Events handed over by the hub, repeats included."),
		findings:   counter(reg, "received_findings_total", "Findings handed over by the hub, repeats included."),
		unreadable: counter(reg, "unreadable_total", "Records that an agent sent and that could not be read."),
		discarded:  counter(reg, "discarded_messages_total", "Messages with events that were discarded unread because the stream was full."),
	}
	if reg != nil {
		reg.MustRegister(lagCollector{h})
	}
	return m
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_stream_" + name, Help: help})
	if reg != nil {
		reg.MustRegister(c)
	}
	return c
}

func gauge(reg prometheus.Registerer, name, help string, f func() float64) {
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "picket_stream_" + name, Help: help}, f))
	}
}

// lagCollector asks the hub what waits in it when someone looks.
type lagCollector struct{ h *Hub }

var (
	descWaiting = prometheus.NewDesc("picket_stream_waiting_messages", "Messages not handed over yet.", []string{"stream"}, nil)
	descHeld    = prometheus.NewDesc("picket_stream_held_messages", "Messages handed over and not acknowledged.", []string{"stream"}, nil)
	descBytes   = prometheus.NewDesc("picket_stream_bytes", "Bytes that a stream keeps on disk.", []string{"stream"}, nil)
	descAgents  = prometheus.NewDesc("picket_stream_connected_agents", "Agents that are connected.", nil, nil)
)

func (c lagCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descWaiting, descHeld, descBytes, descAgents} {
		ch <- d
	}
}

func (c lagCollector) Collect(ch chan<- prometheus.Metric) {
	events, findings, err := c.h.Lag()
	if err != nil {
		return // the health page says that the hub is ill
	}
	for name, l := range map[string]Lag{"events": events, "findings": findings} {
		ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, float64(l.Waiting), name)
		ch <- prometheus.MustNewConstMetric(descHeld, prometheus.GaugeValue, float64(l.Held), name)
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, float64(l.Bytes), name)
	}
	ch <- prometheus.MustNewConstMetric(descAgents, prometheus.GaugeValue, float64(len(c.h.Agents())))
}

type agentMetrics struct {
	events, findings, droppedEvents, droppedFindings, sent, resent, spoolErrors prometheus.Counter
}

func newAgentMetrics(reg prometheus.Registerer) agentMetrics {
	return agentMetrics{
		events:          counter(reg, "published_events_total", "Events taken to be sent."),
		findings:        counter(reg, "published_findings_total", "Findings taken to be sent."),
		droppedEvents:   counter(reg, "dropped_events_total", "Events lost: the spool was full, or more came than the disk takes."),
		droppedFindings: counter(reg, "dropped_findings_total", "Findings lost: the spool was full."),
		sent:            counter(reg, "sent_messages_total", "Messages that the hub has."),
		resent:          counter(reg, "retries_total", "Times that sending began again from the first message that the hub had not."),
		spoolErrors:     counter(reg, "spool_errors_total", "Times that the spool's disk began to fail."),
	}
}

func (agentMetrics) watch(reg prometheus.Registerer, a *Agent) {
	gauge(reg, "spool_event_bytes", "Events that the hub has not acknowledged, in bytes.", func() float64 {
		return float64(a.events.pending())
	})
	gauge(reg, "spool_finding_bytes", "Findings that the hub has not acknowledged, in bytes.", func() float64 {
		return float64(a.findings.pending())
	})
	gauge(reg, "connected", "1 while the hub can be reached.", func() float64 {
		if a.nc.IsConnected() {
			return 1
		}
		return 0
	})
}
