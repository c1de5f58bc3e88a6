// Package stream carries records from agents to the server so that what was accepted is kept.
//
// The Hub, in the server, is an embedded NATS server whose JetStream is the write-ahead log of all
// that agents say. The Agent writes each record to a spool on its own disk, sends it, and forgets
// it when the hub has it: a record survives the end of either program, and of the way between them.
// Both sides prove who they are with certificates of the CA that the server makes at first start.
//
// Delivery is at least once. Message ids derive from content, so that the hub drops what an agent
// sends twice within its window, and whoever consumes drops the rest by the ids of events and findings.
package stream

import (
	"errors"
	"fmt"
	"strings"
)

// Subjects: the prefix, then the agent's name.
const (
	subjectEvents    = "picket.ev."
	subjectFindings  = "picket.fi."
	subjectHeartbeat = "picket.hb."
	subjectCommand   = "picket.cmd."

	streamEvents   = "EVENTS"
	streamFindings = "FINDINGS"
)

// MaxPayload is the size in bytes of the largest record.
const MaxPayload = 4 << 20

// Headers of a message beside its id.
const headerCount = "Picket-Count" // how many events it holds

var (
	// ErrTooLarge says that a record is larger than MaxPayload.
	ErrTooLarge = errors.New("record is too large to send")
	// ErrAway says that an agent is not connected.
	ErrAway = errors.New("the agent is not connected")
	// ErrClosed says that an agent was closed.
	ErrClosed = errors.New("stream is closed")
)

// checkName refuses names that have a meaning in a subject.
func checkName(name string) error {
	if name == "" || len(name) > 200 {
		return fmt.Errorf("agent name %q: want 1 to 200 letters, digits, - or _", name)
	}
	bad := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if bad >= 0 {
		return fmt.Errorf("agent name %q: want only letters, digits, - and _", name)
	}
	return nil
}
