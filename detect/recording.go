package detect

import (
	"errors"
	"fmt"
	"io"

	"picket/event"
	"picket/sigma"
)

// Bounds of a recording that is read into memory.
const (
	maxRecordEvents = 2_000_000
	maxRecordFaults = 100
)

// ReadRecording reads Picket's records, one JSON object a line, as picket hunt prints them and
// .events files hold them, plain or compressed with gzip. Lines that are no records cost themselves
// only; they are told of in a sigma.Errors, the first hundred of them.
func ReadRecording(file string, r io.Reader) ([]*event.Event, error) {
	in, err := newLines(file, r)
	if err != nil {
		return nil, err
	}
	var events []*event.Event
	var faults sigma.Errors
	add := func(f *sigma.Error) {
		if len(faults) < maxRecordFaults {
			faults = append(faults, f)
		}
	}
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if wrong, ok := errors.AsType[*sigma.Error](err); ok {
			add(wrong)
			continue
		}
		if err != nil {
			return events, errors.Join(errorsOf(faults), err)
		}
		if remark(line) {
			continue
		}
		if len(events) == maxRecordEvents {
			add(fault(file, in.n, 1, fmt.Sprintf("holds more than %d events", maxRecordEvents), "the rest is not read"))
			break
		}
		e, wrong := ownEvent(file, in.n, line, len(events))
		if wrong != nil {
			add(wrong)
			continue
		}
		for p := e.Process; p != nil; p = p.Parent {
			p.Seal()
		}
		events = append(events, e)
	}
	return events, errorsOf(faults)
}

// errorsOf returns faults as an error, nil where there is none.
func errorsOf(faults sigma.Errors) error {
	if len(faults) == 0 {
		return nil
	}
	return faults
}
