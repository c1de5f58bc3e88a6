package sink

import (
	"encoding/json"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"picket/event"
)

// object is an OCSF object. JSON writes its keys in order, so equal objects are equal bytes.
type object map[string]any

// text sets a text that is not empty.
func (o object) text(key, s string) {
	if s != "" {
		o[key] = s
	}
}

// list sets a list that is not empty.
func (o object) list(key string, items []any) {
	if len(items) > 0 {
		o[key] = items
	}
}

// sub sets an object that is not empty.
func (o object) sub(key string, v object) {
	if len(v) > 0 {
		o[key] = v
	}
}

// writer makes texts fit to be written.
type writer struct {
	limit int // bytes of a text that stay
	cut   int // how many texts were cut
}

// text makes s valid UTF-8, and cuts it visibly where it is too long.
func (w *writer) text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= w.limit {
		return s
	}
	end := w.limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	w.cut++
	return s[:end] + "…[truncated " + strconv.Itoa(len(s)-end) + " bytes]"
}

func (w *writer) device(host string) object {
	if host == "" {
		host = "unknown"
	}
	host = w.text(host)
	return object{"hostname": host, "name": host, "uid": host, "type_id": 1, "type": "Server"}
}

func analytic(w *writer, uid, name, category string) object {
	o := object{"type_id": 1, "type": "Rule"}
	o.text("uid", w.text(uid))
	o.text("name", w.text(name))
	o.text("category", w.text(category))
	if uid == "" && name == "" {
		o["name"] = "unknown"
	}
	return o
}

// tactics maps the names of tactics to ids, first ATT&CK's, then ATLAS's.
var tactics = map[string][2]string{
	"reconnaissance": {"TA0043", "AML.TA0002"}, "resource-development": {"TA0042", "AML.TA0003"},
	"initial-access": {"TA0001", "AML.TA0004"}, "ai-model-access": {"", "AML.TA0000"},
	"execution": {"TA0002", "AML.TA0005"}, "persistence": {"TA0003", "AML.TA0006"},
	"privilege-escalation": {"TA0004", "AML.TA0012"}, "defense-evasion": {"TA0005", "AML.TA0007"},
	"stealth": {"TA0005", "AML.TA0007"}, "defense-impairment": {"TA0112", "AML.TA0007"},
	"credential-access": {"TA0006", "AML.TA0013"}, "discovery": {"TA0007", "AML.TA0008"},
	"lateral-movement": {"TA0008", "AML.TA0015"}, "collection": {"TA0009", "AML.TA0009"},
	"ai-attack-staging": {"", "AML.TA0001"}, "command-and-control": {"TA0011", "AML.TA0014"},
	"exfiltration": {"TA0010", "AML.TA0010"}, "impact": {"TA0040", "AML.TA0011"},
}

func attacks(w *writer, techniques []event.Technique) []any {
	var out []any
	for _, t := range techniques[:min(len(techniques), maxList)] {
		column, version := 0, attackVersion
		if t.Framework == "atlas" {
			column, version = 1, atlasVersion
		}
		o := object{"version": version}
		if t.Tactic != "" {
			tactic := object{"name": w.text(title(t.Tactic))}
			tactic.text("uid", tactics[t.Tactic][column])
			o["tactic"] = tactic
		}
		id, name := w.text(t.ID), w.text(t.Name)
		// T1059.004 and AML.T0018.002 are parts of T1059 and AML.T0018.
		main := id
		if dot := strings.LastIndexByte(id, '.'); dot > len("AML") {
			main = id[:dot]
		}
		technique, sub := object{}, object{}
		technique.text("uid", main)
		if main == id {
			technique.text("name", name)
		} else {
			sub["uid"] = id
			sub.text("name", name)
		}
		o.sub("technique", technique)
		o.sub("sub_technique", sub)
		if len(o) > 1 {
			out = append(out, o)
		}
	}
	return out
}

