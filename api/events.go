package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"picket/event"
)

const (
	defaultSpan = time.Hour
	maxRows     = 8 << 20 // bytes of records in one answer
	queryLimit  = 30 * time.Second
)

func (s *Server) eventRoutes(api huma.API) {
	huma.Register(api, op("GET", "/api/v1/events", "event-query", "Search stored events, the latest first"), s.queryEvents)
	huma.Register(api, op("GET", "/api/v1/events/hits", "event-hits", "Count stored events over time"), s.countEvents)
	huma.Register(api, op("GET", "/api/v1/events/fields", "event-fields", "List the fields of an event"), s.listFields)
}

// EventList is a page of events.
type EventList struct {
	Items []json.RawMessage `json:"items" nullable:"false" doc:"Flat records: every value is a string"`
	Next  string            `json:"next,omitempty" doc:"Pass it as before to get the next page; absent on the last"`
	Took  float64           `json:"took_ms"`
	// Cut is true where the page ends early because its records are large.
	Cut bool `json:"cut,omitempty"`
}

type eventsInput struct {
	Q      string `query:"q" maxLength:"4096" doc:"LogsQL: words, field:value, and, or, not"`
	Start  string `query:"start" doc:"Time or age (15m, 24h, 7d); default 1h"`
	End    string `query:"end" doc:"Time or age; default now"`
	Limit  int    `query:"limit" default:"200" minimum:"1" maximum:"5000"`
	Before string `query:"before" maxLength:"200" doc:"The next of the page before"`
}

// row is a record with what orders it.
type row struct {
	at   time.Time
	id   string
	text json.RawMessage
}

func (s *Server) queryEvents(ctx context.Context, in *eventsInput) (*struct{ Body EventList }, error) {
	q, err := s.eventQuery(in.Q, in.Start, in.End)
	if err != nil {
		return nil, s.fail(ctx, "searching events", err)
	}
	before, err := ParseCursor(in.Before)
	if err != nil {
		return nil, s.fail(ctx, "searching events", err)
	}
	// The cursor's ID says how many rows of its very nanosecond were given already.
	given := 0
	if in.Before != "" {
		if given, err = strconv.Atoi(before.ID); err != nil || given < 0 || given > maxRows {
			return nil, s.fail(ctx, "searching events", fmt.Errorf("%w: before is not a page mark that next gave", ErrInvalid))
		}
		if before.Time.Before(q.End) {
			q.End = before.Time
		}
	}
	q.Limit = in.Limit + given
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, cut, err := s.collect(ctx, q)
	if err != nil {
		return nil, s.fail(ctx, "searching events", err)
	}
	full := cut || len(rows) >= q.Limit
	sort.SliceStable(rows, func(i, j int) bool {
		if !rows[i].at.Equal(rows[j].at) {
			return rows[i].at.After(rows[j].at)
		}
		return rows[i].id > rows[j].id
	})
	skip := 0
	for skip < len(rows) && skip < given && rows[skip].at.Equal(before.Time) {
		skip++
	}
	rows = rows[skip:]
	out := &struct{ Body EventList }{EventList{Items: make([]json.RawMessage, len(rows)), Cut: cut}}
	for i := range rows {
		out.Body.Items[i] = rows[i].text
	}
	if full && len(rows) > 0 {
		out.Body.Next = nextEvents(rows, before, given).String()
	}
	out.Body.Took = float64(time.Since(begin).Microseconds()) / 1000
	return out, nil
}

// nextEvents returns the cursor behind rows.
func nextEvents(rows []row, before Cursor, given int) Cursor {
	last, n := rows[len(rows)-1].at, 0
	for i := len(rows) - 1; i >= 0 && rows[i].at.Equal(last); i-- {
		n++
	}
	if last.Equal(before.Time) {
		n += given
	}
	return Cursor{Time: last, ID: strconv.Itoa(n)}
}

func (s *Server) collect(ctx context.Context, q EventQuery) (rows []row, cut bool, err error) {
	size := 0
	err = s.deps.Events.Query(ctx, q, func(rec json.RawMessage) error {
		if size += len(rec); size > maxRows {
			cut = true
			return nil
		}
		var head struct {
			Time time.Time `json:"_time"`
			ID   string    `json:"event.id"`
		}
		if json.Unmarshal(rec, &head) != nil {
			return nil // not a record: nothing that a page could show
		}
		rows = append(rows, row{head.Time, head.ID, bytes.Clone(rec)})
		return nil
	})
	return rows, cut, err
}

func (s *Server) eventQuery(q, start, end string) (EventQuery, error) {
	now := s.opt.Now()
	to, err := parseTime("end", end, now, now)
	if err != nil {
		return EventQuery{}, err
	}
	from, err := parseTime("start", start, now, to.Add(-defaultSpan))
	if err != nil {
		return EventQuery{}, err
	}
	if from.After(to) {
		return EventQuery{}, fmt.Errorf("%w: start is after end", ErrInvalid)
	}
	return EventQuery{Text: q, Start: from, End: to}, nil
}

// BucketList is how many events happened when.
type BucketList struct {
	Buckets []Bucket `json:"buckets" nullable:"false"`
}

func (s *Server) countEvents(ctx context.Context, in *struct {
	Q       string `query:"q" maxLength:"4096" doc:"LogsQL"`
	Start   string `query:"start" doc:"Time or age; default 1h"`
	End     string `query:"end" doc:"Time or age; default now"`
	Buckets int    `query:"buckets" default:"60" minimum:"1" maximum:"1000"`
},
) (*struct{ Body BucketList }, error) {
	q, err := s.eventQuery(in.Q, in.Start, in.End)
	if err != nil {
		return nil, s.fail(ctx, "counting events", err)
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	hits, err := s.deps.Events.Hits(ctx, q, in.Buckets)
	if err != nil {
		return nil, s.fail(ctx, "counting events", err)
	}
	return &struct{ Body BucketList }{BucketList{all(hits)}}, nil
}

// Field is a field of an event, as queries and rules name it.
type Field struct {
	Name  string `json:"name"`
	Sigma string `json:"sigma,omitempty" doc:"The name that Sigma rules use"`
	Type  string `json:"type" enum:"text,integer,boolean,list"`
	Doc   string `json:"doc"`
}

func (s *Server) listFields(context.Context, *struct{}) (*struct{ Body List[Field] }, error) {
	out := &struct{ Body List[Field] }{}
	for _, f := range event.Fields() {
		kind := "text"
		switch f.Type {
		case event.Integer:
			kind = "integer"
		case event.Boolean:
			kind = "boolean"
		case event.List:
			kind = "list"
		}
		out.Body.Items = append(out.Body.Items, Field{f.Name, f.Sigma, kind, f.Doc})
	}
	return out, nil
}
