package detect

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// shellAt is a line of Picket's own about a shell on a host.
func shellAt(host string, second, pid int) string {
	return fmt.Sprintf(`{"_time":%q,"event.kind":"process.start","host":%q,"process.exe":"/bin/sh","process.pid":%d}`+"\n",
		sampleStart.Add(time.Duration(second)*time.Second).Format(time.RFC3339), host, pid)
}

// auditAt is a program that auditd saw, in two lines.
func auditAt(second, serial int) string {
	at := fmt.Sprintf("audit(%d.000:%d)", sampleStart.Unix()+int64(second), serial)
	return fmt.Sprintf(`{"type":"SYSCALL","msg":%q,"node":"c","syscall":"59","exe":"/bin/sh","pid":"%d"}
{"type":"EXECVE","msg":%q,"node":"c","argc":"1","a0":"sh%d"}
`, at, serial, at, serial)
}

// shellsEngine finds each shell, and three within a minute wherever they are.
func shellsEngine(t *testing.T) *Engine {
	t.Helper()
	loaded, _ := LoadThreats(fstest.MapFS{"t/r.yml": {Data: []byte(shellRule)}, "t/c.yml": {Data: []byte(`title: Three shells
id: 44444444-4444-4444-8444-444444444444
level: high
correlation: {type: event_count, rules: [shell_started], timespan: 1m, condition: {gte: 3}}
`)}}) // it lacks a README
	e, err := New(Options{Threats: loaded, Hosts: true, Noisy: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRecordingsAreReplayedTogether(t *testing.T) {
	texts := map[string]string{
		"a":       shellAt("a", 10, 1) + shellAt("a", 1000, 2) + "{\n" + shellAt("a", 3000, 3),
		"b":       shellAt("b", 20, 1) + shellAt("b", 5, 2) + shellAt("b", 2000, 3), // one is out of order
		"audit":   auditAt(30, 7) + auditAt(1500, 8),
		"untimed": `{"Image":"/bin/sh","CommandLine":"sh -c untimed"}` + "\n",
	}
	run := func(together bool, names ...string) (order []string, s ReplaySummary) {
		var inputs []Input
		r := &Replay{Engine: shellsEngine(t)}
		r.Found = func(f event.Finding) {
			what := f.Host
			if f.Rule.Title == "Three shells" {
				what = "three"
			}
			order = append(order, fmt.Sprint(what, "@", int(f.Time.Sub(sampleStart).Seconds())))
		}
		for _, name := range names {
			in := Input{name, strings.NewReader(texts[name])}
			inputs = append(inputs, in)
			if !together {
				if err := r.Read(t.Context(), in.Name, in.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if together {
			if err := r.ReadTogether(t.Context(), inputs...); err != nil {
				t.Fatal(err)
			}
		}
		return order, r.Summary()
	}
	got, s := run(true, "a", "b", "audit")
	want := []string{"a@10", "b@20", "b@5", "three@20", "c@30", "a@1000", "c@1500", "b@2000", "a@3000"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("together (-want +got):\n%s", d)
	}
	if s.Events != 8 || s.Unreadable != 1 || len(s.Recordings) != 3 || s.Recordings[0].Name != "a" || s.Recordings[2] != (Recording{"audit", "auditd", 2}) {
		t.Errorf("%+v", s)
	}
	if got, _ := run(false, "a", "b", "audit"); strings.Contains(strings.Join(got, " "), "three") {
		t.Errorf("one after another: %q", got)
	}
	alone, _ := run(false, "a")
	if same, _ := run(true, "a"); cmp.Diff(alone, same) != "" {
		t.Errorf("one file together with none: %q, want %q", same, alone)
	}
	if got, s := run(true, "a", "untimed"); len(got) != 4 || s.Events != 4 {
		t.Errorf("with a recording that has no times: %q", got)
	}
}

func TestReplayTogetherOfWhatCannotBeRead(t *testing.T) {
	r := &Replay{Engine: shellsEngine(t)}
	err := r.ReadTogether(t.Context(), Input{"bad", strings.NewReader("\x1f\x8b no gzip at all")}, Input{"good", strings.NewReader(shellAt("a", 1, 1))})
	if err == nil || !strings.Contains(err.Error(), "bad: not a whole gzip file") || r.Summary().Findings != 1 {
		t.Errorf("%v, %+v", err, r.Summary())
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	long := strings.Repeat(shellAt("a", 1, 1), 2*pause)
	if err := r.ReadTogether(ctx, Input{"x", strings.NewReader(long)}); err != context.Canceled { //nolint:errorlint // it is not wrapped
		t.Errorf("got %v", err)
	}
}
