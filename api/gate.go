package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	cookieName = "picket_session"
	csrfHeader = "X-CSRF-Token"
	maxBody    = 1 << 20
)

// principal is who makes a request.
type principal struct {
	name    string // user, or token:<name>
	role    Role
	session *Session // nil for tokens and the private socket
}

type (
	principalKey struct{}
	remoteKey    struct{}
)

// caller returns who makes the request; the gate has put it there.
func caller(ctx context.Context) principal {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p
}

// Handler returns the server for listeners that anybody can reach.
func (s *Server) Handler() http.Handler {
	return s.instrument(http.HandlerFunc(s.gate))
}

// Trusted returns the server for a listener that only an administrator can open, such as a Unix
// socket of mode 0600: every request on it is the administrator's, under the name local.
func (s *Server) Trusted() http.Handler {
	return s.instrument(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, principal{name: "local", role: Admin})
	}))
}

// gate lets a request pass or answers why not.
func (s *Server) gate(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if !s.knownHost(r.Host) {
		problem(w, http.StatusMisdirectedRequest, "this server does not answer to the host name in the request; "+
			"use localhost, an IP address, or add the name to api.hosts in picket.yaml")
		return
	}
	if err := s.cross.Check(r); err != nil {
		problem(w, http.StatusForbidden, "the request comes from another web site")
		return
	}
	who, err := s.authenticate(r)
	if err != nil {
		s.log.Error("authentication failed", "err", err)
		problem(w, http.StatusServiceUnavailable, "sign-in data cannot be read now; try again in a moment")
		return
	}
	s.serve(w, r, who)
}

// serve looks the route up in the access table and, if who may, runs it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, who principal) {
	secure(w.Header())
	_, pattern := s.mux.Handler(r)
	need, ok := access[pattern]
	switch {
	case !ok && pattern == "":
		problem(w, http.StatusNotFound, "there is nothing at this path")
		return
	case !ok:
		problem(w, http.StatusForbidden, "nobody may use this route: it has no entry in the access table")
		return
	case who.role >= need.role || need.loopback && direct(r):
	case who.role == Public:
		w.Header().Set("WWW-Authenticate", `Bearer realm="picket"`)
		problem(w, http.StatusUnauthorized, "sign in first: open a one-time link, or send Authorization: Bearer with a token")
		return
	default:
		problem(w, http.StatusForbidden, "this needs the role "+need.role.String()+"; "+who.name+" is "+who.role.String())
		return
	}
	if !safe(r.Method) && who.session != nil && !csrfOK(r, who.session) {
		problem(w, http.StatusForbidden, "the "+csrfHeader+" header is missing or wrong: GET /api/v1/session returns its value as csrf")
		return
	}

	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	ctx := context.WithValue(r.Context(), principalKey{}, who)
	ctx = context.WithValue(ctx, remoteKey{}, r.RemoteAddr)
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}

// secure sets the headers that hold for every answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "+
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// csrfOK reports whether a write with a cookie comes from our own page. Browsers say where a
// request comes from, which cross has checked; a request that says nothing must show the token.
func csrfOK(r *http.Request, sess *Session) bool {
	got := r.Header.Get(csrfHeader)
	if got == "" {
		return r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != ""
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(sess.CSRF)) == 1
}

// knownHost reports whether the Host header is a name of this server. A web site that rebinds its
// own name to our address sends its own name, never an address.
func (s *Server) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	for _, h := range s.opt.Hosts {
		if h == "*" || strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// direct reports whether the request comes from this machine and not through a proxy on it.
func direct(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// authenticate says who makes the request; nobody is no error.
func (s *Server) authenticate(r *http.Request) (principal, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, secret, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return principal{}, nil
		}
		return s.byToken(r.Context(), strings.TrimSpace(secret))
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return principal{}, nil
	}
	return s.bySession(r.Context(), c.Value)
}

func (s *Server) byToken(ctx context.Context, secret string) (principal, error) {
	hash := hashSecret(secret)
	t, err := s.deps.Accounts.Token(ctx, hash)
	switch {
	case errors.Is(err, ErrNotFound):
		return principal{}, nil
	case err != nil:
		return principal{}, err
	case !same(t.Hash, hash) || expired(t.Expires, s.opt.Now()):
		return principal{}, nil
	}
	return principal{name: "token:" + t.Name, role: t.Role}, nil
}

// bySession takes the role from the user at each request, so that a change of it holds at once.
func (s *Server) bySession(ctx context.Context, cookie string) (principal, error) {
	hash := hashSecret(cookie)
	sess, err := s.deps.Accounts.Session(ctx, hash)
	switch {
	case errors.Is(err, ErrNotFound):
		return principal{}, nil
	case err != nil:
		return principal{}, err
	case !same(sess.Hash, hash) || expired(sess.Expires, s.opt.Now()):
		return principal{}, nil
	}
	u, err := s.deps.Accounts.User(ctx, sess.User)
	if errors.Is(err, ErrNotFound) {
		return principal{}, nil
	} else if err != nil {
		return principal{}, err
	}
	return principal{name: u.Name, role: u.Role, session: &sess}, nil
}

func expired(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
