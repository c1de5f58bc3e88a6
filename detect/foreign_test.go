package detect

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
	"picket/sigma"
)

// reads is a rule that reads the fields given, so that they are looked up.
func reads(t testing.TB, fields ...string) []*sigma.Rule {
	t.Helper()
	src := "title: t\nlogsource: {product: any}\ndetection:\n  s:\n"
	for _, f := range fields {
		src += "    '" + f + "': x\n"
	}
	parsed, err := sigma.Parse("r.yml", []byte(src+"  condition: s\n"))
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Rules
}

func TestForeignRecords(t *testing.T) {
	for _, c := range []struct {
		name, format, line string
		sources            string // category/product/service, in order
		kind               event.Kind
		fields             map[string]string // as rules see them; a list is joined by |
	}{
		{
			"sysmon, nested", "sysmon",
			`{"Event":{"System":{"Provider":{"Name":"Linux-Sysmon"},"EventID":1,"Computer":"web1"},"EventData":{"Image":"/bin/sh","CommandLine":"sh -c id","ProcessId":"42","ParentImage":"/sbin/init"}}}`,
			"process_creation/linux/sysmon", event.ProcessStart,
			map[string]string{"Image": "/bin/sh", "CommandLine": "sh -c id", "ProcessId": "42", "ParentImage": "/sbin/init", "Computer": "web1", "EventID": "1", "User": "<absent>"},
		},
		{
			"sysmon, a list of names and texts", "sysmon",
			`{"Event":{"System":{"Provider":{"@Name":"Microsoft-Windows-Sysmon"},"EventID":{"#text":"11"}},"EventData":{"Data":[{"@Name":"TargetFilename","#text":"C:\\a.exe"},{"@Name":"User","#text":null},{"@Name":"Own","#text":"x"}]}}}`,
			"file_event/windows/sysmon", event.FileCreate,
			map[string]string{"TargetFilename": `C:\a.exe`, "User": "", "Own": "x"},
		},
		{
			"sysmon, flat", "sysmon", `{"EventID":12,"Channel":"Microsoft-Windows-Sysmon/Operational","Image":"C:\\r.exe","TargetObject":"HKLM\\x"}`,
			"registry_add/windows/sysmon registry_delete/windows/sysmon registry_event/windows/sysmon", event.KindNone,
			map[string]string{"TargetObject": `HKLM\x`, "Image": `C:\r.exe`},
		},
		{
			"sysmon, below winlog", "sysmon", `{"winlog":{"event_id":22,"channel":"Microsoft-Windows-Sysmon/Operational","event_data":{"QueryName":"x.example"}}}`,
			"dns_query/windows/sysmon", event.KindNone,
			map[string]string{"QueryName": "x.example"},
		},
		{
			"auditd, a record", "auditd", `{"type":"EXECVE","argc":3,"a0":"cat","a1":"2F746D702F6120622E747874","a2":"6C73"}`,
			"/linux/auditd", event.KindNone,
			map[string]string{"type": "EXECVE", "a0": "cat", "a1": "/tmp/a b.txt", "a2": "6C73", "a3": "<absent>", "CommandLine": "cat /tmp/a b.txt 6C73"},
		},
		{
			"auditd, registers are no arguments", "auditd", `{"type":"SYSCALL","syscall":"openat","a0":"FFFFFF9C","exe":"\"/usr/bin/cat\"","key":"watch"}`,
			"/linux/auditd", event.KindNone,
			map[string]string{"a0": "FFFFFF9C", "exe": "/usr/bin/cat", "syscall": "openat", "SYSCALL": "openat", "CommandLine": "<absent>"},
		},
		{
			"auditd, a whole event", "auditd",
			`{"ID":"1615114232.375:9","NODE":"n1","SYSCALL":{"syscall":59,"SYSCALL":"execve","exe":"/usr/bin/crontab","comm":"crontab","pid":7,"ppid":6,"auid":1000},"EXECVE":{"argc":2,"ARGV":["crontab","-l"]},"CWD":{"cwd":"/root"},"PATH":[{"name":"/usr/bin/crontab"},{"name":"/lib/ld.so"}]}`,
			"process_creation/linux/auditd", event.ProcessStart,
			map[string]string{
				"type": "SYSCALL|EXECVE|PATH|CWD", "a1": "-l", "name": "/usr/bin/crontab|/lib/ld.so", "Image": "/usr/bin/crontab", "CommandLine": "crontab -l",
				"ProcessId": "7", "ParentProcessId": "6", "CurrentDirectory": "/root", "LogonId": "1000", "Computer": "n1",
			},
		},
		{
			"auditd, one record that has all", "auditd", `{"type":"SYSCALL","syscall":"59","exe":"/bin/ls","proctitle":"6C73002D6C"}`,
			"process_creation/linux/auditd", event.ProcessStart,
			map[string]string{"Image": "/bin/ls", "CommandLine": "ls -l"},
		},
		{
			"kubernetes", "kubernetes",
			`{"apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"bob"},"sourceIPs":["10.0.0.1","10.0.0.2"],"objectRef":{"resource":"pods","subresource":"exec"},"requestObject":{"spec":{"containers":[{"image":"a"},{"image":"b"}]}}}`,
			"application/kubernetes/audit", event.KubernetesAudit,
			map[string]string{"verb": "create", "objectRef.resource": "pods", "user.username": "bob", "User": "bob", "sourceIPs": "10.0.0.1|10.0.0.2", "requestObject.spec.containers.image": "a|b"},
		},
		{
			"ecs, a process", "ecs",
			`{"@timestamp":"2026-03-04T05:06:07Z","event":{"category":["process"],"type":["start"]},"host":{"name":"h1","os":{"type":"windows"}},"process":{"executable":"C:\\a.exe","args":["a","b"],"pid":5,"parent":{"executable":"C:\\p.exe","command_line":"p"}},"user":{"name":"me"}}`,
			"process_creation/windows/", event.ProcessStart,
			map[string]string{"Image": `C:\a.exe`, "CommandLine": "a b", "ParentImage": `C:\p.exe`, "ParentCommandLine": "p", "ProcessId": "5", "User": "me", "Computer": "h1"},
		},
		{
			"ecs with dots in its keys", "ecs",
			`{"@timestamp":"2026-03-04T05:06:07Z","event.category":"network","destination.ip":"203.0.113.9","destination.port":443,"process.executable":"/usr/bin/curl"}`,
			"network_connection/linux/", event.NetConnect,
			map[string]string{"DestinationIp": "203.0.113.9", "DestinationPort": "443", "Image": "/usr/bin/curl"},
		},
		{
			"ecs from auditbeat", "ecs", `{"ecs":{"version":"8"},"event":{"category":["file"]},"auditd":{"message_type":"syscall","data":{"syscall":"chmod","a1":"1ed"}},"file":{"path":"/etc/shadow"}}`,
			"/linux/auditd", event.KindNone,
			map[string]string{"type": "syscall", "syscall": "chmod", "a1": "1ed", "name": "/etc/shadow", "TargetFilename": "/etc/shadow"},
		},
		{
			"sigma, a process", "sigma", `{"Image":"/bin/sh","CommandLine":"sh","Initiated":false}`,
			"process_creation/linux/", event.ProcessStart,
			map[string]string{"Image": "/bin/sh", "CommandLine": "sh", "Initiated": "false"},
		},
		{
			"sigma, a file on Windows", "sigma", `{"Image":"C:\\a.exe","TargetFilename":"C:\\b"}`, "file_event/windows/", event.FileCreate, nil,
		},
		{"sigma, a connection", "sigma", `{"DestinationHostname":"a.example"}`, "network_connection/linux/", event.NetConnect, nil},
		{"sigma, nothing known", "sigma", `{"x":1}`, "/linux/", event.KindNone, map[string]string{"x": "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fields []string
			for name := range c.fields {
				fields = append(fields, name)
			}
			slices.Sort(fields)
			if len(fields) == 0 {
				fields = []string{"Image"}
			}
			rules := reads(t, fields...)
			f, err := NewForeign(c.format, nil, rules)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := f.Parse("f", 1, []byte(c.line)); err != nil {
					t.Fatal(err)
				}
			}
			var sources []string
			for _, s := range f.Logsources() {
				sources = append(sources, s.Category+"/"+s.Product+"/"+s.Service)
			}
			if got := strings.Join(sources, " "); got != c.sources {
				t.Errorf("log sources %q, want %q", got, c.sources)
			}
			if e := f.Event(); e.Kind != c.kind {
				t.Errorf("kind %v, want %v", e.Kind, c.kind)
			}
			got := map[string]string{}
			for name := range c.fields {
				got[name] = shown(f, name)
			}
			if diff := cmp.Diff(c.fields, got); diff != "" && len(c.fields) > 0 {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if name := recognised(t, c.line); name != c.format {
				if c.format != fallback || name != "" {
					t.Errorf("recognised as %q", name)
				}
			}
		})
	}
}

