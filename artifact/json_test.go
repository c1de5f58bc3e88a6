package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// fileCase is a file and what a scan must make of it.
type fileCase struct {
	name string // the file's name, as far as it matters, and after a space what the case is about
	data []byte
	want Verdict
	rule string // of the worst issue
	says string // a part of its text or name
}

// judge scans the cases through the front door.
func judge(t *testing.T, format string, cases []fileCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file, _, _ := strings.Cut(c.name, " ")
			r := scanBytes(file, c.data, Options{})
			if r.Verdict != c.want || !slices.Contains(r.Formats, format) {
				t.Fatalf("got %v, formats %v, %+v; want %v as %s", r.Verdict, r.Formats, r.Issues, c.want, format)
			}
			if c.rule != "" && !slices.ContainsFunc(r.Issues, func(i Issue) bool {
				return i.Rule == c.rule && i.Verdict == c.want && (strings.Contains(i.Text, c.says) || strings.Contains(i.Name, c.says))
			}) {
				t.Errorf("no %s about %q in %+v", c.rule, c.says, r.Issues)
			}
		})
	}
}

// fuzzScan adds the cases' files and scans what comes of them: no panic, no hang, issues within the file.
func fuzzScan(f *testing.F, file string, cases []fileCase) {
	for _, c := range cases {
		if len(c.data) < 64<<10 {
			f.Add(c.data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := scanBytes(file, b, Options{Limits: Limits{Bytes: 1 << 20}})
		for _, i := range r.Issues {
			if i.Rule == "" || i.Text == "" || i.Verdict > r.Verdict {
				t.Errorf("bad issue %+v", i)
			}
		}
	})
}

func readJSON(text string) (tokens string, err error) {
	j := newJSON(strings.NewReader(text), 0)
	for {
		k, err := j.next()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			return tokens, err
		}
		tokens += fmt.Sprintf("%c%s ", k.kind, k.text)
	}
}

func TestJSONTokens(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"a":[true,null,"x\u00e9\ud83d\ude00\n"]}`: "{ ka n1 ka [ ltrue lnull sxé😀\n ] } ",
		` [ ] `:            "[ ] ",
		`{"n": -1.5e+3}  `: "{ kn n-1.5e+3 } ",
		`[NaN,{}]`:         "[ lNaN { } ] ",
	} {
		if got, err := readJSON(text); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		`{`, `[1,]`, `{"a"}`, `{"a":1,}`, `[1 2]`, `{a:1}`, `[tru]`, `"\x"`, "[\"a\nb\"]", "[\"\xff\"]", `[1]]`, `[-]`, `{"a":}`, `[`, `"a`,
		strings.Repeat("[", jsonDepth+1), "[" + strings.Repeat("1", 100) + "]",
	} {
		if got, err := readJSON(text); err == nil {
			t.Errorf("%.40s: got %q, want an error", text, got)
		}
	}
}

func TestJSONKeepsNoGiant(t *testing.T) {
	j := newJSON(strings.NewReader(`"`+strings.Repeat(`a\n`, 4*jsonKeep)+`"`), 0)
	k, err := j.next()
	if err != nil || !k.cut || len(k.text) > jsonKeep+4 {
		t.Errorf("kept %d bytes, cut %v, %v", len(k.text), k.cut, err)
	}
}

// FuzzJSON compares with the standard library: what it takes, the reader takes.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":1,"b":[true,null,"x\u00e9\ud83d"],"c":{"d":-1.5e3}}`)
	f.Add(`[NaN]`)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := readJSON(text)
		if !json.Valid([]byte(text)) || err == nil {
			return
		}
		for _, limit := range []string{"brackets", "digits", "UTF-8"} { // what the library takes and repairs
			if strings.Contains(err.Error(), limit) {
				return
			}
		}
		t.Errorf("%q: %v", text, err)
	})
}