// title writes a tactic's name as the frameworks do: Command and Control.
func title(tactic string) string {
	words := strings.Split(tactic, "-")
	for i, word := range words {
		switch {
		case word == "ai":
			words[i] = "AI"
		case word != "and" && word != "":
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, " ")
}

// process writes a process with its ancestors: nodes are the process, then its ancestors, nearest first.
func (w *writer) process(nodes []event.ProcessNode, c *event.Container) object {
	o := w.node(nodes[0], c)
	byUID := map[string]event.ProcessNode{}
	for _, n := range nodes[1:] {
		byUID[n.UID] = n
	}
	if p, ok := byUID[nodes[0].ParentUID]; ok {
		o["parent_process"] = w.node(p, nil)
	}
	var ancestry []any
	for n, ok := byUID[nodes[0].ParentUID]; ok && len(ancestry) < 16; n, ok = byUID[n.ParentUID] {
		a := object{"pid": n.PID}
		a.text("uid", w.text(n.UID))
		a.text("name", w.text(n.Name))
		a.text("cmd_line", w.text(n.Cmdline))
		ancestry = append(ancestry, a)
		delete(byUID, n.UID) // a ring of parents, which only broken input has, ends
	}
	o.list("ancestry", ancestry)
	return o
}

func (w *writer) node(n event.ProcessNode, c *event.Container) object {
	o := object{"pid": n.PID}
	o.text("uid", w.text(n.UID))
	o.text("name", w.text(n.Name))
	o.text("path", w.text(n.Exe))
	o.text("cmd_line", w.text(n.Cmdline))
	if !n.Start.IsZero() {
		o["created_time"] = millis(n.Start)
	}
	if n.Exe != "" {
		o["file"] = w.file(n.Exe, 8, "Executable File")
	}
	if n.User != "" {
		o["user"] = object{"name": w.text(n.User)}
	}
	switch {
	case c != nil && c.ID == n.Container:
		o.sub("container", w.container(*c))
	case n.Container != "":
		o["container"] = object{"uid": w.text(n.Container)}
	}
	return o
}

func (w *writer) file(name string, kind int, caption string) object {
	o := object{"path": w.text(name), "name": w.text(path.Base(name)), "type_id": kind, "type": caption}
	if ext := strings.TrimPrefix(path.Ext(name), "."); ext != "" && len(ext) <= 16 {
		o["ext"] = w.text(ext)
	}
	return o
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

func (w *writer) container(c event.Container) object {
	o := object{}
	o.text("uid", w.text(c.ID))
	if len(o) == 0 {
		return o
	}
	o.text("runtime", w.text(c.Runtime))
	if uuid.MatchString(c.PodUID) { // static pods have none
		o["pod_uuid"], o["orchestrator"] = c.PodUID, "Kubernetes"
	}
	return o
}

// evidences tells of the events behind a finding, or where it brought none, of its process.
func (w *writer) evidences(f event.Finding) []any {
	var out []any
	for _, rec := range f.Events[:min(len(f.Events), maxEvidences)] {
		var fields map[string]string
		if json.Unmarshal(rec, &fields) == nil && len(fields) > 0 {
			out = append(out, w.evidence(fields, f))
		}
	}
	if out == nil && len(f.Processes) > 0 {
		p := w.process(f.Processes, f.Container)
		out = []any{object{"process": p, "actor": object{"process": p}}}
	}
	return out
}

func (w *writer) evidence(r map[string]string, f event.Finding) object {
	o := object{"device": w.device(f.Host)}
	o.text("uid", w.text(r["event.id"]))
	o.text("name", w.text(r["_msg"]))
	if p := w.recorded(r); len(p) > 0 {
		o["process"] = p
		o["actor"] = object{"process": p}
	}
	if r["file.path"] != "" {
		file := w.file(r["file.path"], 1, "Regular File")
		if n, err := strconv.ParseInt(r["file.size"], 10, 64); err == nil && n >= 0 {
			file["size"] = n
		}
		o["file"] = file
	}
	if r["container.id"] != "" {
		o.sub("container", w.container(event.Container{ID: r["container.id"], Runtime: r["container.runtime"], PodUID: r["k8s.pod.uid"]}))
	}
	local, far := endpoint(r["net.local.ip"], r["net.local.port"]), endpoint(r["net.remote.ip"], r["net.remote.port"])
	if len(local)+len(far) > 0 {
		info := object{"direction_id": 2, "direction": "Outbound"}
		src, dst := local, far
		if kind := r["event.kind"]; r["net.initiated"] == "false" || kind == "net.accept" || kind == "net.listen" {
			info = object{"direction_id": 1, "direction": "Inbound"}
			src, dst = far, local
		}
		info.text("protocol_name", w.text(strings.ToLower(r["net.protocol"])))
		o["connection_info"] = info
		o.sub("src_endpoint", src)
		o.sub("dst_endpoint", dst)
	}
	return o
}

// recorded writes the process of an event record.
func (w *writer) recorded(r map[string]string) object {
	pid, err := strconv.ParseUint(r["process.pid"], 10, 32)
	if err != nil && r["process.uid"] == "" {
		return nil
	}
	n := event.ProcessNode{
		UID: r["process.uid"], PID: uint32(pid), Name: r["process.name"], Exe: r["process.exe"],
		Cmdline: r["process.cmdline"], User: r["process.user"], Container: r["container.id"],
	}
	n.Start, _ = time.Parse(time.RFC3339Nano, r["process.start"])
	o := w.node(n, nil)
	o.text("working_directory", w.text(r["process.cwd"]))
	if ppid, err := strconv.ParseUint(r["process.parent.pid"], 10, 32); err == nil {
		o["parent_process"] = w.node(event.ProcessNode{
			UID: r["process.parent.uid"], PID: uint32(ppid), Name: r["process.parent.name"],
			Exe: r["process.parent.exe"], Cmdline: r["process.parent.cmdline"], User: r["process.parent.user"],
		}, nil)
	}
	return o
}

func endpoint(ip, port string) object {
	o := object{}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return o
	}
	o["ip"] = addr.Unmap().WithZone("").String()
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
		o["port"] = n
	}
	return o
}

