package threats

import (
	"bytes"
	_ "embed" // the catalogue
	"fmt"

	"go.yaml.in/yaml/v3"
)

//go:embed catalogue.yml
var catalogue []byte

// Entry is one thing that attackers do to AI workloads while they run, and what Picket says of it.
type Entry struct {
	ID     string   `yaml:"id" json:"id"`
	Group  string   `yaml:"group" json:"group"`
	Title  string   `yaml:"title" json:"title"`
	Atlas  []string `yaml:"atlas" json:"atlas"`       // techniques of ATLAS 5.6
	Attack []string `yaml:"attack" json:"attack"`     // techniques of ATT&CK v19
	Rules  []string `yaml:"rules" json:"rules"`       // names of those that tell of it
	Gap    string   `yaml:"gap" json:"gap,omitempty"` // what of it stays dark; of one without rules: why
}

// Coverage is how much of an entry is seen.
type Coverage string

// What Entry.Coverage says.
const (
	Seen   Coverage = "seen"
	Partly Coverage = "partly"
	Dark   Coverage = "dark"
)

// Coverage is how much of the entry the rules see, where the host has the telemetry that they need.
func (e *Entry) Coverage() Coverage {
	switch {
	case len(e.Rules) == 0:
		return Dark
	case e.Gap != "":
		return Partly
	}
	return Seen
}

// Catalogue returns the entries, in the order in which people look for them.
func Catalogue() ([]Entry, error) {
	dec := yaml.NewDecoder(bytes.NewReader(catalogue))
	dec.KnownFields(true)
	var out []Entry
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("read the catalogue of threats: %w", err)
	}
	return out, nil
}
