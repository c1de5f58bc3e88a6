package detect

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"picket/event"
)

// template is a rule's own sentence, as text and names in turn.
type template []struct{ text, name string }

// phrases are the parts of a sentence that a template may name beside the fields of events.
var phrases = map[string]func(*event.Event) string{
	"who":    func(e *event.Event) string { return who(e.Process) },
	"where":  where,
	"parent": func(e *event.Event) string { return parentOf(e.Process) },
	"model":  func(e *event.Event) string { return modelOf(e.File.Model) },
	"remote": func(e *event.Event) string { return endpoint(e.Net.Remote) },
	"bytes":  func(e *event.Event) string { return size(e.Net.BytesOut) },
	"breach": func(e *event.Event) string { return clean(e.Breach(), 320) },
}

// summaryError is a fault of a rule's custom field picket.
type summaryError struct {
	line, col int
	msg, hint string
}

// summaryOf reads the custom field picket of a rule: {summary: a sentence, playbook: a name}.
func summaryOf(custom map[string]*yaml.Node) (t template, playbook string, err *summaryError) {
	n := custom["picket"]
	if n == nil {
		return nil, "", nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, "", &summaryError{n.Line, n.Column, "picket is not a mapping", "it may hold summary and playbook"}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "summary":
			var msg string
			if t, msg = parseTemplate(val.Value); msg != "" {
				return nil, "", &summaryError{val.Line, val.Column, msg, "name a field, or who, where, parent, model, remote, bytes or breach"}
			}
		case "playbook":
			playbook = val.Value
		default:
			return nil, "", &summaryError{key.Line, key.Column, fmt.Sprintf("picket.%s is not known", key.Value), "it may hold summary and playbook"}
		}
	}
	return t, playbook, nil
}

func parseTemplate(s string) (t template, problem string) {
	for s != "" {
		before, rest, found := strings.Cut(s, "${")
		part := struct{ text, name string }{text: before}
		if found {
			name, after, closed := strings.Cut(rest, "}")
			if !closed {
				return nil, "${ is not closed by }"
			}
			if _, ok := event.Lookup(name); !ok && phrases[name] == nil {
				return nil, fmt.Sprintf("there is no field %q for the summary", name)
			}
			part.name, rest = name, after
		}
		t, s = append(t, part), rest
	}
	return t, ""
}

func (t template) render(e *event.Event) string {
	var b strings.Builder
	for _, part := range t {
		b.WriteString(part.text)
		switch f, ok := event.Lookup(part.name); {
		case part.name == "":
		case phrases[part.name] != nil:
			b.WriteString(phrases[part.name](e))
		case ok:
			b.WriteString(clean(e.Value(f.Field).String(), 120))
		}
	}
	return strings.TrimSuffix(b.String(), ".")
}

// clause says what happened, without the full stop.
func (r *rule) clause(e *event.Event) string {
	if r.summary != nil {
		return r.summary.render(e)
	}
	actor := who(e.Process) + " " + where(e)
	switch e.Kind {
	case event.ProcessStart, event.ProcessSeen:
		return actor + " was started by " + parentOf(e.Process) + ": " + clean(e.Process.Cmdline, 160)
	case event.ProcessExit:
		return actor + " ended"
	case event.FileRead:
		return actor + " read " + fileOf(e)
	case event.FileCreate:
		return actor + " created " + fileOf(e)
	case event.FileWrite:
		return actor + " opened for writing " + fileOf(e)
	case event.FileRename:
		return actor + " renamed " + clean(e.File.Old, 160) + " to " + fileOf(e)
	case event.FileDelete:
		return actor + " deleted " + fileOf(e)
	case event.FileChmod:
		return actor + " changed the permissions of " + fileOf(e)
	case event.FileLink:
		return actor + " made the link " + fileOf(e) + " to " + clean(e.File.Old, 160)
	case event.FileMkdir:
		return actor + " made the directory " + fileOf(e)
	case event.FileTruncate:
		return actor + " cut " + fileOf(e)
	case event.FileChown:
		return actor + " changed the owner of " + fileOf(e)
	case event.FileAttr:
		return actor + " changed the attribute " + clean(e.File.Attribute, 80) + " of " + fileOf(e)
	case event.FileMap:
		return actor + " mapped " + fileOf(e) + " (" + e.File.Access.String() + ")"
	case event.FileIO:
		return actor + " read " + size(e.File.BytesRead) + " and wrote " + size(e.File.BytesWritten) + " of " + fileOf(e)
	case event.NetConnect:
		return actor + " connected to " + endpoint(e.Net.Remote)
	case event.NetAccept:
		return actor + " accepted a connection from " + endpoint(e.Net.Remote)
	case event.NetListen:
		return actor + " listens on " + endpoint(e.Net.Local)
	case event.NetSend:
		return actor + " sent " + size(e.Net.BytesOut) + " to " + endpoint(e.Net.Remote)
	case event.NetReceive:
		return actor + " received " + size(e.Net.BytesIn) + " from " + endpoint(e.Net.Remote)
	case event.NetBind:
		return actor + " took the port " + endpoint(e.Net.Local)
	case event.NetUnix:
		if u := e.Net.Unix; u != nil {
			return actor + " connected to the socket " + clean(u.Path, 160)
		}
	case event.PolicyViolation:
		return actor + " " + clean(e.Breach(), 320)
	case event.ModelSeen:
		if e.Artifact != nil {
			return actor + " " + seenIn(e.Artifact) + fileOf(e) + ", which is " + clean(e.Artifact.Verdict, 40)
		}
	}
	if t := e.Net.TLS; e.Kind == event.NetTLS && t != nil {
		return actor + " began TLS with " + clean(cmp.Or(t.ServerName, endpoint(e.Net.Remote)), 160)
	}
	if d := e.Net.DNS; e.Kind == event.NetDNS && d != nil {
		return actor + " looked up " + clean(d.Name, 160)
	}
	if e.Request != nil || e.Service != nil {
		return clean(e.Describe(), 320) + " " + where(e)
	}
	if e.Deviation != nil || e.GPU != nil || e.Kubernetes != nil || e.Drift != nil {
		return clean(e.Describe(), 320)
	}
	if e.CUDA != nil || e.Python != nil {
		return actor + ": " + clean(e.Describe(), 320)
	}
	if e.Call != nil {
		return actor + " called " + e.Call.Name + aboutCall(e)
	}
	if e.Process != nil && e.Process.User != "" {
		return r.info.Title + ", by " + clean(e.Process.User, 80) + " " + where(e)
	}
	return r.info.Title + " " + where(e)
}

