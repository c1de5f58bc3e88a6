package sigma_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/sigma"
)

func TestRecordReadsFields(t *testing.T) {
	text := func(s string) sigma.Value { return sigma.Value{Kind: sigma.Text, Str: s} }
	list := func(s ...string) sigma.Value { return sigma.Value{Kind: sigma.List, List: s} }
	null, absent := sigma.Value{Kind: sigma.Null}, sigma.Value{}
	for _, c := range []struct {
		line, field string
		want        sigma.Value
	}{
		{`{"a":"x"}`, "a", text("x")},
		{` { "a" : "x" } ` + "\r\n", "a", text("x")},
		{`{"A":"x"}`, "a", absent},
		{`{"a":""}`, "a", text("")},
		{`{"a":null}`, "a", null},
		{`{}`, "a", absent},
		{`{"a":true}`, "a", sigma.Value{Kind: sigma.Boolean, Int: 1}},
		{`{"a":false}`, "a", sigma.Value{Kind: sigma.Boolean}},
		{`{"a":-1.50e+3}`, "a", text("-1.50e+3")},
		{`{"a":12345678901234567890123}`, "a", text("12345678901234567890123")},
		{`{"a":"\"\\\/\b\f\n\r\té\ud83d\ude00"}`, "a", text("\"\\/\b\f\n\r\té😀")},
		{`{"a":"\ud83dx\udc00"}`, "a", text("\ufffdx\ufffd")},
		{"{\"a\":\"curl \xff\xfe\"}", "a", text("curl \xff\xfe")},
		{`{"\u0061":"x"}`, "a", text("x")},
		{`{"a":["x",1,true,null,[2,[]]]}`, "a", list("x", "1", "true", "", "2")},
		{`{"a":[]}`, "a", list()},
		{`{"a":{"b":"x"}}`, "a.b", text("x")},
		{`{"a":{"b":{"c":"x"}}}`, "a.b.c", text("x")},
		{`{"a.b":{"c":"x"}}`, "a.b.c", text("x")},
		{`{"a":{"b.c":"x"}}`, "a.b.c", text("x")},
		{`{"a":{"b":1},"a.b":2}`, "a.b", text("2")},
		{`{"a.b":2,"a":{"b":1}}`, "a.b", text("2")},
		{`{"a":{"b": [1, 2]}}`, "a", text(`{"b": [1, 2]}`)},
		{`{"a":[{"b":1},{"c":0},{"b":[2,3]}]}`, "a.b", list("1", "2", "3")},
		{`{"a":1,"a":2}`, "a", text("2")},
		{`{"a":[1],"a":[2]}`, "a", list("2")},
		{`{"a":[1],"a":2}`, "a", text("2")},
		{`{"a":1,"a":[2]}`, "a", list("2")},
		{`{"a":{"b":1},"a":{"c":2}}`, "a.b", absent},
		{`{"a":{"b":1},"a":5}`, "a.b", absent},
		{`{"a":{"b":{"c":1}},"a":{"b":{}}}`, "a.b.c", absent},
		{`{"a.b":1,"a":{},"a":{}}`, "a.b", text("1")},
		{`{"z":{"a":"no"},"a":"x","y":[{"a":"no"}]}`, "a", text("x")},
	} {
		names := sigma.NewNames([]string{"a", "a.b", "a.b.c", "a"})
		r := sigma.NewRecord(names)
		for range 2 { // once more: a record is used again
			if err := r.Parse("f", 1, []byte(c.line)); err != nil {
				t.Errorf("%s: %v", c.line, err)
			}
			id, ok := names.Field(c.field)
			if !ok {
				t.Fatalf("%s has no number", c.field)
			}
			got := r.Value(id)
			if len(got.List) == 0 {
				got.List = nil
			}
			if len(c.want.List) == 0 {
				c.want.List = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", c.line, c.field, diff)
			}
		}
	}
}

