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
	counter("excepted_total", "Matches that an exception hid.", func(s Stats) float64 { return float64(s.Excepted) })
	counter("throttled_total", "Findings not raised because their rule was noisy.", func(s Stats) float64 { return float64(s.Throttled) })
	counter("evicted_total", "Open sequences given up for want of room.", func(s Stats) float64 { return float64(s.Evicted) })
	gauge("rules", "Rules and sequences loaded.", func(s Stats) float64 { return float64(s.Rules) })
	gauge("groups", "Open sequences.", func(s Stats) float64 { return float64(s.Groups) })
	reg.MustRegister(ruleHits{e})
}

// ruleHits shows how often each rule fired. Rules of a collection, of which there may be thousands,
// are shown once they have.
type ruleHits struct{ e *Engine }

var ruleHitsDesc = prometheus.NewDesc("picket_detect_rule_hits_total", "How often each rule fired.", []string{"rule", "threat"}, nil)

var ruleQuietDesc = prometheus.NewDesc("picket_detect_rule_suppressed_total", "How often a rule fired without a finding, by the reason: an exception, a noisy rule, or a finding that had just said it.", []string{"rule", "threat", "by"}, nil)

// Describe implements prometheus.Collector.
func (ruleHits) Describe(ch chan<- *prometheus.Desc) { ch <- ruleHitsDesc; ch <- ruleQuietDesc }

// Collect implements prometheus.Collector.
func (c ruleHits) Collect(ch chan<- prometheus.Metric) {
	show := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, r := range c.e.Rules() {
		if r.Hits > 0 || !r.brought {
			show(ruleHitsDesc, r.Hits, r.Name, r.Threat)
		}
		for by, n := range map[string]uint64{"exception": r.Excepted, "noise": r.Throttled, "repeat": r.Repeated} {
			if n > 0 {
				show(ruleQuietDesc, n, r.Name, r.Threat, by)
			}
		}
	}
}