func who(p *event.Process) string {
	if p == nil {
		return "a process"
	}
	name := p.Name()
	switch called := lastPart(p.Invoked); {
	case p.Invoked == "/proc/self/exe" || strings.HasPrefix(p.Invoked, "/proc/self/fd/"): // a busybox shell and its applets
		if first, _, _ := strings.Cut(p.Cmdline, " "); lastPart(first) != "" {
			name = lastPart(first)
		}
	case called != "":
		name = called // tar, where the executable is busybox
	}
	if name = clean(name, 40); name == "" {
		name = "a process"
	}
	if p.PID == 0 {
		return name // an event from elsewhere
	}
	return fmt.Sprintf("%s (pid %d)", name, p.PID)
}

// seenIn is what a process did with a model file.
func seenIn(a *event.Artifact) string {
	if a.Use == event.UseWritten {
		return "wrote "
	}
	return "read "
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func parentOf(p *event.Process) string {
	if p == nil || p.Parent == nil {
		return "an unknown parent"
	}
	return who(p.Parent)
}

func where(e *event.Event) string {
	var parts []string
	if p := e.Process; p != nil {
		if p.Container != nil && p.Container.ID != "" {
			parts = append(parts, "in container "+shortID(p.Container.ID))
		}
		if w := p.Workload; w != nil && w.Name != "" {
			parts = append(parts, "of the "+workloadOf(w))
		}
	}
	if len(parts) == 0 && e.Host == "" {
		return "on an unknown host" // of a recording that does not say
	}
	if len(parts) == 0 {
		return "on host " + clean(e.Host, 80)
	}
	return strings.Join(parts, " ")
}

func workloadOf(w *event.Workload) string {
	noun := "AI workload "
	switch w.Kind {
	case event.Inference:
		noun = "inference server "
	case event.Training:
		noun = "training job "
	case event.Notebook:
		noun = "notebook "
	case event.Agent:
		noun = "agent "
	}
	name := clean(w.Name, 60)
	if w.Engine != "" && w.Engine != w.Name {
		name += " (" + clean(w.Engine, 30) + ")"
	}
	return noun + name
}

func modelOf(m *event.Model) string {
	if m == nil {
		return "no known model"
	}
	noun := "model "
	if m.Dataset {
		noun = "dataset "
	}
	return noun + clean(m.Name, 60)
}

func fileOf(e *event.Event) string {
	path := clean(e.File.Path, 200)
	if m := e.File.Model; m != nil {
		return path + " of " + modelOf(m)
	}
	return path
}

func endpoint(a netip.AddrPort) string {
	if !a.IsValid() {
		return "an unknown address"
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

func size(n uint64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 5 {
		f, unit = f/1000, unit+1
	}
	if unit == 0 {
		return strconv.FormatUint(n, 10) + " bytes"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + [...]string{"", "kB", "MB", "GB", "TB", "PB"}[unit]
}

// shortID cuts a runtime's 64 hex digits to the 12 that people know a container by.
func shortID(id string) string {
	if len(id) == 64 {
		return id[:12]
	}
	return clean(id, 64)
}

// clean makes text that an attacker may have chosen fit for a sentence: no control, formatting
// or broken characters, at most limit runes.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return b.String()
}
