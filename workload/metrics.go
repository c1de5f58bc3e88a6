package workload

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	evicted, unknown, fallback, jobsDropped, modelsRefused, recognised prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, t *Tracker) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "picket_workload_" + name, Help: help})
	}
	m := metrics{
		evicted:       counter("processes_evicted_total", "Exited processes forgotten early because the tree was full."),
		unknown:       counter("events_unattributed_total", "Events of processes of which nothing but the pid could be learned."),
		fallback:      counter("proc_lookups_total", "Processes that no event announced and that were looked up in /proc."),
		jobsDropped:   counter("scans_dropped_total", "Looks at a process's open files that were given up because too many waited."),
		modelsRefused: counter("models_refused_total", "Model directories not learned because too many are known."),
		recognised:    counter("recognised_total", "AI workloads recognised."),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, read func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "picket_workload_" + name, Help: help}, func() float64 {
			t.mu.Lock()
			defer t.mu.Unlock()
			return float64(read())
		})
	}
	reg.MustRegister(m.evicted, m.unknown, m.fallback, m.jobsDropped, m.modelsRefused, m.recognised,
		gauge("processes", "Processes in the tree, exited ones included.", func() int { return len(t.tree.byKey) }),
		gauge("models", "Model and data set directories known.", func() int { return len(t.models.all) }),
		gauge("scans_waiting", "Looks at a process's open files that are due or planned.", func() int { return len(t.jobs) }))
	return m
}
