package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	pollEvery = 4 * time.Millisecond
	// settle is how long a record may take from its time stamp to the ring. Younger records wait,
	// so that an older one on the other ring can still come before them.
	settle = 2 * time.Millisecond
	// restAfter is the quiet time after which the reader sleeps until the kernel wakes it: one look
	// that finds nothing. Where little happens, a wake-up for each event costs less than looking.
	restAfter = pollEvery
	// restFor bounds that sleep: a record that slips in as the reader falls asleep wakes nobody.
	restFor = 4 * time.Second
)

// head is the oldest record of one ring.
type head struct {
	rec  ringbuf.Record
	full bool
	more bool // of the ring, when this one was read
	time uint64
}

// Run calls handle for each process that ran before, parents first, and then for what happens, in
// the order of time over both rings, until ctx ends and what happened before was told of. The event
// is reused between calls.
func (s *Sensor) Run(ctx context.Context, handle func(*event.Event)) error {
	wake, err := newWaker(s)
	if err != nil {
		return err
	}
	defer wake.close()
	defer context.AfterFunc(ctx, wake.now)()
	s.wake.Store(wake)
	for _, r := range s.rings {
		r.SetDeadline(time.Unix(1, 0)) // reading never waits
	}
	s.deliverSeen(ctx, handle)
	var heads [2]head
	again := repeats{table: sweeper[typedRepeatKey, typedRepeat]{table: s.maps["repeats"]}, local: sweeper[typedUnixKey, typedUnixRepeat]{table: s.maps["unix_repeats"]}}
	bytes := totals{table: s.maps["io_totals"]}
	counted := tallies{table: sweeper[typedTallyKey, typedTally]{table: s.maps["tallies"]}}
	quiet := time.Now()
	for ctx.Err() == nil {
		n, err := s.drain(ctx, &heads, handle)
		if err != nil {
			return err
		}
		if err := again.tell(s, bootNow(), handle); err != nil {
			return err
		}
		if err := bytes.tell(s, bootNow(), handle); err != nil {
			return err
		}
		if err := counted.tell(s, bootNow(), handle); err != nil {
			return err
		}
		other := s.witness.Load()
		if other != nil {
			other.tell(bootNow(), handle)
		}
		waiting := heads[0].full || heads[1].full
		switch {
		case n > 0 || waiting:
			quiet = time.Now()
			time.Sleep(pollEvery)
		case time.Since(quiet) < restAfter:
			time.Sleep(pollEvery)
		default:
			most := restFor
			if again.pending(s) {
				most = time.Second
			} else if bytes.counting(s) {
				most = ioEvery
			}
			if other != nil && other.waiting() {
				most = witnessWait
			}
			if err := wake.rest(s, most); err != nil {
				return err
			}
		}
	}
	return s.finish(&heads, handle)
}

// finish tells of what waits in the rings as the reader ends.
func (s *Sensor) finish(heads *[2]head, handle func(*event.Event)) error {
	cut := bootNow()
	for n := turn; n == turn; {
		var err error
		if n, err = s.drainTo(cut, heads, handle); err != nil {
			return err
		}
	}
	for i := range heads { // younger by a hair: it is off its ring
		if heads[i].full {
			s.take(&heads[i], handle)
		}
	}
	return nil
}

// Look wakes a reader that sleeps beside records. Who calls it every second bounds by that how late
// a record can be that slipped in as the reader fell asleep. It also tells the programs that
// somebody listens: those of a sensor that is kept go quiet without.
func (s *Sensor) Look() error {
	err := s.configure(func(c *typedSettings) {
		if s.pins != nil {
			c.Duty = s.pins.number << 2 // it has gone quiet where this process was stopped for long
		}
	})
	if w := s.wake.Load(); w != nil && s.waiting() {
		w.now()
	}
	return err
}

func (s *Sensor) deliverSeen(ctx context.Context, handle func(*event.Event)) {
	now := time.Now()
	for _, p := range s.seen {
		if ctx.Err() != nil {
			return
		}
		e := event.Event{Kind: event.ProcessSeen, Time: now, Host: s.host, Process: p}
		s.counts.received[event.ProcessSeen].Add(1)
		handle(&e)
	}
	s.seen = nil
}

// drain delivers what is old enough, the older of the two heads first, and returns how many.
func (s *Sensor) drain(ctx context.Context, heads *[2]head, handle func(*event.Event)) (n int, err error) {
	for more := turn; more == turn && ctx.Err() == nil; n += more {
		if more, err = s.drainTo(bootNow()-uint64(settle), heads, handle); err != nil {
			return n, err
		}
	}
	return n, nil
}

// turn is how many records are told of between two looks at the clock.
const turn = 1024

// drainTo delivers at most a turn of what is no younger than cut.
func (s *Sensor) drainTo(cut uint64, heads *[2]head, handle func(*event.Event)) (n int, err error) {
	s.decoder.clock.refresh(bootNow())
	for ; n < turn; n++ {
		for i := range heads {
			if err := s.fill(i, &heads[i]); err != nil {
				return n, err
			}
		}
		i := 0
		if !heads[0].full || heads[1].full && heads[1].time < heads[0].time {
			i = 1
		}
		if h := &heads[i]; !h.full || h.time > cut {
			return n, nil
		}
		s.take(&heads[i], handle)
	}
	return n, nil
}

