package sigma

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds on one record. A line that is larger, deeper or has more members is refused.
const (
	maxLine    = 4 << 20
	maxNesting = 64
	maxMembers = 1 << 16
)

// scanner goes through a line of JSON. Where it stops, pos is the place and msg the reason.
type scanner struct {
	line      []byte
	pos       int
	depth     int
	left      int // members and elements it may still see
	msg, hint string
}

// span is a text of the line, without its quotes.
type span struct {
	from, to int
	escaped  bool
}

func (s *scanner) fail(msg, hint string) bool {
	if s.msg == "" {
		s.msg, s.hint = msg, hint
	}
	return false
}

// unexpected fails with what was wanted and what is there.
func (s *scanner) unexpected(want string) bool {
	if s.pos >= len(s.line) {
		return s.fail("the line ends where "+want+" is expected", "it may have been cut short")
	}
	found, _ := utf8.DecodeRune(s.line[s.pos:])
	return s.fail("found "+strconv.QuoteRune(found)+" where "+want+" is expected", "each line is one JSON object")
}

// space passes over white space and returns the byte behind it, 0 at the end.
func (s *scanner) space() byte {
	for ; s.pos < len(s.line); s.pos++ {
		if c := s.line[s.pos]; c > ' ' || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// document reads the line as one object.
func (r *Record) document(b *branch) bool {
	if len(r.line) > maxLine {
		r.pos = maxLine
		return r.fail("the line is longer than "+strconv.Itoa(maxLine>>20)+" MiB", "split it into one record a line")
	}
	if r.space() != '{' {
		return r.unexpected("{")
	}
	if !r.object(b, 0, false) {
		return false
	}
	if r.space(); r.pos < len(r.line) {
		return r.unexpected("the end of the line")
	}
	return true
}

// enter counts a nested object or list, and passes over its bracket.
func (s *scanner) enter() bool {
	if s.depth++; s.depth > maxNesting {
		return s.fail("objects and lists are nested deeper than "+strconv.Itoa(maxNesting), "")
	}
	s.pos++
	return true
}

func (s *scanner) count() bool {
	if s.left--; s.left < 0 {
		return s.fail("the record has more than "+strconv.Itoa(maxMembers)+" values", "")
	}
	return true
}

// object reads an object in which the names of b are looked for, none if b is nil.
func (r *Record) object(b *branch, rank uint8, listed bool) bool {
	if !r.enter() {
		return false
	}
	if r.space() == '}' {
		r.pos++
		r.depth--
		return true
	}
	for {
		if !r.count() {
			return false
		}
		if r.space() != '"' {
			return r.unexpected("a key in quotes")
		}
		name, ok := r.quoted()
		if !ok {
			return false
		}
		if r.space() != ':' {
			return r.unexpected("a colon")
		}
		r.pos++
		k := nothing
		if b != nil {
			if found, ok := b.keys[r.string(name)]; ok {
				k = found
			}
		}
		if !r.member(name, k, rank+1, listed) {
			return false
		}
		switch r.space() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			r.depth--
			return true
		default:
			return r.unexpected("a comma or }")
		}
	}
}

// member reads the value of a key.
func (r *Record) member(name span, k key, rank uint8, listed bool) bool {
	if k.next != nil && !listed {
		if r.entered[k.next.id] == r.gen {
			r.forget(k.next, rank)
		}
		r.entered[k.next.id] = r.gen
	}
	if r.walk == nil {
		return r.value(k, rank, listed)
	}
	before := len(r.path)
	if before > 0 {
		r.path = append(r.path, '.')
	}
	r.path = append(r.path, r.string(name)...)
	ok := r.value(k, rank, listed)
	r.path = r.path[:before]
	return ok
}

// value reads any value.
func (r *Record) value(k key, rank uint8, listed bool) bool {
	var v Value
	switch c := r.space(); c {
	case '"':
		text, ok := r.quoted()
		if !ok {
			return false
		}
		v.Kind = Text
		if k.field >= 0 || r.walk != nil {
			v.Str = r.string(text)
		}
	case '{':
		from := r.pos
		if !r.object(k.next, rank, listed) {
			return false
		}
		if k.field >= 0 {
			r.put(k.field, rank, Value{Kind: Text, Str: view(r.line[from:r.pos])}, listed)
		}
		return true
	case '[':
		return r.array(k, rank, listed)
	case 't':
		v.Kind, v.Int = Boolean, 1
		if !r.word("true") {
			return false
		}
	case 'f':
		v.Kind = Boolean
		if !r.word("false") {
			return false
		}
	case 'n':
		v.Kind = Null
		if !r.word("null") {
			return false
		}
	default:
		from := r.pos
		if !r.number() {
			return false
		}
		v.Kind, v.Str = Text, view(r.line[from:r.pos])
	}
	if k.field >= 0 {
		r.put(k.field, rank, v, listed)
	}
	return r.visited(v)
}

// array reads a list. Its elements are values of the key that holds it.
func (r *Record) array(k key, rank uint8, listed bool) bool {
	if !r.enter() {
		return false
	}
	if k.field >= 0 && !listed {
		if c := &r.cells[k.field]; c.gen != r.gen || c.rank >= rank {
			r.clear(c, rank)
		}
	}
	if r.space() == ']' {
		r.pos++
		r.depth--
		return true
	}
	for {
		if !r.count() || !r.value(k, rank, true) {
			return false
		}
		switch r.space() {
		case ',':
			r.pos++
		case ']':
			r.pos++
			r.depth--
			return true
		default:
			return r.unexpected("a comma or ]")
		}
	}
}

// Bytes of a word, for looking at eight at once.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// quoted passes over a text in quotes and checks its escapes.
func (s *scanner) quoted() (span, bool) {
	i := s.pos + 1
	t := span{from: i}
	for {
		for i+8 <= len(s.line) {
			w := binary.LittleEndian.Uint64(s.line[i:])
			quote, slash := w^ones*'"', w^ones*'\\'
			stop := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & highs
			if stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
			i += 8
		}
		for i < len(s.line) && s.line[i] != '"' && s.line[i] != '\\' && s.line[i] >= 0x20 {
			i++
		}
		if s.pos = i; i >= len(s.line) {
			return t, s.unexpected("a closing quote")
		}
		switch s.line[i] {
		case '"':
			t.to, s.pos = i, i+1
			return t, true
		case '\\':
			t.escaped = true
			if i = s.escape(i); i < 0 {
				return t, s.fail("a backslash begins no escape that JSON knows", `write \\ for a backslash`)
			}
		default:
			return t, s.fail("a control character stands in a text", `write \n or \u00..`)
		}
	}
}

// escape returns where the escape at i ends, or -1.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.line) {
		return -1
	}
	switch s.line[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(s.line) || hexRune(s.line[i+2:i+6]) < 0 {
			return -1
		}
		return i + 6
	}
	return -1
}

