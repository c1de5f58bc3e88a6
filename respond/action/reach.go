package action

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// ReachOptions say how people and other systems are reached.
type ReachOptions struct {
	Channels []Channel
	// Env looks a variable of the environment up, for secrets named env:NAME.
	Env func(name string) (string, bool)
	// Vault is asked for secrets named vault:PATH#FIELD.
	Vault Vault
	// Loopback lets a channel lead to this host.
	Loopback bool
	// Roots are the authorities that receivers' certificates are checked with; nil: the system's.
	Roots *x509.CertPool
}

// Channel is one way out. What it needs depends on its type:
//
//	webhook       url, secret: the key of the signature
//	slack         url, which is a secret itself: @/path, env:NAME or vault:PATH#FIELD (also Mattermost and Rocket.Chat)
//	pagerduty     secret: the routing key
//	alertmanager  url; secret: a bearer token
//	email         url smtp://host:587 or smtps://host:465; from, to; user and secret: its password
//	http          url; secret: a bearer token
//	jira          url, project; user and secret: its API token
//	iris          url, customer; secret: the API key
//
// The first five are for notify, the others for ticket.
type Channel struct {
	Name     string
	Type     string
	URL      string
	Secret   string // a reference: @/path, env:NAME or vault:PATH#FIELD
	User     string
	From     string
	To       []string
	Project  string
	Issue    string // jira: the type of issue; "": Task
	Customer int
	Marking  string // the highest TLP marking that may go out here; "": TLP:AMBER
}

// receiver speaks to one channel.
type receiver interface {
	// send says it, and returns what the receiver calls it.
	send(ctx context.Context, m *message) (ref string, err error)
	// holds reports whether the receiver has it.
	holds(ctx context.Context, m *message) (bool, string, error)
	// takeBack resolves or closes it; "" where what was said stays said.
	takeBack(ctx context.Context, m *message) (done string, err error)
}

// errCannotAsk is of receivers that only take.
var errCannotAsk = errors.New("this kind of receiver cannot be asked what it has")

// message is what a request says, ready to be shown: bounded, and without control characters.
type message struct {
	ID       string
	Title    string
	Text     string
	Severity event.Severity
	Marking  string
	Link     string
	Incident string
	Run      string
	Step     string
	Host     string
	By       string
	At       time.Time
}

const (
	maxTitle = 240
	maxBody  = 8 << 10
)

// tlp orders the markings of TLP 2.0, and the one of 1.0 that was renamed.
var tlp = map[string]int{"TLP:CLEAR": 0, "TLP:WHITE": 0, "TLP:GREEN": 1, "TLP:AMBER": 2, "TLP:AMBER+STRICT": 3, "TLP:RED": 4}

var messageParams = []string{"channel", "title", "text", "severity", "marking", "link"}

func newMessage(r *Request) (*message, error) {
	for _, k := range slices.Sorted(maps.Keys(r.Params)) {
		if !slices.Contains(messageParams, k) {
			return nil, fmt.Errorf("%w: parameter %q: want one of %s", ErrInvalid, k, strings.Join(messageParams, ", "))
		}
	}
	m := &message{
		ID: r.ID, Title: oneLine(r.Params["title"], maxTitle), Text: plainText(r.Params["text"], maxBody), Severity: event.ParseSeverity(r.Params["severity"]),
		Marking: strings.ToUpper(r.Params["marking"]), Link: r.Params["link"], Incident: oneLine(r.Incident, 128), Run: oneLine(r.Run, 128), Step: oneLine(r.Step, 128),
		Host: oneLine(r.Target.Host, 255), By: oneLine(r.By, 128), At: time.Now().UTC(),
	}
	if s := r.Params["severity"]; s != "" && m.Severity.String() != s {
		return nil, fmt.Errorf("%w: severity %q: want informational, low, medium, high or critical", ErrInvalid, s)
	}
	if _, ok := tlp[m.Marking]; m.Marking != "" && !ok {
		return nil, fmt.Errorf("%w: marking %q: want TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT or TLP:RED", ErrInvalid, r.Params["marking"])
	}
	if m.Title == "" {
		return nil, fmt.Errorf("%w: a message wants a title", ErrInvalid)
	}
	if m.Link != "" {
		if u, err := url.Parse(m.Link); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || len(m.Link) > 2000 {
			return nil, fmt.Errorf("%w: link %q: want an http or https address", ErrInvalid, oneLine(m.Link, 100))
		}
	}
	return m, nil
}

// heading is the title with what a reader must know before the rest.
func (m *message) heading() string {
	h := fmt.Sprintf("[%s] %s", m.Severity, m.Title)
	if m.Marking != "" {
		h = m.Marking + " " + h
	}
	return h
}

// facts are what is known beside the text, in the order in which they are shown.
func (m *message) facts() [][2]string {
	var all [][2]string
	for _, f := range [][2]string{
		{"incident", m.Incident},
		{"host", m.Host},
		{"severity", m.Severity.String()},
		{"marking", m.Marking},
		{"run", m.Run},
		{"step", m.Step},
		{"by", m.By},
		{"request", m.ID},
		{"link", m.Link},
	} {
		if f[1] != "" {
			all = append(all, f)
		}
	}
	return all
}

// whole is the message as plain text.
func (m *message) whole() string {
	var b strings.Builder
	if m.Text != "" {
		b.WriteString(m.Text + "\n\n")
	}
	for _, f := range m.facts() {
		b.WriteString(f[0] + ": " + f[1] + "\n")
	}
	return b.String()
}

// about is what is known of the message, as JSON for receivers that take any.
func (m *message) about() map[string]string {
	facts := map[string]string{"id": m.ID, "title": m.Title, "text": m.Text, "at": m.At.Format(time.RFC3339)}
	for _, f := range m.facts() {
		facts[f[0]] = f[1]
	}
	delete(facts, "request") // is its id
	return facts
}

