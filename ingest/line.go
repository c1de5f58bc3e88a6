package ingest

import (
	"bytes"
	"encoding/json"
	"strings"
)

const maxLine = 64 << 10

// Verdict says what a line was.
type Verdict uint8

// The verdicts on a line.
const (
	Other   Verdict = iota // no request: what servers say besides
	Request                // a request
	Broken                 // begins like a request, and is none
)

// unwrap takes off what a container's runtime wrote around a line: CRI's time, stream and tag, or
// Docker's JSON. part is true where the line goes on in the next of the same stream, standard output or
// error.
func unwrap(line []byte) (text []byte, stream int, part bool) {
	switch {
	case len(line) > 1 && line[0] == '{' && bytes.HasPrefix(line, []byte(`{"log":"`)):
		var d struct {
			Log    string `json:"log"`
			Stream string `json:"stream"`
		}
		if json.Unmarshal(line, &d) != nil {
			return line, 0, false
		}
		rest, whole := strings.CutSuffix(d.Log, "\n")
		return []byte(rest), streamOf(d.Stream), !whole
	case len(line) > 20 && line[4] == '-' && line[10] == 'T':
		when, rest, _ := bytes.Cut(line, []byte(" "))
		stream, rest, _ := bytes.Cut(rest, []byte(" "))
		tag, rest, ok := bytes.Cut(rest, []byte(" "))
		if !ok || len(when) > 40 || string(stream) != "stdout" && string(stream) != "stderr" || len(tag) == 0 || tag[0] != 'F' && tag[0] != 'P' {
			return line, 0, false
		}
		return rest, streamOf(string(stream)), tag[0] == 'P'
	}
	return line, 0, false
}

// streamOf is the place of what a runtime keeps of a stream.
func streamOf(name string) int {
	if name == "stderr" {
		return 1
	}
	return 0
}

// plainText takes out the colours that servers give their lines.
func plainText(b []byte) string {
	if bytes.IndexByte(b, 0x1b) < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b || i+1 >= len(b) || b[i+1] != '[' {
			out = append(out, b[i])
			continue
		}
		j := i + 2
		for j < len(b) && (b[j] == ';' || b[j] >= '0' && b[j] <= '9') {
			j++
		}
		if j < len(b) && b[j] == 'm' {
			i = j
		} else {
			out = append(out, b[i])
		}
	}
	return string(out)
}