func TestRecordRefusesWhatIsNotJSON(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 10_000)
	for _, c := range []struct {
		line string
		col  int
		msg  string
	}{
		{``, 1, "the line ends where { is expected"},
		{`[1]`, 1, "found '[' where { is expected"},
		{`{"a":1} x`, 9, "found 'x' where the end of the line is expected"},
		{`{"a":1`, 7, "the line ends where a comma or } is expected"},
		{`{"a" 1}`, 6, "found '1' where a colon is expected"},
		{`{a:1}`, 2, "found 'a' where a key in quotes is expected"},
		{`{"a":1,}`, 8, "found '}' where a key in quotes is expected"},
		{`{"a":[1,]}`, 9, "found ']' where a value is expected"},
		{`{"a":"x`, 8, "the line ends where a closing quote is expected"},
		{`{"a":"\q"}`, 7, "a backslash begins no escape that JSON knows"},
		{`{"a":"\u00g0"}`, 7, "a backslash begins no escape that JSON knows"},
		{"{\"a\":\"x\ny\"}", 8, "a control character stands in a text"},
		{`{"a":01}`, 8, "found '}' where a value is expected"},
		{`{"a":1.}`, 8, "found '}' where a digit is expected"},
		{`{"a":1e}`, 8, "found '}' where a digit is expected"},
		{`{"a":nul}`, 6, "found 'n' where a value is expected"},
		{"\x7fELF\x02\x01", 1, `found '\x7f' where { is expected`},
		{deep, 5*64 + 1, "objects and lists are nested deeper than 64"},
		{`{"a":[` + strings.Repeat("1,", 70_000) + `1]}`, 0, "the record has more than 65536 values"},
		{`{"a":"` + strings.Repeat("x", 10<<20) + `"}`, 4<<20 + 1, "the line is longer than 4 MiB"},
	} {
		r := sigma.NewRecord(sigma.NewNames([]string{"a"}))
		err := r.Parse("x.json", 7, []byte(c.line))
		bad, ok := errors.AsType[*sigma.Error](err)
		if !ok {
			t.Errorf("%.40s: got %v", c.line, err)
			continue
		}
		if bad.File != "x.json" || bad.Line != 7 || c.col > 0 && bad.Col != c.col || bad.Msg != c.msg {
			t.Errorf("%.40s: got %s:%d:%d: %s, want col %d: %s", c.line, bad.File, bad.Line, bad.Col, bad.Msg, c.col, c.msg)
		}
		if v := r.Value(0); v.Kind != sigma.Absent {
			t.Errorf("%.40s: a refused record has %+v", c.line, v)
		}
	}
}