// reach is what notify and ticket share: named channels, and the rules for what goes out where.
type reach struct {
	kind     Kind
	channels map[string]*channel
}

type channel struct {
	Channel
	receiver
	carries int
}

// newReach opens the channels of the given types.
func newReach(kind Kind, o ReachOptions, types map[string]func(*wire, Channel) (receiver, error), others map[string]func(*wire, Channel) (receiver, error)) (*reach, error) {
	a := &reach{kind: kind, channels: map[string]*channel{}}
	w := newWire(o)
	for i, c := range o.Channels {
		where := fmt.Sprintf("channel %d (%s)", i+1, c.Name)
		if c.Name == "" {
			return nil, fmt.Errorf("%s: give it a name", where)
		}
		if a.channels[c.Name] != nil {
			return nil, fmt.Errorf("%s: there are two of that name", where)
		}
		carries, ok := tlp[c.Marking]
		if c.Marking == "" {
			carries, ok = tlp["TLP:AMBER"], true
		}
		if !ok {
			return nil, fmt.Errorf("%s: marking %q is none of TLP 2.0", where, c.Marking)
		}
		if c.Secret != "" && !isReference(c.Secret) {
			return nil, fmt.Errorf("%s: a secret is named, not written: @/path of a file, env:NAME or vault:PATH#FIELD", where)
		}
		open := types[c.Type]
		if open == nil && others[c.Type] != nil {
			continue
		}
		if open == nil {
			known := slices.Concat(slices.Collect(maps.Keys(types)), slices.Collect(maps.Keys(others)))
			slices.Sort(known)
			return nil, fmt.Errorf("%s: type %q: want one of %s", where, c.Type, strings.Join(known, ", "))
		}
		r, err := open(w, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		a.channels[c.Name] = &channel{Channel: c, receiver: r, carries: carries}
	}
	return a, nil
}

func (a *reach) Kind() Kind { return a.kind }
func (*reach) Class() Class { return Observe }

// prepare finds a request's channel and what goes over it.
func (a *reach) prepare(ctx context.Context, r *Request) (context.Context, *channel, *message, error) {
	m, err := newMessage(r)
	if err != nil {
		return ctx, nil, nil, err
	}
	c := a.channels[r.Params["channel"]]
	if c == nil {
		return ctx, nil, nil, fmt.Errorf("%w: channel %q: want one of %s", ErrInvalid, r.Params["channel"], strings.Join(slices.Sorted(maps.Keys(a.channels)), ", "))
	}
	if tlp[m.Marking] > c.carries {
		return ctx, nil, nil, refusedError(fmt.Sprintf("%s does not go out by channel %s, which carries less", m.Marking, c.Name))
	}
	if m.Marking == "TLP:RED" {
		ctx = context.WithValue(ctx, insideOnly{}, true)
	}
	return ctx, c, m, nil
}

// Plan says who would be told what.
func (a *reach) Plan(ctx context.Context, r *Request) (*Plan, error) {
	_, c, m, err := a.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	return &Plan{
		Target: r.Target, Class: Observe, Hits: []string{c.Name},
		Effects: []string{fmt.Sprintf("channel %s (%s) gets: %s", c.Name, c.Type, m.heading())},
		Undo:    undoOf[c.Type],
	}, nil
}

// undoOf says how what went out is taken back, by type of channel; the rest stays said.
var undoOf = map[string]string{
	"pagerduty": "the alert is resolved", "alertmanager": "the alert is resolved", "http": "the receiver is told that it is closed",
	"jira": "the issue gets a comment and is moved to done", "iris": "the alert is closed",
}

// Do sends.
func (a *reach) Do(ctx context.Context, r *Request) (*Result, error) {
	ctx, c, m, err := a.prepare(ctx, r)
	if err != nil {
		return outcome(r, err), nil
	}
	ref, err := c.send(ctx, m)
	if err != nil {
		res := outcome(r, fmt.Errorf("channel %s: %w", c.Name, err))
		if failed, ok := errors.AsType[*callError](err); ok && failed.arrived {
			res.State = Unknown
		}
		return res, nil
	}
	return &Result{ID: r.ID, State: Done, At: time.Now(), Detail: fmt.Sprintf("channel %s took it", c.Name), Output: oneLine(ref, 500)}, nil
}

// Verify asks the receiver, where it can be asked.
func (a *reach) Verify(ctx context.Context, r *Request) (bool, string, error) {
	ctx, c, m, err := a.prepare(ctx, r)
	if err != nil {
		return false, "", err
	}
	holds, detail, err := c.holds(ctx, m)
	if err != nil {
		return false, "", fmt.Errorf("channel %s: %w", c.Name, err)
	}
	return holds, detail, nil
}

// Undo resolves or closes what was opened. What people have read stays read.
func (a *reach) Undo(ctx context.Context, r *Request) (*Result, error) {
	ctx, c, m, err := a.prepare(ctx, r)
	if err != nil {
		return outcome(r, err), nil
	}
	done, err := c.takeBack(ctx, m)
	if err != nil {
		return outcome(r, fmt.Errorf("channel %s: %w", c.Name, err)), nil
	}
	if done == "" {
		done = "nothing to take back: what was said stays said"
	}
	return &Result{ID: r.ID, State: Undone, At: time.Now(), Detail: done}, nil
}

// base checks a channel's URL, which names a receiver and holds no secret.
func base(c Channel) (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return "", errors.New("want a url, http:// or https://, without a password in it")
	}
	return strings.TrimRight(c.URL, "/"), nil
}

// encode is for values that cannot fail to be written.
func encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}
