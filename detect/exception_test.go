package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/event"
)

const goodException = `title: Our own shell
except:
    rules: [shell]
    selection:
        process.user: backup
reason: it is ours
owner: us
expires: 2026-06-30
`

// exceptionsOf writes a file of exceptions and loads it.
func exceptionsOf(t testing.TB, text string) ([]*Exception, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadExceptions(dir, filepath.Join(dir, "not-there"))
}

func TestFaultsOfExceptionsAreLocated(t *testing.T) {
	edit := func(old, with string) string { return strings.Replace(goodException, old, with, 1) }
	for name, c := range map[string]struct {
		text, want string
		good       int
	}{
		"in order":           {goodException, "", 1},
		"two":                {goodException + "---\n" + goodException, "", 2},
		"one of two":         {edit("owner: us\n", "") + "---\n" + goodException, "x.yml:1:1: the exception has no owner", 1},
		"never":              {edit("2026-06-30", "never"), "", 1},
		"a condition":        {edit("backup\n", "backup\n    other: {process.pid: 1}\n    condition: selection and not other\n"), "", 1},
		"no reason":          {edit("reason: it is ours", "reason: ''"), "x.yml:1:1: the exception has no reason", 0},
		"no expiry":          {edit("expires: 2026-06-30\n", ""), "x.yml:1:1: the exception has no expires", 0},
		"no day":             {edit("2026-06-30", "tomorrow"), `x.yml:8:10: expires "tomorrow" is not a day`, 0},
		"no rule":            {edit("rules: [shell]", "rules: []"), "x.yml:3:5: the exception names no rule", 0},
		"no selection":       {edit("    selection:\n        process.user: backup\n", ""), "x.yml:3:5: the exception selects no events", 0},
		"an unknown key":     {edit("owner: us", "owner: us\nuntil: x"), `x.yml:8:1: "until" is not known`, 0},
		"an unknown field":   {edit("process.user", "process.usr"), `there is no field "process.usr"`, 0},
		"a bad modifier":     {edit("process.user", "process.user|ends"), `x.yml:5:9: unknown modifier "ends"`, 0},
		"a bad condition":    {edit("reason", "x: 1\nreason"), `"x" is not known`, 0},
		"an empty selection": {edit("        process.user: backup\n", "        process.user: []\n"), "process.user has an empty list", 0},
		"no map":             {"- a\n", "x.yml:1:1: is no exception", 0},
		"not YAML":           {"a: [\n", "x.yml:1:1: is not YAML", 0},
		"an alias bomb":      {"a: &a [x, x]\nb: &b [*a, *a]\nexcept: {rules: [shell], selection: {process.user: *b}}\nreason: x\nowner: x\nexpires: never\n", `"a" is not known`, 0},
	} {
		list, err := exceptionsOf(t, c.text)
		if len(list) != c.good {
			t.Errorf("%s: %d exceptions, want %d: %v", name, len(list), c.good, err)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// shellBy is a shell started by a user, on a day of 2026.
func shellBy(user string, pid uint32, day time.Time) *event.Event {
	return &event.Event{
		Kind: event.ProcessStart, Time: day, Host: "node1",
		Process: &event.Process{PID: pid, UID: fmt.Sprint(pid), Exe: "/bin/sh", Cmdline: "sh", User: user, Container: &event.Container{ID: "c0"}},
	}
}

func TestAnExceptionHidesWhatItSelectsUntilItExpires(t *testing.T) {
	threats, err := LoadThreats(folderOf(map[string]string{"shells.yml": goodSequence}))
	if err != nil {
		t.Fatal(err)
	}
	list, err := exceptionsOf(t, goodException)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Threats: threats, Exceptions: list})
	june, july := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		user string
		at   time.Time
		want []string
	}{
		{"backup", june.Add(-time.Hour), nil},
		{"backup", june, nil}, // the sequence is not taken further either
		{"root", june, []string{"shell"}},
		{"backup", july, []string{"shell", "shells"}},
	} {
		got := names(e.Process(shellBy(c.user, uint32(c.at.Unix())+uint32(len(c.user)), c.at)))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s at %s: %q, want %q", c.user, c.at, got, c.want)
		}
	}
	r := e.Rules()[0]
	if r.Name != "shell" || r.Hits != 2 || r.Excepted != 2 || e.Stats().Excepted != 2 {
		t.Errorf("%+v %+v", r, e.Stats())
	}

	e.Advance(june)
	if said := e.Notices(); len(said) != 0 {
		t.Errorf("before its day: %q", said)
	}
	e.Advance(july)
	e.Advance(july.Add(time.Second))
	if said := e.Notices(); len(said) != 1 || !strings.Contains(said[0], `exception "Our own shell"`) || !strings.Contains(said[0], "expired on 2026-06-30") {
		t.Errorf("once: %q", said)
	}

	if err := e.Reload(threats, list...); err != nil {
		t.Fatal(err)
	}
	e.Advance(july.Add(time.Minute))
	if said := e.Notices(); len(said) != 0 || e.Rules()[0].Excepted != 2 {
		t.Errorf("a reload forgot what was said and counted: %q %+v", said, e.Rules()[0])
	}
}