// shown returns a field as a rule sees it.
func shown(f *Foreign, name string) string {
	v := f.Extra(name)
	if info, ok := event.Lookup(name); ok {
		v = f.Value(uint16(info.Field))
	}
	switch v.Kind {
	case sigma.Absent:
		return "<absent>"
	case sigma.List:
		return strings.Join(v.List, "|")
	case sigma.Boolean:
		text, _ := textOf(v)
		return text
	}
	return v.Str
}

// recognised returns the format that a line is taken to be in, "" for none.
func recognised(t *testing.T, line string) string {
	t.Helper()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &pass{Replay: &Replay{Engine: e}, name: "f", in: &lines{n: 1}}
	if _, err := p.formatOf([]byte(line)); err != nil {
		t.Fatal(err)
	}
	return p.format
}

func TestPicketsOwnEventsAreRecognised(t *testing.T) {
	for line, want := range map[string]string{
		`{"event.kind":"process.start","process.exe":"/bin/sh"}`:           "picket",
		`{"event.kind":"file.read"}`:                                       "picket",
		`{"event":{"kind":"event","category":"process"},"@timestamp":"x"}`: "ecs",
	} {
		if got := recognised(t, line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestEveryFormatLoads(t *testing.T) {
	for _, name := range formatOrder {
		f, err := loadFormat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for field, from := range f.Fields {
			for _, p := range from {
				if strings.HasPrefix(p, "$") && p != fromArguments && p != fromPresent {
					t.Errorf("%s: %s is made of %s, which means nothing", name, field, p)
				}
			}
		}
	}
	if _, err := NewForeign("xml", nil, nil); err == nil || !strings.Contains(err.Error(), "known are picket, sysmon") {
		t.Errorf("got %v", err)
	}
	if got := Formats(); len(got) != len(formatOrder) {
		t.Errorf("got %d formats", len(got))
	}
}

func TestAForeignEventIsWhatALiveOneIs(t *testing.T) {
	f, err := NewForeign("ecs", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := `{"@timestamp":"2026-03-04T05:06:07.5+01:00","ecs":{"version":"8"},"event":{"category":"network","id":"e1"},"host":{"name":"h1"},"process":{"executable":"/usr/bin/curl","pid":"77","command_line":"curl x"},"destination":{"ip":"203.0.113.9","port":443},"user":{"name":"me"},"labels":["a","b"]}`
	if err := f.Parse("f", 1, []byte(line)); err != nil {
		t.Fatal(err)
	}
	e := f.Event()
	if want := time.Date(2026, 3, 4, 4, 6, 7, 5e8, time.UTC); !e.Time.Equal(want) {
		t.Errorf("time %v, want %v", e.Time, want)
	}
	if e.Host != "h1" || e.Process.PID != 77 || e.Process.Exe != "/usr/bin/curl" || e.Process.User != "me" || e.Net.Remote.String() != "203.0.113.9:443" || e.Process.UID == "" {
		t.Errorf("got %s", e.AppendRecord(nil))
	}
	want := map[string]string{"@timestamp": "2026-03-04T05:06:07.5+01:00", "ecs.version": "8", "event.category": "network", "event.id": "e1", "labels": "a b"}
	if diff := cmp.Diff(want, e.Extra); diff != "" {
		t.Errorf("extra (-want +got):\n%s", diff)
	}
	for _, part := range []string{`"labels":"a b"`, `"process.pid":"77"`, `"net.remote.port":"443"`} {
		if record := string(e.AppendRecord(nil)); !strings.Contains(record, part) {
			t.Errorf("the record lacks %s: %s", part, record)
		}
	}
}

func TestNamesWithoutTheirTextsAreRefused(t *testing.T) {
	f, err := NewForeign("sysmon", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Parse("x.json", 3, []byte(`{"Event":{"System":{"EventID":1},"EventData":{"Data":[{"@Name":"Image","#text":"/bin/sh"},{"@Name":"User"}]}}}`))
	if err == nil || !strings.HasPrefix(err.Error(), "x.json:3:1: there are 2 of Event.EventData.Data.@Name, but 1") {
		t.Errorf("got %v", err)
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-03-04T05:06:07Z":        at,
		"2026-03-04T06:06:07+01:00":   at,
		"2026-03-04T06:06:07.0+0100":  at,
		"2026-03-04 05:06:07.250":     at.Add(250 * time.Millisecond),
		"1772600767":                  at,
		"1772600767.25":               at.Add(250 * time.Millisecond),
		"1772600767250":               at.Add(250 * time.Millisecond),
		"1772600767250000":            at.Add(250 * time.Millisecond),
		"1772600767250000000":         at.Add(250 * time.Millisecond),
		"audit(1772600767.250:15558)": at.Add(250 * time.Millisecond),
		"1772600767.250:15558":        at.Add(250 * time.Millisecond),
	} {
		if got, ok := parseTime(text); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-5", "99999999999999999999", "audit()"} {
		if got, ok := parseTime(text); ok {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestHexadecimalTexts(t *testing.T) {
	for in, want := range map[string]string{
		`"/bin/ls"`: "/bin/ls", "6C73002D6C": "ls -l", "BEEF": "\xbe\xef", "CAFE01": "\xca\xfe\x01", "6C73": "6C73", "6c73002d6c": "6c73002d6c",
		"ABC": "ABC", "": "", "00": "", "2F746D702F6120622E747874": "/tmp/a b.txt", "(null)": "(null)",
	} {
		if got := unhex(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzForeign(f *testing.F) {
	for _, s := range []string{
		`{"Event":{"System":{"EventID":1},"EventData":{"Data":[{"@Name":"Image","#text":"x"}]}}}`, `{"type":"EXECVE","a0":"6C73002D6C","a1":null}`,
		`{"EXECVE":{"ARGV":["a",[]]},"ID":"1.2:3"}`, `{"@timestamp":"1e5","process":{"pid":-1,"args":[]},"destination":{"ip":"::ffff:1.2.3.4","port":99999}}`,
		`{"user":{"username":"\ud800"},"verb":7,"apiVersion":"audit.k8s.io/v1"}`, `{"Image":{"a":1},"CommandLine":["x","y"],"TargetFilename":true}`,
	} {
		f.Add([]byte(s))
	}
	rules := reads(f, "a0", "a1", "Image", "type", "objectRef.resource")
	var all []*Foreign
	for _, name := range formatOrder {
		one, err := NewForeign(name, nil, rules)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, one)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, one := range all {
			if err := one.Parse("f", 1, line); err != nil {
				continue
			}
			if len(one.Logsources()) == 0 {
				t.Fatalf("%s: %q has no log source", one.format.Name, line)
			}
			e := one.Event()
			if id := e.ID(); id != one.Event().ID() {
				t.Fatalf("%s: %q is two events", one.format.Name, line)
			}
			back, err := event.ParseRecord(e.AppendRecord(nil))
			if err != nil && !strings.Contains(err.Error(), "field ") && !strings.Contains(err.Error(), "parsing time") {
				t.Fatalf("%s: %q: the record cannot be read: %v (%v)", one.format.Name, line, err, back)
			}
		}
	})
}