// take delivers the record of a head.
func (s *Sensor) take(h *head, handle func(*event.Event)) {
	h.full = false
	s.deliver(h.rec.RawSample, handle)
	s.hands.hold(-1)
}

// fill takes the next record of a ring, if there is one and no other waits.
func (s *Sensor) fill(i int, h *head) error {
	// Where the kernel writes is asked once for all that stands there: it is on another processor.
	for !h.full && (h.more || s.rings[i].AvailableBytes() > 0) {
		s.hands.hold(1) // before it is off the ring, so that it is never nowhere
		err := s.rings[i].ReadInto(&h.rec)
		if err != nil {
			s.hands.hold(-1)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			h.more = false
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the kernel's ring: %w", err)
		}
		h.more = h.rec.Remaining > 0
		s.counts.bytes.Add(uint64(len(h.rec.RawSample)))
		var ok bool
		if h.time, ok = recordTime(h.rec.RawSample); !ok {
			s.counts.malformed.Add(1)
			s.hands.hold(-1)
			continue
		}
		h.full = true
	}
	return nil
}

func (s *Sensor) deliver(raw []byte, handle func(*event.Event)) {
	e, err := s.decoder.decode(raw)
	if errors.Is(err, errAgain) || errors.Is(err, errPart) {
		s.counts.received[event.NetDNS].Add(1)
		return
	}
	if err != nil {
		s.counts.malformed.Add(1)
		return
	}
	if byName(e) && !s.find(e) {
		return
	}
	s.counts.received[e.Kind].Add(1)
	if w := s.witness.Load(); w != nil {
		at, _ := recordTime(raw)
		w.note(e, at)
	}
	if s.known != nil {
		if at, _ := recordTime(raw); at > s.seenEnd {
			s.known = nil
		} else if e.Kind == event.ProcessFork && s.known[e.Process.Key()] {
			return // told of as seen
		}
	}
	handle(e)
}

// waker sleeps until either ring has something. It waits in Go's own poller, where a goroutine
// that sleeps holds no thread.
type waker struct {
	f    *os.File
	conn syscall.RawConn
	rung atomic.Bool // be awake
}

func newWaker(s *Sensor) (*waker, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for the kernel's rings: %w", err)
	}
	for _, name := range [...]string{"priority", "volume"} {
		m := s.maps[name].FD()
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, m, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(m)}); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("wait for the kernel's rings: %w", err)
		}
	}
	_ = unix.SetNonblock(fd, true) // tells os that it can be polled
	w := &waker{f: os.NewFile(uintptr(fd), "rings")}
	if w.conn, err = w.f.SyscallConn(); err == nil {
		err = w.f.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = w.f.Close()
		return nil, fmt.Errorf("wait for the kernel's rings: %w", err)
	}
	return w, nil
}

func (w *waker) close() { _ = w.f.Close() }

// now ends a sleep, or the next one.
func (w *waker) now() {
	w.rung.Store(true)
	_ = w.f.SetReadDeadline(time.Unix(1, 0)) // closed is as good
}

// rest asks the kernel for a wake-up, looks once more, and sleeps.
func (w *waker) rest(s *Sensor, most time.Duration) error {
	if err := s.configure(func(c *typedSettings) { c.Asleep = [2]uint32{1, 1} }); err != nil {
		return err
	}
	_ = w.f.SetReadDeadline(time.Now().Add(most)) // cannot fail while it is open
	if !s.waiting() && !w.rung.Swap(false) {
		var failed error
		err := w.conn.Read(func(fd uintptr) bool {
			var got [2]unix.EpollEvent
			n, err := unix.EpollWait(int(fd), got[:], 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				failed = err
			}
			return n > 0 || failed != nil
		})
		if err = errors.Join(failed, err); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("wait for the kernel's rings: %w", err)
		}
	}
	return s.configure(func(c *typedSettings) { c.Asleep = [2]uint32{} })
}

// waiting reports whether a ring has records.
func (s *Sensor) waiting() bool {
	return s.rings[0].AvailableBytes() > 0 || s.rings[1].AvailableBytes() > 0
}

func bootNow() uint64 { return clockNow(unix.CLOCK_BOOTTIME) }

// monotonicNow stands still while the host sleeps.
func monotonicNow() uint64 { return clockNow(unix.CLOCK_MONOTONIC) }

func clockNow(which int32) uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(which, &t)
	return uint64(t.Nano())
}

// clock turns time since boot into wall time.
type clock struct {
	offset int64
	next   uint64
}

// refresh follows steps of the wall clock. A small slew is ignored, so that the same moment keeps
// the same wall time.
func (c *clock) refresh(boot uint64) {
	if boot < c.next {
		return
	}
	c.next = boot + uint64(time.Second)
	offset := time.Now().UnixNano() - int64(bootNow())
	if d := offset - c.offset; d > int64(20*time.Millisecond) || d < -int64(20*time.Millisecond) {
		c.offset = offset
	}
}

func (c *clock) wall(boot uint64) time.Time { return time.Unix(0, c.offset+int64(boot)) }