// hexRune returns the number that four hex digits are, or -1.
func hexRune(b []byte) rune {
	n := rune(0)
	for _, c := range b {
		d := digit(c)
		if d > 15 {
			return -1
		}
		n = n<<4 | rune(d)
	}
	return n
}

// appendUnescaped appends raw with its escapes resolved. They were checked before. Half of a
// surrogate pair becomes U+FFFD.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = raw[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			n := hexRune(raw[i+1 : i+5])
			i += 4
			if utf16.IsSurrogate(n) && i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if pair := utf16.DecodeRune(n, hexRune(raw[i+3:i+7])); pair != utf8.RuneError {
					n = pair
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, n)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func (s *scanner) word(w string) bool {
	if end := s.pos + len(w); end <= len(s.line) && string(s.line[s.pos:end]) == w {
		s.pos = end
		return true
	}
	return s.unexpected("a value")
}

// number passes over a number as JSON writes it.
func (s *scanner) number() bool {
	if s.pos < len(s.line) && s.line[s.pos] == '-' {
		s.pos++
	}
	zero := s.pos < len(s.line) && s.line[s.pos] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		return s.unexpected("a value")
	}
	if s.pos < len(s.line) && s.line[s.pos] == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.unexpected("a digit")
		}
	}
	if s.pos < len(s.line) && s.line[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.line) && (s.line[s.pos] == '+' || s.line[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			return s.unexpected("a digit")
		}
	}
	return true
}

func (s *scanner) digits() int {
	from := s.pos
	for s.pos < len(s.line) && s.line[s.pos]-'0' < 10 {
		s.pos++
	}
	return s.pos - from
}
