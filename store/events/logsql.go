package events

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pipes are the pipes that a query may use. The store takes a name that it does not know for a
// word to look for, and answers with no rows and no error, so names are checked here. Pipes that
// are missing here run further queries (join, union, stream_context) or show the engine's insides.
var pipes = map[string]bool{
	"copy": false, "cp": false, "delete": false, "del": false, "rm": false, "drop": false,
	"drop_empty_fields": false, "extract": false, "extract_regexp": false, "fields": false, "keep": false,
	"filter": false, "where": false, "format": false, "len": false, "math": false, "eval": false,
	"rename": false, "mv": false, "replace": false, "replace_regexp": false, "collapse_nums": false,
	"unpack_json": false, "unpack_logfmt": false, "unpack_words": false, "unroll": false, "hash": false,

	// These leave rows in an order of their own.
	"facets": true, "field_names": true, "field_values": true, "first": true, "last": true, "limit": true,
	"head": true, "offset": true, "skip": true, "sample": true, "sort": true, "order": true, "stats": true,
	"top": true, "uniq": true,
}

// Pipes returns the names of the pipes that a query may use.
func Pipes() []string {
	names := make([]string, 0, len(pipes))
	for n := range pipes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// check refuses a query that the store would misread, and one that could leave its time range.
// It reports whether the query's pipes order its rows.
func check(text string) (ordered bool, err error) {
	if len(text) > maxText {
		return false, &QueryError{Text: "it is longer than " + strconv.Itoa(maxText) + " bytes"}
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return false, &QueryError{Text: "it is not UTF-8 text"}
	}
	l := lexer{rest: text}
	depth, afterPipe, prev := 0, false, ""
	for l.next() {
		if l.err != "" {
			return false, &QueryError{Text: l.err + " at character " + strconv.Itoa(utf8.RuneCountInString(text[:l.at])+1), Hint: "close it"}
		}
		word := strings.ToLower(l.token)
		switch {
		case afterPipe:
			orders, known := pipes[word]
			if !known || l.quoted {
				return false, &QueryError{
					Text: "no pipe is called " + strconv.Quote(l.token),
					Hint: "use one of fields, filter, sort, stats, top, uniq, limit, …, or put the | in quotes to search for it",
				}
			}
			ordered = ordered || orders && depth == 0
			afterPipe = false
		case l.quoted:
		case word == "|":
			afterPipe = true
		case word == "(" || word == "[": // a range may mix them
			if prev == "options" {
				return false, &QueryError{Text: "options(…) is not allowed here"}
			}
			depth++
		case word == ")" || word == "]":
			if depth--; depth < 0 {
				return false, &QueryError{Text: "a " + word + " has no partner before it", Hint: "put it in quotes to search for it"}
			}
		}
		prev = word
	}
	if afterPipe {
		return false, &QueryError{Text: "it ends with a |", Hint: "name a pipe after it, or put it in quotes"}
	}
	if depth > 0 {
		return false, &QueryError{Text: "a ( or [ is not closed"}
	}
	return ordered, nil
}

// lexer splits LogsQL into tokens exactly as the store does; a difference would let a pipe by.
type lexer struct {
	rest   string
	pos    int
	token  string
	at     int
	quoted bool
	err    string
}

func (l *lexer) next() bool {
	l.skip()
	if l.rest == "" || l.err != "" {
		return false
	}
	l.at, l.quoted = l.pos, false
	r, size := utf8.DecodeRuneInString(l.rest)
	n := 0
	for n < len(l.rest) {
		r, s := utf8.DecodeRuneInString(l.rest[n:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' {
			break
		}
		n += s
	}
	switch {
	case n > 0:
	case r == '"' || r == '`':
		prefix, err := strconv.QuotedPrefix(l.rest)
		if err != nil {
			l.err, prefix = "a quote is not closed, or has a bad \\ in it,", l.rest
		}
		n, l.quoted = len(prefix), true
	case r == '\'':
		if n = single(l.rest); n < 0 {
			l.err, n = "a quote is not closed, or has a bad \\ in it,", len(l.rest)
		}
		l.quoted = true
	default:
		n = size
	}
	l.take(n)
	return true
}

// skip goes past space and comments.
func (l *lexer) skip() {
	for l.rest != "" {
		r, size := utf8.DecodeRuneInString(l.rest)
		switch {
		case unicode.IsSpace(r):
			l.take(size)
		case r == '#':
			if n := strings.IndexByte(l.rest, '\n'); n >= 0 {
				l.take(n + 1)
			} else {
				l.take(len(l.rest))
			}
		default:
			return
		}
	}
}

func (l *lexer) take(n int) {
	l.token, l.rest = l.rest[:n], l.rest[n:]
	l.pos += n
}

// single returns the length of the single-quoted text that s starts with, or -1.
func single(s string) int {
	rest := s[1:]
	for !strings.HasPrefix(rest, "'") {
		_, _, tail, err := strconv.UnquoteChar(rest, '\'')
		if err != nil {
			return -1
		}
		rest = tail
	}
	return len(s) - len(rest) + 1
}

// Quote writes a value as it stands in a query: in quotes, with all that has a meaning escaped.
func Quote(s string) string { return strconv.Quote(s) }
