package sink

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"picket/event"
)

const hostile = "<script>alert(1)</script>\n\x1b[31m\x00\"\\ \xff\xfe \u2028 \u202e"

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func sampleFinding(text string) event.Finding {
	procs := []event.ProcessNode{
		{UID: "p2", ParentUID: "p1", PID: 4002, Start: at, Name: "tar", Exe: "/usr/bin/tar", Cmdline: "tar c /models " + text, User: "root", Container: "c0ffee"},
		{UID: "p1", ParentUID: "p0", PID: 4001, Start: at, Name: "sh", Exe: "/bin/dash", Cmdline: "sh -c x", Container: "c0ffee"},
		{UID: "p0", PID: 1, Start: at, Name: "llama-server", Exe: "/usr/bin/llama-server", Cmdline: "llama-server"},
	}
	rec := func(m map[string]string) json.RawMessage { b, _ := json.Marshal(m); return b }
	return event.Finding{
		ID: "f1", Time: at, Host: "gpu-01" + text, Severity: event.High, Summary: "tar read the weights " + text,
		Rule: event.Rule{ID: "6f1c", Name: "weights_read", Title: "Weights read " + text, Threat: "steal-weights"},
		Techniques: []event.Technique{
			{Framework: "attack", ID: "T1560.001", Name: "Archive via Utility", Tactic: "collection"},
			{Framework: "attack", ID: "T1048", Name: "Exfiltration Over Alternative Protocol", Tactic: "exfiltration"},
			{Framework: "atlas", ID: "AML.T0018.002", Name: "Embed Malware", Tactic: "persistence"},
			{Framework: "atlas", ID: "AML.T0025", Name: "Exfiltration via Cyber Means", Tactic: "exfiltration"},
		},
		Entities: []event.Entity{
			{Kind: event.EntityHost, ID: "h", Name: "gpu-01"},
			{Kind: event.EntityContainer, ID: "c0ffee", Name: "llama"},
			{Kind: event.EntityModel, ID: "m", Name: "/models/" + text},
			{Kind: event.EntityAddress, ID: "203.0.113.7", Name: "203.0.113.7"},
			{Kind: event.EntityUser, ID: "0", Name: "root"},
			{Kind: event.EntityProcess, ID: "p2", Name: "tar"},
		},
		Processes: procs, Container: &event.Container{ID: "c0ffee", Runtime: "runc", PodUID: "not-a-uuid"},
		Workload: &event.Workload{ID: "w", Kind: event.Inference, Engine: "llama.cpp", Name: "llama"},
		Model:    &event.Model{Path: "/models/llama", Name: "llama", Format: "gguf"},
		Events: []json.RawMessage{
			rec(map[string]string{
				"event.id": "e1", "_msg": "tar read " + text, "event.kind": "file.read", "process.pid": "4002", "process.uid": "p2", "process.name": "tar",
				"process.exe": "/usr/bin/tar", "process.cmdline": text, "process.start": at.Format(time.RFC3339Nano), "process.parent.pid": "4001",
				"process.parent.uid": "p1", "file.path": "/models/llama/model.gguf" + text, "file.size": "123", "container.id": "c0ffee",
				"k8s.pod.uid": "0b9b3ea3-7c5c-4b43-9f0c-3e4b1d5f2a11",
			}),
			rec(map[string]string{
				"event.id": "e2", "event.kind": "net.connect", "process.pid": "4003", "net.remote.ip": "203.0.113.7", "net.remote.port": "80",
				"net.local.ip": "10.0.0.1", "net.local.port": "4000", "net.protocol": "tcp", "net.initiated": "true",
			}),
			rec(map[string]string{"event.id": "e3", "event.kind": "net.accept", "process.pid": "x", "net.remote.ip": "::ffff:198.51.100.1", "net.remote.port": "0"}),
			json.RawMessage(`not json`),
		},
		EventIDs: []string{"e1", "e2", "e3"}, Count: 3,
	}
}

func sampleIncident(text string) event.Incident {
	f := sampleFinding(text)
	return event.Incident{
		ID: "i1", Title: "Weights stolen " + text, Status: event.IncidentOpen, Severity: event.Critical, Risk: 94,
		FirstSeen: at, LastSeen: at.Add(4 * time.Second), Hosts: []string{"gpu-01"}, Summary: "story " + text,
		Story:      []event.Passage{{Time: at, Text: "tar read " + text, Finding: "f1", Severity: event.High, Tactic: "collection"}},
		Techniques: f.Techniques, Entities: f.Entities, Processes: f.Processes,
		Findings: []event.FindingRef{{ID: "f1", Time: at, Rule: "weights_read", Title: f.Rule.Title, Severity: event.High, Host: "gpu-01", Count: 3}},
		FindingN: 1, Log: []event.Change{{Time: at, Who: "picket", What: "opened", Note: text}}, Version: 1,
	}
}

