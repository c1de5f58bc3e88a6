package node

import (
	"net/netip"
	"time"

	"picket/detect/outflow"
	"picket/event"
)

// sentEvery is how often it is looked at how much each process has sent where.
const sentEvery = 5 * time.Second

// habits is what the agent knows of what is usual, and of what is set against it.
type habits struct {
	outflow  *outflow.Watch
	counting bool // the bytes of files, as there are models
	looked   time.Time
}

// openHabits makes what judges habits ready.
func (a *agent) openHabits() {
	a.habits.outflow = outflow.New(outflow.Options{Host: a.cfg.Host})
	a.habits.counting = len(a.tracker.Models()) > 0
}

// wants adds the kinds of events that habits are told by.
func (h *habits) wants(kinds map[event.Kind]bool) {
	if h.counting {
		kinds[event.FileIO] = true
	}
}

// see takes an event on, and returns what deviates.
func (h *habits) see(e *event.Event) []*event.Event {
	if h.outflow == nil {
		return nil
	}
	return h.outflow.See(e)
}

// followHabits makes the sensor count bytes of files once there is a model. Nobody pays for it before.
func (a *agent) followHabits() {
	if a.habits.counting || len(a.tracker.Models()) == 0 {
		return
	}
	a.habits.counting = true
	a.followDemand()
}

// advanceHabits looks at what was sent, and tells that time went on.
func (a *agent) advanceHabits(now time.Time) {
	h := &a.habits
	if since := now.Sub(h.looked); since >= 0 && since < sentEvery {
		return
	}
	h.looked = now
	var news []*event.Event
	err := a.sensor.Sent(func(key event.Key, to netip.AddrPort, bytes uint64) {
		e := &event.Event{
			Kind: event.NetSend, Time: now, Host: a.cfg.Host, Net: event.Net{Remote: to, Initiated: true, BytesOut: bytes},
			Process: &event.Process{PID: key.PID, TID: key.PID, StartBoot: key.Start, LoginUID: ^uint32(0)},
		}
		a.tracker.Stamp(e)
		news = append(news, h.outflow.Sent(now, e.Process, to, bytes)...)
	})
	if err != nil {
		a.log.Warn("what was sent could not be looked at", "error", err)
	}
	h.outflow.Advance(now)
	for _, e := range news {
		a.judge(e)
	}
}
