package events

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestClean(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	good := `{"_time":"2026-01-01T00:00:00.5Z","event.id":"a"}`
	for name, c := range map[string]struct {
		in   []string
		keep []int
	}{
		"all good":      {[]string{good, good}, []int{0, 1}},
		"no end":        {[]string{good}, []int{0}},
		"not JSON":      {[]string{good, "x", good}, []int{0, 2}},
		"bad first":     {[]string{"{", good}, []int{1}},
		"no id":         {[]string{`{"_time":"2026-01-01T00:00:00Z"}`}, nil},
		"no time":       {[]string{`{"event.id":"a"}`}, nil},
		"days ahead":    {[]string{`{"_time":"2026-01-05T00:00:00Z","event.id":"a"}`, good}, []int{1}},
		"too long":      {[]string{`{"_time":"2026-01-01T00:00:00Z","event.id":"a","x":"` + strings.Repeat("x", maxLine) + `"}`, good}, []int{1}},
		"an empty line": {[]string{good, "", good}, []int{0, 2}},
	} {
		var want []byte
		for _, i := range c.keep {
			want = append(append(want, c.in[i]...), '\n')
		}
		out, n := clean([]byte(strings.Join(c.in, "\n")), now)
		if n != len(c.keep) || !bytes.Equal(bytes.TrimSpace(out), bytes.TrimSpace(want)) {
			t.Errorf("%s: kept %d: %.100q", name, n, out)
		}
	}
}

func TestArgs(t *testing.T) {
	args := strings.Join(Args(Config{Dir: "/d", Listen: "127.0.0.1:1", Retention: 36 * time.Hour, Disk: 5, User: "u", Password: "/p"}), " ")
	for _, want := range []string{"-retentionPeriod=2d", "-inmemoryDataFlushInterval=1s", "-httpAuth.password=file:///p", "-retention.maxDiskSpaceUsageBytes=5"} {
		if !strings.Contains(args, want) {
			t.Errorf("%s: no %s", args, want)
		}
	}
	if err := (Config{Dir: "/proc/nothing/here", Listen: "127.0.0.1:1"}).Prepare(); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"weights", `a:"x|y" | stats by (b) count() n | sort by (n)`, "* | nosuch", "'it\\'s' `|` # c\n| limit 3", "a:range(1,2] | in(", "\xff|", "\"\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := check(s); err != nil && !errors.Is(err, ErrQuery) {
			t.Fatal(err)
		}
		l := lexer{rest: s}
		n := 0
		for l.next() {
			if n++; n > len(s) {
				t.Fatal("does not end")
			}
			if l.token == "" {
				t.Fatal("empty token")
			}
		}
	})
}
