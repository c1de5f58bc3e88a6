package action

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

// notifyTypes are the channels that people are told by.
var notifyTypes = map[string]func(*wire, Channel) (receiver, error){
	"webhook": newWebhook, "slack": newSlack, "pagerduty": newPagerDuty, "alertmanager": newAlertmanager, "email": newEmail,
}

// NewNotify returns the act of telling people.
func NewNotify(o ReachOptions) (Action, error) { return newReach(Notify, o, notifyTypes, ticketTypes) }

// onlyTakes is of receivers that a message goes to and nothing comes back from.
type onlyTakes struct{}

func (onlyTakes) holds(context.Context, *message) (bool, string, error) {
	return false, "", errCannotAsk
}
func (onlyTakes) takeBack(context.Context, *message) (done string, err error) { return "", nil }

// webhookOut POSTs a message as JSON. X-Picket-Id is the request's, the same when it is sent again;
// X-Picket-Signature is "sha256=" and the hexadecimal HMAC-SHA256 of id, ".", X-Picket-Timestamp,
// ".", body.
type webhookOut struct {
	onlyTakes
	w      *wire
	url    string
	secret string
}

func newWebhook(w *wire, c Channel) (receiver, error) {
	u, err := base(c)
	if err != nil {
		return nil, err
	}
	if c.Secret == "" {
		return nil, errors.New("a webhook wants a secret, to sign with")
	}
	return &webhookOut{w: w, url: u, secret: c.Secret}, nil
}

