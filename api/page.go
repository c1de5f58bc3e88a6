package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"picket/event"
)

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Pass it as before to get the next page; absent on the last"`
}

type listOut[T any] struct{ Body List[T] }

func newList[T any](items []T, limit int, at func(T) Cursor) *listOut[T] {
	out := &listOut[T]{}
	out.Body.Items = all(items)
	if len(items) >= limit && len(items) > 0 {
		out.Body.Next = at(items[len(items)-1]).String()
	}
	return out
}

// all turns nil into an empty list, which is what a reader of the JSON expects.
func all[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// String writes the cursor as the API's before parameter.
func (c Cursor) String() string { return strconv.FormatInt(c.Time.UnixNano(), 10) + "." + c.ID }

// ParseCursor reads what String wrote; "" is the start.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	ns, id, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(ns, 10, 64)
	if !ok || err != nil {
		return Cursor{}, fmt.Errorf("%w: before is not a page mark that next gave", ErrInvalid)
	}
	return Cursor{Time: time.Unix(0, n).UTC(), ID: id}, nil
}

// parseTime reads a moment: RFC 3339, Unix seconds, now, or an age such as 15m, 24h, 7d.
func parseTime(name, s string, now, otherwise time.Time) (time.Time, error) {
	switch s {
	case "":
		return otherwise, nil
	case "now":
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	age := strings.TrimPrefix(s, "-")
	if days, ok := strings.CutSuffix(age, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(age); err == nil {
		return now.Add(-d), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, fmt.Errorf("%w: %s is %q; write a time as 2026-01-02T15:04:05Z or an age as 15m, 24h, 7d", ErrInvalid, name, s)
}

// severity reads a level name; "" is all.
func severity(s string) event.Severity {
	if s == "" {
		return 0
	}
	return event.ParseSeverity(s)
}
