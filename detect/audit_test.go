package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// joined runs lines through a join and returns what comes out, with the line that each began in.
func joined(lines ...string) (out []string) {
	var j auditJoin
	emit := func(n int, record []byte) { out = append(out, fmt.Sprint(n, " ", string(record))) }
	for i, line := range lines {
		j.add(i+1, []byte(line), emit)
	}
	j.flush(emit)
	return out
}

func TestAuditRecordsAreJoined(t *testing.T) {
	rec := func(kind string, serial int, more string) string {
		return fmt.Sprintf(`{"type":%q,"msg":"audit(1615114232.%03d:%d)"%s}`, kind, serial, serial, more)
	}
	id := func(n int) string { return fmt.Sprintf(`"ID":"1615114232.%03d:%d"`, n, n) }
	in := func(kind string, serial int, more string) string {
		return fmt.Sprintf(`%q:{%s"msg":"audit(1615114232.%03d:%d)",%s"type":%q}`, kind, "", serial, serial, more, kind)
	}
	for name, c := range map[string]struct{ lines, want []string }{
		"one event": {
			[]string{rec("SYSCALL", 1, `,"pid":7`), rec("CWD", 1, ""), rec("PROCTITLE", 1, "")},
			[]string{"1 {" + in("CWD", 1, "") + "," + id(1) + "," + in("PROCTITLE", 1, "") + "," + in("SYSCALL", 1, `"pid":7,`) + "}"},
		},
		"paths are a list": {
			[]string{rec("CWD", 1, ""), rec("PATH", 1, `,"name":"/a"`), rec("PATH", 1, `,"name":"/b"`)},
			[]string{"1 {" + in("CWD", 1, "") + "," + id(1) + `,"PATH":[{"msg":"audit(1615114232.001:1)","name":"/a","type":"PATH"},{"msg":"audit(1615114232.001:1)","name":"/b","type":"PATH"}]}`},
		},
		"interleaved, in the order of the first": {
			[]string{rec("CWD", 1, ""), rec("CWD", 2, ""), rec("PROCTITLE", 2, ""), rec("PROCTITLE", 1, "")},
			[]string{
				"1 {" + in("CWD", 1, "") + "," + id(1) + "," + in("PROCTITLE", 1, "") + "}",
				"2 {" + in("CWD", 2, "") + "," + id(2) + "," + in("PROCTITLE", 2, "") + "}",
			},
		},
		"one that is alone stays as it is": {[]string{rec("EXECVE", 1, `,"a0":"ls"`)}, []string{"1 " + rec("EXECVE", 1, `,"a0":"ls"`)}},
		"the end of an event is no event":  {[]string{rec("CWD", 1, ""), rec("EOE", 1, ""), rec("EOE", 2, "")}, []string{"1 " + rec("CWD", 1, "")}},
		"other records keep their place": {
			[]string{rec("CWD", 1, ""), rec("USER_LOGIN", 2, ""), `{"type":"CWD"}`, "not JSON"},
			[]string{"1 " + rec("CWD", 1, ""), "2 " + rec("USER_LOGIN", 2, ""), `3 {"type":"CWD"}`, "4 not JSON"},
		},
		"hosts count by themselves": {
			[]string{rec("CWD", 1, `,"node":"a"`), rec("SOCKADDR", 1, `,"node":"b"`)},
			[]string{"1 " + rec("CWD", 1, `,"node":"a"`), "2 " + rec("SOCKADDR", 1, `,"node":"b"`)},
		},
		"a serial number that comes again much later": {
			[]string{rec("CWD", 1, ""), `{"type":"CWD","msg":"audit(1615114299.000:5)"}`, rec("SOCKADDR", 1, "")},
			[]string{"1 " + rec("CWD", 1, ""), `2 {"type":"CWD","msg":"audit(1615114299.000:5)"}`, "3 " + rec("SOCKADDR", 1, "")},
		},
	} {
		if d := cmp.Diff(c.want, joined(c.lines...)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Nothing waits without bound, and nothing is lost or out of order.
func TestAuditJoinIsBounded(t *testing.T) {
	var j auditJoin
	var out []int
	emit := func(n int, _ []byte) { out = append(out, n) }
	long := strings.Repeat("x", 100<<10)
	for i := range 2000 {
		more := ""
		if i%3 == 0 {
			more = long
		}
		j.add(i, fmt.Appendf(nil, `{"type":"SYSCALL","msg":"audit(1615114232.000:%d)","x":%q}`, i, more), emit)
		if len(j.open) > maxJoining || j.bytes > maxJoinBytes+len(long) || len(j.queue) > 2*maxJoining {
			t.Fatalf("%d events and %d bytes wait", len(j.queue), j.bytes)
		}
	}
	j.flush(emit)
	if len(out) != 2000 || !slices.IsSorted(out) || j.bytes != 0 || len(j.open) != 0 {
		t.Errorf("%d of 2000 came out, in order: %t; %d bytes are left", len(out), slices.IsSorted(out), j.bytes)
	}
	out = nil
	for i := range 3 * maxJoinRecords {
		j.add(i, []byte(`{"type":"PATH","msg":"audit(1615114232.000:1)"}`), emit)
	}
	if len(out) != 3 {
		t.Errorf("records without end made %d events, want 3", len(out))
	}
}

// A rule that asks for fields of several records fires on what auditd wrote in several lines.
func TestReplayJoinsAuditRecords(t *testing.T) {
	const rec = `{"type":"SYSCALL","msg":"audit(1615114232.375:9)","node":"n1","syscall":"59","exe":"/usr/bin/dash","comm":"sh","pid":"7","ppid":"6","a0":"55d0","a2":"ffff"}
{"type":"SYSCALL","msg":"audit(1615114232.376:10)","node":"n1","syscall":"257","exe":"/usr/bin/cat","a0":"ffffff9c"}
{"type":"EXECVE","msg":"audit(1615114232.375:9)","node":"n1","argc":"2","a0":"/bin/sh","a1":"2D63206964"}
{"type":"CWD","msg":"audit(1615114232.375:9)","node":"n1","cwd":"/srv"}
{"type":"PATH","msg":"audit(1615114232.376:10)","node":"n1","name":"/etc/shadow","nametype":"NORMAL"}
{"type":"PATH","msg":"audit(1615114232.375:9)","node":"n1","name":"/bin/sh"}
{"type":"PATH","msg":"audit(1615114232.375:9)","node":"n1","name":"/lib/ld.so"}
`
	rules := []string{
		"title: Started\nid: 51111111-1111-4111-8111-111111111111\nlevel: high\nlogsource: {product: linux, category: process_creation}\ndetection: {s: {Image: /usr/bin/dash, CommandLine: /bin/sh -c id, CurrentDirectory: /srv, ProcessId: 7}, condition: s}\n",
		"title: Read\nid: 52222222-2222-4222-8222-222222222222\nlevel: high\nlogsource: {product: linux, service: auditd}\ndetection: {s: {syscall: 257, a0: ffffff9c, name: /etc/shadow}, condition: s}\n",
		"title: No register is an argument\nid: 53333333-3333-4333-8333-333333333333\nlevel: high\nlogsource: {product: linux, service: auditd}\ndetection: {s: {type: EXECVE, a2: ffff}, condition: s}\n",
	}
	dir := map[string]string{}
	for i, src := range rules {
		dir[fmt.Sprintf("r%d.yml", i)] = src
	}
	loaded, err := LoadEvery([]string{collectionOf(t, dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := New(Options{Threats: loaded})
	if err != nil {
		t.Fatal(err)
	}
	found, s, err := replayed(t, Replay{Engine: engine}, []byte(rec))
	if err != nil || s.Unreadable != 0 || s.Events != 2 || s.Recordings[0].Format != "auditd" {
		t.Fatalf("%+v %v", s, err)
	}
	if len(found) != 2 || !strings.Contains(found[0], `"title":"Started"`) || !strings.Contains(found[1], `"title":"Read"`) {
		t.Errorf("found %q", found)
	}
	if !strings.Contains(found[0], `"host":"n1"`) || !strings.Contains(found[0], "2021-03-07T10:50:32.375") {
		t.Errorf("host or time of the event are not those of its records: %s", found[0])
	}
}

func FuzzAuditJoin(f *testing.F) {
	f.Add(`{"type":"SYSCALL","msg":"audit(1.1:1)"}` + "\n" + `{"type":"PATH","msg":"audit(1.1:1)","name":"x"}`)
	f.Add(`{"type":"CWD","ID":"1:2","node":"é"}` + "\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		if out := joined(lines...); len(out) > len(lines) {
			t.Errorf("%d lines made %d events", len(lines), len(out))
		}
	})
}
