package node

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picket/respond/action"
)

// RespondChannel is one of respond.channels.
type RespondChannel struct {
	Name     string   `yaml:"name" doc:"its name in playbooks"`
	Type     string   `yaml:"type" doc:"for notify: webhook, slack, pagerduty, alertmanager, email; for ticket: http, jira, iris"`
	URL      string   `yaml:"url" doc:"of the receiver; email: smtp://host:587 or smtps://host:465; slack: a secret by reference"`
	Secret   string   `yaml:"secret" doc:"by reference: @/path of a file, env:NAME, or vault:PATH#FIELD"`
	User     string   `yaml:"user" doc:"email, jira: who signs in"`
	From     string   `yaml:"from" doc:"email: the sender"`
	To       []string `yaml:"to" doc:"email: the recipients"`
	Project  string   `yaml:"project" doc:"jira: the key of the project"`
	Issue    string   `yaml:"issue" doc:"jira: the type of issue; empty is Task"`
	Customer int      `yaml:"customer" doc:"iris: the number of the customer"`
	Marking  string   `yaml:"marking" doc:"the highest TLP marking that may go out here; empty is TLP:AMBER"`
}

// RespondIssuer is one of respond.issuers.
type RespondIssuer struct {
	Name   string `yaml:"name" doc:"its name in playbooks"`
	Method string `yaml:"method" doc:"of the request; empty is DELETE"`
	URL    string `yaml:"url" doc:"with {id} where the token's id goes, unless body has it"`
	Body   string `yaml:"body" doc:"JSON, with {id} within its texts"`
	Look   string `yaml:"look" doc:"a URL with {id} that answers 404 or 410 for a token that is gone; empty: it cannot be asked"`
	Header string `yaml:"header" doc:"what the secret goes into; empty is Authorization, as a bearer token"`
	Secret string `yaml:"secret" doc:"by reference: @/path of a file, env:NAME, or vault:PATH#FIELD"`
}

// RespondVault is respond.vault.
type RespondVault struct {
	URL       string `yaml:"url" doc:"of a service that gives out secrets as HashiCorp Vault does; empty: there is none"`
	Token     string `yaml:"token" doc:"by reference: @/path of a file, or env:NAME"`
	Namespace string `yaml:"namespace" doc:"sent along as X-Vault-Namespace; empty sends none"`
}

// reach makes the acts of the server of what the configuration names.
func (c *Respond) reach() ([]action.Action, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	o := action.ReachOptions{Env: os.LookupEnv, Vault: action.Vault(c.Vault), Loopback: c.Loopback, Roots: roots}
	for _, ch := range c.Channels {
		o.Channels = append(o.Channels, action.Channel(ch))
	}
	notify, err := action.NewNotify(o)
	if err != nil {
		return nil, err
	}
	ticket, err := action.NewTicket(o)
	if err != nil {
		return nil, err
	}
	r := action.RevokeOptions{Env: o.Env, Vault: o.Vault, Loopback: o.Loopback, Roots: roots}
	for _, i := range c.Issuers {
		r.Issuers = append(r.Issuers, action.Issuer(i))
	}
	revoke, err := action.NewRevoke(r)
	return []action.Action{notify, ticket, revoke}, err
}

func (c *Respond) roots() (*x509.CertPool, error) {
	if c.Authorities == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.Authorities)
	if err != nil {
		return nil, fmt.Errorf("respond.authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("respond.authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("respond.authorities: %s holds no certificate in PEM", c.Authorities)
	}
	return roots, nil
}

// validateReach returns the key at fault and what was expected.
func (c *Respond) validateReach() (key, msg string) {
	if err := action.Vault(c.Vault).Check(); err != nil {
		return "respond.vault", err.Error()
	}
	if c.Authorities != "" && !filepath.IsAbs(c.Authorities) {
		return "respond.authorities", "want the whole path of a file: the programs that picket run starts work elsewhere"
	}
	said := func(err error) string { // without its number in a list of one
		_, what, _ := strings.Cut(err.Error(), "): ")
		return what
	}
	for i := range c.Channels {
		at := fmt.Sprintf("respond.channels.%d", i)
		if strings.HasPrefix(c.Channels[i].Secret+c.Channels[i].URL, "vault:") && c.Vault.URL == "" {
			return at, "a secret is in a vault, and respond.vault names none"
		}
		one := Respond{Channels: c.Channels[i : i+1]}
		if _, err := one.reach(); err != nil {
			return at, said(err)
		}
	}
	for i := range c.Issuers {
		at := fmt.Sprintf("respond.issuers.%d", i)
		if strings.HasPrefix(c.Issuers[i].Secret, "vault:") && c.Vault.URL == "" {
			return at, "a secret is in a vault, and respond.vault names none"
		}
		one := Respond{Issuers: c.Issuers[i : i+1]}
		if _, err := one.reach(); err != nil {
			return at, said(err)
		}
	}
	whole := Respond{Channels: c.Channels, Issuers: c.Issuers}
	if _, err := whole.reach(); err != nil {
		return "respond", err.Error()
	}
	return "", ""
}

// executor carries acts out where they belong: what reaches people and other systems, clusters among
// them, at the server, all else by the agent of the target's host.
type executor struct{ server, agents action.Executor }

func (x executor) of(k action.Kind) action.Executor {
	if action.OfServer(k) {
		return x.server
	}
	return x.agents
}

// Plan says what an act would do.
func (x executor) Plan(ctx context.Context, r *action.Request) (*action.Plan, error) {
	return x.of(r.Kind).Plan(ctx, r)
}

// Do carries an act out.
func (x executor) Do(ctx context.Context, r *action.Request) (*action.Result, error) {
	return x.of(r.Kind).Do(ctx, r)
}

// Verify looks whether an act holds.
func (x executor) Verify(ctx context.Context, r *action.Request) (bool, string, error) {
	return x.of(r.Kind).Verify(ctx, r)
}

// Undo takes an act back.
func (x executor) Undo(ctx context.Context, r *action.Request) (*action.Result, error) {
	return x.of(r.Kind).Undo(ctx, r)
}

// Extend lets an act hold for a time from now.
func (x executor) Extend(ctx context.Context, r *action.Request, ttl time.Duration, by string) (*action.Result, error) {
	switch on := x.of(r.Kind).(type) {
	case *action.Local:
		return on.Extend(ctx, r.ID, ttl, by)
	case interface {
		Extend(ctx context.Context, r *action.Request, ttl time.Duration, by string) (*action.Result, error)
	}:
		return on.Extend(ctx, r, ttl, by)
	}
	return nil, fmt.Errorf("%w: who carries %s out lets no act hold for longer", action.ErrInvalid, r.Kind)
}

// openReach makes the server's own acts, each of which is done once, also over a crash: their journal
// is one like an agent's. They touch no host, so that their targets name none.
func (s *server) openReach() error {
	acts, err := s.cfg.Respond.reach()
	if err != nil {
		return &Error{Err: fmt.Errorf("respond: %w", err), Hint: "picket config check names the key", Code: ExitConfig}
	}
	dir := filepath.Join(s.cfg.dir("server"), "acts")
	if err := makeDir(dir, 0); err != nil {
		return err
	}
	acts = append(acts, s.kubeActs(dir)...)
	s.reach, err = action.Open(action.Options{Log: s.part("action"), Dir: dir, Told: s.tellAct}, acts...)
	return err
}
