package artifact

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	jsonDepth = 512     // brackets in each other
	jsonKeep  = 1 << 20 // bytes of a text that are kept
)

// token is one of JSON.
type token struct {
	kind byte   // one of {}[], k for a key, s for a text, n for a number, l for true, false or null
	text string // of the last four
	cut  bool   // the text is longer than what is kept
	at   int64
}

// jsonReader reads JSON token by token, so that no length in a file makes it keep much, and a key that
// comes twice is seen twice.
type jsonReader struct {
	r    *bufio.Reader
	at   int64
	open []byte // brackets
	more bool   // values may follow each other, as in lines of JSON
	want byte   // v: a value, e: a value or ], k: a key, f: a key or }, c: a comma or a bracket, 0: the end
}

func newJSON(r io.Reader, at int64) *jsonReader {
	return &jsonReader{r: bufio.NewReaderSize(r, 32<<10), at: at, want: 'v'}
}

// next returns the next token; io.EOF after a whole value.
func (j *jsonReader) next() (token, error) {
	c, err := j.visible()
	if err != nil {
		if errors.Is(err, io.EOF) && j.want != 0 {
			err = io.ErrUnexpectedEOF
		}
		return token{}, err
	}
	if j.want == 'c' && c == ',' {
		j.want = 'v'
		if j.open[len(j.open)-1] == '{' {
			j.want = 'k'
		}
		if c, err = j.visible(); err != nil {
			return token{}, unexpected(err)
		}
	}
	if j.want == 0 && j.more && (c == '{' || c == '[') {
		j.want = 'v'
	}
	t := token{kind: c, at: j.at - 1}
	switch {
	case c == '}' && (j.want == 'f' || j.want == 'c' && j.open[len(j.open)-1] == '{'),
		c == ']' && (j.want == 'e' || j.want == 'c' && j.open[len(j.open)-1] == '['):
		j.open = j.open[:len(j.open)-1]
		j.after()
	case j.want == 'k' || j.want == 'f':
		return j.key(c, t)
	case j.want == 'v' || j.want == 'e':
		return j.value(c, t)
	default:
		return t, j.wrong(c)
	}
	return t, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (j *jsonReader) wrong(c byte) error {
	return fmt.Errorf("%q at byte %d is out of place", c, j.at-1)
}

// after sets what may follow a value.
func (j *jsonReader) after() {
	j.want = 'c'
	if len(j.open) == 0 {
		j.want = 0
	}
}

func (j *jsonReader) key(c byte, t token) (token, error) {
	if c != '"' {
		return t, j.wrong(c)
	}
	t.kind, j.want = 'k', 'v'
	var err error
	if t.text, t.cut, err = j.string(); err != nil {
		return t, unexpected(err)
	}
	if c, err = j.visible(); err != nil {
		return t, unexpected(err)
	}
	if c != ':' {
		return t, j.wrong(c)
	}
	return t, nil
}

func (j *jsonReader) value(c byte, t token) (token, error) {
	var err error
	switch {
	case c == '{' || c == '[':
		if len(j.open) == jsonDepth {
			return t, fmt.Errorf("more than %d brackets in each other", jsonDepth)
		}
		j.open = append(j.open, c)
		j.want = map[byte]byte{'{': 'f', '[': 'e'}[c]
		return t, nil
	case c == '"':
		t.kind = 's'
		t.text, t.cut, err = j.string()
	case c == '-' || c >= '0' && c <= '9':
		t.kind = 'n'
		t.text, err = j.word(c)
		if _, bad := strconv.ParseFloat(t.text, 64); err == nil && errors.Is(bad, strconv.ErrSyntax) {
			err = fmt.Errorf("%q at byte %d is no number", t.text, t.at)
		}
	default:
		t.kind = 'l'
		t.text, err = j.word(c)
		switch t.text {
		case "true", "false", "null", "NaN", "Infinity": // Python writes and reads the last two
		default:
			err = errors.Join(err, j.wrong(c))
		}
	}
	j.after()
	return t, unexpected(err)
}

// visible returns the next byte that is no space.
func (j *jsonReader) visible() (byte, error) {
	for {
		c, err := j.r.ReadByte()
		if err != nil {
			return 0, err
		}
		j.at++
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, nil
		}
	}
}

// word reads a number or literal that begins with c.
func (j *jsonReader) word(c byte) (string, error) {
	b := []byte{c}
	for len(b) < 64 {
		c, err := j.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return string(b), nil
		}
		if err != nil {
			return "", err
		}
		if !isWord(c) && c != '+' && c != '-' && c != '.' {
			return string(b), j.r.UnreadByte()
		}
		j.at++
		b = append(b, c)
	}
	return "", fmt.Errorf("a number of more than 64 digits at byte %d", j.at)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// string reads the rest of a text.
func (j *jsonReader) string() (text string, cut bool, err error) {
	var b []byte
	for {
		c, err := j.r.ReadByte()
		if err != nil {
			return "", false, err
		}
		j.at++
		switch {
		case c == '"':
			if !cut && !utf8.Valid(b) {
				return "", false, fmt.Errorf("the text that ends at byte %d is not UTF-8", j.at)
			}
			return string(b), cut, nil
		case c < ' ':
			return "", false, fmt.Errorf("a control character in a text at byte %d", j.at-1)
		case len(b) >= jsonKeep:
			cut = true
			if c == '\\' {
				_, err = j.escape(nil)
			}
		case c == '\\':
			b, err = j.escape(b)
		default:
			b = append(b, c)
		}
		if err != nil {
			return "", false, err
		}
	}
}

// escape appends what stands after a backslash.
func (j *jsonReader) escape(b []byte) ([]byte, error) {
	c, err := j.r.ReadByte()
	if err != nil {
		return nil, err
	}
	j.at++
	switch c {
	case '"', '\\', '/':
		return append(b, c), nil
	case 'b', 'f', 'n', 'r', 't':
		return append(b, map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c]), nil
	case 'u':
		r, err := j.hex()
		if err != nil {
			return nil, err
		}
		if utf16.IsSurrogate(r) {
			if next, _ := j.r.Peek(2); string(next) == `\u` {
				_, _ = j.r.Discard(2) // they are in the buffer
				j.at += 2
				low, err := j.hex()
				if err != nil {
					return nil, err
				}
				r = utf16.DecodeRune(r, low)
			}
		}
		return utf8.AppendRune(b, r), nil
	}
	return nil, fmt.Errorf("an unknown escape %q at byte %d", c, j.at-1)
}

func (j *jsonReader) hex() (rune, error) {
	var b [4]byte
	if _, err := io.ReadFull(j.r, b[:]); err != nil {
		return 0, err
	}
	j.at += 4
	v, err := strconv.ParseUint(string(b[:]), 16, 16)
	if err != nil {
		return 0, fmt.Errorf("an unknown escape at byte %d", j.at-4)
	}
	return rune(v), nil
}
