package sigma

import (
	"fmt"
	"slices"
	"strings"
)

// operation says what an item does with its values.
type operation uint8

const (
	doText operation = iota // compare as text, with wildcards
	doRegexp
	doCIDR
	doExists
	doCompare
	doFieldref
)

// place says where in the field a text must stand.
type place uint8

const (
	whole place = iota
	anywhere
	atStart
	atEnd
)

// item is one test of a field: a key of a map and its values. Without a field the whole event is
// searched.
type item struct {
	field  string
	pos    position
	mods   []string // as written, without the field
	values []value
	listed bool // values were written as a list

	do              operation
	place           place
	cmp             comparison
	part            datePart
	all, cased, neq bool
	expand          bool
	flags           string // of a regular expression: i, m, s
	steps           []step // what happens to the text, in the order written
}

// refusal says why an item cannot be evaluated.
type refusal struct{ msg, hint string }

func refuse(hint, format string, args ...any) *refusal {
	return &refusal{fmt.Sprintf(format, args...), hint}
}

type step func([]pattern, placeholders) ([]pattern, *refusal)

type modifier func(*item) *refusal

var modifiers = map[string]modifier{
	"contains": stands(anywhere), "startswith": stands(atStart), "endswith": stands(atEnd),
	"all":    func(it *item) *refusal { it.all = true; return nil },
	"cased":  func(it *item) *refusal { it.cased = true; return nil },
	"neq":    func(it *item) *refusal { it.neq = true; return nil },
	"expand": func(it *item) *refusal { it.expand = true; it.steps = append(it.steps, fill); return nil },
	"exists": does(doExists), "re": does(doRegexp), "cidr": does(doCIDR), "fieldref": does(doFieldref),
	"i": flag, "m": flag, "s": flag,
	"lt": compares(less), "lte": compares(lessEqual), "gt": compares(greater), "gte": compares(greaterEqual),
	"minute": extracts(minute), "hour": extracts(hour), "day": extracts(day),
	"week": extracts(week), "month": extracts(month), "year": extracts(year),
	"windash": transforms(dashes), "base64": encodes(base64Text), "base64offset": encodes(base64Shifts),
	"utf16le": encodes(utf16le), "wide": encodes(utf16le), "utf16be": encodes(utf16be), "utf16": encodes(utf16bom),
}

func stands(p place) modifier {
	return func(it *item) *refusal {
		if it.place != whole {
			return refuse("keep one", "contains, startswith and endswith exclude each other")
		}
		it.place = p
		return nil
	}
}

func does(o operation) modifier {
	return func(it *item) *refusal {
		if it.do != doText || it.part != noPart {
			return refuse("keep one", "the modifiers ask for two different comparisons")
		}
		it.do = o
		return nil
	}
}

func compares(c comparison) modifier {
	return func(it *item) *refusal {
		if it.do != doText && (it.do != doCompare || it.cmp != equal) {
			return refuse("keep one; a range is two keys", "the modifiers ask for two different comparisons")
		}
		it.do, it.cmp = doCompare, c
		return nil
	}
}

func extracts(p datePart) modifier {
	return func(it *item) *refusal {
		if it.part != noPart || it.do != doText {
			return refuse("write the part of the date first, as in field|hour|gte", "a part of a date cannot be combined with this")
		}
		it.do, it.cmp, it.part = doCompare, equal, p
		return nil
	}
}

func transforms(s step) modifier {
	return func(it *item) *refusal {
		it.steps = append(it.steps, s)
		return nil
	}
}

func encodes(encode func(string) []string) modifier {
	return func(it *item) *refusal {
		if it.place != whole {
			return refuse("encode first: base64offset|contains", "an encoding cannot follow contains, startswith or endswith")
		}
		it.steps = append(it.steps, encodeStep(encode))
		return nil
	}
}

func flag(*item) *refusal { return nil } // read in modify, which knows its name

// modify applies the modifiers of it in the order written.
func (it *item) modify() *refusal {
	for i, name := range it.mods {
		m, ok := modifiers[name]
		if !ok {
			return refuse("known are "+strings.Join(modifierNames(), ", "), "unknown modifier %q", name)
		}
		if slices.Contains(it.mods[:i], name) && !strings.HasPrefix(name, "base64") {
			return refuse("write it once", "modifier %s is given twice", name)
		}
		if len(name) == 1 {
			if it.do != doRegexp {
				return refuse("write re|"+name, "modifier %s needs re before it", name)
			}
			it.flags += name
		}
		if err := m(it); err != nil {
			return err
		}
	}
	return it.consistent()
}

// consistent refuses modifiers that contradict each other wherever they stand.
func (it *item) consistent() *refusal {
	steps := len(it.steps)
	if it.expand {
		steps--
	}
	switch {
	case it.do != doText && steps > 0:
		return refuse("they change texts only", "windash and encodings cannot be combined with another comparison")
	case it.do != doText && it.do != doFieldref && it.place != whole:
		return refuse("keep one", "contains, startswith and endswith cannot be combined with another comparison")
	case it.cased && (strings.Contains(it.flags, "i") || it.do != doText && it.do != doRegexp && it.do != doFieldref):
		return refuse("remove cased", "cased has no meaning here")
	case it.neq && (it.do == doExists || it.do == doCompare && it.part == noPart):
		return refuse("write the opposite comparison instead", "neq cannot be combined with exists or an ordering")
	case it.field == "" && (it.do != doText && it.do != doRegexp || it.neq):
		return refuse("name a field", "keywords can be searched as text or with re only")
	case it.do == doExists && it.all:
		return refuse("remove all", "exists takes a single true or false")
	}
	return nil
}

func modifierNames() []string {
	var names []string
	for name := range modifiers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
