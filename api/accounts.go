package api

import (
	"context"
	"fmt"
	"time"
)

// Role is what somebody may do. Each role may do all that the ones before it may.
type Role uint8

// The roles.
const (
	Public    Role = iota // not signed in
	Viewer                // reads
	Analyst               // works on incidents
	Responder             // approves and runs responses
	Admin                 // manages users and tokens
)

var roleNames = [...]string{"public", "viewer", "analyst", "responder", "admin"}

// String returns the role's name.
func (r Role) String() string { return roleNames[min(r, Admin)] }

// MarshalText writes the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a role's name. Public is none that can be given.
func (r *Role) UnmarshalText(b []byte) error {
	for i := Viewer; i <= Admin; i++ {
		if roleNames[i] == string(b) {
			*r = i
			return nil
		}
	}
	return fmt.Errorf("unknown role %q: want viewer, analyst, responder or admin", b)
}

// User is a person who may sign in.
type User struct {
	Name     string
	Role     Role
	Password string // argon2id hash in PHC form; "" until the first password is set
	Created  time.Time
}

// Token lets a program in. Its secret is not kept.
type Token struct {
	ID      string
	Name    string
	Role    Role
	Hash    string // SHA-256 of the secret, in hex
	Created time.Time
	Expires time.Time // zero for never
	Creator string    // user who made it
}

// Session is a browser that is signed in.
type Session struct {
	Hash    string // SHA-256 of the cookie, in hex
	User    string
	CSRF    string
	Link    bool // opened by a one-time link: a password may be set without the old one
	Created time.Time
	Expires time.Time
}

// Link is a one-time sign-in link.
type Link struct {
	Hash    string // SHA-256 of the token, in hex
	User    string
	Expires time.Time
}

// Accounts keeps who may do what. It stores records as they are: hashing, expiry and rules are the
// API's. What is not there is ErrNotFound.
type Accounts interface {
	Users
	Tokens
	Sessions
}

// Users keeps people.
type Users interface {
	Users(ctx context.Context) ([]User, error)
	User(ctx context.Context, name string) (User, error)
	SaveUser(ctx context.Context, u User) error // creates or replaces
	// RemoveUser removes the user with all sessions and links.
	RemoveUser(ctx context.Context, name string) error
}

// Tokens keeps the tokens of programs.
type Tokens interface {
	Tokens(ctx context.Context) ([]Token, error)
	Token(ctx context.Context, hash string) (Token, error)
	SaveToken(ctx context.Context, t Token) error
	RemoveToken(ctx context.Context, id string) error
}

// Sessions keeps signed-in browsers and one-time links. It may forget what has expired.
type Sessions interface {
	Session(ctx context.Context, hash string) (Session, error)
	SaveSession(ctx context.Context, s Session) error
	RemoveSession(ctx context.Context, hash string) error
	// RemoveSessions removes the sessions of a user, but for the one whose hash is keep.
	RemoveSessions(ctx context.Context, user, keep string) error
	SaveLink(ctx context.Context, l Link) error
	// TakeLink returns the link and removes it in one step, so that it works once.
	TakeLink(ctx context.Context, hash string) (Link, error)
}
