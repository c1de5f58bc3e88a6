package cacao

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/gowebpki/jcs"
)

// Timestamp is a time as a document writes it.
type Timestamp string

// Time reads the timestamp.
func (t Timestamp) Time() (time.Time, error) { return time.Parse(time.RFC3339Nano, string(t)) }

// Stamp writes a time the way CACAO wants it: in UTC, to the millisecond.
func Stamp(t time.Time) Timestamp { return Timestamp(t.UTC().Format("2006-01-02T15:04:05.000Z")) }

// Playbook is a CACAO 2.0 playbook. What this type has no field for (extensions, properties that are
// not in the standard) is kept as it was read and written again.
type Playbook struct {
	Type           string             `json:"type"`
	SpecVersion    string             `json:"spec_version"`
	ID             string             `json:"id"`
	Name           string             `json:"name"`
	Description    string             `json:"description,omitempty"`
	Types          []string           `json:"playbook_types,omitempty"`
	Activities     []string           `json:"playbook_activities,omitempty"`
	Summary        *Summary           `json:"playbook_processing_summary,omitempty"`
	CreatedBy      string             `json:"created_by"`
	Created        Timestamp          `json:"created"`
	Modified       Timestamp          `json:"modified"`
	Revoked        bool               `json:"revoked,omitempty"`
	ValidFrom      Timestamp          `json:"valid_from,omitempty"`
	ValidUntil     Timestamp          `json:"valid_until,omitempty"`
	Priority       int                `json:"priority,omitempty"`
	Severity       int                `json:"severity,omitempty"`
	Impact         int                `json:"impact,omitempty"`
	Labels         []string           `json:"labels,omitempty"`
	Markings       []string           `json:"markings,omitempty"`
	Variables      Variables          `json:"playbook_variables,omitempty"`
	Start          string             `json:"workflow_start"`
	Exception      string             `json:"workflow_exception,omitempty"`
	Workflow       map[string]*Step   `json:"workflow"`
	Agents         map[string]*Agent  `json:"agent_definitions,omitempty"`
	Targets        map[string]*Agent  `json:"target_definitions,omitempty"`
	Authentication map[string]Secret  `json:"authentication_info_definitions,omitempty"`
	DataMarkings   map[string]Marking `json:"data_marking_definitions,omitempty"`
	Signatures     []Signature        `json:"signatures,omitempty"`

	raw   object   // the document as it was read
	typed []byte   // what the fields above said then
	shape Problems // what was wrong with the kinds of values in raw
}

// plain is a Playbook without its way to read and write itself.
type plain Playbook

// Parse reads a playbook. The error is a [*SyntaxError] where the text is no proper JSON, and
// [Problems] where it is, but no CACAO 2.0: an older version, a look-alike, a value of a wrong type.
// What else may be wrong with it [Playbook.Validate] says.
func Parse(data []byte) (*Playbook, error) {
	tree, err := readTree(data)
	if err != nil {
		return nil, err
	}
	found := checkShape(tree)
	if len(found.fatal) > 0 {
		return nil, found.problems.Errors().sorted()
	}
	p := &Playbook{raw: tree.(object), shape: found.problems}
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return nil, Problems{{Severity: Error, Message: err.Error()}}
	}
	p.typed, err = json.Marshal((*plain)(p))
	return p, err
}

// MarshalJSON writes the playbook: the document that was read, with what was changed since.
func (p *Playbook) MarshalJSON() ([]byte, error) {
	tree, _, err := p.tree()
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

// tree returns the document with the changes that were made to the fields, and whether it is as read.
func (p *Playbook) tree() (tree object, asRead bool, err error) {
	now, err := json.Marshal((*plain)(p))
	if err != nil {
		return nil, false, fmt.Errorf("playbook: %w", err)
	}
	if p.raw != nil && bytes.Equal(now, p.typed) {
		return p.raw, true, nil
	}
	after, err := readTree(now)
	if err != nil {
		return nil, false, fmt.Errorf("playbook: %w", err)
	}
	if p.raw == nil {
		return after.(object), false, nil
	}
	before, err := readTree(p.typed)
	if err != nil {
		return nil, false, fmt.Errorf("playbook: %w", err)
	}
	return changed(p.raw, before, after).(object), false, nil
}

// changed carries the difference between before and after over to raw, which says more than they do.
func changed(raw, before, after any) any {
	if reflect.DeepEqual(before, after) {
		return raw
	}
	switch r := raw.(type) {
	case object:
		b, ok1 := before.(object)
		a, ok2 := after.(object)
		if !ok1 || !ok2 {
			return after
		}
		out := maps.Clone(r)
		for key := range b {
			if _, kept := a[key]; !kept {
				delete(out, key)
			}
		}
		for key, v := range a {
			out[key] = changed(r[key], b[key], v)
		}
		return out
	case []any:
		b, ok1 := before.([]any)
		a, ok2 := after.([]any)
		if !ok1 || !ok2 || len(r) != len(b) {
			return after
		}
		return changedList(r, b, a)
	}
	return after
}

// changedList keeps of raw what stands in both lists; an item that was changed in its place as well.
func changedList(raw, before, after []any) []any {
	out := make([]any, len(after))
	for i, item := range after {
		at := slices.IndexFunc(before, func(b any) bool { return reflect.DeepEqual(b, item) })
		switch {
		case at >= 0:
			out[i] = raw[at]
		case len(before) == len(after):
			out[i] = changed(raw[i], before[i], item)
		default:
			out[i] = item
		}
	}
	return out
}

// Hash returns the SHA-256 of the playbook in canonical form (RFC 8785), in lower-case hex: the same
// for the same content, however it was written.
func (p *Playbook) Hash() (string, error) {
	data, err := json.Marshal(p)
	if err == nil {
		data, err = jcs.Transform(data)
	}
	if err != nil {
		return "", fmt.Errorf("playbook %s: %w", p.ID, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Runnable says why the playbook must not be run at a time, or nil: it was revoked, or the time is
// outside its window. Ask again whenever a run goes on after a pause.
func (p *Playbook) Runnable(at time.Time) error {
	if p.Revoked {
		return fmt.Errorf("playbook %s of %s was revoked: take a newer version", p.ID, p.Modified)
	}
	if err := within(p.ValidFrom, p.ValidUntil, at); err != nil {
		return fmt.Errorf("playbook %s: %w", p.ID, err)
	}
	return nil
}

// within says why a time is outside [from, until), either of which may be open.
func within(from, until Timestamp, at time.Time) error {
	if from != "" {
		t, err := from.Time()
		if err != nil {
			return fmt.Errorf("valid_from: %w", err)
		}
		if at.Before(t) {
			return fmt.Errorf("not valid before %s", from)
		}
	}
	if until != "" {
		t, err := until.Time()
		if err != nil {
			return fmt.Errorf("valid_until: %w", err)
		}
		if !at.Before(t) {
			return fmt.Errorf("not valid any more since %s", until)
		}
	}
	return nil
}
