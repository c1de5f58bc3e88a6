package detect

import "github.com/prometheus/client_golang/prometheus"

// register shows an engine's counts. They are read when they are asked for, so that matching an
// event pays nothing for them.
func register(reg prometheus.Registerer, e *Engine) {
	counter := func(name, help string, read func(Stats) float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "picket_detect_" + name, Help: help}, func() float64 { return read(e.Stats()) }))
	}
	gauge := func(name, help string, read func(Stats) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "picket_detect_" + name, Help: help}, func() float64 { return read(e.Stats()) }))
	}
	counter("events_total", "Events matched against the rules.", func(s Stats) float64 { return float64(s.Events) })
	counter("matches_total", "Rules that fired, building blocks included.", func(s Stats) float64 { return float64(s.Matches) })
	counter("findings_total", "Findings made.", func(s Stats) float64 { return float64(s.Findings) })
	counter("repeats_total", "Matches kept quiet because a finding had just said it.", func(s Stats) float64 { return float64(s.Repeats) })
	counter("evicted_total", "Open sequences given up for want of room.", func(s Stats) float64 { return float64(s.Evicted) })
	gauge("rules", "Rules and sequences loaded.", func(s Stats) float64 { return float64(s.Rules) })
	gauge("groups", "Open sequences.", func(s Stats) float64 { return float64(s.Groups) })
	reg.MustRegister(ruleHits{e})
}

// ruleHits shows how often each rule fired.
type ruleHits struct{ e *Engine }

var ruleHitsDesc = prometheus.NewDesc("picket_detect_rule_hits_total", "How often each rule fired.", []string{"rule", "threat"}, nil)

// Describe implements prometheus.Collector.
func (ruleHits) Describe(ch chan<- *prometheus.Desc) { ch <- ruleHitsDesc }

// Collect implements prometheus.Collector.
func (c ruleHits) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.e.Rules() {
		ch <- prometheus.MustNewConstMetric(ruleHitsDesc, prometheus.CounterValue, float64(r.Hits), r.Name, r.Threat)
	}
}
