package sigma_test

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"picket/sigma"
)

// names is a schema of a few fields; all others are unknown.
type names []string

func (n names) Field(name string) (uint16, bool) {
	for i, s := range n {
		if s == name {
			return uint16(i), true
		}
	}
	return 0, false
}

// Searched says that some fields are told of with their id.
func (n names) Searched(id uint16) bool { return len(n[id])%2 == 0 }

var schema = names{"Image", "CommandLine", "ParentImage", "User", "ProcessId", "DestinationIp", "Initiated"}

// record is an event made of a map: string, int, bool, nil and []string.
type record struct {
	sources []sigma.Logsource
	fields  map[string]sigma.Value
	texts   []string
	told    map[string]uint16 // texts that are told as values of a field
}

func event(fields map[string]any, texts ...string) *record {
	r := &record{sources: []sigma.Logsource{{Category: "process_creation", Product: "linux"}}, fields: map[string]sigma.Value{}, told: map[string]uint16{}}
	for name, v := range fields {
		val := sigma.Value{}
		switch v := v.(type) {
		case nil:
			val.Kind = sigma.Null
		case string:
			val = sigma.Value{Kind: sigma.Text, Str: v}
			r.texts = append(r.texts, v)
		case int:
			val = sigma.Value{Kind: sigma.Integer, Int: int64(v)}
			r.texts = append(r.texts, strconv.Itoa(v))
		case bool:
			val.Kind = sigma.Boolean
			if v {
				val.Int = 1
			}
			r.texts = append(r.texts, strconv.FormatBool(v))
		case []string:
			val = sigma.Value{Kind: sigma.List, List: v}
			r.texts = append(r.texts, v...)
		}
		r.fields[name] = val
		if id, ok := schema.Field(name); ok && len(name)%2 == 0 {
			for _, text := range append(val.List, val.Str) {
				r.told[text] = id
			}
		}
	}
	r.texts = append(r.texts, texts...)
	return r
}

func (r *record) Value(id uint16) sigma.Value   { return r.fields[schema[id]] }
func (r *record) Extra(name string) sigma.Value { return r.fields[name] }
func (r *record) Logsources() []sigma.Logsource { return r.sources }
func (r *record) EachText(visit func(uint16, string) bool) {
	for _, t := range r.texts {
		id, ok := r.told[t]
		if !ok {
			id = sigma.NoField
		}
		if !visit(id, t) {
			return
		}
	}
}

// rule returns a rule with the detection section given.
func rule(detection string) string {
	return "title: t\nlogsource:\n  category: process_creation\ndetection:\n" + indent(detection)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}

func compile(t testing.TB, src string, o sigma.Options) *sigma.Engine {
	t.Helper()
	parsed, err := sigma.Parse("test.yml", []byte(src))
	rules := parsed.Rules
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, src)
	}
	e, err := o.Compile(rules, schema)
	if err != nil {
		t.Fatalf("compile: %v\n%s", err, src)
	}
	return e
}

// parseRules returns the rules of a file.
func parseRules(file string, src []byte) ([]*sigma.Rule, error) {
	all, err := sigma.Parse(file, src)
	return all.Rules, err
}

func hits(e *sigma.Engine, ev sigma.Event) []string {
	var got []string
	e.Match(ev, func(r *sigma.Rule) { got = append(got, r.Title) })
	return got
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
