package api

import (
	"encoding/json"
	"fmt"
	"strings"
)

// filter is the live tail's query: words and field:value pairs that must all be found,
// "quoted where they hold blanks", with - or ! in front for must not. Case does not matter, a word
// matches anywhere in any value, a value anywhere in its field. It is a small part of LogsQL, which
// searches stored events, so most simple searches mean the same in both.
type filter struct{ terms []term }

type term struct {
	field, text string
	not         bool
}

const maxTerms = 16

// parseFilter reads a query.
func parseFilter(q string) (*filter, error) {
	f := &filter{}
	for rest := strings.TrimSpace(q); rest != ""; rest = strings.TrimSpace(rest) {
		var t term
		if rest[0] == '-' || rest[0] == '!' {
			t.not, rest = true, rest[1:]
		}
		var word string
		var err error
		if word, rest, err = cutWord(rest, true); err != nil {
			return nil, err
		}
		if strings.HasPrefix(rest, ":") {
			t.field = word
			if word, rest, err = cutWord(rest[1:], false); err != nil {
				return nil, err
			}
		}
		t.text = strings.ToLower(word)
		switch {
		case word == "*" && t.field == "":
			continue
		case word == "*":
			t.text = ""
		case strings.EqualFold(word, "and") && t.field == "":
			continue
		case t.field == "" && (strings.EqualFold(word, "or") || strings.HasPrefix(word, "|") || strings.HasPrefix(word, "(")):
			return nil, fmt.Errorf("the live view takes words and field:value only, not %q: search stored events for that", word)
		}
		if f.terms = append(f.terms, t); len(f.terms) > maxTerms {
			return nil, fmt.Errorf("the live view takes at most %d words", maxTerms)
		}
	}
	return f, nil
}

// cutWord takes a word or a quoted phrase off s; a field's name ends at its colon.
func cutWord(s string, name bool) (word, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", "", fmt.Errorf("a closing quote is missing after %q", s[1:])
		}
		return s[1 : 1+end], s[end+2:], nil
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || name && r == ':' })
	if end < 0 {
		return s, "", nil
	}
	return s[:end], s[end:], nil
}

// all reports whether every event matches.
func (f *filter) all() bool { return len(f.terms) == 0 }

func (f *filter) match(fields map[string]string) bool {
	for _, t := range f.terms {
		if t.found(fields) == t.not {
			return false
		}
	}
	return true
}

func (t term) found(fields map[string]string) bool {
	if t.field != "" {
		v, ok := fields[t.field]
		return ok && strings.Contains(v, t.text)
	}
	for _, v := range fields {
		if strings.Contains(v, t.text) {
			return true
		}
	}
	return false
}

// flatten reads a record's fields, in lower case.
func flatten(record json.RawMessage) map[string]string {
	var raw map[string]string
	if json.Unmarshal(record, &raw) != nil {
		return map[string]string{}
	}
	for k, v := range raw {
		raw[k] = strings.ToLower(v)
	}
	return raw
}
