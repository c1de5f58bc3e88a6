package events

import "github.com/prometheus/client_golang/prometheus"

type writerMetrics struct {
	rows, skipped, repeats, rewritten, refused, failures prometheus.Counter
}

func newWriterMetrics(reg prometheus.Registerer, w *Writer) writerMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_store_" + name, Help: help})
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	gauge := func(name, help string, f func() float64) {
		if reg != nil {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "picket_store_" + name, Help: help}, f))
		}
	}
	gauge("queued_bytes", "Events that wait to be written, in bytes.", func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return float64(w.queued)
	})
	gauge("unacknowledged_posts", "Writes that the store took, and that are not sure to be on its disk yet.", func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return float64(len(w.held))
	})
	return writerMetrics{
		rows:      counter("rows_total", "Events written."),
		skipped:   counter("skipped_rows_total", "Events not written: repeats, and lines that the store would not keep."),
		repeats:   counter("repeated_rows_total", "Events not written because the store had them."),
		rewritten: counter("rewritten_rows_total", "Events looked at again because the store was started anew."),
		refused:   counter("refused_rows_total", "Events dropped because the store will never take them."),
		failures:  counter("failed_posts_total", "Writes that failed and were tried again."),
	}
}