func TestRecordsFollowTheSchema(t *testing.T) {
	s := loadSchema(t)
	m := Mapping{Version: "1.2", URL: "https://picket.example"}
	check := func(name string, rec json.RawMessage, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, fault := range s.check(rec) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	for name, text := range map[string]string{"plain": "", "hostile": hostile, "long": strings.Repeat("A", 20<<10), "huge": strings.Repeat("\x01", 2<<20)} {
		rec, err := m.Finding(sampleFinding(text), "i1")
		check(name+" finding", rec, err)
		inc := sampleIncident(text)
		rec, err = m.Incident(inc)
		check(name+" incident", rec, err)
		inc.Status, inc.Verdict, inc.Version = event.IncidentClosed, event.TruePositive, 7
		rec, err = m.Incident(inc)
		check(name+" closed incident", rec, err)
		inc.Status, inc.Verdict = event.IncidentAcknowledged, ""
		rec, err = Mapping{}.Incident(inc)
		check(name+" acknowledged incident", rec, err)
	}
	rec, err := m.Finding(event.Finding{ID: "f", Time: at}, "")
	check("bare finding", rec, err)
	rec, err = m.Finding(event.Finding{ID: "f", Time: at, Techniques: []event.Technique{{}}, Processes: []event.ProcessNode{{PID: 1}}, Container: &event.Container{}, Model: &event.Model{}, Workload: &event.Workload{}}, "")
	check("hollow finding", rec, err)
	rec, err = m.Incident(event.Incident{ID: "i"})
	check("bare incident", rec, err)
	many := sampleIncident("")
	for range 5000 {
		many.Findings = append(many.Findings, many.Findings[0])
		many.Entities = append(many.Entities, many.Entities...)[:min(4000, 2*len(many.Entities))]
	}
	rec, err = m.Incident(many)
	check("crowded incident", rec, err)
}

func TestTheCheckerFindsFaults(t *testing.T) {
	s := loadSchema(t)
	rec, err := Mapping{}.Incident(sampleIncident(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"class_uid":2005`, `"class_uid":2004`, "required"},
		{`"status_id":1`, `"status_id":42`, "not one of its values"},
		{`"risk_score":94`, `"risk_score":"94"`, "want an integer"},
		{`"risk_score":94`, `"story":94`, "unknown"},
		{`"assignee_group"`, `"tickets"`, "at_least_one"},
		{`"status":"New"`, `"status":"Fresh"`, "want \"New\""},
	} {
		bad := strings.Replace(string(rec), c.from, c.to, 1)
		if got := strings.Join(s.check([]byte(bad)), "; "); !strings.Contains(got, c.want) || bad == string(rec) {
			t.Errorf("%s as %s: got %q", c.from, c.to, got)
		}
	}
}

func TestSameThingSameBytes(t *testing.T) {
	m := Mapping{Version: "1"}
	uid := func(b json.RawMessage) string {
		var o struct{ Metadata struct{ UID string } }
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatal(err)
		}
		return o.Metadata.UID
	}
	a, _ := m.Finding(sampleFinding(""), "i1")
	b, _ := m.Finding(sampleFinding(""), "i1")
	if !bytes.Equal(a, b) {
		t.Error("the same finding gives other bytes")
	}
	x, _ := m.Incident(sampleIncident(""))
	next := sampleIncident("")
	next.Version++
	y, _ := m.Incident(next)
	if uid(x) == uid(y) || uid(x) == "" {
		t.Error("two versions of an incident share their uid")
	}
}

func TestHostileTextIsWholeOrVisiblyCut(t *testing.T) {
	long := strings.Repeat("A", 20<<10)
	b, err := Mapping{}.Finding(sampleFinding(long), "")
	if err != nil || !bytes.Contains(b, []byte("tar c /models "+long)) {
		t.Errorf("20 KB of arguments did not stay whole: %v", err)
	}
	b, err = Mapping{}.Finding(sampleFinding(strings.Repeat("é", 30<<10)), "")
	if err != nil || !bytes.Contains(b, []byte("…[truncated ")) || !bytes.Contains(b, []byte(`"is_truncated":true`)) {
		t.Errorf("a cut is not visible: %v", err)
	}
	b, err = Mapping{}.Finding(sampleFinding(hostile), "")
	if err != nil || !utf8.Valid(b) || bytes.ContainsAny(b, "\n\x1b\x00<>") {
		t.Errorf("hostile text is not escaped: %v", err)
	}
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	if got, want := o["message"], "tar read the weights "+strings.ToValidUTF8(hostile, "\uFFFD"); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func FuzzEvidence(f *testing.F) {
	f.Add([]byte(`{"event.kind":"net.connect","net.remote.ip":"::1","net.remote.port":"99999","process.pid":"-1"}`))
	f.Fuzz(func(t *testing.T, rec []byte) {
		b, err := Mapping{}.Finding(event.Finding{ID: "x", Events: []json.RawMessage{rec}}, string(rec))
		if err != nil || !json.Valid(b) || !utf8.Valid(b) {
			t.Errorf("%s, %v", b, err)
		}
	})
}
