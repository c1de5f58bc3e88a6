package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"picket/event"
)

// Demand returns the kinds of event that a rule is about; the sensor need not report others for
// the sake of detection.
func (e *Engine) Demand() map[event.Kind]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.set.demand)
}

// Places says where in the file system a set of rules looks.
type Places struct {
	// Paths are beginnings, byte for byte: no rule fires on a file that is created or written
	// elsewhere. None means that rules look everywhere, or, without Why, that none looks at files.
	Paths []string
	Why   string // they look everywhere
}

// String says it in words.
func (p Places) String() string {
	switch {
	case p.Why != "":
		return "files created or written anywhere are looked at: " + p.Why
	case len(p.Paths) == 0:
		return "no rule looks at files that are created or written"
	}
	return "only files created or written below these are looked at: " + strings.Join(p.Paths, ", ")
}

// Places returns where the loaded rules look.
func (e *Engine) Places() Places {
	e.mu.Lock()
	set := e.set
	e.mu.Unlock()
	var all []string
	for r, made := range set.rules { // of several reasons the first by name is given
		kinds := KindsOf(r.Logsource)
		if !slices.Contains(kinds, event.FileCreate) && !slices.Contains(kinds, event.FileWrite) {
			continue
		}
		texts := set.match.Beginnings(r, pathFields...)
		if len(texts) == 0 {
			all = append(all, made.info.Name)
		}
	}
	if len(all) > 0 {
		return Places{Why: fmt.Sprintf("rule %s names no beginning of a path", slices.Min(all))}
	}
	var paths []string
	for r := range set.rules {
		if kinds := KindsOf(r.Logsource); slices.Contains(kinds, event.FileCreate) || slices.Contains(kinds, event.FileWrite) {
			for _, text := range set.match.Beginnings(r, pathFields...) {
				paths = append(paths, spellings(text)...)
			}
		}
	}
	if paths = outermost(paths); len(paths) > maxPlaces {
		return Places{Why: fmt.Sprintf("the rules name %d places, and a sensor keeps %d", len(paths), maxPlaces)}
	}
	if slices.Contains(paths, "/") {
		return Places{Why: "a rule looks below /"}
	}
	return Places{Paths: paths}
}

// Sockets returns beginnings of the sockets of the host that the loaded rules look at, those of
// container runtimes aside; "" where a rule names no beginning.
func (e *Engine) Sockets() []string {
	e.mu.Lock()
	set := e.set
	e.mu.Unlock()
	var all []string
	for r := range set.rules {
		if r.Logsource.Category == "" || !slices.Contains(KindsOf(r.Logsource), event.NetUnix) || len(set.match.Beginnings(r, "net.unix.runtime")) > 0 {
			continue
		}
		texts := set.match.Beginnings(r, "net.unix.path")
		if len(texts) == 0 {
			return []string{""}
		}
		for _, text := range texts {
			all = append(all, spellings(text)...)
		}
	}
	if all = outermost(all); len(all) > maxPlaces {
		return []string{""}
	}
	return all
}

// Bounds of what is asked of a sensor.
const (
	maxPlaces    = 200
	maxSpellings = 64 // of one beginning
)

// spellings returns beginnings that cover every text which folds to one that begins with s: rules
// do not mind case, and a file system does. s is cut where it would take too many.
func spellings(s string) []string {
	out := []string{""}
	for _, r := range s {
		forms := []string{string(r)}
		switch {
		case r >= 0x80:
			return out // other scripts have letters in several forms
		case r == 'k':
			forms = append(forms, "K", "\u212a") // the sign of kelvin
		case r == 'i':
			forms = append(forms, "I", "\u0130") // I with a dot
		case r >= 'a' && r <= 'z':
			forms = append(forms, string(r-'a'+'A'))
		}
		if len(out)*len(forms) > maxSpellings {
			return out
		}
		var next []string
		for _, o := range out {
			for _, f := range forms {
				next = append(next, o+f)
			}
		}
		out = next
	}
	return out
}

// outermost returns the beginnings that no other one covers, sorted.
func outermost(paths []string) []string {
	slices.Sort(paths)
	var out []string
	for _, p := range paths {
		if len(out) == 0 || !strings.HasPrefix(p, out[len(out)-1]) {
			out = append(out, p)
		}
	}
	return out
}
