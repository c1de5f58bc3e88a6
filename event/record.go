package event

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendRecord appends the event as one flat JSON object: the store's row, a finding's evidence,
// and what `picket events` prints. Every value is a string; "_time" is RFC 3339 with nanoseconds,
// "_msg" the sentence of Describe, "event.id" the identity, "class" the store's stream.
// What is in Extra stands at the end, by name. Bytes that are not UTF-8 come out as U+FFFD, so the
// record is always valid JSON.
func (e *Event) AppendRecord(dst []byte) []byte {
	dst = append(dst, `{"_time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","_msg":`...)
	dst = appendString(dst, e.Describe())
	dst = append(dst, `,"event.id":"`...)
	dst = append(dst, e.ID()...)
	dst = append(dst, `","class":"`...)
	dst = append(dst, e.Kind.Class()...)
	dst = append(dst, '"')
	for i := range catalogue {
		f := &catalogue[i]
		if f.derived || strings.HasPrefix(f.Name, "sigma.") || f.Name == "message" || f.Name == "process.ancestors" {
			continue // another name of net.local and net.remote; the message is _msg, the ancestors the lineage
		}
		v := f.get(e)
		if v.Kind == Absent {
			continue
		}
		if v.Kind == List { // the executable: the invoked path is a field of its own
			v = Value{Kind: Text, Str: v.List[0]}
		}
		dst = append(dst, ',', '"')
		dst = append(dst, f.Name...)
		dst = append(dst, '"', ':')
		switch v.Kind {
		case Integer:
			dst = append(dst, '"')
			dst = strconv.AppendInt(dst, v.Int, 10)
			dst = append(dst, '"')
		case Boolean:
			if v.Int != 0 {
				dst = append(dst, `"true"`...)
			} else {
				dst = append(dst, `"false"`...)
			}
		default:
			dst = appendString(dst, v.Str)
		}
	}
	if e.Process != nil {
		if line := lineage(e.Process); line != "" {
			dst = append(dst, `,"process.lineage":`...)
			dst = appendString(dst, line)
		}
	}
	for _, name := range e.extraNames() {
		dst = append(dst, ',')
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendString(dst, e.Extra[name])
	}
	return append(dst, '}')
}