func (h *webhookOut) send(ctx context.Context, m *message) (string, error) {
	key, err := h.w.secret(h.secret)
	if err != nil {
		return "", err
	}
	body := encode(m.about())
	sign := func(header http.Header) {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(m.ID + "." + at + "."))
		mac.Write(body)
		header.Set("X-Picket-Id", m.ID)
		header.Set("X-Picket-Timestamp", at)
		header.Set("X-Picket-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	_, err = h.w.do(ctx, call{method: http.MethodPost, url: h.url, body: body, sign: sign, hide: []string{key}})
	return "", err
}

// slack speaks to incoming webhooks of Slack and those that understand the same.
type slack struct {
	onlyTakes
	w   *wire
	url string // a reference: who knows it may write there
}

func newSlack(w *wire, c Channel) (receiver, error) {
	if !isReference(c.URL) {
		return nil, errors.New("the url of an incoming webhook is a secret: name it as @/path of a file, env:NAME or vault:PATH#FIELD")
	}
	return &slack{w: w, url: c.URL}, nil
}

// send puts all that others may have written into a block of code: there no link, no mention of
// @channel and no mark-up counts, in Slack and in those that read Markdown.
func (s *slack) send(ctx context.Context, m *message) (string, error) {
	ref, err := s.w.secret(s.url)
	if err != nil {
		return "", err
	}
	address, err := base(Channel{URL: ref})
	if err != nil {
		return "", errors.New("the url that the channel's reference stands for is none")
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "'")
	text := "```\n" + escape.Replace(m.heading()+"\n\n"+m.whole()) + "```"
	if m.Link != "" {
		text += "\n" + escape.Replace(m.Link)
	}
	body := encode(map[string]any{"text": text, "unfurl_links": false, "unfurl_media": false})
	u, _ := url.Parse(address)
	_, err = s.w.do(ctx, call{method: http.MethodPost, url: address, body: body, hide: []string{address, u.Path}})
	return "", err
}

// pagerDuty speaks the Events API v2. Alerts of one incident are one there: a message that comes
// again, or another of the same incident, opens no second.
type pagerDuty struct {
	w           *wire
	url, secret string
}

func newPagerDuty(w *wire, c Channel) (receiver, error) {
	if c.URL == "" {
		c.URL = "https://events.pagerduty.com"
	}
	u, err := base(c)
	if err != nil {
		return nil, err
	}
	if c.Secret == "" {
		return nil, errors.New("want the routing key as secret")
	}
	return &pagerDuty{w: w, url: u + "/v2/enqueue", secret: c.Secret}, nil
}

var pagerDutySeverity = map[event.Severity]string{event.Critical: "critical", event.High: "error", event.Medium: "warning"}

func (p *pagerDuty) send(ctx context.Context, m *message) (string, error) {
	severity := pagerDutySeverity[m.Severity]
	if severity == "" {
		severity = "info"
	}
	source := m.Host
	if source == "" {
		source = "picket"
	}
	details := m.about()
	e := map[string]any{
		"client": "Picket",
		"payload": map[string]any{
			"summary": oneLine(m.heading(), 1024), "source": source, "severity": severity, "timestamp": m.At.Format(time.RFC3339), "custom_details": details,
		},
	}
	if m.Link != "" {
		e["links"] = []any{map[string]string{"href": m.Link, "text": "Picket"}}
	}
	return p.enqueue(ctx, "trigger", m, e)
}

// key is what PagerDuty knows an alert by.
func (*pagerDuty) key(m *message) string {
	if m.Incident != "" {
		return "picket-" + m.Incident
	}
	return "picket-" + m.ID
}

func (p *pagerDuty) enqueue(ctx context.Context, action string, m *message, e map[string]any) (string, error) {
	key, err := p.w.secret(p.secret)
	if err != nil {
		return "", err
	}
	e["routing_key"], e["event_action"], e["dedup_key"] = key, action, p.key(m)
	_, err = p.w.do(ctx, call{method: http.MethodPost, url: p.url, body: encode(e), hide: []string{key}})
	return p.key(m), err
}

func (*pagerDuty) holds(context.Context, *message) (bool, string, error) {
	return false, "", errCannotAsk
}

func (p *pagerDuty) takeBack(ctx context.Context, m *message) (string, error) {
	key, err := p.enqueue(ctx, "resolve", m, map[string]any{})
	return "alert " + key + " is resolved", err
}

// alertmanager speaks API v2. An alert is known by its labels, so they hold only what does not change
// between two messages of a request.
type alertmanager struct {
	w           *wire
	url, secret string
}

// alertStays is how long an alert counts unless it is resolved: Alertmanager forgets those that are
// not sent again, and an act is sent once.
const alertStays = 24 * time.Hour

func newAlertmanager(w *wire, c Channel) (receiver, error) {
	u, err := base(c)
	return &alertmanager{w: w, url: u + "/api/v2/alerts", secret: c.Secret}, err
}

func (a *alertmanager) header() (map[string]string, []string, error) {
	if a.secret == "" {
		return nil, nil, nil
	}
	key, err := a.w.secret(a.secret)
	return map[string]string{"Authorization": "Bearer " + key}, []string{key}, err
}

func (a *alertmanager) post(ctx context.Context, m *message, ends time.Time) error {
	header, hide, err := a.header()
	if err != nil {
		return err
	}
	labels := map[string]string{"alertname": "Picket", "severity": m.Severity.String(), "picket_request": m.ID}
	if m.Incident != "" {
		labels["incident"] = m.Incident
	}
	if m.Host != "" {
		labels["instance"] = m.Host
	}
	alert := map[string]any{
		"labels": labels, "annotations": map[string]string{"summary": m.heading(), "description": m.Text},
		"startsAt": m.At.Format(time.RFC3339), "endsAt": ends.Format(time.RFC3339), "generatorURL": m.Link,
	}
	_, err = a.w.do(ctx, call{method: http.MethodPost, url: a.url, header: header, body: encode([]any{alert}), hide: hide})
	return err
}

func (a *alertmanager) send(ctx context.Context, m *message) (string, error) {
	return "", a.post(ctx, m, m.At.Add(alertStays))
}

func (a *alertmanager) holds(ctx context.Context, m *message) (bool, string, error) {
	header, hide, err := a.header()
	if err != nil {
		return false, "", err
	}
	query := url.Values{"filter": {fmt.Sprintf("picket_request=%q", m.ID)}}
	b, err := a.w.do(ctx, call{method: http.MethodGet, url: a.url + "?" + query.Encode(), header: header, hide: hide})
	if err != nil {
		return false, "", err
	}
	var alerts []struct {
		Status struct{ State string }
	}
	if err := json.Unmarshal(b, &alerts); err != nil {
		return false, "", fmt.Errorf("reading the answer: %w", err)
	}
	if len(alerts) == 0 {
		return false, "no such alert is open", nil
	}
	return true, "the alert is " + oneLine(alerts[0].Status.State, 32), nil
}

func (a *alertmanager) takeBack(ctx context.Context, m *message) (string, error) {
	m.At = m.At.Add(-time.Second) // it must end after it began
	return "the alert is resolved", a.post(ctx, m, time.Now().UTC())
}
