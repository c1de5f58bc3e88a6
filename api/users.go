package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) accountRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/users", "user-list", "List users"), s.listUsers)
	huma.Register(api, op("POST", "/api/v1/users", "user-save", "Create a user, or change a user's role"), s.saveUser)
	huma.Register(api, op("DELETE", "/api/v1/users/{name}", "user-delete", "Remove a user"), s.removeUser)
	huma.Register(api, op("POST", "/api/v1/users/{name}/link", "user-link", "Make a one-time sign-in link"), s.makeLink)
	huma.Register(api, op("GET", "/api/v1/tokens", "token-list", "List API tokens"), s.listTokens)
	huma.Register(api, op("POST", "/api/v1/tokens", "token-create", "Make an API token"), s.makeToken)
	huma.Register(api, op("DELETE", "/api/v1/tokens/{id}", "token-delete", "Revoke an API token"), s.removeToken)
}

// UserInfo is a user as the API shows one.
type UserInfo struct {
	Name        string    `json:"name"`
	Role        Role      `json:"role" enum:"viewer,analyst,responder,admin"`
	PasswordSet bool      `json:"password_set"`
	Created     time.Time `json:"created"`
}

func userInfo(u User) UserInfo { return UserInfo{u.Name, u.Role, u.Password != "", u.Created} }

func (s *Server) listUsers(ctx context.Context, _ *struct{}) (*listOut[UserInfo], error) {
	users, err := s.deps.Accounts.Users(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing users", err)
	}
	out := &listOut[UserInfo]{Body: List[UserInfo]{Items: []UserInfo{}}}
	for _, u := range users {
		out.Body.Items = append(out.Body.Items, userInfo(u))
	}
	return out, nil
}

// UserSaved is a user with the link by which a new one signs in.
type UserSaved struct {
	UserInfo
	Link    string     `json:"link,omitempty" doc:"Path of a one-time sign-in link, for a new user"`
	Expires *time.Time `json:"expires,omitempty" doc:"When the link stops working"`
}

func (s *Server) saveUser(ctx context.Context, in *struct {
	Body struct {
		Name string `json:"name" pattern:"^[a-z0-9][a-z0-9._@-]{0,63}$" patternDescription:"lower-case letters, digits and . _ @ -"`
		Role Role   `json:"role" enum:"viewer,analyst,responder,admin"`
	}
},
) (*struct{ Body UserSaved }, error) {
	name, role := in.Body.Name, in.Body.Role
	u, err := s.deps.Accounts.User(ctx, name)
	fresh := errors.Is(err, ErrNotFound)
	if err != nil && !fresh {
		return nil, s.fail(ctx, "reading user "+name, err)
	}
	if fresh {
		u = User{Name: name, Created: s.opt.Now().UTC()}
	} else if u.Role == Admin && role != Admin {
		if err := s.keepsAdmin(ctx, name); err != nil {
			return nil, err
		}
	}
	u.Role = role
	if err := s.deps.Accounts.SaveUser(ctx, u); err != nil {
		return nil, s.fail(ctx, "saving user "+name, err)
	}
	s.audit(ctx, AuditEntry{What: "user.save", Object: name, Detail: role.String(), OK: true})
	out := &struct{ Body UserSaved }{UserSaved{UserInfo: userInfo(u)}}
	if fresh {
		link, expires, err := s.NewLink(ctx, name)
		if err != nil {
			return nil, s.fail(ctx, "making a sign-in link for "+name, err)
		}
		out.Body.Link, out.Body.Expires = link, &expires
	}
	return out, nil
}

// keepsAdmin refuses to lose the last user who can manage users.
func (s *Server) keepsAdmin(ctx context.Context, without string) error {
	users, err := s.deps.Accounts.Users(ctx)
	if err != nil {
		return s.fail(ctx, "listing users", err)
	}
	for _, u := range users {
		if u.Role == Admin && u.Name != without {
			return nil
		}
	}
	return huma.Error409Conflict(without + " is the only admin: make another one first")
}

type nameInput struct {
	Name string `path:"name" maxLength:"64"`
}

