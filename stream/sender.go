package stream

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	ackTimeout = 1500 * time.Millisecond // an answer that has not come by then does not come
	retryWait  = 250 * time.Millisecond
	windowMsgs = 512
)

// sender sends the records of a spool in order, several at once, and forgets each when the hub has
// it. When one fails, it and all after it are sent again under their ids, of which the hub keeps
// the first.
type sender struct {
	a       *Agent
	spool   *spool
	subject string
	window  int // bytes on their way

	sub  *nats.Subscription
	base string // reply subjects: base.<number>

	mu      sync.Mutex
	flight  []*sending // oldest first
	num     uint64
	size    int
	answers chan struct{}
}

// sending is a record on its way.
type sending struct {
	num   uint64
	after position
	size  int
	count uint32
	at    time.Time
	state int // 0: on its way
	text  string
}

const (
	taken = iota + 1
	refused
)

func (s *sender) run(ctx context.Context) {
	s.answers = make(chan struct{}, 1)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		err := s.listen()
		if err == nil {
			err = s.fill()
		}
		var again bool
		if again, err = s.settle(err); again {
			if s.a.nc.IsConnected() && err != nil {
				s.a.o.Log.Warn("records are sent again", "subject", s.subject, "error", err)
			}
			s.spool.rewind()
			if !pause(ctx, retryWait) {
				return
			}
			continue
		}
		timer.Reset(s.patience())
		select {
		case <-ctx.Done():
		case <-s.spool.wake:
		case <-s.answers:
		case <-timer.C:
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listen subscribes to the answers, once.
func (s *sender) listen() error {
	if s.sub != nil {
		return nil
	}
	s.base = s.a.nc.NewInbox()
	sub, err := s.a.nc.Subscribe(s.base+".*", s.answer)
	if err != nil {
		return err
	}
	s.sub = sub
	return sub.SetPendingLimits(-1, -1) // the window bounds it
}

// fill sends as much as the window takes.
func (s *sender) fill() error {
	for s.a.nc.IsConnected() {
		s.mu.Lock()
		room := len(s.flight) < windowMsgs && (s.size < s.window || len(s.flight) == 0)
		s.mu.Unlock()
		if !room {
			return nil
		}
		rec, after, ok := s.spool.next()
		if !ok {
			return nil
		}
		s.mu.Lock()
		s.num++
		one := &sending{num: s.num, after: after, size: rec.size(), count: rec.count, at: time.Now()}
		s.flight = append(s.flight, one)
		s.size += one.size
		s.mu.Unlock()
		m := nats.NewMsg(s.subject)
		m.Header.Set(nats.MsgIdHdr, rec.id)
		m.Header.Set(headerCount, strconv.FormatUint(uint64(rec.count), 10))
		m.Data, m.Reply = rec.payload, s.base+"."+strconv.FormatUint(one.num, 10)
		if err := s.a.nc.PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// answer takes the hub's answer to one record.
func (s *sender) answer(m *nats.Msg) {
	num, err := strconv.ParseUint(m.Subject[len(s.base)+1:], 10, 64)
	if err != nil {
		return // nobody else may send here
	}
	state, text := judge(m)
	s.mu.Lock()
	for _, one := range s.flight {
		if one.num == num {
			one.state, one.text = state, text
			break
		}
	}
	s.mu.Unlock()
	signal(s.answers)
}

func judge(m *nats.Msg) (state int, text string) {
	var reply struct {
		Seq   uint64 `json:"seq"` // of a repeat: where the first one is
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if m.Header.Get("Status") == "503" {
		return refused, "the hub is not ready"
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return refused, err.Error()
	}
	if reply.Error != nil {
		return refused, reply.Error.Description
	}
	return taken, ""
}

// settle forgets what the hub has, in order. It reports whether to begin again from the first
// record that it has not.
func (s *sender) settle(cause error) (again bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.flight) > 0 && s.flight[0].state == taken {
		one := s.flight[0]
		s.flight = s.flight[1:]
		s.size -= one.size
		s.spool.done(one.after)
		s.a.m.sent.Inc()
	}
	switch {
	case cause != nil:
		err = cause
	case len(s.flight) == 0:
		return false, nil
	case s.flight[0].state == refused:
		err = errors.New(s.flight[0].text)
	case time.Since(s.flight[0].at) > ackTimeout:
		err = errors.New("the hub did not answer")
	default:
		return false, nil
	}
	s.flight, s.size = nil, 0
	s.a.m.resent.Inc()
	return true, err
}

// patience is how long to wait for an answer before looking again.
func (s *sender) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flight) == 0 {
		return time.Hour
	}
	return max(ackTimeout-time.Since(s.flight[0].at), 0) + time.Millisecond
}
