package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     prometheus.Histogram
	refused     *prometheus.CounterVec
	streams     prometheus.Gauge
	sent        *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	auditErrors prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picket_api_requests_total", Help: "Requests by status code.",
		}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "picket_api_request_seconds", Help: "Time to answer a request; streams are left out.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picket_api_sign_in_refused_total", Help: "Refused sign-ins by reason.",
		}, []string{"reason"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picket_api_streams", Help: "Open streams.",
		}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picket_api_stream_messages_total", Help: "Messages put on streams by event name.",
		}, []string{"event"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picket_api_stream_dropped_total",
			Help: "Live events left out for slow readers (event), and streams closed for being slow (reader).",
		}, []string{"what"}),
		auditErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picket_api_audit_errors_total", Help: "Audit entries that could not be written.",
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.refused, m.streams, m.sent, m.dropped, m.auditErrors)
	}
	return m
}

// statusWriter remembers the status. Unwrap lets http.ResponseController reach Flush and deadlines.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status and passes it on.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// encrypted reports whether the browser speaks TLS, to us or to the proxy before us. Who lies about
// it only marks a cookie of their own.
func encrypted(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// instrument counts and times requests, and stops a panic at the one request that caused it.
func (s *Server) instrument(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w}
		start := time.Now()
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p) // how a handler hangs up; net/http knows it
				}
				s.log.Error("a request handler panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
				if sw.status == 0 {
					problem(sw, http.StatusInternalServerError, "an error in Picket; the server's log says more")
				}
			}
			s.metrics.requests.WithLabelValues(strconv.Itoa(max(sw.status, 200))).Inc()
			if r.URL.Path != streamPath {
				s.metrics.seconds.Observe(time.Since(start).Seconds())
			}
		}()
		next.ServeHTTP(sw, r.WithContext(context.WithValue(r.Context(), tlsKey{}, encrypted(r))))
	})
}