func (s *Server) removeUser(ctx context.Context, in *nameInput) (*struct{}, error) {
	u, err := s.deps.Accounts.User(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, "reading user "+in.Name, err)
	}
	if u.Role == Admin {
		if err := s.keepsAdmin(ctx, in.Name); err != nil {
			return nil, err
		}
	}
	if err := s.deps.Accounts.RemoveUser(ctx, in.Name); err != nil {
		return nil, s.fail(ctx, "removing user "+in.Name, err)
	}
	s.audit(ctx, AuditEntry{What: "user.delete", Object: in.Name, OK: true})
	return nil, nil
}

// LinkInfo is a one-time sign-in link.
type LinkInfo struct {
	Link    string    `json:"link" doc:"Path on this server"`
	Expires time.Time `json:"expires"`
}

func (s *Server) makeLink(ctx context.Context, in *nameInput) (*struct{ Body LinkInfo }, error) {
	link, expires, err := s.NewLink(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, "making a sign-in link for "+in.Name, err)
	}
	s.audit(ctx, AuditEntry{What: "user.link", Object: in.Name, OK: true})
	return &struct{ Body LinkInfo }{LinkInfo{link, expires}}, nil
}

// TokenInfo is a token as the API shows one.
type TokenInfo struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Role    Role       `json:"role" enum:"viewer,analyst,responder,admin"`
	Creator string     `json:"creator"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"`
	Secret  string     `json:"secret,omitempty" doc:"Shown once, in the answer that made it"`
}

func tokenInfo(t Token) TokenInfo {
	i := TokenInfo{ID: t.ID, Name: t.Name, Role: t.Role, Creator: t.Creator, Created: t.Created}
	if !t.Expires.IsZero() {
		i.Expires = &t.Expires
	}
	return i
}

func (s *Server) listTokens(ctx context.Context, _ *struct{}) (*listOut[TokenInfo], error) {
	tokens, err := s.deps.Accounts.Tokens(ctx)
	if err != nil {
		return nil, s.fail(ctx, "listing tokens", err)
	}
	out := &listOut[TokenInfo]{Body: List[TokenInfo]{Items: []TokenInfo{}}}
	for _, t := range tokens {
		out.Body.Items = append(out.Body.Items, tokenInfo(t))
	}
	return out, nil
}

func (s *Server) makeToken(ctx context.Context, in *struct {
	Body struct {
		Name string `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$" patternDescription:"letters, digits, space and . _ @ -"`
		Role Role   `json:"role" enum:"viewer,analyst,responder,admin"`
		Days int    `json:"days,omitempty" minimum:"0" maximum:"3650" doc:"Days until it expires; 0 for never"`
	}
},
) (*struct{ Body TokenInfo }, error) {
	secret, t, err := s.NewToken(ctx, in.Body.Name, in.Body.Role, time.Duration(in.Body.Days)*24*time.Hour, caller(ctx).name)
	if err != nil {
		return nil, s.fail(ctx, "making the token", err)
	}
	s.audit(ctx, AuditEntry{What: "token.create", Object: t.ID, Detail: t.Name + " " + t.Role.String(), OK: true})
	out := &struct{ Body TokenInfo }{tokenInfo(t)}
	out.Body.Secret = secret
	return out, nil
}

// NewToken makes a token that works for life, or always where life is 0. The secret is kept nowhere.
func (s *Server) NewToken(ctx context.Context, name string, role Role, life time.Duration, creator string) (string, Token, error) {
	if role < Viewer || role > Admin {
		return "", Token{}, fmt.Errorf("%w: a token needs a role", ErrInvalid)
	}
	secret := newSecret("pkt_")
	now := s.opt.Now().UTC()
	t := Token{
		ID: hashSecret(secret)[:12], Name: name, Role: role, Hash: hashSecret(secret), Created: now, Creator: creator,
	}
	if life > 0 {
		t.Expires = now.Add(life)
	}
	if err := s.deps.Accounts.SaveToken(ctx, t); err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

func (s *Server) removeToken(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
},
) (*struct{}, error) {
	if err := s.deps.Accounts.RemoveToken(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, "revoking token "+in.ID, err)
	}
	s.audit(ctx, AuditEntry{What: "token.delete", Object: in.ID, OK: true})
	return nil, nil
}
