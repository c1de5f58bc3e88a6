package incident

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"picket/event"
)

const (
	maxLog  = 1000
	maxNote = 10_000 // characters
)

// Update is a change that a person makes. Empty fields stay as they are.
type Update struct {
	Status  event.IncidentStatus
	Verdict event.Verdict
	Note    string
	Version int64 // the version that the person saw; 0 is not compared
}

// Update changes an incident in the name of who at time now. Whatever it returns beside an error,
// the incident is as it was.
func (c *Correlator) Update(id, who string, u Update, now time.Time) (event.Incident, error) {
	e := c.incidents[id]
	if e == nil {
		return event.Incident{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	inc := &e.inc
	if u.Version != 0 && u.Version != inc.Version {
		return snapshot(inc), ErrConflict
	}
	if why := u.fault(inc); why != "" {
		return snapshot(inc), fmt.Errorf("%w: %s", ErrInvalid, why)
	}
	what := "noted"
	switch {
	case u.Status == event.IncidentOpen:
		what, inc.Verdict = "reopened", ""
	case u.Status == event.IncidentAcknowledged:
		what, inc.Verdict = "acknowledged", ""
	case u.Verdict != "":
		what, inc.Verdict = "closed as "+words(string(u.Verdict)), u.Verdict
	}
	if u.Status != "" {
		inc.Status = u.Status
	}
	inc.Log = capped(append(inc.Log, event.Change{Time: now, Who: who, What: what, Note: u.Note}), maxLog)
	inc.Version++
	c.index(e)
	return snapshot(inc), nil
}

// fault says why a change makes no sense for inc, "" if it does.
func (u Update) fault(inc *event.Incident) string {
	closes := u.Status == event.IncidentClosed
	switch {
	case u.Status == "" && u.Verdict == "" && u.Note == "":
		return "nothing to change"
	case u.Status != "" && u.Status != event.IncidentOpen && u.Status != event.IncidentAcknowledged && !closes:
		return fmt.Sprintf("unknown status %q: it is %s, %s or %s", u.Status, event.IncidentOpen, event.IncidentAcknowledged, event.IncidentClosed)
	case u.Verdict != "" && u.Verdict != event.TruePositive && u.Verdict != event.FalsePositive:
		return fmt.Sprintf("unknown verdict %q: it is %s or %s", u.Verdict, event.TruePositive, event.FalsePositive)
	case closes && u.Verdict == "":
		return fmt.Sprintf("closing needs a verdict, %s or %s", event.TruePositive, event.FalsePositive)
	case u.Verdict != "" && !closes && (u.Status != "" || inc.Status != event.IncidentClosed):
		return "a verdict belongs to a closed incident"
	case utf8.RuneCountInString(u.Note) > maxNote:
		return fmt.Sprintf("the note is longer than %d characters", maxNote)
	case isPart(inc) && (u.Status != "" || u.Verdict != ""):
		return "it is part of another incident, which its log names: change that one"
	}
	return ""
}

// capped keeps the first element, which says how it began, and the newest.
func capped[T any](s []T, n int) []T {
	if len(s) <= n {
		return s
	}
	return append(s[:1], s[len(s)-n+1:]...)
}

// words makes an identifier readable.
func words(s string) string { return strings.NewReplacer("_", " ", "-", " ").Replace(s) }
