// Package webhook takes what a Kubernetes API server sends of its audit log by webhook: lists of entries,
// over TLS, from who shows a token or a certificate.
//
// An entry holds what anybody who may ask the API server wrote. A Server belongs into a program without
// privilege, and bounds what it takes: bodies, entries, how many at once, and what is told in a second.
package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"picket/event"
	"picket/ingest"
)

// Bounds of what is taken.
const (
	maxBody        = 64 << 20 // which is read entry by entry
	maxEntry       = 8 << 20
	maxAtOnce      = 4 // bodies
	maxConnections = 64
	flushEvery     = time.Second
)

// Options are what a Server needs.
type Options struct {
	Log *slog.Logger // nil says nothing
	// TLS has the server's certificate and, where senders show one, whose they are to be.
	TLS   *tls.Config
	Token string // that senders must show too; "" asks for none
	// Told takes an event, one at a time. It may block: who sends more meanwhile is told to wait.
	Told func(*event.Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Counts is what became of what was sent.
type Counts struct {
	Bodies  uint64 `json:"bodies"`  // that were read
	Refused uint64 `json:"refused"` // that were not
	Waiting uint64 `json:"waiting"` // of these those that are to come again, as others were being read
	ingest.EntryCounts
}

// Server takes entries of audit logs.
type Server struct {
	o       Options
	token   [sha256.Size]byte
	slot    chan struct{}
	entries *ingest.Entries

	bodies, refused, waiting atomic.Uint64
}

// New returns a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, token: sha256.Sum256([]byte(o.Token)), slot: make(chan struct{}, maxAtOnce), entries: ingest.NewEntries(o.Told)}
}

// Counts returns what became of what was sent so far.
func (s *Server) Counts() Counts {
	return Counts{Bodies: s.bodies.Load(), Refused: s.refused.Load(), Waiting: s.waiting.Load(), EntryCounts: s.entries.Counts()}
}

// Serve takes what comes in at l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s, TLSConfig: s.o.TLS, MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 2 * maxAtOnce},
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() }) // closed already is as good
	defer stop()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		for tick := time.NewTicker(flushEvery); ; {
			select {
			case <-tick.C:
				s.entries.Flush(s.o.Now())
			case <-ctx.Done():
				return
			}
		}
	}()
	err := h.ServeTLS(netutil.LimitListener(l, maxConnections), "", "")
	if errors.Is(err, http.ErrServerClosed) {
		<-flushed
		return nil
	}
	return err
}

// refusal is why a body is not taken.
type refusal struct {
	status int
	why    string
}

func (r refusal) Error() string { return r.why }

// ServeHTTP takes one list.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	taken, err := s.take(w, r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err == nil {
		s.bodies.Add(1)
		_, _ = fmt.Fprintln(w, taken) // who has gone needs no answer
		return
	}
	no, ok := errors.AsType[refusal](err)
	if !ok {
		no = refusal{http.StatusBadRequest, err.Error()}
	}
	s.refused.Add(1)
	switch no.status {
	case http.StatusTooManyRequests:
		s.waiting.Add(1)
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("Connection", "close") // it would take the place of one who may send
	}
	s.o.Log.Debug("what was sent was refused", "status", no.status, "why", no.why)
	w.WriteHeader(no.status)
	_, _ = io.WriteString(w, no.why+"\n") // as above
}

// take reads a body, after a look at who sends it.
func (s *Server) take(w http.ResponseWriter, r *http.Request) (taken string, err error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case !s.admits(r):
		return "", refusal{http.StatusUnauthorized, "want the header Authorization: Bearer, with the token of ingest.audit.token"}
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return "", refusal{http.StatusMethodNotAllowed, "want POST"}
	case media != "application/json" || r.Header.Get("Content-Encoding") != "":
		return "", refusal{http.StatusUnsupportedMediaType, "want application/json, not packed"}
	case r.ContentLength > maxBody:
		return "", refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("body: %d bytes, at most %d are taken: see --audit-webhook-batch-max-size", r.ContentLength, maxBody)}
	}
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	default:
		return "", refusal{http.StatusTooManyRequests, "busy: try again"}
	}
	return s.list(http.MaxBytesReader(w, r.Body, maxBody))
}

// admits reports whether a sender shows the token. Digests are compared, so that not even its length shows.
func (s *Server) admits(r *http.Request) bool {
	if s.o.Token == "" {
		return true
	}
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	is := sha256.Sum256([]byte(shown))
	return ok && subtle.ConstantTimeCompare(is[:], s.token[:]) == 1
}

// ration lets so much more be read of a body.
type ration struct {
	io.Reader
	left int
}

var errEntry = refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("an entry has more than %d bytes: see --audit-webhook-truncate-enabled", maxEntry)}

func (r *ration) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, errEntry
	}
	n, err := r.Reader.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// list reads a list, and tells of its entries one by one. What came before a mistake was told.
func (s *Server) list(body io.Reader) (taken string, err error) {
	in := &ration{body, maxEntry}
	dec := json.NewDecoder(in)
	wrong := func(at string, err error) error {
		if no, ok := errors.AsType[refusal](err); ok {
			return no
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("body: more than %d bytes: see --audit-webhook-batch-max-size", maxBody)}
		}
		return fmt.Errorf("body, at byte %d, %s: %w", dec.InputOffset(), at, err)
	}
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return "", wrong("at its beginning", errors.Join(errors.New("want an EventList of audit.k8s.io as JSON"), err))
	}
	kind, version, n, refused, first := "", "", 0, 0, error(nil)
	for dec.More() {
		in.left = maxEntry
		tok, err := dec.Token()
		if err != nil {
			return "", wrong("a name", err)
		}
		switch name, _ := tok.(string); name {
		case "kind", "apiVersion":
			to := &kind
			if name == "apiVersion" {
				to = &version
			}
			if err := dec.Decode(to); err != nil {
				return "", wrong(name, err)
			}
		case "items":
			if kind != "EventList" || !strings.HasPrefix(version, "audit.k8s.io/") {
				return "", wrong("items", fmt.Errorf("want kind EventList and an apiVersion of audit.k8s.io before them, have %.40q and %.40q", kind, version))
			}
			if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
				return "", wrong("items", errors.Join(errors.New("want a list"), err))
			}
			for ; dec.More(); n++ {
				in.left = maxEntry
				var entry json.RawMessage
				if err := dec.Decode(&entry); err != nil {
					return "", wrong(fmt.Sprintf("items.%d", n), err)
				}
				if err := s.entries.Take(s.o.Now(), entry); err != nil {
					if refused++; first == nil {
						first = fmt.Errorf("items.%d: %w", n, err)
					}
				}
			}
			if _, err := dec.Token(); err != nil {
				return "", wrong("items", err)
			}
		default:
			var passed json.RawMessage
			if err := dec.Decode(&passed); err != nil {
				return "", wrong(fmt.Sprintf("%.40q", name), err)
			}
		}
	}
	if _, err := dec.Token(); err != nil {
		return "", wrong("at its end", err)
	}
	if kind != "EventList" {
		return "", wrong("at its end", fmt.Errorf("want kind EventList, have %.40q", kind))
	}
	taken = fmt.Sprintf("%d entries were read", n)
	if refused > 0 {
		taken += fmt.Sprintf(", %d of them are none: %v", refused, first)
	}
	return taken, nil
}
