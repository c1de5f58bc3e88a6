// Package falco translates Falco rule files into Sigma rules over Picket's fields and log sources.
//
// Load reads the files as Falco does: later definitions replace earlier ones, append and override
// add to them, exceptions become exclusions. Ruleset.Translate then turns each rule into one Sigma
// rule for each log source that its condition is about, and says of each what was lost on the way.
// A rule is never made wider or narrower without a word: see Status.
package falco

import (
	"picket/sigma"
)

// File is a Falco rule file.
type File struct {
	Name string // as errors name it
	Data []byte
}

// Status says how much of a Falco rule was carried over.
type Status string

// What became of a rule.
const (
	// Carried: the Sigma rules fire on what the Falco rule fires on.
	Carried Status = "carried"
	// Partly: they fire, but an exclusion was lost (noisier), or an alternative was (narrower).
	Partly Status = "partly"
	// Inactive: translated, but no sensor here reports such events.
	Inactive Status = "inactive"
	// Refused: what the rule requires cannot be told here, so there is no Sigma rule.
	Refused Status = "not carried"
)

// Result says what became of one Falco rule.
type Result struct {
	Rule     string        `json:"rule"`
	Name     string        `json:"name"` // the rule's in lower case with underscores, like no other's: a file's name
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Status   Status        `json:"status"`
	Disabled bool          `json:"disabled,omitempty"` // enabled: false in the Falco file
	Reasons  []string      `json:"reasons,omitempty"`  // why not wholly carried
	Remarks  []string      `json:"remarks,omitempty"`  // what differs though it was carried
	Rules    []Translation `json:"rules,omitempty"`    // none where it was refused
}

// Translation is a Sigma rule made of a Falco rule.
type Translation struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Category string `json:"category"`           // of the log source
	Inactive bool   `json:"inactive,omitempty"` // no sensor here reports that log source
	YAML     string `json:"yaml,omitempty"`     // one document, without ---
}

// Ruleset holds the rules, macros and lists of the files that were loaded.
type Ruleset struct {
	rules  []*ruleDef
	byName map[string]*ruleDef
	macros map[string]*macroDef
	lists  map[string]*listDef
	order  []*macroDef
	lines  map[string][]string // by file
	errs   sigma.Errors
}

// Load reads rule files in the order given. What is in order is kept even where the error is not
// nil; it is then a sigma.Errors that names each fault with file, line and column. Rules with
// such a fault are reported as Refused.
func Load(files ...File) (*Ruleset, error) {
	rs := &Ruleset{
		byName: map[string]*ruleDef{}, macros: map[string]*macroDef{}, lists: map[string]*listDef{}, lines: map[string][]string{},
	}
	for _, f := range files {
		rs.read(f)
	}
	rs.resolve()
	if len(rs.errs) > 0 {
		return rs, rs.errs
	}
	return rs, nil
}

// position is a place in a rule file, from 1.
type position struct {
	file      string
	line, col int
}

// fault notes an error.
func (rs *Ruleset) fault(at position, hint, msg string) {
	e := &sigma.Error{File: at.file, Line: max(at.line, 1), Col: max(at.col, 1), Msg: msg, Hint: hint}
	if lines := rs.lines[at.file]; at.line >= 1 && at.line <= len(lines) {
		e.Source = shorten(lines[at.line-1], 160)
	}
	rs.errs = append(rs.errs, e)
}