// extraNames returns the names of Extra in order, without those that a record has anyway.
func (e *Event) extraNames() []string {
	if len(e.Extra) == 0 {
		return nil
	}
	names := make([]string, 0, len(e.Extra))
	for name := range e.Extra {
		if _, known := Lookup(name); !known && name != "process.lineage" && !reserved(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reserved reports whether a member of this name is no field of the event: AppendRecord or the
// store adds it.
func reserved(name string) bool {
	switch name {
	case "_time", "_msg", "event.id", "class", "_stream", "_stream_id":
		return true
	}
	return false
}

// lineage returns the names of the ancestors, nearest first: "sh < llama-server < runc".
func lineage(p *Process) string {
	var b strings.Builder
	for a := range p.Ancestors {
		if b.Len() > 512 {
			break
		}
		if b.Len() > 0 {
			b.WriteString(" < ")
		}
		b.WriteString(a.Name())
	}
	return b.String()
}

// ParseRecord reads one JSON object of fields, under their own or their Sigma names: what
// AppendRecord wrote, or a sample event of a threat. Values are strings, numbers or booleans.
// Names outside the catalogue are kept in Extra.
func ParseRecord(line []byte) (*Event, error) {
	dec := json.NewDecoder(strings.NewReader(string(line)))
	dec.UseNumber()
	raw := map[string]any{}
	if err := dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	e := &Event{}
	names := make([]string, 0, len(raw))
	for name := range raw {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return order(names[i]) < order(names[j]) })
	for _, name := range names {
		var s string
		switch v := raw[name].(type) {
		case string:
			s = v
		case json.Number:
			s = v.String()
		case bool:
			s = strconv.FormatBool(v)
		case nil:
			continue
		default:
			return nil, fmt.Errorf("field %s: want a string, number or boolean", name)
		}
		if err := e.setNamed(name, s); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	if e.Process != nil {
		e.Process.Seal()
	}
	if e.Kind == ActionDone && e.Message == "" { // how it came out stands behind what was done
		said, _ := raw["_msg"].(string)
		if remark, ok := strings.CutPrefix(said, e.describe()+" ["); ok {
			e.Message = strings.TrimSuffix(remark, "]")
		}
	}
	return e, nil
}

// order puts the kind before all, as it says which end of a connection is the source, and flags
// that are derived from other fields last.
func order(name string) string {
	switch name {
	case "event.kind":
		return "0"
	case "ai.workload.root", "ai.workload.member", "ai.workload.child", "ai.model.stranger":
		return "~" + name
	}
	return "1" + name
}

func (e *Event) setNamed(name, s string) (err error) {
	switch name {
	case "_time":
		e.Time, err = time.Parse(time.RFC3339Nano, s)
		return err
	case "_msg":
		if e.Kind == SensorHealth {
			e.Message = s
		}
		return nil
	case "event.id", "class":
		return nil
	case "process.lineage":
		e.process().setAncestors(s)
	}
	if f, ok := Lookup(name); ok {
		return f.set(e, s)
	}
	if e.Extra == nil {
		e.Extra = map[string]string{}
	}
	e.Extra[name] = s
	return nil
}

// Describe says in one line what happened. A Message of an event that is no SensorHealth is added
// in brackets.
func (e *Event) Describe() string {
	if e.Message != "" && e.Kind != SensorHealth {
		return e.describe() + " [" + e.Message + "]"
	}
	return e.describe()
}

func (e *Event) describe() string {
	object := e.File.Path
	if m := e.File.Model; m != nil && !m.Dataset && m.Format != "" {
		object = "weights of " + m.Name + ": " + object
	}
	who := "a process"
	if p := e.Process; p != nil {
		who = p.Name() + "[" + strconv.FormatUint(uint64(p.PID), 10) + "]"
	}
	switch e.Kind {
	case ProcessStart:
		return who + " started: " + e.Process.Cmdline
	case ProcessSeen:
		return who + " was running: " + e.Process.Cmdline
	case ProcessFork:
		return who + " forked"
	case ProcessExit:
		if e.Process.ExitSignal != 0 {
			said := who + " was ended by signal " + strconv.Itoa(int(e.Process.ExitSignal))
			if e.Process.CoreDumped {
				said += ", and its memory was dumped"
			}
			return said
		}
		return who + " ended with status " + strconv.Itoa(int(e.Process.ExitCode))
	case FileRead:
		return who + " read " + object
	case FileCreate:
		return who + " created " + object
	case FileWrite:
		return who + " opened for writing " + object
	case FileRename:
		return who + " renamed " + e.File.Old + " to " + e.File.Path
	case FileDelete:
		return who + " deleted " + object
	case FileChmod:
		return who + " changed the mode of " + e.File.Path + " to " + strconv.FormatUint(uint64(e.File.Mode&0o7777), 8)
	case FileLink, FileMkdir, FileTruncate, FileChown, FileAttr, FileMap, FileIO:
		return who + " " + e.File.describe(e.Kind, object)
	case NetConnect, NetListen, NetAccept, NetSend, NetReceive, NetBind, NetUnix, NetDNS, NetTLS:
		return who + e.describeNet()
	case SensorHealth:
		return e.Message
	case PolicyViolation:
		return who + " " + e.Breach()
	case ActionDone:
		return e.Action.describe()
	case ProfileDeviation:
		if e.GPU != nil {
			who = e.GPU.label()
		}
		return who + e.Deviation.describe(e)
	case ModelSeen:
		if e.Artifact != nil {
			return who + " " + e.Artifact.describe(object)
		}
	}
	switch e.Kind {
	case DeviceOpen:
		return who + " opened the device " + object
	case DeviceControl:
		return who + " controlled the device " + object + e.times()
	case ProcessCapability:
		if e.Call != nil {
			return who + " used " + e.Call.Capability + e.times()
		}
	}
	return e.describeRest(who)
}

// describeRest says what happened by the part of the event that tells of it.
func (e *Event) describeRest(who string) string {
	switch {
	case e.Principal != nil:
		return e.Principal.describe(e.Request)
	case e.Drift != nil:
		return e.Drift.describe(e.Request)
	case e.Request != nil:
		return e.Request.describe(who) + e.times()
	case e.Service != nil:
		return e.Service.describe(who)
	case e.GPU != nil:
		if e.Process == nil || e.Process.PID == 0 {
			who = ""
		}
		return e.GPU.describe(who)
	case e.Call != nil:
		return e.Call.describe(who, e.Errno)
	case e.CUDA != nil:
		return e.CUDA.describe(who)
	case e.Kubernetes != nil:
		return e.Kubernetes.describe() + e.times()
	case e.Python != nil:
		return e.Python.describe(who) + e.times()
	}
	return ""
}

// describeNet says what a process did with the network.
func (e *Event) describeNet() string {
	switch e.Kind {
	case NetConnect:
		return " connected to " + e.Net.Remote.String() + e.times()
	case NetListen:
		return " listens on " + e.Net.Local.String()
	case NetAccept:
		return " accepted from " + e.Net.Remote.String() + e.times()
	case NetSend:
		return " sent " + strconv.FormatUint(e.Net.BytesOut, 10) + " bytes to " + e.Net.Remote.String()
	case NetReceive:
		return " received " + strconv.FormatUint(e.Net.BytesIn, 10) + " bytes from " + e.Net.Remote.String()
	case NetBind:
		return " took the port " + e.Net.Local.String() + e.times()
	case NetUnix:
		return " connected to " + e.Net.Unix.describe() + e.times()
	case NetDNS:
		return e.Net.DNS.describe()
	case NetTLS:
		return " began TLS with " + e.Net.TLS.describe(e.Net.Remote)
	}
	return ""
}

// times is the end of a sentence about an event that stands for several.
func (e *Event) times() string {
	if e.Count < 2 {
		return ""
	}
	return ", " + strconv.FormatUint(uint64(e.Count), 10) + " times"
}

const hex = "0123456789abcdef"

// appendString appends s as a JSON string. It escapes control characters, quotes, backslashes and
// the characters that HTML gives a meaning, and replaces what is not UTF-8.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			if c == '"' || c == '\\' {
				dst = append(dst, '\\', c)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0x2028 || r == 0x2029 {
			dst = append(dst, s[start:i]...)
			if n == 1 {
				dst = append(dst, `\ufffd`...)
			} else {
				dst = append(dst, '\\', 'u', '2', '0', '2', hex[r&15])
			}
			start = i + n
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
