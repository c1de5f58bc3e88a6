package ingest

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is kept of one request: all of it is the client's to choose.
const (
	maxPath  = 512
	maxText  = 256
	maxNames = 16 // parameters of a query
	maxName  = 48
)

// What is told of a path that was written so that a filter before the server reads another one.
const (
	DoubledSlash  = "doubled-slash"  // //v1/models
	DotSegments   = "dot-segments"   // /public/../v1/models
	EncodedDot    = "encoded-dot"    // /%2e%2e/
	EncodedText   = "encoded-text"   // /%76%31/models: letters and digits need none
	DoubleEncoded = "double-encoded" // %252e
	Parameter     = "path-parameter" // /v1;/models
	Control       = "control"        // %00, %0a, or a byte that no URL has
	Traversal     = "traversal"      // .. beyond the root, or in the value of a parameter
)

// target is what a request asks for, taken apart.
type target struct{ path, route, query, attacks string }

// Target takes the target of a request apart: the path as it was written, what servers make of it,
// the names of the query's parameters, and the kinds of trick in it. Values of parameters are looked
// at and not kept, as keys and prompts stand there.
func Target(s string) (path, route, query, attacks string) {
	t := targetOf(s)
	return t.path, t.route, t.query, t.attacks
}

func targetOf(s string) (t target) {
	s, _, _ = strings.Cut(s, "#")
	if _, rest, ok := strings.Cut(s, "://"); ok && s[0] != '/' { // an absolute form may carry a password
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			s = rest[i:]
		} else {
			s = "/"
		}
	}
	raw, query, _ := strings.Cut(s, "?")
	var tricks names
	t.path = hideSecrets(printable(raw, maxPath))
	t.route = hideSecrets(printable(plain(raw, &tricks), maxPath))
	var keys names
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name != "" {
			keys.add(hideSecrets(printable(decode(name, nil), maxName))) // ?sk-… has a key for a name
		}
		if climbs(decode(decode(value, nil), nil)) {
			tricks.add(Traversal)
		}
	}
	t.query, t.attacks = keys.String(), tricks.String()
	return t
}

// names are words of a list, each with a semicolon behind it.
type names struct{ list []string }

func (n *names) add(s string) {
	if n == nil || len(n.list) >= maxNames {
		return
	}
	s = strings.ReplaceAll(s, ";", "_")
	if !slices.Contains(n.list, s) {
		n.list = append(n.list, s)
	}
}

func (n *names) String() string {
	if len(n.list) == 0 {
		return ""
	}
	return strings.Join(n.list, ";") + ";"
}

// plain is the path that a server acts on: decoded, without parameters, doubled slashes and dots.
func plain(raw string, tricks *names) string {
	once := decode(raw, tricks)
	if twice := decode(once, nil); twice != once && strings.Contains(raw, "%25") {
		tricks.add(DoubleEncoded)
		once = decode(twice, nil)
	}
	if strings.ContainsFunc(once, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		tricks.add(Control)
	}
	once = strings.ReplaceAll(once, `\`, "/")
	if strings.Contains(once, "//") {
		tricks.add(DoubledSlash)
	}
	var out []string
	for segment := range strings.SplitSeq(once, "/") {
		word, _, has := strings.Cut(segment, ";")
		if has {
			tricks.add(Parameter)
		}
		switch word {
		case "", ".":
			if word == "." {
				tricks.add(DotSegments)
			}
		case "..":
			tricks.add(DotSegments)
			if len(out) == 0 {
				tricks.add(Traversal)
			} else {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, word)
		}
	}
	return "/" + strings.Join(out, "/")
}

// climbs reports whether a value leads out of a directory.
func climbs(s string) bool {
	s = strings.ReplaceAll(s, `\`, "/")
	return s == ".." || strings.HasPrefix(s, "../") || strings.HasSuffix(s, "/..") || strings.Contains(s, "/../")
}

// decode undoes percent encoding once. A % that begins none stays.
func decode(s string, tricks *names) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		hi, lo := -1, -1
		if s[i] == '%' && i+2 < len(s) {
			hi, lo = digit(s[i+1]), digit(s[i+2])
		}
		if hi < 0 || lo < 0 {
			b.WriteByte(s[i])
			continue
		}
		c := byte(hi<<4 | lo)
		switch {
		case c == '.':
			tricks.add(EncodedDot)
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			tricks.add(EncodedText)
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String()
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// printable cuts s to at most limit bytes and replaces what is not text. It returns a copy, as a request
// is kept for longer than the line of which it is a small part.
func printable(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return strings.Clone(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, s))
}

// beginnings of keys and tokens, which some clients put into a path.
var beginnings = []string{"sk-", "hf_", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "ASIA", "eyJ", "nvapi-", "pk-", "gsk_"}

// hideSecrets masks the parts of a path that look like a key.
func hideSecrets(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		for _, b := range beginnings {
			if len(p) >= len(b)+12 && strings.HasPrefix(p, b) {
				parts[i] = "***"
			}
		}
	}
	return strings.Join(parts, "/")
}
