package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func load(t *testing.T, src string) (*Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "picket.yaml")
	if err := os.WriteFile(name, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(name)
}

func TestMistakesAreLocated(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"data: /x\nlogs:\n  level: info\n", "picket.yaml:2:1: logs: unknown key; did you mean log?\n     2 | logs:"},
		{"log:\n  level: loud\n", "picket.yaml:2:10: log.level: want debug, info, warn or error"},
		{"store:\n  retention: soon\n", "2:14: store.retention: want a duration such as 30m, 12h or 30d"},
		{"store:\n  disk: 20GB\n", "2:9: store.disk: want a size such as 256MiB or 2GiB"},
		{"api:\n  listen: 7420\n", "2:11: api.listen: want host:port"},
		{"api:\n  listen: 127.0.0.1:99999\n", "api.listen: want a port from 0 to 65535"},
		{"detect:\n  noisy: many\n", "2:10: detect.noisy: want a number"},
		{"detect:\n  noisy: 0\n", "2:10: detect.noisy: want at least 1"},
		{"detect:\n  placeholders:\n    a: @x\n", "picket.yaml:3"},
		{"detect:\n  placeholders:\n    a: '@x.txt'\n", "3:8: detect.placeholders.a: want @ and the whole path of a file: @/etc/picket/x.txt"},
		{"detect:\n  placeholders:\n    '%a%': [x]\n", "3:12: detect.placeholders.%a%: want a name without percent signs"},
		{"detect:\n  placeholders:\n    a: []\n", "3:8: detect.placeholders.a: want a list of values"},
		{"detect:\n  placeholders: [a]\n", "2:17: detect.placeholders: want a map"},
		{"detect:\n  placeholders:\n    a: [[x]]\n", "3:9: detect.placeholders.a.0: want one value"},
		{"workload:\n  models: /m\n", "2:11: workload.models: want a list"},
		{"sink:\n  - type: kafka\n", "2:5: sink.0: sink kafka: unknown type \"kafka\": want jsonl or webhook"},
		{"sink:\n  - type: webhook\n    url: example.org\n", "2:5: sink.0: sink webhook: a webhook sink wants a url, http:// or https://"},
		{"sink:\n  - type: webhook\n    secret: ${NO_SUCH_SECRET}\n", "the environment has no NO_SUCH_SECRET"},
		{"respond:\n  approval: 5s\n", "2:13: respond.approval: want at least 1m"},
		{"respond:\n  rules:\n    - name: x\n", "3:7: respond.rules.0: playbook is missing"},
		{"respond:\n  rules:\n    - {name: x, playbook: p, mode: always}\n", "3:7: respond.rules.0: mode \"always\": want suggest, approve or auto"},
		{"respond:\n  rules:\n    - {name: x, playbook: p, hours: 8-18}\n", "respond.rules.0: hours \"8-18\": want such as 08:00-18:00"},
		{"respond:\n  rules:\n    - {name: x, playbook: p, level: bad}\n", "3:37: respond.rules.0.level: want low, medium, high or critical"},
		{"data: /x\ndata: /y\n", "2:1: data: stands here twice"},
		{"data: [\n", "picket.yaml:"},
		{"- a\n", "1:1: want keys and values"},
	} {
		_, err := load(t, tt.src)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant it to contain %s", tt.src, err, tt.want)
		}
		if Code(err) != ExitConfig {
			t.Errorf("%q: exit code %d, want %d", tt.src, Code(err), ExitConfig)
		}
	}
}

func TestAllMistakesAreReported(t *testing.T) {
	_, err := load(t, "dat: /x\nlog:\n  lvel: info\nstore:\n  disk: x\n")
	if n := strings.Count(err.Error(), "picket.yaml:"); n != 3 {
		t.Errorf("%d mistakes reported, want 3:\n%v", n, err)
	}
}

func TestEveryDefaultIsDocumentedAndReadsBack(t *testing.T) {
	var b strings.Builder
	if err := WriteDefault(&b); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, b.String())
	if err != nil {
		t.Fatalf("the printed defaults do not load:\n%v\n%s", err, b.String())
	}
	if d := cmp.Diff(Default(), got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	for line := range strings.Lines(b.String()) {
		if strings.TrimSpace(line) == "#" {
			t.Errorf("a key has no doc tag:\n%s", b.String())
		}
	}
}

func TestPlaceholdersAreListsOrFiles(t *testing.T) {
	c, err := load(t, "detect:\n  placeholders:\n    admins: [root, 0]\n    hosts: '@/etc/picket/hosts'\n")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]Values{"admins": {"root", "0"}, "hosts": {"@/etc/picket/hosts"}}, c.Detect.Placeholders); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/etc/picket/hosts"}, valueFiles(c)); d != "" {
		t.Error(d)
	}
}

func TestSecretsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("PICKET_TEST_SECRET", "s3cret")
	c, err := load(t, "sink:\n  - type: webhook\n    url: https://siem.example/in\n    headers: {Authorization: 'Bearer ${PICKET_TEST_SECRET}'}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sink[0].Headers["Authorization"]; got != "Bearer s3cret" {
		t.Errorf("header %q", got)
	}
}

func TestSizesAndDurationsPrintAsTheyAreWritten(t *testing.T) {
	for s, n := range map[string]Size{"256MiB": 256 << 20, "2GiB": 2 << 30, "1000": 1000} {
		if got, err := parseSize(s); err != nil || got != n || n.String() != s {
			t.Errorf("%s: %d %v, prints %s", s, got, err, n)
		}
	}
	for s, n := range map[string]time.Duration{"30m": 30 * time.Minute, "12h": 12 * time.Hour, "30d": 720 * time.Hour, "90s": 90 * time.Second} {
		if got, err := parseDuration(s); err != nil || got != Duration(n) {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for _, bad := range []string{"-1MiB", "9999999TiB", "MiB", ""} {
		if _, err := parseSize(bad); err == nil {
			t.Errorf("size %q was taken", bad)
		}
	}
}

func TestAMissingFileSaysWhatToDo(t *testing.T) {
	_, err := Load("/nonexistent/picket.yaml")
	var e *Error
	if !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("got %v, want a hint", err)
	}
}

func FuzzConfig(f *testing.F) {
	var b strings.Builder
	if err := WriteDefault(&b); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(b.String()))
	f.Add([]byte("sink:\n  - {type: webhook, headers: {a: b}}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c := Default()
		if err := decode("f", src, c); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
