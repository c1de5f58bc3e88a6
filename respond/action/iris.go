package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// iris speaks to DFIR-IRIS. An alert is found again by its source reference, which is the request's
// id. The numbers of severities and statuses differ between installations: they are asked for.
type iris struct {
	asker
	customer int
}

func newIris(w *wire, c Channel) (receiver, error) {
	u, err := base(c)
	if err != nil {
		return nil, err
	}
	if c.Customer <= 0 || c.Secret == "" {
		return nil, errors.New("want the number of a customer, and the API key as secret")
	}
	return &iris{asker{w: w, url: u, auth: func() (string, []string, error) {
		key, err := w.secret(c.Secret)
		return "Bearer " + key, []string{key}, err
	}}, c.Customer}, nil
}

// irisData is how every answer is wrapped.
type irisData[T any] struct{ Data T }

type irisAlert struct {
	ID     int    `json:"alert_id"`
	Ref    string `json:"alert_source_ref"`
	Status struct {
		Name string `json:"status_name"`
	} `json:"alert_status"`
}

// find returns the request's alert, nil where there is none. The filter takes parts of references:
// the whole one counts.
func (i *iris) find(ctx context.Context, m *message) (*irisAlert, error) {
	query := url.Values{"source_reference": {m.ID}, "per_page": {"100"}}
	var found irisData[struct{ Alerts []irisAlert }]
	if err := i.ask(ctx, http.MethodGet, "/alerts/filter?"+query.Encode(), nil, &found); err != nil {
		return nil, err
	}
	for _, a := range found.Data.Alerts {
		if a.Ref == m.ID {
			return &a, nil
		}
	}
	return nil, nil
}

// number returns what the installation numbers a name by.
func (i *iris) number(ctx context.Context, path, name string) (int, error) {
	var all irisData[[]struct {
		SeverityID   int    `json:"severity_id"`
		SeverityName string `json:"severity_name"`
		StatusID     int    `json:"status_id"`
		StatusName   string `json:"status_name"`
	}]
	if err := i.ask(ctx, http.MethodGet, path, nil, &all); err != nil {
		return 0, err
	}
	for _, one := range all.Data {
		if strings.EqualFold(one.SeverityName+one.StatusName, name) {
			return one.SeverityID + one.StatusID, nil
		}
	}
	return 0, fmt.Errorf("%s has no %q: this installation has other names", path, name)
}

const (
	irisSeverities = "/manage/severities/list"
	irisStatuses   = "/manage/alert-status/list"
)

func (i *iris) send(ctx context.Context, m *message) (string, error) {
	return openOnce(ctx, func(ctx context.Context) (string, error) {
		alert, err := i.find(ctx, m)
		if alert == nil {
			return "", err
		}
		return strconv.Itoa(alert.ID), nil
	}, func(ctx context.Context) (string, error) {
		name := m.Severity.String() // the same words
		severity, err := i.number(ctx, irisSeverities, name)
		if err != nil {
			return "", err
		}
		status, err := i.number(ctx, irisStatuses, "New")
		if err != nil {
			return "", err
		}
		var made irisData[irisAlert]
		err = i.change(ctx, "/alerts/add", map[string]any{
			"alert_title": m.heading(), "alert_description": m.whole(), "alert_source": "Picket", "alert_source_ref": m.ID, "alert_source_link": m.Link,
			"alert_source_event_time": m.At.Format("2006-01-02T15:04:05.000000"), "alert_severity_id": severity, "alert_status_id": status,
			"alert_customer_id": i.customer, "alert_tags": "picket", "alert_source_content": m.about(),
		}, &made)
		return strconv.Itoa(made.Data.ID), err
	})
}

func (i *iris) holds(ctx context.Context, m *message) (bool, string, error) {
	alert, err := i.find(ctx, m)
	if err != nil || alert == nil {
		return false, "no alert of this request", err
	}
	return true, fmt.Sprintf("alert %d: %s", alert.ID, oneLine(alert.Status.Name, 64)), nil
}

func (i *iris) takeBack(ctx context.Context, m *message) (string, error) {
	alert, err := i.find(ctx, m)
	if err != nil {
		return "", err
	}
	if alert == nil {
		return "no alert of this request is open", nil
	}
	closed, err := i.number(ctx, irisStatuses, "Closed")
	if err != nil {
		return "", err
	}
	err = i.change(ctx, "/alerts/update/"+strconv.Itoa(alert.ID), map[string]any{
		"alert_status_id": closed, "alert_note": "Picket took back what this alert was opened for.",
	}, nil)
	return fmt.Sprintf("alert %d is closed", alert.ID), err
}
