// Package otlp takes traces in OTLP, over HTTP as protobuf or JSON and over gRPC, and makes requests
// to AI services of the spans that are about one. What people and models wrote is judged where it
// arrives, and then forgotten: a request carries names, numbers and hashes.
//
// Whoever reaches the port may send anything. A Server belongs into a program without privilege, and
// bounds what it takes: bodies, what they unpack to, how many at once, and requests a second.
package otlp

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"picket/event"
)

// Bounds of what is taken.
const (
	maxBody        = 4 << 20 // and what it unpacks to
	maxAtOnce      = 4       // bodies
	maxConnections = 64
	maxPerSecond   = 2000 // requests that are handed on
)

// Options are what a Server needs.
type Options struct {
	Log   *slog.Logger // nil says nothing
	Token string       // that senders must show; "" asks for none
	// Judge fills in what a request's content says of it. It is called for several at once.
	Judge func(Content, *event.Request)
	// Told takes a request, one at a time. The event is not used again.
	Told func(*event.Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Counts is what became of what was sent.
type Counts struct {
	Bodies   uint64 `json:"bodies"`   // that were read
	Refused  uint64 `json:"refused"`  // bodies and connections that were not
	Spans    uint64 `json:"spans"`    // in those that were read
	Requests uint64 `json:"requests"` // that spans were about
	Dropped  uint64 `json:"dropped"`  // requests past what is taken in a second
}

// Server takes traces.
type Server struct {
	o    Options
	slot chan struct{}

	bodies, refused, spans, requests, dropped atomic.Uint64

	mu     sync.Mutex // of Told, and of the rate
	second int64
	taken  int
}

// New returns a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, slot: make(chan struct{}, maxAtOnce)}
}

// Counts returns what became of what was sent so far.
func (s *Server) Counts() Counts {
	return Counts{s.bodies.Load(), s.refused.Load(), s.spans.Load(), s.requests.Load(), s.dropped.Load()}
}

// Serve takes what comes in at l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC
	h := &http.Server{
		Handler: s, Protocols: protocols, MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxAtOnce},
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() }) // closed already is as good
	defer stop()
	err := h.Serve(&limited{Listener: l, left: make(chan struct{}, maxConnections), refused: &s.refused})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeHTTP takes one body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := answerOf(w, r)
	if r.URL.Path != tracesPath && r.URL.Path != grpcPath {
		s.refuse(to, http.StatusNotFound, "want traces, at "+tracesPath+" or by gRPC: metrics and logs are not taken")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.refuse(to, http.StatusMethodNotAllowed, "want POST")
		return
	}
	if !s.admits(r) {
		w.Header().Set("Connection", "close") // it would take the place of one who may send
		s.refuse(to, http.StatusUnauthorized, "want the header Authorization: Bearer, with the token of ingest.token")
		return
	}
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	default:
		w.Header().Set("Retry-After", "1")
		s.refuse(to, http.StatusServiceUnavailable, "busy: try again")
		return
	}
	body, err := to.read(w, r)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errTooLarge) {
			status = http.StatusRequestEntityTooLarge
		} else if errors.Is(err, errMedia) {
			status = http.StatusUnsupportedMediaType
		}
		s.refuse(to, status, err.Error())
		return
	}
	var dropped int64
	decode := spansOf
	if to.kind == asJSON {
		decode = jsonSpansOf
	}
	err = decode(body, func(one *span) error {
		s.spans.Add(1)
		if e := requestOf(one, s.o.Now(), s.o.Judge); e != nil && !s.tell(e) {
			dropped++
		}
		return nil
	})
	if err != nil { // what came before the mistake was taken
		s.refuse(to, http.StatusBadRequest, err.Error())
		return
	}
	s.bodies.Add(1)
	to.accepted(w, dropped)
}

// admits reports whether a sender shows the token.
func (s *Server) admits(r *http.Request) bool {
	if s.o.Token == "" {
		return true
	}
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(shown), []byte(s.o.Token)) == 1
}

// tell hands a request on, unless there were too many in this second.
func (s *Server) tell(e *event.Event) bool {
	now := s.o.Now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.second != now {
		s.second, s.taken = now, 0
	}
	if s.taken++; s.taken > maxPerSecond {
		s.dropped.Add(1)
		return false
	}
	s.requests.Add(1)
	s.o.Told(e)
	return true
}

func (s *Server) refuse(to *answer, status int, why string) {
	s.refused.Add(1)
	s.o.Log.Debug("what was sent was refused", "status", status, "why", why)
	to.refused(status, why)
}

// limited is a listener with a bound on connections that are open at once. One more is closed.
type limited struct {
	net.Listener
	left    chan struct{}
	refused *atomic.Uint64
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, fmt.Errorf("taking connections: %w", err)
		}
		select {
		case l.left <- struct{}{}:
			return &counted{Conn: c, done: sync.OnceFunc(func() { <-l.left })}, nil
		default:
			l.refused.Add(1)
			_ = c.Close() // it was not wanted
		}
	}
}

type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	c.done()
	return c.Conn.Close()
}
