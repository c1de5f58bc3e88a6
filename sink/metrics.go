package sink

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	appended, appendErrors, unmapped prometheus.Counter
	bytes                            prometheus.Gauge
	sent, retries, dead, lost        *prometheus.CounterVec
	pending, up                      *prometheus.GaugeVec
}

// counters are one output's.
type counters struct {
	sent, retries, dead, lost prometheus.Counter
	pending, up               prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_sink_" + name, Help: help})
	}
	each := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "picket_sink_" + name, Help: help}, []string{"sink"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "picket_sink_" + name, Help: help}, []string{"sink"})
	}
	m := &metrics{
		appended:     counter("queued_total", "Records taken into the outbox."),
		appendErrors: counter("queue_errors_total", "Records that the outbox could not take, as when the disk is full."),
		unmapped:     counter("unmapped_total", "Findings and incidents that could not be written as OCSF."),
		bytes:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "picket_sink_outbox_bytes", Help: "Size of the outbox on disk."}),
		sent:         each("sent_total", "Records delivered."),
		retries:      each("retries_total", "Batches that failed and were sent again."),
		dead:         each("refused_total", "Records that the receiver refused for good, set aside as dead letters."),
		lost:         each("lost_total", "Records that went before they were sent: the outbox was full, or the disk spoiled them."),
		pending:      gauge("pending", "Records to be sent."),
		up:           gauge("up", "1 while the last attempt succeeded."),
	}
	if r != nil {
		r.MustRegister(m.appended, m.appendErrors, m.unmapped, m.bytes, m.sent, m.retries, m.dead, m.lost, m.pending, m.up)
	}
	return m
}

func (m *metrics) of(name string) counters {
	c := counters{
		sent: m.sent.WithLabelValues(name), retries: m.retries.WithLabelValues(name), dead: m.dead.WithLabelValues(name),
		lost: m.lost.WithLabelValues(name), pending: m.pending.WithLabelValues(name), up: m.up.WithLabelValues(name),
	}
	c.up.Set(1)
	return c
}

// size shows how large the outbox is.
func (m *metrics) size(l *log) {
	_, _, n := l.bounds()
	m.bytes.Set(float64(n))
}
