package detect

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/bench/public"
	"picket/event"
	"picket/sigma"
	"picket/threats"
)

const shellRule = `title: A shell was started
id: 11111111-1111-4111-8111-111111111111
name: shell_started
level: high
logsource: {product: linux, category: process_creation}
detection: {s: {Image|endswith: /sh}, condition: s}
`

const execRule = `title: A command was run in a pod
id: 22222222-2222-4222-8222-222222222222
name: pod_exec
level: critical
logsource: {product: kubernetes, service: audit}
detection: {s: {verb: create, objectRef.subresource: exec}, condition: s}
`

const wordRule = `title: A word was seen
id: 33333333-3333-4333-8333-333333333333
name: word_seen
level: medium
logsource: {product: linux}
detection: {k: [needle], condition: k}
`

// replayed runs a recording and returns the findings as lines, with what Read and Summary said.
func replayed(t testing.TB, r Replay, recording []byte) ([]string, ReplaySummary, error) {
	t.Helper()
	if r.Engine == nil {
		root := fstest.MapFS{}
		for i, src := range []string{shellRule, execRule, wordRule} {
			root[fmt.Sprintf("t/r%d.yml", i)] = &fstest.MapFile{Data: []byte(src)}
		}
		loaded, _ := LoadThreats(root) // it lacks a README
		var err error
		if r.Engine, err = New(Options{Threats: loaded, Noisy: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Engine.Rules()); n != 3 {
			t.Fatalf("%d rules", n)
		}
	}
	var out []string
	r.Found = func(f event.Finding) {
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	err := r.Read(t.Context(), "rec", bytes.NewReader(recording))
	return out, r.Summary(), err
}

const (
	shellLine = `{"Image":"/bin/sh","CommandLine":"sh -c %d","@timestamp":"2026-03-04T05:06:07Z"}`
	execLine  = `{"apiVersion":"audit.k8s.io/v1","auditID":"%[1]d","verb":"create","objectRef":{"subresource":"exec","name":"pod-%[1]d"},"user":{"username":"bob"}}`
)

func TestReplay(t *testing.T) {
	long := `{"Image":"/bin/sh","CommandLine":"` + strings.Repeat("x", 10<<20) + `"}`
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	line := func(n int) string { return fmt.Sprintf(shellLine, n) }
	for _, c := range []struct {
		name, recording  string
		findings, events int
		unrouted         int
		format           string
		faults           []string
	}{
		{"plain", line(1) + "\n" + line(2) + "\n", 2, 2, 0, "sigma", nil},
		{"no end of line at the end", line(1) + "\n" + line(2), 2, 2, 0, "sigma", nil},
		{"Windows ends of lines, empty lines and remarks", line(1) + "\r\n\r\n# hit: x\r\n" + line(2) + "\r\n", 2, 2, 0, "sigma", nil},
		{"the same again is a repeat", line(1) + "\n" + line(1) + "\n", 1, 2, 0, "sigma", nil},
		{"kubernetes, each is one", fmt.Sprintf(execLine, 1) + "\n" + fmt.Sprintf(execLine, 2), 2, 2, 0, "kubernetes", nil},
		{"a rule of keywords", `{"Image":"/bin/ls","CommandLine":"ls","x":{"y":["a NEEDLE"]}}`, 1, 1, 0, "sigma", nil},
		{"no rule's log source", `{"Image":"C:\\a.exe","CommandLine":"a"}`, 0, 1, 1, "sigma", nil},
		{"picket's own", `{"event.kind":"process.start","process.exe":"/bin/sh"}` + "\n" + `{"event.kind":"nonsense"}` + "\n{}\n", 1, 1, 0, "picket", []string{
			`rec:2:1: field event.kind: event.kind "nonsense" is not known`, "rec:3:1: has no event.kind",
		}},
		{"empty", "", 0, 0, 0, "sigma", nil},
		{"bad lines cost themselves", "{\n" + line(1) + "\nnot json\n" + deep + "\n" + line(2), 2, 2, 0, "sigma", []string{
			"rec:1:2: the line ends where a key in quotes is expected", "rec:3:1: found 'n' where { is expected", "rec:4:321: objects and lists are nested deeper than 64",
		}},
		{"a line that is too long", line(1) + "\n" + long + "\n" + line(2), 2, 2, 0, "sigma", []string{"rec:2:4194305: the line is longer than 4 MiB"}},
		{"a line that is too long at the end", line(1) + "\n" + long, 1, 1, 0, "sigma", []string{"rec:2:4194305: the line is longer than 4 MiB"}},
		{"not UTF-8", "{\"Image\":\"/bin/\xff/sh\",\"CommandLine\":\"\xfe\"}\n" + line(2), 2, 2, 0, "sigma", nil},
		{"binary", "\x7fELF\x02\x01\x01\n\x00\x00\x00", 0, 0, 0, "sigma", []string{`rec:1:1: found '\x7f' where { is expected`, `rec:2:1: found '\x00' where { is expected`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, s, err := replayed(t, Replay{}, []byte(c.recording))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != c.findings || s.Findings != c.findings || s.Events != c.events || s.Unrouted != c.unrouted {
				t.Errorf("%d findings in %d events, %d unrouted; want %d, %d, %d", len(found), s.Events, s.Unrouted, c.findings, c.events, c.unrouted)
			}
			if s.Recordings[0].Format != c.format || s.Recordings[0].Events != c.events {
				t.Errorf("got %+v", s.Recordings[0])
			}
			var faults []string
			for _, f := range s.Faults {
				first, _, _ := strings.Cut(f.Error(), "\n")
				faults = append(faults, first)
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" || s.Unreadable != len(c.faults) {
				t.Errorf("%d lines unreadable (-want +got):\n%s", s.Unreadable, diff)
			}
		})
	}
}

func TestReplayOfGzip(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	for i := range 5000 {
		fmt.Fprintf(w, shellLine+"\n", i)
	}
	w.Close()
	found, _, err := replayed(t, Replay{}, zipped.Bytes())
	if err != nil || len(found) != 5000 {
		t.Fatalf("%d findings, %v", len(found), err)
	}
	found, s, err := replayed(t, Replay{}, zipped.Bytes()[:zipped.Len()/2])
	if err == nil || !strings.Contains(err.Error(), "the recording ends early: unexpected EOF") || !strings.HasPrefix(err.Error(), "rec:") {
		t.Errorf("got %v", err)
	}
	if len(found) == 0 || len(found) != s.Events {
		t.Errorf("what came before the end counts: %d findings in %d events", len(found), s.Events)
	}
	if _, _, err := replayed(t, Replay{}, []byte("\x1f\x8b no gzip at all")); err == nil || !strings.Contains(err.Error(), "not a whole gzip file") {
		t.Errorf("got %v", err)
	}
}

func TestReplayIsTheSameEachTime(t *testing.T) {
	var rec strings.Builder
	for i := range 200 {
		fmt.Fprintf(&rec, `{"Image":"/bin/sh","CommandLine":"sh -c %d","a":%d,"b":{"c":["needle",2]},"z":null,"User":"u"}`+"\n", i%90, i)
	}
	first, s1, err := replayed(t, Replay{}, []byte(rec.String()))
	if err != nil || len(first) == 0 {
		t.Fatal(len(first), err)
	}
	for range 3 {
		again, s2, _ := replayed(t, Replay{}, []byte(rec.String()))
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(s1, s2); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestReplayInAGivenLogsource(t *testing.T) {
	found, s, err := replayed(t, Replay{Source: &sigma.Logsource{Category: "process_creation", Product: "linux"}}, []byte(`{"Image":"C:\\bin/sh","x":1}`))
	if err != nil || len(found) != 1 || s.Unrouted != 0 || !strings.Contains(found[0], "was started by") {
		t.Errorf("%v %+v %v", found, s, err)
	}
	if _, _, err := replayed(t, Replay{Format: "xml"}, []byte("{}")); err == nil || !strings.Contains(err.Error(), `there is no format "xml"`) {
		t.Errorf("got %v", err)
	}
}

func TestReplayStopsWhenAsked(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	seen := int64(0)
	r := Replay{Engine: e, Progress: func(n int64) { seen = n; stop() }}
	line := strings.Repeat("{}\n", 10*pause)
	if err := r.Read(ctx, "rec", strings.NewReader(line)); err != context.Canceled || seen == 0 { //nolint:errorlint // it is not wrapped
		t.Errorf("got %v after %d bytes", err, seen)
	}
	if n := r.Summary().Events; n != 2*pause-1 && n != 2*pause {
		t.Errorf("%d events", n)
	}
}

// The samples of a sequence, replayed as a recording, complete it as they do live.
func TestReplayFollowsSequences(t *testing.T) {
	loaded, err := LoadThreats(threats.FS)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := New(Options{Threats: loaded})
	if err != nil {
		t.Fatal(err)
	}
	src, err := threats.FS.ReadFile("steal-weights/weights_stolen.events")
	if err != nil {
		t.Fatal(err)
	}
	found, s, err := replayed(t, Replay{Engine: engine}, src)
	if err != nil || s.Unreadable > 0 {
		t.Fatal(err, s.Faults)
	}
	if all := strings.Join(found, "\n"); !strings.Contains(all, `"name":"weights_stolen"`) {
		t.Errorf("the sequence is not among %d findings", len(found))
	}
}

// A host whose events come by a slower way, or whose clock is behind, is counted as if it were alone.
func TestReplayOfSeveralHosts(t *testing.T) {
	const three = `title: Three shells
id: 44444444-4444-4444-8444-444444444444
level: high
correlation: {type: event_count, rules: [shell_started], group-by: [host], timespan: 5s, condition: {gte: 3}}
`
	root := fstest.MapFS{"t/r.yml": {Data: []byte(shellRule)}, "t/c.yml": {Data: []byte(three)}}
	var rec strings.Builder
	own := func(host string, second, pid int) {
		fmt.Fprintf(&rec, `{"_time":%q,"event.kind":"process.start","host":%q,"process.exe":"/bin/sh","process.pid":%d}`+"\n",
			sampleStart.Add(time.Duration(second)*time.Second).Format(time.RFC3339), host, pid)
	}
	own("behind", 0, 1)
	for i := range 40 { // the other one is up to 40 s ahead
		own("ahead", 10*i, 100+i)
		if i >= 5 {
			own("behind", 10*i-40, 200+i)
		}
	}
	for i := range 3 {
		own("behind", 351+i, 300+i)
	}
	for hosts, want := range map[bool]int{true: 1, false: 0} {
		loaded, _ := LoadThreats(root) // it lacks a README
		engine, err := New(Options{Threats: loaded, Hosts: hosts, Noisy: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		found, s, err := replayed(t, Replay{Engine: engine}, []byte(rec.String()))
		if err != nil || s.Unreadable > 0 {
			t.Fatal(err, s.Faults)
		}
		if n := strings.Count(strings.Join(found, "\n"), `"title":"Three shells"`); n != want {
			t.Errorf("several hosts %t: the sequence is found %d times, want %d", hosts, n, want)
		}
	}
}

func TestLoadEvery(t *testing.T) {
	dir := t.TempDir()
	write := func(name, src string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a/b/c.yml", shellRule)
	write("k8s.yaml", execRule)
	write("again.yml", shellRule)
	write(".github/x.yml", "not: a rule")
	write("broken.yml", strings.Replace(wordRule, "condition: k", "condition: nothing", 1))
	loaded, err := LoadEvery([]string{dir}, nil, threats.FS)
	var rules []string
	for _, th := range loaded {
		for _, r := range th.Rules {
			if th.Source == dir {
				rules = append(rules, r.Name)
			}
		}
	}
	if diff := cmp.Diff([]string{"shell_started", "pod_exec"}, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "broken.yml:6") || !strings.Contains(err.Error(), "is taken by") {
		t.Errorf("got %v", err)
	}
	p, err := sigma.ParsePipeline("p.yml", []byte("transformations:\n  - {type: field_name_mapping, mapping: {Image: exe}}\n  - {type: rule_failure, message: no, rule_conditions: [{type: rule_attribute, attribute: name, value: pod_exec}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := Rewrite(loaded, p)
	if err == nil || !strings.Contains(err.Error(), "p.yml:3:5: no, in rule") {
		t.Errorf("got %v", err)
	}
	engine, err := New(Options{Threats: changed})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := replayed(t, Replay{Engine: engine, Source: &sigma.Logsource{Category: "process_creation", Product: "linux"}}, []byte(`{"exe":"/bin/sh"}`))
	if err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
}

// publicProcessRules returns the public rules about processes of all systems, as if all were about
// Linux: the most that one event can be matched against.
func publicProcessRules(t testing.TB) (rules []*sigma.Rule) {
	t.Helper()
	for _, f := range public.Rules(t) {
		read, _ := sigma.Parse(f.Name, f.Data)
		for _, r := range read.Rules {
			if _, err := sigma.Compile([]*sigma.Rule{r}, nil); err == nil && r.Logsource.Category == "process_creation" {
				r.Logsource.Product = "linux"
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// BenchmarkReplay is all that happens to a line of a foreign recording that no rule fires on.
func BenchmarkReplay(b *testing.B) {
	engine, err := New(Options{Threats: []Threat{{Name: "public", Collection: sigma.Collection{Rules: publicProcessRules(b)}}}})
	if err != nil {
		b.Fatal(err)
	}
	lines := map[string]string{
		"sysmon": `{"Event":{"System":{"Provider":{"Name":"Linux-Sysmon"},"EventID":1,"Channel":"Linux-Sysmon/Operational","Computer":"web1"},"EventData":{"UtcTime":"2026-03-04 05:06:07.089","ProcessId":4242,"Image":"C:\\gcc\\cc1.exe","CommandLine":"cc1 -quiet -I include main.c -o main.s","User":"svc","CurrentDirectory":"/home/svc","ParentImage":"C:\\gcc\\make.exe","ParentCommandLine":"/usr/bin/make all","ParentProcessId":1}}}`,
		"ecs":    `{"@timestamp":"2026-03-04T05:06:07.000Z","ecs":{"version":"8.0"},"event":{"category":["process"],"type":["start"]},"host":{"name":"h1","os":{"type":"linux"}},"process":{"pid":9,"executable":"C:\\gcc\\cc1.exe","command_line":"cc1 -quiet -I include main.c -o main.s","parent":{"executable":"C:\\gcc\\make.exe","pid":8}},"user":{"name":"svc"}}`,
		"sigma":  `{"Image":"C:\\gcc\\cc1.exe","CommandLine":"cc1 -quiet -I include main.c -o main.s","ParentImage":"C:\\gcc\\make.exe","ParentCommandLine":"/usr/bin/make all","User":"svc","CurrentDirectory":"/home/svc"}`,
	}
	for _, format := range []string{"sysmon", "ecs", "sigma"} {
		f, err := NewForeign(format, &sigma.Logsource{Category: "process_creation", Product: "linux"}, engine.sigmaRules())
		if err != nil {
			b.Fatal(err)
		}
		line := []byte(lines[format])
		for _, match := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/match=%t", format, match), func(b *testing.B) {
				b.SetBytes(int64(len(line)))
				b.ReportAllocs()
				for b.Loop() {
					if err := f.Parse("f", 1, line); err != nil {
						b.Fatal(err)
					}
					if match {
						engine.ProcessForeign(f)
					}
				}
				if n := engine.Stats().Matches; n > 0 {
					b.Fatalf("%d rules fired", n)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
