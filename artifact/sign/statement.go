package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Types of the in-toto statement and of its predicate.
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://model_signing/signature/v1.0"
	digestsType   = "https://model_signing/Digests/v0.1" // before v1.0: the files are the subjects
)

type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Serialization Serialization `json:"serialization"`
	Resources     []Resource    `json:"resources"`
}

// statement returns m as the bytes that are signed.
func (m *Manifest) statement() ([]byte, error) {
	p, err := json.Marshal(predicate{m.Serialization, m.Resources})
	if err != nil {
		return nil, err
	}
	return json.Marshal(statement{
		Type: statementType, Subject: []subject{{m.Name, map[string]string{"sha256": m.Digest}}},
		PredicateType: predicateType, Predicate: p,
	})
}

// parseStatement reads what was signed, and refuses what contradicts itself.
func parseStatement(payload []byte) (*Manifest, error) {
	var s statement
	if err := decode(payload, &s); err != nil {
		return nil, refuse("what was signed is no in-toto statement: %v", err)
	}
	if s.Type != statementType {
		return nil, refuse("what was signed is of type %q, not an in-toto statement v1", s.Type)
	}
	switch s.PredicateType {
	case predicateType:
	case digestsType:
		return parseDigests(s)
	default:
		return nil, refuse("it was made for %q, not to sign a model", s.PredicateType)
	}
	if len(s.Subject) != 1 || len(s.Subject[0].Digest) != 1 || s.Subject[0].Digest["sha256"] == "" {
		return nil, refuse("it must have one subject with one SHA-256 digest")
	}
	var p predicate
	if err := decode(s.Predicate, &p); err != nil {
		return nil, refuse("its predicate cannot be read: %v", err)
	}
	m := &Manifest{s.Subject[0].Name, s.Subject[0].Digest["sha256"], p.Serialization, p.Resources}
	return m, m.check()
}

// parseDigests reads the form before v1.0. It has no digest of all digests.
func parseDigests(s statement) (*Manifest, error) {
	m := &Manifest{Name: "model", Serialization: Serialization{Method: Files, HashType: "sha256"}}
	for _, x := range s.Subject {
		if len(x.Digest) != 1 || x.Digest["sha256"] == "" {
			return nil, refuse("subject %q must have one SHA-256 digest", x.Name)
		}
		m.Resources = append(m.Resources, Resource{x.Name, "sha256", x.Digest["sha256"]})
	}
	var err error
	if m.Digest, err = m.root(); err != nil {
		return nil, err
	}
	return m, m.check()
}

// decode reads one JSON value with nothing behind it and no name twice: of two readers each would
// believe another.
func decode(data []byte, to any) error {
	if err := once(json.NewDecoder(bytes.NewReader(data)), 0); err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}

// once walks a value and refuses a name that comes twice in one object.
func once(d *json.Decoder, depth int) error {
	d.UseNumber()
	if err := value(d, depth); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

const maxDepth = 32

func value(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return errors.New("it is nested too deep")
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if names[name] {
				return errors.New("the name " + name + " comes twice")
			}
			names[name] = true
		}
		if err := value(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
