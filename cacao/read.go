package cacao

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest document that is read, in bytes.
const MaxSize = 10 << 20

// maxDepth bounds how deep values nest, so that no document can ask for an endless stack.
const maxDepth = 64

// SyntaxError says where a document is no JSON that two readers would read alike.
type SyntaxError struct {
	Line, Column int
	Pointer      string // the place as a JSON pointer, where it is known
	Message      string
}

func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("%d:%d: ", e.Line, e.Column)
	if e.Pointer != "" {
		at += e.Pointer + ": "
	}
	return at + e.Message
}

// object is a JSON object as it was read: what we do not know stays in it.
type object = map[string]any

// reader builds the tree of a document. Numbers stay as they are written.
type reader struct {
	data []byte
	dec  *json.Decoder
	path []string
}

// readTree reads one JSON document. Names that stand twice in an object, text that is no Unicode and
// nesting without end are refused: readers differ about them, and a signature covers what one reads.
func readTree(data []byte) (any, error) {
	r := &reader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if len(data) > MaxSize {
		return nil, &SyntaxError{Line: 1, Column: 1, Message: fmt.Sprintf("the document has %d bytes, at most %d are read", len(data), MaxSize)}
	}
	if at := badText(data); at >= 0 {
		return nil, r.errorAt(at, "text that is no Unicode (a broken UTF-8 sequence or half a surrogate pair): write the file as UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		at := len(data)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = max(int(syntax.Offset)-1, 0)
		}
		return nil, r.errorAt(at, "no JSON: "+err.Error())
	}
	r.dec.UseNumber()
	return r.value()
}

func (r *reader) errorAt(at int, message string) error {
	before := r.data[:min(at, len(r.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	pointer := ""
	for _, p := range r.path {
		pointer = join(pointer, p)
	}
	return &SyntaxError{Line: line, Column: column, Pointer: pointer, Message: message}
}

func (r *reader) value() (any, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, r.errorAt(int(r.dec.InputOffset()), "no JSON: "+err.Error())
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if len(r.path) >= maxDepth {
		return nil, r.errorAt(int(r.dec.InputOffset())-1, fmt.Sprintf("nested deeper than %d levels", maxDepth))
	}
	if delim == '[' {
		return r.array()
	}
	return r.object()
}

func (r *reader) object() (any, error) {
	obj := object{}
	for r.dec.More() {
		tok, err := r.dec.Token()
		if err != nil {
			return nil, r.errorAt(int(r.dec.InputOffset()), "no JSON: "+err.Error())
		}
		key, _ := tok.(string)
		r.path = append(r.path, key)
		if _, twice := obj[key]; twice {
			return nil, r.errorAt(int(r.dec.InputOffset())-len(key)-2, fmt.Sprintf("the name %q stands twice in one object: keep one", key))
		}
		if obj[key], err = r.value(); err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
	}
	_, err := r.dec.Token()
	return obj, err
}

func (r *reader) array() (any, error) {
	list := []any{}
	for r.dec.More() {
		r.path = append(r.path, strconv.Itoa(len(list)))
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		r.path = r.path[:len(r.path)-1]
	}
	_, err := r.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return list, err
}

// badText returns where data is no UTF-8 or escapes half a surrogate pair, or -1.
func badText(data []byte) int {
	for i := 0; i < len(data); {
		if data[i] == '\\' && i+1 < len(data) {
			n, ok := escape(data[i:])
			if !ok {
				return i
			}
			i += n
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// escape returns how long the escape is that b begins with, and whether it stands for text.
func escape(b []byte) (int, bool) {
	if b[1] != 'u' {
		return 2, true
	}
	switch hi := unit(b); {
	case hi >= 0xdc00 && hi < 0xe000:
		return 0, false
	case hi >= 0xd800 && hi < 0xdc00:
		if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
			return 0, false
		}
		lo := unit(b[6:])
		return 12, lo >= 0xdc00 && lo < 0xe000
	}
	return 2, true
}

// unit reads the four hex digits of the escape that b begins with, or returns -1: the JSON reader says why.
func unit(b []byte) int {
	if len(b) < 6 {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// join adds one step to a JSON pointer.
func join(pointer string, step any) string {
	if s, ok := step.(string); ok {
		return pointer + "/" + pointerEscape.Replace(s)
	}
	return fmt.Sprintf("%s/%v", pointer, step)
}
