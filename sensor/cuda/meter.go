package cuda

import (
	"time"

	"picket/event"
)

const (
	buckets   = 10 // minutes over which bytes are added up
	tellEvery = time.Minute
	suspect   = 50 // percent of what a process holds: told of at once
)

// meter is what a process has copied, by minute.
type meter struct {
	last    [plain + 1]cudaTotal // what the kernel had counted, by what
	minute  int64                // of the newest bucket
	window  [buckets]event.CUDA  // Calls, Bytes and Moved of a minute
	news    bool
	at      time.Time // last told
	telling int64     // the share that was told
}

// add takes what was counted since the last look.
func (m *meter) add(now time.Time, what uint32, t cudaTotal) {
	if what >= uint32(len(m.last)) {
		return
	}
	last := &m.last[what]
	calls, bytes := t.Calls-last.Calls, t.Bytes-last.Bytes
	*last = t
	if calls == 0 {
		return
	}
	m.move(now)
	b := &m.window[m.minute%buckets]
	switch what {
	case toHost:
		b.Calls += calls
		b.Bytes += bytes
	case copies:
		b.Calls += calls
		b.Moved += bytes
	}
	m.news = true
}

// move begins a new minute, and forgets those that lie too far back.
func (m *meter) move(now time.Time) {
	to := now.Unix() / 60
	for n := 0; m.minute < to && n < buckets; n++ {
		m.minute = max(m.minute+1, to-buckets+1)
		m.window[m.minute%buckets] = event.CUDA{}
	}
}

// sum is what was copied in the window.
func (m *meter) sum(now time.Time) event.CUDA {
	m.move(now)
	out := event.CUDA{Call: event.CUDACopies, Allocated: m.last[alloc].Bytes}
	for _, b := range m.window {
		out.Calls += b.Calls
		out.Bytes += b.Bytes
		out.Moved += b.Moved
	}
	return out
}

// drain reads what the kernel counted, and tells of processes of which there is news: each minute, when
// they have copied much of what they hold, and when they have ended.
func (s *Sensor) drain(now time.Time, handle func(*event.Event)) {
	var (
		key  cudaTotalKey
		per  []cudaTotal
		over []cudaTotalKey
	)
	totals := s.coll.Maps["totals"]
	ended := map[caller]bool{}
	it := totals.Iterate()
	for it.Next(&key, &per) {
		var t cudaTotal
		for _, x := range per {
			t.Calls += x.Calls
			t.Bytes += x.Bytes
		}
		who := caller{key.Tgid, key.Start}
		m := s.meters[who]
		if m == nil {
			m = &meter{at: now.Add(-tellEvery)}
			s.meters[who] = m
		}
		m.add(now, key.What, t)
		if gone, looked := ended[who]; gone || !looked && !running(who.tgid) {
			ended[who] = true
			over = append(over, key)
		} else {
			ended[who] = false
		}
	}
	for _, key := range over {
		_ = totals.Delete(&key) // it may be gone
	}
	for who, m := range s.meters {
		gone, there := ended[who]
		if e := s.reading(now, who, m, gone); e != nil {
			handle(e)
		}
		if gone || !there && it.Err() == nil { // what was not reached is still counted from what it was
			delete(s.meters, who)
		}
	}
}

// reading is what a process has copied; nil where there is no news of it.
func (s *Sensor) reading(now time.Time, who caller, m *meter, ended bool) *event.Event {
	if !m.news {
		return nil
	}
	c := m.sum(now)
	if s.opt.Memory != nil {
		if held, known := s.opt.Memory(who.tgid); known && held > 0 {
			c.Memory = event.Measured(held)
			c.Share = event.Measured(int64(min(float64(c.Bytes)*100/float64(held), 1<<31)))
		}
	}
	crossed := c.Share.N >= suspect && m.telling < suspect
	if now.Sub(m.at) < tellEvery && !ended && !crossed {
		return nil
	}
	m.news, m.at, m.telling = false, now, c.Share.N
	return &event.Event{
		Kind: event.CUDACall, Time: now, Host: s.opt.Host, CUDA: &c,
		Process: &event.Process{PID: who.tgid, TID: who.tgid, StartBoot: who.start, LoginUID: ^uint32(0)},
	}
}
