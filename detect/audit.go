package detect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of audit events whose records are being gathered.
const (
	maxJoining     = 64      // events that wait at a time
	maxJoinRecords = 256     // of one event
	maxJoinBytes   = 4 << 20 // of all that wait
	joinTime       = 2 * time.Second
)

// auditFormat is the format whose events may come in several lines.
const auditFormat = "auditd"

// joinedTypes are the records that the kernel writes about one system call, under one serial number.
var joinedTypes = []string{"SYSCALL", "EXECVE", "PATH", "CWD", "PROCTITLE", "SOCKADDR"}

// auditJoin makes one event of the audit records with one serial number that stand in lines of their
// own. Events leave it in the order in which they began; lines of other kinds keep their place
// among them.
type auditJoin struct {
	queue []*auditEvent
	open  map[string]*auditEvent
	bytes int
	now   time.Time // the newest time in the records
}

// auditEvent is an event that waits, or a line that waits for those before it.
type auditEvent struct {
	serial  string
	at      time.Time
	line    int // of the first record
	text    []byte
	records []auditRecord
	whole   bool
	bytes   int
}

type auditRecord struct {
	kind   string
	fields map[string]json.RawMessage
}

// add takes a line, which must stay as it is during the call, and calls emit with what is whole.
func (j *auditJoin) add(n int, line []byte, emit func(line int, record []byte)) {
	kind, serial, fields := auditRecordOf(line)
	e := j.open[serial]
	switch {
	case kind == "EOE" && serial != "": // the end of an event is none
		if e != nil {
			e.whole = true
		}
	case serial == "" || !slices.Contains(joinedTypes, kind):
		j.push(&auditEvent{line: n, text: slices.Clone(line), whole: true, bytes: len(line)})
	default:
		if e == nil {
			e = &auditEvent{serial: serial, line: n, text: slices.Clone(line)}
			e.at, _ = parseTime(serial[strings.IndexByte(serial, ' ')+1:])
			if e.at.After(j.now) {
				j.now = e.at
			}
			j.push(e)
			if j.open == nil {
				j.open = map[string]*auditEvent{}
			}
			j.open[serial] = e
		}
		e.records = append(e.records, auditRecord{kind, fields})
		e.bytes += len(line)
		j.bytes += len(line)
		e.whole = kind == "PROCTITLE" || len(e.records) >= maxJoinRecords // the title comes last
	}
	if e != nil && e.whole {
		delete(j.open, e.serial)
	}
	for len(j.queue) > 0 && (j.queue[0].whole || len(j.open) > maxJoining || j.bytes > maxJoinBytes || j.now.Sub(j.queue[0].at) > joinTime) {
		j.pop(emit)
	}
}

// flush calls emit with all that waits.
func (j *auditJoin) flush(emit func(line int, record []byte)) {
	for len(j.queue) > 0 {
		j.pop(emit)
	}
}

func (j *auditJoin) push(e *auditEvent) {
	j.queue = append(j.queue, e)
	j.bytes += e.bytes
}

func (j *auditJoin) pop(emit func(line int, record []byte)) {
	e := j.queue[0]
	j.queue[0] = nil
	j.queue = j.queue[1:]
	j.bytes -= e.bytes
	if j.open[e.serial] == e {
		delete(j.open, e.serial)
	}
	emit(e.line, e.record())
}

// record returns the event as one object: the records below their types. One that is alone stays as
// it stood.
func (e *auditEvent) record() []byte {
	if len(e.records) < 2 {
		return e.text
	}
	out := map[string]any{}
	var paths []map[string]json.RawMessage
	for _, r := range e.records {
		if node, ok := r.fields["node"]; ok {
			out["node"] = node
		}
		if r.kind == "PATH" {
			paths = append(paths, r.fields)
			continue
		}
		have, _ := out[r.kind].(map[string]json.RawMessage)
		if have == nil {
			out[r.kind] = r.fields
			continue
		}
		for name, v := range r.fields { // a long list of arguments takes several records
			if _, taken := have[name]; !taken {
				have[name] = v
			}
		}
	}
	if len(paths) > 0 {
		out["PATH"] = paths
	}
	if call, ok := out["SYSCALL"].(map[string]json.RawMessage); ok && out["EXECVE"] == nil {
		for i := range 4 { // registers: where a program is started, the arguments go by these names
			if v, ok := call[fmt.Sprint("a", i)]; ok {
				out[fmt.Sprint("a", i)] = v
			}
		}
	}
	out["ID"] = e.serial[strings.IndexByte(e.serial, ' ')+1:]
	b, err := json.Marshal(out)
	if err != nil {
		return e.text // it was JSON when it was read
	}
	return b
}

// auditRecordOf returns what tells where a record belongs: its type, and host and serial number of
// the event, "" where it has none.
func auditRecordOf(line []byte) (kind, serial string, fields map[string]json.RawMessage) {
	if json.Unmarshal(line, &fields) != nil {
		return "", "", nil
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(fields[name], &s) // of another kind it is none
		return s
	}
	kind = text("type")
	id := cmp.Or(text("msg"), text("ID"))
	id, _ = strings.CutPrefix(id, "audit(")
	id, _, _ = strings.Cut(id, ")")
	seconds, number, ok := strings.Cut(id, ":")
	if kind == "" || !ok || !digits(strings.Replace(seconds, ".", "", 1)) || !digits(number) {
		return kind, "", nil
	}
	return kind, text("node") + " " + id, fields
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && len(s) <= 20
}