func TestRecordTellsEachText(t *testing.T) {
	r := sigma.NewRecord(sigma.NewNames([]string{"a"}))
	if err := r.Parse("f", 1, []byte(`{"a":"x","b":{"c":["\u0031",2,null],"d":true},"e":[{"f":"y"}]}`)); err != nil {
		t.Fatal(err)
	}
	var got []string
	r.Each(func(path, text string) bool { got = append(got, strings.Clone(path)+"="+text); return true })
	if want := []string{"a=x", "b.c=1", "b.c=2", "b.d=true", "e.f=y"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = nil
	r.EachText(func(_ uint16, text string) bool { got = append(got, text); return len(got) < 2 })
	if want := []string{"x", "1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if v := r.Extra("a"); v.Str != "x" {
		t.Errorf("the walk changed the record: %+v", v)
	}
}

func TestRulesMatchRecords(t *testing.T) {
	rules, err := parseRules("r.yml", []byte(rule("s:\n  process.command_line|contains: CURL\n  n: 7\n  user: null\nk: [needle]\ncondition: s or k")))
	if err != nil {
		t.Fatal(err)
	}
	names := sigma.NewNames(sigma.FieldsOf(rules))
	e, err := sigma.Compile(rules, names)
	if err != nil {
		t.Fatal(err)
	}
	r := sigma.NewRecord(names, sigma.Logsource{Category: "process_creation", Product: "linux"})
	for line, want := range map[string]int{
		`{"process":{"command_line":"/bin/curl x"},"n":7}`:             1,
		`{"process":{"command_line":"/bin/curl x"},"n":7.0}`:           0,
		`{"process":{"command_line":"/bin/curl"},"n":7,"user":"root"}`: 0,
		`{"other":{"deep":["a needle in it"]}}`:                        1,
		`{"needle":"only the name"}`:                                   0,
	} {
		if err := r.Parse("f", 1, []byte(line)); err != nil {
			t.Fatal(err)
		}
		if got := len(hits(e, r)); got != want {
			t.Errorf("%s: fired %d times, want %d", line, got, want)
		}
	}
}

// sysmonLine is an ordinary process event of about 600 bytes.
func sysmonLine(n int, command, image, parent string) []byte {
	b, _ := json.Marshal(map[string]any{
		"EventID": 1, "Computer": "gpu-node-7.example.org", "UtcTime": "2026-03-04 05:06:07.089",
		"ProcessGuid": fmt.Sprintf("{70c6f1a4-%04x-5d1e-0000-0010c2f21e00}", n), "ProcessId": 4242 + n, "Image": image,
		"CommandLine": command, "CurrentDirectory": "/home/svc", "User": "svc", "LogonId": 1000, "TerminalSessionId": 12,
		"IntegrityLevel": "no level", "Hashes": "SHA256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"ParentProcessId": 4000, "ParentImage": parent, "ParentCommandLine": parent + " run.sh", "ParentUser": "svc",
	})
	return b
}

func ordinaryLines() [][]byte {
	var lines [][]byte
	for i, ev := range administration() {
		text := func(name string) string { id, _ := schema.Field(name); return ev.Value(id).Str }
		lines = append(lines, sysmonLine(i, text("CommandLine"), text("Image"), text("ParentImage")))
	}
	return lines
}

func BenchmarkRecord(b *testing.B) {
	rules := processRules(b, "")
	names := sigma.NewNames(sigma.FieldsOf(rules))
	e, _ := sigma.Compile(rules, names)
	lines := ordinaryLines()
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	for _, match := range []bool{false, true} {
		b.Run(fmt.Sprintf("match=%t", match), func(b *testing.B) {
			r := sigma.NewRecord(names, sigma.Logsource{Category: "process_creation", Product: "linux"})
			hit := func(*sigma.Rule) {}
			b.SetBytes(int64(size / len(lines)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := r.Parse("f", i, lines[i%len(lines)]); err != nil {
					b.Fatal(err)
				}
				if match {
					e.Match(r, hit)
				}
			}
			b.ReportMetric(float64(len(e.Rules())), "rules")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	names := sigma.NewNames([]string{"CommandLine", "Image", "a.b", "list"})
	e, err := sigma.Compile(nil, names)
	if err != nil {
		t.Fatal(err)
	}
	lines := append(ordinaryLines(), []byte(`{"a":{"b":"esc\n\u00e9"},"list":[1,"two",{"x":3}]}`))
	r := sigma.NewRecord(names)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if err := r.Parse("f", i, lines[i%len(lines)]); err != nil {
			t.Fatal(err)
		}
		e.Match(r, func(*sigma.Rule) {})
		i++
	}); n >= 0.5 {
		t.Errorf("%.1f allocations per event", n)
	}
}

// FuzzRecord compares Record with encoding/json.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		`{"a":"x","b":{"c":[1,null,"\u00e9"]}}`, `{"a.b":1,"a":{"b":[{}]}}`, `{"a":1e5,"a":-0.5}`, "{\"a\":\"\xff\"}", `{"a":tru}`,
		`{"a":"\ud800\udc00\ud800"}`, `[`, `{"":{"":0}}`, `{"a":[[[[]]]]}`,
	} {
		f.Add([]byte(s))
	}
	names := sigma.NewNames([]string{"a", "a.b", "b", "b.c.d"})
	r := sigma.NewRecord(names)
	f.Fuzz(func(t *testing.T, line []byte) {
		err := r.Parse("f", 1, line)
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		valid := json.Valid(line) && dec.Decode(&want) == nil && want != nil
		if valid != (err == nil) && !beyond(err) {
			t.Fatalf("%q: got %v, encoding/json says valid: %t", line, err, valid)
		}
		if err != nil {
			if bad, ok := errors.AsType[*sigma.Error](err); !ok || bad.Msg == "" || bad.Col < 1 || bad.Col > len(line)+1 {
				t.Fatalf("%q: a bad error: %#v", line, err)
			}
			return
		}
		r.EachText(func(uint16, string) bool { return true })
		text, plain := want["a"].(string)
		if plain && r.Extra("a").Kind == sigma.Text && strings.ToValidUTF8(r.Extra("a").Str, "\ufffd") != strings.ToValidUTF8(text, "\ufffd") && !strings.Contains(text, "\ufffd") {
			t.Fatalf("%q: a is %q, encoding/json says %q", line, r.Extra("a").Str, text)
		}
		if _, has := want["a"]; has != (r.Extra("a").Kind != sigma.Absent) {
			t.Fatalf("%q: a is %v, encoding/json says it is there: %t", line, r.Extra("a"), has)
		}
	})
}

// beyond reports whether the record was refused for a bound that encoding/json does not have.
func beyond(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "deeper") || strings.Contains(err.Error(), "more than") || strings.Contains(err.Error(), "longer"))
}
