package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const streamPath = "/api/v1/stream"

// stream writes messages as they happen: GET /api/v1/stream, with ?events=1&q=… live events too.
// Each message is flushed at once. Last-Event-ID, or ?after= where a header cannot be set, resumes.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var f *filter
	if on, _ := strconv.ParseBool(query.Get("events")); on {
		var err error
		if f, err = parseFilter(query.Get("q")); err != nil {
			problem(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = query.Get("after")
	}
	ctl := http.NewResponseController(w)
	_ = ctl.SetWriteDeadline(time.Time{}) // not all writers have deadlines; those that do would end the stream
	_ = ctl.SetReadDeadline(time.Time{})

	rd, missed, reset := s.live.join(last, f)
	defer s.live.leave(rd)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // else nginx holds messages back
	_, _ = fmt.Fprintf(w, "retry: 1000\nevent: hello\ndata: {\"version\":%q}\n\n", s.opt.Version)
	if reset {
		_, _ = w.Write(frame("", MessageReset, []byte("{}")))
	}
	for _, m := range missed {
		_, _ = w.Write(m.text)
	}
	if ctl.Flush() != nil {
		return
	}
	s.follow(w, r, rd, ctl)
}

// follow writes rd's messages until the client goes, is too slow, or may no longer read.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, rd *reader, ctl *http.ResponseController) {
	ping := time.NewTicker(s.opt.Ping)
	defer ping.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-rd.gone:
			return
		case m := <-rd.queue:
			// A peer that has gone without a word must not hold the writer for ever.
			_ = ctl.SetWriteDeadline(time.Now().Add(30 * time.Second))
			if !drain(w, rd, m) {
				return
			}
		case <-ping.C:
			if !s.stillMay(r) {
				return
			}
			_ = ctl.SetWriteDeadline(time.Now().Add(30 * time.Second))
			if _, err := w.Write([]byte(": ping\n\n")); err != nil {
				return
			}
		}
		if ctl.Flush() != nil {
			return
		}
		_ = ctl.SetWriteDeadline(time.Time{})
	}
}

// drain writes m and what else has queued up meanwhile, so that a burst takes few writes.
func drain(w http.ResponseWriter, rd *reader, m message) bool {
	for {
		if n := rd.missed.Swap(0); n > 0 {
			_, _ = w.Write(frame("", MessageMissed, fmt.Appendf(nil, `{"count":%d}`, n)))
		}
		if _, err := w.Write(m.text); err != nil {
			return false
		}
		select {
		case m = <-rd.queue:
		default:
			return true
		}
	}
}

// stillMay reports whether the stream's reader may still read: a user who was removed, signed out
// or whose token was revoked may not. While sign-in data cannot be read, streams stay.
func (s *Server) stillMay(r *http.Request) bool {
	if caller(r.Context()).name == "local" {
		return true
	}
	who, err := s.authenticate(r)
	return err != nil || who.role >= Viewer
}
