package uprobe

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// hold is how old a record is before it is told of: the start of a process comes over another ring and is
// to be told first.
const hold = 30 * time.Millisecond

// Who is what each record begins with: whose it is. Its layout is that of struct caller in bpf/probe.h.
type Who struct {
	Time, Start, ParentStart, Cgroup uint64
	Tgid, Tid, Ppid, Count           uint32
	Comm                             [16]byte
}

// Event begins an event of a kind by whose record it is.
func (w *Who) Event(kind event.Kind, host string) *event.Event {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	offset := time.Now().UnixNano() - now.Nano()
	wall := func(boot uint64) time.Time { return time.Unix(0, offset+int64(boot)) }
	return &event.Event{
		Kind: kind, Time: wall(w.Time), Host: host,
		Process: &event.Process{
			PID: w.Tgid, TID: w.Tid, PPID: w.Ppid, StartBoot: w.Start, PStart: w.ParentStart, Start: wall(w.Start),
			CgroupID: w.Cgroup, Comm: unix.ByteSliceToString(w.Comm[:]), LoginUID: ^uint32(0),
		},
	}
}

// Follow calls handle for the event of each record of a ring until ctx ends. Records of which decode
// makes nothing are counted.
func Follow(ctx context.Context, ring *ringbuf.Reader, decode func([]byte) *event.Event, odd *atomic.Uint64, handle func(*event.Event)) error {
	defer context.AfterFunc(ctx, func() { _ = ring.Flush() })() // a deadline would wait for the read
	var rec ringbuf.Record
	for {
		err := ring.ReadInto(&rec)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ringbuf.ErrFlushed) {
			continue
		}
		if err != nil {
			return err
		}
		e := decode(rec.RawSample)
		if e == nil {
			odd.Add(1)
			continue
		}
		if young := hold - time.Since(e.Time); young > 0 {
			time.Sleep(min(young, hold))
		}
		handle(e)
	}
}

// Lost adds up what the programs of a collection could not tell of.
func Lost(coll *ebpf.Collection) (n uint64) {
	for i := range uint32(2) { // RING and TABLE
		var per []uint64
		_ = coll.Maps["lost"].Lookup(i, &per) // it is an array
		for _, x := range per {
			n += x
		}
	}
	return n
}

// Plain makes what a process wrote fit for people to read.
func Plain(b []byte) string {
	out := []rune(string(b))
	for i, r := range out {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			out[i] = '?'
		}
	}
	return string(out)
}