// resources lists what the finding is about: container, workload, model.
func (w *writer) resources(f event.Finding) []any {
	var out []any
	add := func(kind, name, uid string, role int, caption string, labels ...string) {
		o := object{"type": kind, "role_id": role, "role": caption}
		o.text("name", w.text(name))
		o.text("uid", w.text(uid))
		var texts []any
		for _, l := range labels {
			if !strings.HasSuffix(l, ":") {
				texts = append(texts, w.text(l))
			}
		}
		o.list("labels", texts)
		if name != "" || uid != "" {
			out = append(out, o)
		}
	}
	if m := f.Model; m != nil {
		kind := "model"
		if m.Dataset {
			kind = "dataset"
		}
		add(kind, m.Name, m.Path, 1, "Target", "format:"+m.Format)
	}
	if x := f.Workload; x != nil {
		add("workload", x.Name, x.ID, 3, "Affected", "kind:"+string(x.Kind), "engine:"+x.Engine)
	}
	if c := f.Container; c != nil {
		add("container", "", c.ID, 3, "Affected", "runtime:"+c.Runtime)
	}
	return out
}

// observables lists what a hunter would search for.
func (w *writer) observables(entities []event.Entity, host string) []any {
	var out []any
	add := func(name string, id int, caption, value string) {
		if value != "" && len(out) < maxList {
			out = append(out, object{"name": name, "type_id": id, "type": caption, "value": w.text(value)})
		}
	}
	add("device.hostname", 1, "Hostname", host)
	for _, e := range entities {
		switch e.Kind {
		case event.EntityAddress:
			if ip, err := netip.ParseAddr(e.Name); err == nil {
				add("evidences.dst_endpoint.ip", 2, "IP Address", ip.String())
			}
		case event.EntityContainer:
			add("evidences.container.uid", 27, "Container", e.ID)
		case event.EntityModel:
			add("resources.name", 38, "Resource Details Object: name", e.Name)
		case event.EntityUser:
			add("actor.process.user.name", 4, "User Name", e.Name)
		case event.EntityProcess:
			add("actor.process.name", 9, "Process Name", e.Name)
		case event.EntityHost:
			if e.Name != host {
				add("device.hostname", 1, "Hostname", e.Name)
			}
		}
	}
	return out
}
