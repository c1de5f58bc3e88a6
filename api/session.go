package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// SessionInfo says who is signed in.
type SessionInfo struct {
	User string `json:"user"`
	Role Role   `json:"role" enum:"viewer,analyst,responder,admin"`
	CSRF string `json:"csrf,omitempty" doc:"Send it as X-CSRF-Token with every write that uses the cookie"`
	// PasswordSet is false until the user has a password beside one-time links.
	PasswordSet bool `json:"password_set"`
}

type sessionOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      SessionInfo
}

func (s *Server) sessionRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/session", "session-get", "Who am I"), s.whoAmI)
	huma.Register(api, op("POST", "/api/v1/session", "session-create", "Sign in with a password"), s.signInPassword)
	huma.Register(api, op("DELETE", "/api/v1/session", "session-delete", "Sign out"), s.signOut)
	huma.Register(api, op("POST", "/api/v1/session/password", "session-password", "Set or change your password"), s.setPassword)
}

func (s *Server) whoAmI(ctx context.Context, _ *struct{}) (*struct{ Body SessionInfo }, error) {
	who := caller(ctx)
	if who.role == Public {
		return nil, huma.Error401Unauthorized("nobody is signed in: open the one-time link that `picket run` prints, or sign in with a password")
	}
	out := &struct{ Body SessionInfo }{SessionInfo{User: who.name, Role: who.role}}
	if who.session != nil {
		out.Body.CSRF = who.session.CSRF
		u, err := s.deps.Accounts.User(ctx, who.name)
		if err != nil {
			return nil, s.fail(ctx, "reading user "+who.name, err)
		}
		out.Body.PasswordSet = u.Password != ""
	}
	return out, nil
}

type signInInput struct {
	Body struct {
		User     string `json:"user" minLength:"1" maxLength:"64"`
		Password string `json:"password" minLength:"1" maxLength:"1024"`
	}
}

var errSignIn = huma.Error401Unauthorized("user or password is wrong")

// nobodysHash takes the time of a real comparison where the user is unknown or has no password.
const nobodysHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (s *Server) signInPassword(ctx context.Context, in *signInInput) (*sessionOut, error) {
	name := in.Body.User
	if err := s.mayTry(ctx, name); err != nil {
		return nil, err
	}
	u, err := s.deps.Accounts.User(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, s.fail(ctx, "signing in", err)
	}
	ok, err := s.compare(ctx, u.Password, in.Body.Password)
	if err != nil {
		return nil, s.fail(ctx, "signing in", err)
	}
	if !ok {
		s.tried(ctx, name, false)
		s.audit(ctx, AuditEntry{Who: name, What: "session.create", Detail: "wrong user or password"})
		return nil, errSignIn
	}
	s.tried(ctx, name, true)
	return s.open(ctx, u, false)
}

// compare checks a password, at most two at a time.
func (s *Server) compare(ctx context.Context, hash, password string) (bool, error) {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if hash == "" {
		_, _ = checkPassword(nobodysHash, password)
		return false, nil
	}
	return checkPassword(hash, password)
}

// mayTry refuses who has failed too often lately: by address, and, more patiently, by user and
// address together, so that a stranger elsewhere cannot lock a user out.
func (s *Server) mayTry(ctx context.Context, user string) error {
	from := source(remote(ctx))
	wait := max(s.attempts.wait(from), s.attempts.wait(from+"\x00"+user))
	if wait <= 0 {
		return nil
	}
	s.metrics.refused.WithLabelValues("backoff").Inc()
	return huma.ErrorWithHeaders(
		huma.Error429TooManyRequests("too many failed attempts; try again in "+wait.Round(time.Second).String()),
		http.Header{"Retry-After": {retryAfter(wait)}})
}

func (s *Server) tried(ctx context.Context, user string, ok bool) {
	from := source(remote(ctx))
	if ok {
		// The address stays as it is: else one account of one's own would pay for guessing others.
		s.attempts.succeeded(from + "\x00" + user)
		return
	}
	s.attempts.failed(from)
	s.attempts.failed(from + "\x00" + user)
	s.metrics.refused.WithLabelValues("credentials").Inc()
}

// open makes a session for u and the cookie that carries it.
func (s *Server) open(ctx context.Context, u User, link bool) (*sessionOut, error) {
	secret := newSecret("")
	now := s.opt.Now()
	sess := Session{
		Hash: hashSecret(secret), User: u.Name, CSRF: newSecret(""), Link: link,
		Created: now, Expires: now.Add(s.opt.SessionLife),
	}
	if err := s.deps.Accounts.SaveSession(ctx, sess); err != nil {
		return nil, s.fail(ctx, "signing in", err)
	}
	what := "session.create"
	if link {
		what = "session.create.link"
	}
	s.audit(ctx, AuditEntry{Who: u.Name, What: what, OK: true})
	return &sessionOut{
		SetCookie: s.cookie(ctx, secret, int(s.opt.SessionLife/time.Second)),
		Body:      SessionInfo{User: u.Name, Role: u.Role, CSRF: sess.CSRF, PasswordSet: u.Password != ""},
	}, nil
}

