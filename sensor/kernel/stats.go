package kernel

import (
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
)

// Stats says what came of what the kernel saw, since Open.
type Stats struct {
	Received map[event.Kind]uint64 // handed to Run's handler
	Sent     map[event.Kind]uint64 // put on a ring by the kernel
	Dropped  map[event.Kind]uint64 // had no room on its ring: exact
	Lost     uint64                // was with an agent that was killed, or in rings of another layout
	// Collapsed were not told of by themselves: the next event like it, within a second, has them
	// in its Count.
	Collapsed map[event.Kind]uint64
	Malformed uint64
	Bytes     uint64 // read from the rings
}

type counters struct {
	received  [event.MaxKinds]atomic.Uint64
	malformed atomic.Uint64
	bytes     atomic.Uint64
	overflow  atomic.Uint64 // times that fanotify lost events

	reg       prometheus.Registerer
	collector *collector
}

// Stats reads the counters.
func (s *Sensor) Stats() Stats {
	st := Stats{
		Received: map[event.Kind]uint64{}, Sent: map[event.Kind]uint64{}, Dropped: map[event.Kind]uint64{},
		Collapsed: map[event.Kind]uint64{}, Malformed: s.counts.malformed.Load(), Bytes: s.counts.bytes.Load(),
		Lost: s.hands.gone(),
	}
	for k := range event.Kinds {
		put(st.Received, k, s.counts.received[k].Load())
		put(st.Sent, k, s.sum("sent", k))
		put(st.Dropped, k, s.sum("dropped", k))
		put(st.Collapsed, k, s.sum("collapsed", k))
	}
	return st
}

// Dropped returns how many events had no room or were lost with an agent that was killed, of any
// kind: one look-up, for who asks often. That fanotify lost some counts as one. Of a sensor that is
// kept it counts from the first agent on.
func (s *Sensor) Dropped() uint64 {
	return s.sum("dropped", event.KindNone) + s.hands.gone() + s.counts.overflow.Load()
}

func put(m map[event.Kind]uint64, k event.Kind, n uint64) {
	if n > 0 {
		m[k] = n
	}
}

func (s *Sensor) sum(name string, k event.Kind) (n uint64) { return sumOf(s.maps[name], k) }

func sumOf(m *ebpf.Map, k event.Kind) (n uint64) {
	var cpus []uint64
	if err := m.Lookup(uint32(k), &cpus); err != nil {
		return 0
	}
	for _, c := range cpus {
		n += c
	}
	return n
}

var (
	receivedDesc  = prometheus.NewDesc("picket_sensor_received_total", "Events that the kernel saw and the agent took, by kind.", []string{"kind"}, nil)
	droppedDesc   = prometheus.NewDesc("picket_sensor_dropped_total", "Events that the kernel saw and had no room for, by kind; of unknown kind: those that were with an agent that was killed.", []string{"kind"}, nil)
	collapsedDesc = prometheus.NewDesc("picket_sensor_collapsed_total", "Events like one just before, told of by its count, by kind.", []string{"kind"}, nil)
	malformedDesc = prometheus.NewDesc("picket_sensor_malformed_total", "Records that could not be decoded.", nil, nil)
	bytesDesc     = prometheus.NewDesc("picket_sensor_bytes_total", "Bytes read from the kernel's rings.", nil, nil)
)

// collector reads the kernel's counters when metrics are asked for.
type collector struct{ s *Sensor }

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{receivedDesc, droppedDesc, collapsedDesc, malformedDesc, bytesDesc} {
		out <- d
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	for k := range event.Kinds {
		out <- prometheus.MustNewConstMetric(receivedDesc, prometheus.CounterValue, float64(c.s.counts.received[k].Load()), k.String())
		out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(c.s.sum("dropped", k)), k.String())
		if k == event.NetConnect || k == event.NetAccept {
			out <- prometheus.MustNewConstMetric(collapsedDesc, prometheus.CounterValue, float64(c.s.sum("collapsed", k)), k.String())
		}
	}
	out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(c.s.hands.gone()), "unknown")
	out <- prometheus.MustNewConstMetric(malformedDesc, prometheus.CounterValue, float64(c.s.counts.malformed.Load()))
	out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(c.s.counts.bytes.Load()))
}

func (c *counters) register(reg prometheus.Registerer, s *Sensor) {
	if reg == nil {
		return
	}
	c.collector = &collector{s}
	if reg.Register(c.collector) == nil {
		c.reg = reg
	}
}

func (c *counters) unregister() {
	if c.reg != nil {
		c.reg.Unregister(c.collector)
	}
}
