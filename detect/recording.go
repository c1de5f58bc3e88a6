package detect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"picket/event"
	"picket/sigma"
)

// Bounds of a recording that is read into memory.
const (
	maxRecordLine   = 1 << 20
	maxRecordEvents = 2_000_000
	maxRecordFaults = 100
)

// ReadRecording reads Picket's records, one JSON object a line, as picket hunt prints them and
// .events files hold them. Empty lines and those that begin with # are passed over. Lines that are
// no records cost themselves only; they are told of in a sigma.Errors, the first hundred of them.
func ReadRecording(file string, r io.Reader) ([]*event.Event, error) {
	var events []*event.Event
	var faults sigma.Errors
	add := func(line int, msg, hint string) {
		if len(faults) < maxRecordFaults {
			faults = append(faults, fault(file, line, 1, msg, hint))
		}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRecordLine)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(events) == maxRecordEvents {
			add(n, fmt.Sprintf("holds more than %d events", maxRecordEvents), "the rest is not read")
			break
		}
		e, err := event.ParseRecord(line)
		switch {
		case err != nil:
			add(n, err.Error(), "")
		case e.Kind == event.KindNone:
			add(n, "has no event.kind", "such as process.start, file.read or net.send")
		default:
			sampleDefaults(e, len(events))
			for p := e.Process; p != nil; p = p.Parent {
				p.Seal()
			}
			events = append(events, e)
		}
	}
	if err := lines.Err(); err != nil {
		hint := ""
		if errors.Is(err, bufio.ErrTooLong) {
			hint = fmt.Sprintf("a line is longer than %d bytes; the rest is not read", maxRecordLine)
		}
		add(n+1, "cannot be read: "+err.Error(), hint)
	}
	if len(faults) > 0 {
		return events, faults
	}
	return events, nil
}
