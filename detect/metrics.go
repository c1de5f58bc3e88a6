package detect

import (
	"cmp"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"picket/sigma"
)

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
	counter("evicted_total", "Open windows of correlations given up for want of room.", func(s Stats) float64 { return float64(s.Evicted) })
	counter("late_total", "Matches that came too late to count in correlations.", func(s Stats) float64 { return float64(s.Late) })
	counter("clamped_total", "Matches whose clock was more than an hour ahead: they counted as of then.", func(s Stats) float64 { return float64(s.Clamped) })
	counter("uncounted_total", "Matches that correlations could not count, for want of a field or of a number in it.", func(s Stats) float64 { return float64(s.Uncounted) })
	gauge("rules", "Rules and correlations loaded.", func(s Stats) float64 { return float64(s.Rules) })
	gauge("groups", "Open windows of correlations.", func(s Stats) float64 { return float64(s.Groups) })
	gauge("group_bytes", "What the open windows of correlations hold, about.", func(s Stats) float64 { return float64(s.GroupBytes) })
	reg.MustRegister(ruleHits{e}, suppressed{e})
}

// ruleHits shows how often each rule fired, once it has: each heartbeat carries what is shown here, and
// there may be thousands of rules.
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
		if r.Hits > 0 {
			show(ruleHitsDesc, r.Hits, r.Name, r.Threat)
		}
		for by, n := range map[string]uint64{"exception": r.Excepted, "noise": r.Throttled, "repeat": r.Repeated} {
			if n > 0 {
				show(ruleQuietDesc, n, r.Name, r.Threat, by)
			}
		}
	}
}

// suppressed shows how often each filter hid each rule.
type suppressed struct{ e *Engine }

var suppressedDesc = prometheus.NewDesc("picket_detect_suppressed_total", "How often a filter hid a match of a rule.", []string{"rule", "filter"}, nil)

// Describe implements prometheus.Collector.
func (suppressed) Describe(ch chan<- *prometheus.Desc) { ch <- suppressedDesc }

// Collect implements prometheus.Collector.
func (c suppressed) Collect(ch chan<- prometheus.Metric) {
	sums := map[[2]string]uint64{} // nothing keeps two filters from having one name
	for _, s := range c.e.Suppressions() {
		sums[[2]string{ruleName(&s.Rule.Meta), filterName(s.Filter)}] += s.Count
	}
	for names, n := range sums {
		ch <- prometheus.MustNewConstMetric(suppressedDesc, prometheus.CounterValue, float64(n), names[0], names[1])
	}
}

// filterName returns what a filter is called: its name, its id, or where it stands.
func filterName(f *sigma.Filter) string {
	return cmp.Or(f.Name, f.ID, fmt.Sprintf("%s:%d", fileName(f.SourceFile), f.Line))
}
