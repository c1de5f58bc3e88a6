package inventory

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	judged, dropped, unread, bytes prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Scanner) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_inventory_" + name, Help: help})
	}
	m := metrics{
		judged:  counter("judged_total", "Versions of model files that were scanned and hashed."),
		dropped: counter("dropped_total", "Model files that were not looked into because too many waited."),
		unread:  counter("unread_total", "Model files that could not be read: gone, changed all the time, or their reader ended."),
		bytes:   counter("bytes_total", "Bytes of model files that were hashed."),
	}
	if reg != nil {
		reg.MustRegister(m.judged, m.dropped, m.unread, m.bytes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "picket_inventory_waiting", Help: "Model files that wait to be looked into.",
		}, func() float64 { return float64(s.Waiting()) }))
	}
	return m
}
