package cacao

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// References returns the names of the variables that a text refers to, each once.
func References(text string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// Substitute replaces the references in a text by the values of variables, each passed through a
// function that makes it safe for its place. The text itself is not changed, so that a loop sees fresh
// values each time; values are not looked through for further references.
func Substitute(text string, vars Variables, safe func(string) (string, error)) (string, error) {
	var errs []error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		v, err := vars.Get(strings.TrimSuffix(ref, ":value"))
		if err == nil {
			var value string
			if value, err = safe(v.Value.Text); err == nil {
				return value
			}
			err = fmt.Errorf("variable %s: %w", ref, err)
		}
		errs = append(errs, err)
		return ref
	})
	return out, errors.Join(errs...)
}

// Raw leaves a value as it is: for texts that people read.
func Raw(s string) (string, error) { return s, nil }

// Quote makes a value one word of a POSIX shell.
func Quote(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", errors.New("a zero byte cannot stand in a command")
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// JSONText makes a value a part of a JSON string, which begins and ends outside it.
func JSONText(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b[1 : len(b)-1]), err
}

// Header makes a value safe in a header of HTTP, where it cannot begin another.
func Header(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", errors.New("a line break or control character cannot stand in a header")
	}
	return s, nil
}

// pathPart makes a value one part of the path of a URL.
func pathPart(s string) (string, error) {
	if s == "." || s == ".." {
		return "", fmt.Errorf("%q cannot be a part of a path", s)
	}
	return url.PathEscape(s), nil
}

func queryPart(s string) (string, error) { return url.QueryEscape(s), nil }
