package action

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// RevokeToken makes a token worthless where it was issued.
const RevokeToken Kind = "revoke-token"

// RevokeOptions say who issues tokens.
type RevokeOptions struct {
	Issuers []Issuer
	// Env looks a variable of the environment up, for secrets named env:NAME.
	Env func(name string) (string, bool)
	// Vault is asked for secrets named vault:PATH#FIELD.
	Vault Vault
	// Loopback lets an issuer be this host.
	Loopback bool
	// Roots are the authorities that issuers' certificates are checked with; nil: the system's.
	Roots *x509.CertPool
}

// Issuer is a service that revokes tokens over HTTP, by their id.
type Issuer struct {
	Name   string
	Method string // "": DELETE
	URL    string // with {id} where the token's id goes, unless Body has it
	Body   string // JSON; {id} within its texts is the token's id
	Look   string // a URL with {id} that answers 404 or 410 when the token is gone; "": it cannot be asked
	Header string // what the secret goes into; "": Authorization, as a bearer token
	Secret string // a reference: @/path, env:NAME or vault:PATH#FIELD
}

type revoke struct {
	w       *wire
	issuers map[string]Issuer
}

// NewRevoke returns the act of revoking a token.
func NewRevoke(o RevokeOptions) (Action, error) {
	a := &revoke{w: newWire(ReachOptions{Env: o.Env, Vault: o.Vault, Loopback: o.Loopback, Roots: o.Roots}), issuers: map[string]Issuer{}}
	for i, s := range o.Issuers {
		where := fmt.Sprintf("issuer %d (%s)", i+1, s.Name)
		if s.Method == "" {
			s.Method = http.MethodDelete
		}
		for _, u := range []string{s.URL, s.Look} {
			if _, err := base(Channel{URL: strings.ReplaceAll(u, "{id}", "x")}); err != nil && (u != "" || u == s.URL) {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
		}
		switch _, err := withID(s.Body, "x"); {
		case s.Name == "" || a.issuers[s.Name].Name != "":
			return nil, fmt.Errorf("%s: give it a name of its own", where)
		case !isReference(s.Secret):
			return nil, fmt.Errorf("%s: a secret is named, not written: @/path of a file, env:NAME or vault:PATH#FIELD", where)
		case !strings.Contains(s.URL+s.Body, "{id}"):
			return nil, fmt.Errorf("%s: neither url nor body has an {id}: it would revoke nothing, or all", where)
		case err != nil:
			return nil, fmt.Errorf("%s: body: %w", where, err)
		}
		a.issuers[s.Name] = s
	}
	return a, nil
}

// withID puts an id into the texts of a JSON body, where it stays text.
func withID(body, id string) ([]byte, error) {
	if body == "" {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return nil, err
	}
	var put func(any) any
	put = func(v any) any {
		switch v := v.(type) {
		case string:
			return strings.ReplaceAll(v, "{id}", id)
		case []any:
			for i := range v {
				v[i] = put(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = put(v[k])
			}
		}
		return v
	}
	return json.Marshal(put(v))
}

func (*revoke) Kind() Kind   { return RevokeToken }
func (*revoke) Class() Class { return Destructive }

var (
	tokenID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_:@.-]{0,127}$`)
	// aToken are the beginnings of tokens themselves: requests are kept, and tokens are not to be.
	aToken = regexp.MustCompile(`^(eyJ[A-Za-z0-9_-]+\.|sk-|hf_|gh[opsur]_|github_pat_|glpat-|hv[sbr]\.|xox[abprs]-|AKIA|ya29\.)`)
)

func (a *revoke) find(r *Request) (Issuer, string, error) {
	for _, k := range slices.Sorted(maps.Keys(r.Params)) {
		if k != "issuer" && k != "id" {
			return Issuer{}, "", fmt.Errorf("%w: parameter %q: want issuer and id", ErrInvalid, k)
		}
	}
	s, ok := a.issuers[r.Params["issuer"]]
	if !ok {
		return s, "", fmt.Errorf("%w: issuer %q: want one of %s", ErrInvalid, r.Params["issuer"], strings.Join(slices.Sorted(maps.Keys(a.issuers)), ", "))
	}
	id := r.Params["id"]
	if aToken.MatchString(id) {
		return s, "", fmt.Errorf("%w: the id looks like the token itself, which no request may hold: name the token by its id, accessor or hash", ErrInvalid)
	}
	if !tokenID.MatchString(id) {
		return s, "", fmt.Errorf("%w: id %q: want the token's id: letters, digits and _ : @ . -, up to 128", ErrInvalid, oneLine(id, 64))
	}
	return s, id, nil
}

// Plan says whose token would be revoked.
func (a *revoke) Plan(_ context.Context, r *Request) (*Plan, error) {
	s, id, err := a.find(r)
	if err != nil {
		return nil, err
	}
	return &Plan{
		Target: r.Target, Class: Destructive, Hits: []string{s.Name + " " + id},
		Effects: []string{fmt.Sprintf("%s revokes the token %s: whoever uses it, also rightly, is refused from then on", s.Name, id)},
	}, nil
}

func (a *revoke) call(s Issuer, method, address, id string) (call, error) {
	key, err := a.w.secret(s.Secret)
	if err != nil {
		return call{}, err
	}
	header := map[string]string{"Authorization": "Bearer " + key}
	if s.Header != "" {
		header = map[string]string{s.Header: key}
	}
	return call{method: method, url: strings.ReplaceAll(address, "{id}", url.PathEscape(id)), header: header, hide: []string{key}}, nil
}

// gone reports whether an issuer says that it does not know a token.
func gone(err error) bool {
	failed, ok := errors.AsType[*callError](err)
	return ok && (failed.status == http.StatusNotFound || failed.status == http.StatusGone)
}

// Do revokes. To revoke a token twice does no harm, so a lost answer is asked for again.
func (a *revoke) Do(ctx context.Context, r *Request) (*Result, error) {
	s, id, err := a.find(r)
	if err != nil {
		return outcome(r, err), nil
	}
	c, err := a.call(s, s.Method, s.URL, id)
	if err != nil {
		return outcome(r, fmt.Errorf("issuer %s: %w", s.Name, err)), nil
	}
	c.body, _ = withID(s.Body, id) // checked when it was opened
	_, err = a.w.do(ctx, c)
	if err != nil {
		res := outcome(r, fmt.Errorf("issuer %s: %w", s.Name, err))
		failed, ok := errors.AsType[*callError](err)
		switch {
		case gone(err) && failed.arrived: // by an earlier try, whose answer was lost
			res.State, res.Detail = Done, fmt.Sprintf("%s has revoked the token %s", s.Name, id)
		case gone(err):
			res.State, res.Detail = Gone, fmt.Sprintf("%s knows no token %s", s.Name, id)
		case ok && failed.arrived:
			res.State = Unknown
		}
		return res, nil
	}
	return &Result{ID: r.ID, State: Done, At: time.Now(), Detail: fmt.Sprintf("%s has revoked the token %s", s.Name, id)}, nil
}

// Verify asks the issuer whether it still knows the token.
func (a *revoke) Verify(ctx context.Context, r *Request) (bool, string, error) {
	s, id, err := a.find(r)
	if err != nil {
		return false, "", err
	}
	if s.Look == "" {
		return false, "", fmt.Errorf("issuer %s: %w: no look is configured", s.Name, errCannotAsk)
	}
	c, err := a.call(s, http.MethodGet, s.Look, id)
	if err != nil {
		return false, "", fmt.Errorf("issuer %s: %w", s.Name, err)
	}
	if _, err = a.w.do(ctx, c); err == nil {
		return false, fmt.Sprintf("%s still knows the token %s", s.Name, id), nil
	}
	if !gone(err) {
		return false, "", fmt.Errorf("issuer %s: %w", s.Name, err)
	}
	return true, fmt.Sprintf("%s knows no token %s", s.Name, id), nil
}

// Undo cannot be: a new token is issued by hand.
func (*revoke) Undo(context.Context, *Request) (*Result, error) {
	return nil, errors.New("a token that was revoked stays so: issue a new one")
}
