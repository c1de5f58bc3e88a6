package cacao

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Request is the request of a command over HTTP. What it is sent to its target says.
type Request struct {
	Method  string
	Path    string // with its query, as written
	Headers map[string][]string
	Body    string
}

var requestLine = regexp.MustCompile(`^([A-Z]+) ([^ ]+)(?: HTTP/(?:1\.0|1\.1|2|2\.0))?$`)

// ParseRequest reads a request line such as POST /path?x=y HTTP/1.1. The query stays as it is.
func ParseRequest(line string) (Request, error) {
	m := requestLine.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return Request{}, fmt.Errorf("%q is no request line", short(line))
	}
	if !strings.HasPrefix(m[2], "/") {
		return Request{}, fmt.Errorf("the path %q does not begin with /: the host is the target's", short(m[2]))
	}
	return Request{Method: m[1], Path: m[2]}, nil
}

// ForHTTP prepares the request of an http-api or openc2-http command: values are escaped for the path
// or the query that they stand in, for headers, and in the body for JSON or for a form, as the
// Content-Type says. A body of another type cannot hold values.
func ForHTTP(c *Command, vars Variables) (Request, error) {
	line, err := c.Text()
	if err != nil {
		return Request{}, err
	}
	req, err := ParseRequest(line)
	if err != nil {
		return Request{}, err
	}
	before, query, has := strings.Cut(req.Path, "?")
	if req.Path, err = Substitute(before, vars, pathPart); err != nil {
		return Request{}, err
	}
	if has {
		if query, err = Substitute(query, vars, queryPart); err != nil {
			return Request{}, err
		}
		req.Path += "?" + query
	}
	kind := ""
	req.Headers = map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		for _, text := range c.Headers[name] {
			value, err := Substitute(text, vars, Header)
			if err != nil {
				return Request{}, fmt.Errorf("header %s: %w", name, err)
			}
			req.Headers[name] = append(req.Headers[name], value)
			if strings.EqualFold(name, "Content-Type") {
				kind = strings.ToLower(value)
			}
		}
	}
	body, err := c.Body()
	if err == nil {
		req.Body, err = requestBody(body, kind, vars)
	}
	return req, err
}

func requestBody(body, kind string, vars Variables) (string, error) {
	if !reference.MatchString(body) {
		return body, nil
	}
	switch {
	case strings.Contains(kind, "json") || kind == "" && strings.HasPrefix(strings.TrimSpace(body), "{"):
		return jsonBody(body, vars)
	case strings.HasPrefix(kind, "application/x-www-form-urlencoded"):
		return Substitute(body, vars, queryPart)
	}
	return "", fmt.Errorf("content of type %q cannot hold variables: use JSON or a form", kind)
}

// jsonBody replaces values in the strings of a JSON text. A variable of a number or bool may stand
// outside of them; what comes out must be JSON again.
func jsonBody(body string, vars Variables) (string, error) {
	var b strings.Builder
	at, inside := 0, false
	for _, m := range reference.FindAllStringSubmatchIndex(body, -1) {
		for i := at; i < m[0]; i++ {
			if body[i] == '\\' && inside {
				i++
			} else if body[i] == '"' {
				inside = !inside
			}
		}
		b.WriteString(body[at:m[0]])
		at = m[1]
		v, err := vars.Get(body[m[2]:m[3]])
		if err != nil {
			return "", err
		}
		value, err := jsonValue(v, inside)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
	}
	b.WriteString(body[at:])
	if _, err := readTree([]byte(b.String())); err != nil {
		return "", fmt.Errorf("content: %w", err)
	}
	return b.String(), nil
}

// jsonValue writes a value inside a string of JSON, or where a whole value stands.
func jsonValue(v Variable, inside bool) (string, error) {
	if inside {
		return JSONText(v.Value.Text)
	}
	switch v.Type {
	case "bool", "integer", "long", "float", "dictionary":
		if err := CheckType(v.Type, v.Value.Text); err != nil {
			return "", err
		}
		if json.Valid([]byte(v.Value.Text)) {
			return v.Value.Text, nil
		}
	}
	b, err := json.Marshal(v.Value.Text)
	return string(b), err
}
