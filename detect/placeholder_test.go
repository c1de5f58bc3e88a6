package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

const expandRule = `title: An administrator's shell
id: 51111111-1111-4111-8111-111111111111
logsource: {product: linux, category: process_creation}
detection:
    sel: {Image|endswith: /sh, User|expand: '%admins%'}
    condition: sel
level: high
`

func TestLoadPlaceholders(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + name
	}
	for name, c := range map[string]struct {
		given []string
		want  []string
		fault string
	}{
		"a list":             {[]string{"root", "adm*"}, []string{"root", "adm*"}, ""},
		"a file":             {[]string{file("good", "root\n\n# who else\n  adm* \r\n")}, []string{"root", "adm*"}, ""},
		"a list with a file": {[]string{"x", file("one", "y")}, []string{"x", "y"}, ""},
		"not UTF-8":          {[]string{file("bytes", "a\n\xff\nb")}, []string{"a", "b"}, "bytes:2:1: the value is not UTF-8 text"},
		"a value too long":   {[]string{file("long", "a\n"+strings.Repeat("x", maxValueText+1))}, []string{"a"}, "long:2:4097: the value is longer than 4096 bytes"},
		"an empty file":      {[]string{file("empty", "# nothing\n")}, nil, "empty:1:1: holds no value"},
		"no file":            {[]string{"@" + filepath.Join(dir, "gone")}, nil, "gone:1:1: values of a placeholder cannot be read"},
		"a directory":        {[]string{"@" + dir}, nil, ":1:1: values of a placeholder cannot be read"},
		"a large file":       {[]string{file("large", strings.Repeat("x\n", maxFile))}, nil, "large:1:1: is larger than"},
		"many values":        {[]string{file("many", strings.Repeat("x\n", maxValues+1))}, make([]string, maxValues), "the placeholder has 4097 values"},
	} {
		got, err := LoadPlaceholders(map[string][]string{"p": c.given})
		if name == "many values" {
			for i := range c.want {
				c.want[i] = "x"
			}
		}
		if d := cmp.Diff(c.want, got["p"]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}

func TestRulesTakeTheValuesOfTheirPlaceholders(t *testing.T) {
	root := fstest.MapFS{
		"t/README.md":  {Data: []byte("# T\n")},
		"t/admin.yml":  {Data: []byte(expandRule)},
		"t/filter.yml": {Data: []byte("title: Not here\nlogsource: {product: linux, category: process_creation}\nfilter:\n    rules: [admin]\n    sel: {host|expand: '%quiet%'}\n    condition: sel\n")},
		"t/admin.events": {Data: []byte("# hit: root is one\n{\"event.kind\":\"process.start\",\"process.exe\":\"/bin/sh\",\"process.user\":\"root\"}\n" +
			"# miss: bob is none\n{\"event.kind\":\"process.start\",\"process.exe\":\"/bin/sh\",\"process.user\":\"bob\"}\n" +
			"# miss: it is quiet there\n{\"event.kind\":\"process.start\",\"process.exe\":\"/bin/sh\",\"process.user\":\"root\",\"host\":\"lab1\"}\n")},
	}
	values := map[string][]string{"admins": {"root", "adm*"}, "quiet": {"lab1"}}
	threats, err := LoadThreats(WithPlaceholders(values, root)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Test(threats[0]) {
		if !r.OK {
			t.Errorf("%s: %s", r.Why, r.Problem)
		}
	}
	e := engine(t, Options{Threats: threats})
	if got := e.Process(shellBy("administrator", 1, began)); len(got) != 1 {
		t.Errorf("%v", got)
	}
	x := e.Explain("admin")
	if len(x) != 1 || !strings.Contains(x[0].Plan.Condition.String(), `"root"`) {
		t.Errorf("%+v", x)
	}

	threats, err = LoadThreats(root)
	if err == nil || !strings.Contains(err.Error(), "placeholder %admins% has no values") || !strings.Contains(err.Error(), "detect.placeholders") {
		t.Errorf("without values: %v", err)
	}
	if len(threats[0].Rules) != 0 {
		t.Error("a rule without values is loaded")
	}
}

// A rule of a collection that lacks values rests, and says so; with them it is active.
func TestCollectionsTakeTheValuesOfTheirPlaceholders(t *testing.T) {
	dir := Collection(collectionOf(t, map[string]string{"admin.yml": expandRule}))
	threats, err := LoadThreats(dir)
	if err != nil || len(threats[0].Inactive) != 1 || threats[0].Inactive[0].Reason != "placeholder %admins% has no values" {
		t.Fatalf("%+v %v", threats, err)
	}
	values := map[string][]string{"admins": {"root"}}
	if threats, err = LoadThreats(WithPlaceholders(values, dir)...); err != nil || len(threats[0].Rules) != 1 {
		t.Fatalf("%+v %v", threats, err)
	}
	e := engine(t, Options{Threats: threats})
	if got := e.Process(shellBy("root", 1, began)); len(got) != 1 || got[0].Severity != event.High {
		t.Errorf("%v", got)
	}
	var now time.Duration
	m := Meter{Clock: func() time.Duration { now += time.Second; return now }}
	if each, _ := m.Measure(threats, []*event.Event{shellBy("root", 1, began)}); len(each) != 1 || each[0].Hits != 1 {
		t.Errorf("it cannot be measured: %+v", each)
	}
}