func TestAnExceptionOfASequence(t *testing.T) {
	threats, _ := LoadThreats(folderOf(map[string]string{"shells.yml": goodSequence}))
	list, err := exceptionsOf(t, strings.Replace(goodException, "[shell]", "[22222222-2222-4222-8222-222222222222]", 1))
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Threats: threats, Exceptions: list})
	e.Process(shellBy("root", 1, began))
	if got := names(e.Process(shellBy("backup", 2, began.Add(time.Second)))); !slices.Equal(got, []string{"shell"}) {
		t.Errorf("%q: want the rule alone", got)
	}
}

func TestExceptionsFromRulesThatAreNotThere(t *testing.T) {
	threats, _ := LoadThreats(folderOf(nil))
	list, err := exceptionsOf(t, strings.Replace(goodException, "[shell]", "[shell, shall]", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckExceptions(list, threats); err == nil || !strings.Contains(err.Error(), `x.yml:1:1: there is no rule "shall"`) {
		t.Errorf("%v", err)
	}
}

func TestLintOfExceptions(t *testing.T) {
	threats, err := LoadThreats(folderOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		selection string
		now       time.Time
		want      []string
	}{
		"in order":                 {"process.user: backup", day, nil},
		"expired":                  {"process.user: backup", day.AddDate(0, 0, 1), []string{"x.yml:1:1: expired on 2026-06-30: shell fire there again"}},
		"the rule's own selection": {"Image|endswith: /sh", day, []string{"x.yml:1:1: hides every event of shell"}},
		"by another name":          {"process.exe|endswith: sh", day, []string{"x.yml:1:1: hides every event of shell"}},
		"what all events have":     {"host: '*'", day, []string{"x.yml:1:1: hides every sample of shell"}},
		"part of it":               {"process.exe: /usr/bin/sh", day, nil},
	} {
		list, err := exceptionsOf(t, strings.Replace(goodException, "process.user: backup", c.selection, 1))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var said []string
		for _, p := range LintExceptions(list, threats, c.now) {
			first, _, _ := strings.Cut(p.Error(), "\n")
			said = append(said, first[strings.Index(first, "x.yml"):])
		}
		if !slices.Equal(said, c.want) {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
	}
	list, err := exceptionsOf(t, strings.Replace(goodException, "[shell]", "[shall]", 1))
	if err != nil {
		t.Fatal(err)
	}
	if said := LintExceptions(list, threats, day); len(said) != 1 || !strings.Contains(said[0].Msg, `there is no rule "shall"`) {
		t.Errorf("%v", said)
	}
}

func TestExplainShowsTheExceptionsOfARule(t *testing.T) {
	threats, _ := LoadThreats(folderOf(nil))
	list, err := exceptionsOf(t, goodException+"---\n"+strings.Replace(goodException, "[shell]", "[other]", 1))
	if err != nil {
		t.Fatal(err)
	}
	x := engine(t, Options{Threats: threats, Exceptions: list}).Explain("shell")
	if len(x) != 1 || len(x[0].Excepted) != 1 {
		t.Fatalf("%+v", x)
	}
	got := x[0].Excepted[0]
	if got.Title != "Our own shell" || got.Owner != "us" || got.Reason != "it is ours" || got.Expires != "2026-06-30" || got.Line != 1 || got.Selects.String() != `process.user is "backup"` {
		t.Errorf("%+v", got)
	}
	if end := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC); got.Over(end.Add(-time.Second)) || !got.Over(end) {
		t.Error("it is not over with its last day")
	}
}

func TestPreviewTellsWhatWouldHaveBeenHidden(t *testing.T) {
	threats, _ := LoadThreats(folderOf(nil))
	list, err := exceptionsOf(t, goodException+"---\n"+strings.NewReplacer("Our own shell", "Another", "[shell]", "[nothing]").Replace(goodException))
	if err != nil {
		t.Fatal(err)
	}
	events := []*event.Event{
		shellBy("backup", 1, began), shellBy("root", 2, began), shellBy("backup", 3, began.AddDate(1, 0, 0)),
		{Kind: event.ProcessStart, Time: began, Process: &event.Process{Exe: "/bin/ls", User: "backup"}},
	}
	got, err := Preview(threats, list, events)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	if h := got[0]; h.Rule != "shell" || h.Fired != 3 || h.Hidden != 2 || len(h.Examples) != 2 || !h.Expired {
		t.Errorf("%+v", h)
	}
	if h := got[1]; h.Rule != "nothing" || h.Fired != 0 || h.Hidden != 0 {
		t.Errorf("%+v", h)
	}

	var findings []event.Finding
	e := engine(t, Options{Threats: threats})
	for _, ev := range events {
		findings = append(findings, e.Process(ev)...)
	}
	got, err = PreviewFindings(list, findings)
	if err != nil || len(got) != 2 || got[0].Fired != 3 || got[0].Hidden != 2 {
		t.Errorf("of findings: %+v %v", got, err)
	}
}

func TestANoisyRuleIsThrottledAndSaidSo(t *testing.T) {
	threats, _ := LoadThreats(folderOf(nil))
	e := engine(t, Options{Threats: threats, Noisy: 5})
	in := func(container string, pid, second int) *event.Event {
		ev := shellBy("root", uint32(pid), began.Add(time.Duration(second)*time.Second))
		ev.Process.Container = &event.Container{ID: container}
		return ev
	}
	raised := 0
	for i := range 1200 {
		raised += len(e.Process(in("c1", i+1, i/4))) // 300 s
	}
	if raised != 5 {
		t.Errorf("%d findings, want 5", raised)
	}
	said := e.Notices()
	if len(said) != 1 || !strings.Contains(said[0], "throttled: rule shell fired more than 5 times") || !strings.Contains(said[0], "in container c1") {
		t.Errorf("when it began: %q", said)
	}
	if got := len(e.Process(in("c2", 5000, 301))); got != 1 {
		t.Error("another container is throttled with it")
	}
	e.Advance(began.Add(noisyTime))
	said = e.Notices()
	if len(said) != 1 || !strings.Contains(said[0], "throttled: rule shell fired 1200 times in 10 min in container c1: 1195 findings were not raised") {
		t.Errorf("when it ended: %q", said)
	}
	if got := len(e.Process(in("c1", 6000, 700))); got != 1 {
		t.Error("it stays throttled for good")
	}
	if r := e.Rules()[0]; r.Throttled != 1195 || r.Hits != 1202 || e.Stats().Throttled != 1195 {
		t.Errorf("%+v", r)
	}
}

func TestAThrottleForgetsTheOldest(t *testing.T) {
	th := throttle{most: 1, per: noisyTime, flows: map[flowKey]*flow{}}
	r := &rule{info: event.Rule{ID: "r", Name: "r"}}
	for i := range 2 * maxFlows {
		th.pass(r, &event.Event{Time: began, Host: fmt.Sprint(i)})
	}
	if len(th.flows) != maxFlows || len(th.order) != maxFlows {
		t.Errorf("%d and %d are kept", len(th.flows), len(th.order))
	}
}

func FuzzExceptions(f *testing.F) {
	f.Add(goodException)
	f.Add("except: {rules: [a], selection: {process.user|re: '('}}\nreason: &a x\nowner: *a\nexpires: 2026-13-01\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{}
		for _, x := range l.exceptions("x.yml", []byte(text)) {
			if x.match == nil || len(x.Rules) == 0 || x.Reason == "" || x.Owner == "" {
				t.Errorf("not in order: %+v", x)
			}
			if set, err := newExceptions([]*Exception{x}); err != nil {
				t.Error(err)
			} else {
				v := newView()
				v.e = shellBy("backup", 1, began)
				set.look(v, began)
			}
		}
	})
}
