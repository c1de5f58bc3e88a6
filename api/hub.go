package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"picket/event"
	"picket/respond"
)

const (
	ringSize   = 1024 // messages that a reader who comes back can still get
	queueSize  = 512  // messages that a reader may be behind
	liveShare  = 256  // of these, live events may take up to so many
	messageEnd = "\n\n"
)

// The names of the stream's messages.
const (
	MessageIncident = "incident" // an event.Incident that is new or has changed
	MessageFinding  = "finding"  // an event.Finding
	MessageRun      = "run"      // a RunChange
	MessageRespond  = "respond"  // a RespondStatus
	MessageFleet    = "fleet"    // an Agent whose status has changed, or that reported
	MessageHealth   = "health"   // a Report
	MessageEvent    = "event"    // a flat event record: only on streams that asked for them
	MessageMissed   = "missed"   // {"count": n}: so many live events were left out, as the reader was slow
	MessageReset    = "reset"    // {}: what happened since Last-Event-ID is no longer known: read anew
)

// message is one server-sent event, ready to be written.
type message struct {
	seq  uint64
	name string
	text []byte
}

// hub hands messages to all streams at once. It never waits for a reader: who is queueSize messages
// behind is cut off and may come back with Last-Event-ID.
type hub struct {
	epoch   string // tells this run's sequence numbers from those of another
	metrics *metrics
	tails   atomic.Int32 // readers of live events

	mu      sync.Mutex
	seq     uint64
	ring    []message // the last ringSize, oldest first from next on when full
	next    int
	readers map[*reader]struct{}
	closed  bool
}

// reader is one open stream.
type reader struct {
	queue  chan message
	filter *filter       // of live events; nil for none
	missed atomic.Uint64 // live events left out since the last missed message
	gone   chan struct{} // closed when the hub cuts the reader off
}

func newHub(epoch int64, m *metrics) *hub {
	return &hub{epoch: strconv.FormatInt(epoch, 36), metrics: m, readers: map[*reader]struct{}{}}
}

// join adds a reader and returns what it missed since lastID, or reset where that is not known.
func (h *hub) join(lastID string, f *filter) (r *reader, missed []message, reset bool) {
	r = &reader{queue: make(chan message, queueSize), filter: f, gone: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(r.gone)
		return r, nil, false
	}
	h.readers[r] = struct{}{}
	h.metrics.streams.Set(float64(len(h.readers)))
	if f != nil {
		h.tails.Add(1)
	}
	if lastID == "" {
		return r, nil, false
	}
	missed, ok := h.since(lastID)
	return r, missed, !ok
}

// since returns the ring's messages after id.
func (h *hub) since(id string) ([]message, bool) {
	epoch, n, ok := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(n, 10, 64)
	if !ok || err != nil || epoch != h.epoch || seq > h.seq {
		return nil, false
	}
	if h.seq-seq > uint64(len(h.ring)) {
		return nil, false
	}
	out := make([]message, 0, h.seq-seq)
	for i := range h.ring {
		if m := h.ring[(h.next+i)%len(h.ring)]; m.seq > seq {
			out = append(out, m)
		}
	}
	return out, true
}

func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(r)
}

func (h *hub) remove(r *reader) {
	if _, ok := h.readers[r]; !ok {
		return
	}
	delete(h.readers, r)
	close(r.gone)
	h.metrics.streams.Set(float64(len(h.readers)))
	if r.filter != nil {
		h.tails.Add(-1)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for r := range h.readers {
		h.remove(r)
	}
}

// publish keeps a message and hands it to every reader.
func (h *hub) publish(name string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	m := message{seq: h.seq, name: name}
	m.text = frame(h.epoch+"-"+strconv.FormatUint(h.seq, 10), name, data)
	if len(h.ring) < ringSize {
		h.ring = append(h.ring, m)
	} else {
		h.ring[h.next] = m
		h.next = (h.next + 1) % ringSize
	}
	h.metrics.sent.WithLabelValues(name).Inc()
	for r := range h.readers {
		select {
		case r.queue <- m:
		default:
			h.metrics.dropped.WithLabelValues("reader").Inc()
			h.remove(r)
		}
	}
}

// tail hands a live event to those who asked for it. It is not kept, and left out for a reader that
// is behind, so that live events never crowd out incidents.
func (h *hub) tail(record json.RawMessage) {
	if h.tails.Load() == 0 {
		return
	}
	var text []byte
	var fields map[string]string
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		if r.filter == nil {
			continue
		}
		if fields == nil && !r.filter.all() {
			fields = flatten(record)
		}
		if !r.filter.match(fields) {
			continue
		}
		if text == nil {
			text = frame("", MessageEvent, record)
			h.metrics.sent.WithLabelValues(MessageEvent).Inc()
		}
		if len(r.queue) >= liveShare {
			r.missed.Add(1)
			h.metrics.dropped.WithLabelValues("event").Inc()
			continue
		}
		r.queue <- message{name: MessageEvent, text: text} // never waits: only publish and tail send, under mu
	}
}

// frame writes a server-sent event. JSON has no raw newline, so one data line does; a record that
// is not compact is made so.
func frame(id, name string, data []byte) []byte {
	var b []byte
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	b = append(append(append(b, "event: "...), name...), "\ndata: "...)
	if bytes.ContainsAny(data, "\r\n") { // between tokens only: inside strings they are escaped
		data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte{'\n'}, nil), []byte{'\r'}, nil)
	}
	b = append(b, data...)
	return append(b, messageEnd...)
}

// PublishIncident tells all streams of an incident that is new or has changed.
func (s *Server) PublishIncident(i event.Incident) { s.publish(MessageIncident, fullIncident(i)) }

// PublishFinding tells all streams of a finding.
func (s *Server) PublishFinding(f event.Finding) { s.publish(MessageFinding, fullFinding(f)) }

// RunChange says that a run is another than before; a reader asks for what it wants of it.
type RunChange struct {
	ID       string        `json:"id"`
	Incident string        `json:"incident"`
	State    respond.State `json:"state"`
}

// PublishRun tells all streams that a run has changed.
func (s *Server) PublishRun(r RunChange) { s.publish(MessageRun, r) }

// PublishAgent tells all streams how an agent is.
func (s *Server) PublishAgent(a Agent) { s.publish(MessageFleet, slim(a)) }

// PublishHealth tells all streams how the server is. Call it on changes.
func (s *Server) PublishHealth(r Report) {
	r.Components = all(r.Components)
	s.publish(MessageHealth, r)
}

// PublishEvent shows a flat event record to the live tails that want it. It costs next to nothing
// while there are none.
func (s *Server) PublishEvent(record json.RawMessage) { s.live.tail(record) }

// WantsEvents reports whether anybody watches live events.
func (s *Server) WantsEvents() bool { return s.live.tails.Load() > 0 }

func (s *Server) publish(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		s.log.Error("a message for the stream was not written", "event", name, "err", err)
		return
	}
	s.live.publish(name, data)
}