func (s *Server) cookie(ctx context.Context, value string, age int) http.Cookie {
	return http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: overTLS(ctx),
	}
}

func (s *Server) signOut(ctx context.Context, _ *struct{}) (*struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}, error,
) {
	if who := caller(ctx); who.session != nil {
		if err := s.deps.Accounts.RemoveSession(ctx, who.session.Hash); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, s.fail(ctx, "signing out", err)
		}
		s.audit(ctx, AuditEntry{What: "session.delete", OK: true})
	}
	out := &struct {
		SetCookie http.Cookie `header:"Set-Cookie"`
	}{s.cookie(ctx, "", -1)}
	return out, nil
}

type passwordInput struct {
	Body struct {
		Old string `json:"old,omitempty" maxLength:"1024" doc:"Not needed after a sign-in by one-time link"`
		New string `json:"new" minLength:"10" maxLength:"1024"`
	}
}

func (s *Server) setPassword(ctx context.Context, in *passwordInput) (*struct{}, error) {
	who := caller(ctx)
	if who.session == nil {
		return nil, huma.Error403Forbidden("only a person who is signed in has a password; " + who.name + " is not one")
	}
	u, err := s.deps.Accounts.User(ctx, who.name)
	if err != nil {
		return nil, s.fail(ctx, "reading user "+who.name, err)
	}
	if u.Password != "" && !who.session.Link {
		if err := s.mayTry(ctx, u.Name); err != nil {
			return nil, err
		}
		ok, err := s.compare(ctx, u.Password, in.Body.Old)
		if err != nil {
			return nil, s.fail(ctx, "comparing passwords", err)
		}
		s.tried(ctx, u.Name, ok)
		if !ok {
			return nil, huma.Error403Forbidden("the old password is wrong; a new one-time link lets you set one without it")
		}
	}
	if u.Password, err = HashPassword(in.Body.New); err != nil {
		return nil, s.fail(ctx, "setting the password", err)
	}
	if err := s.deps.Accounts.SaveUser(ctx, u); err != nil {
		return nil, s.fail(ctx, "setting the password", err)
	}
	if err := s.deps.Accounts.RemoveSessions(ctx, u.Name, who.session.Hash); err != nil {
		return nil, s.fail(ctx, "ending other sessions", err)
	}
	s.audit(ctx, AuditEntry{What: "user.password", Object: u.Name, OK: true})
	return nil, nil
}

// NewLink returns the path of a one-time sign-in link for a user that exists.
func (s *Server) NewLink(ctx context.Context, user string) (path string, expires time.Time, err error) {
	if _, err := s.deps.Accounts.User(ctx, user); err != nil {
		return "", time.Time{}, err
	}
	secret := newSecret("")
	expires = s.opt.Now().Add(s.opt.LinkLife)
	err = s.deps.Accounts.SaveLink(ctx, Link{Hash: hashSecret(secret), User: user, Expires: expires})
	return "/signin?token=" + secret, expires, err
}

// signIn opens a one-time link: GET /signin with its token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		problem(w, http.StatusMethodNotAllowed, "a one-time link is only opened by a person") // not by link previews
		return
	}
	ctx := r.Context()
	if err := s.mayTry(ctx, ""); err != nil {
		problem(w, http.StatusTooManyRequests, err.Error())
		return
	}
	l, err := s.deps.Accounts.TakeLink(ctx, hashSecret(r.URL.Query().Get("token")))
	if errors.Is(err, ErrNotFound) || err == nil && expired(l.Expires, s.opt.Now()) {
		s.tried(ctx, "", false)
		s.audit(ctx, AuditEntry{What: "session.create.link", Detail: "unknown, used or expired link"})
		http.Redirect(w, r, "/?signin=expired", http.StatusSeeOther)
		return
	}
	var u User
	if err == nil {
		u, err = s.deps.Accounts.User(ctx, l.User)
	}
	var out *sessionOut
	if err == nil {
		out, err = s.open(ctx, u, true)
	}
	if err != nil {
		s.log.Error("opening a sign-in link failed", "err", err)
		problem(w, http.StatusServiceUnavailable, "signing in failed; the server's log says why. Ask for a new link")
		return
	}
	http.SetCookie(w, &out.SetCookie)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
