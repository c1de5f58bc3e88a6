package cacao_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"picket/cacao"
)

func TestSampleIsValid(t *testing.T) {
	if found := parse(t, sample()).Validate(); len(found) != 1 || found[0].Pointer != "/x_canvas" {
		t.Fatal(found)
	}
}

func canonicalOf(t testing.TB, data []byte) []byte {
	t.Helper()
	out, err := jcs.Transform(data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Note 1.1: unknown properties and extensions survive a round trip, byte-equal in canonical form, also
// where something else was changed.
func TestRoundTrip(t *testing.T) {
	data := sample()
	p := parse(t, data)
	if got, want := canonicalOf(t, marshal(t, p)), canonicalOf(t, data); !bytes.Equal(got, want) {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	p.Name = "Another"
	p.Workflow["action--"+uuid(12)].Timeout = 0
	want := canonicalOf(t, sample(`"Stop a miner"`, `"Another"`, `"timeout": 5000, `, ``))
	if got := canonicalOf(t, marshal(t, p)); !bytes.Equal(got, want) {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if !bytes.Contains(marshal(t, p), []byte("1.50")) {
		t.Error("a number is not written as it was read")
	}
}

// What is refused at once, and where (notes 1.1 and 1.6).
func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for _, c := range []struct{ data, want string }{
		{"{\n \"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}", `3:16: /b/c: the name "c" stands twice`},
		{"{", "no JSON"},
		{`{"a": "\ud800"}`, "1:8: text that is no Unicode"},
		{"{\"a\": \"\xff\"}", "1:8: text that is no Unicode"},
		{deep, "nested deeper than 64 levels"},
		{strings.Repeat(" ", cacao.MaxSize+1), "at most 10485760 are read"},
		{"[]", "a playbook is a JSON object, this is a list"},
		{"{}", "there is no spec_version"},
		{string(sample(`"cacao-2.0"`, `"1.1"`)), "/spec_version: error: this is CACAO 1.1"},
		{string(sample(`"type": "action",`, `"type": "single",`)), "there is no step of type \"single\" (CACAO 2.0 calls it action)"},
		{string(sample(`"value": "10"`, `"value": 10`)), "/playbook_variables/__score__/value: error: must be a string, is the number 10"},
		{string(sample(`"timeout": 5000`, `"timeout": "5000"`)), "/timeout: error: must be a whole number, is a string"},
	} {
		if _, err := cacao.Parse([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %v, want %s", c.data, err, c.want)
		}
	}
}

// One row a rule: what is changed in the sample, and the problem with its place.
func TestValidate(t *testing.T) {
	const action, cond = "/workflow/action--00000000-0000-4000-8000-000000000012", "/workflow/if-condition--00000000-0000-4000-8000-000000000011"
	for _, c := range []struct{ section, old, now, want string }{
		{"1.1", `"created_by": "identity--U2", "created"`, `"created"`, "/: error: created_by is missing"},
		{"1.1", `"2026-01-02T00:00:00.000Z"`, `"2025-01-02T00:00:00.000Z"`, "/modified: error: modified is before created"},
		{"1.1", `"2026-01-02T00:00:00.000Z"`, `"2026-01-02T00:00:00Z"`, "/modified: warning: \"2026-01-02T00:00:00Z\" is not in UTC with three digits"},
		{"1.1", `"name": "Stop a miner"`, `"name": "x", "valid_from": "2026-01-02T00:00:00.000Z", "valid_until": "2026-01-02T00:00:00.000Z"`, "/valid_until: error"},
		{"1.1", `"workflow_start": "start--U10"`, `"workflow_start": "end--U14"`, "/workflow_start: error: names a end step"},
		{"1.1", `"name": "Stop a miner"`, `"name": "x", "playbook_processing_summary": {"while_logic": true}`, "/playbook_processing_summary/while_logic: warning: says true, the playbook itself says false"},
		{"1.1", `"name": "Stop a miner"`, `"name": "x", "markings": ["marking-tlp--U41"]`, "/markings/0: error"},
		{"1.1", `"name": "Stop a miner"`, `"name": "x", "priority": 101`, "/priority: error: 101 is out of range"},
		{"1.1", `"schema": "https://example.org/s", `, ``, "schema is missing"},
		{"1.2", `"type": "start", "on_completion": "if-condition--U11"`, `"type": "start"`, "error: a start step needs on_completion"},
		{"1.2", `"end--U13": {"type": "end"}`, `"end--U13": {"type": "end", "on_completion": "end--U14"}`, "/on_completion: error: an end step leads nowhere"},
		{"1.2", `"on_completion": "end--U13"`, `"on_completion": "end--U13", "on_failure": "end--U13"`, action + "/on_failure: error: on_completion excludes"},
		{"1.2", `, "on_completion": "end--U13"`, ``, action + ": error: the step does not say what comes after it"},
		{"1.2", `"on_completion": "end--U13"`, `"on_completion": "end--U14"`, "ends another branch"},
		{"1.3", `"command": "kill`, `"command_b64": "eA==", "command": "kill`, action + "/commands/0: error: command and command_b64 are both set"},
		{"1.3", `"type": "bash"`, `"type": "http-api"`, action + "/commands/0/command: error"},
		{"1.3", `"type": "bash"`, `"type": "telepathy"`, action + "/commands/0/type: warning: unknown type of command"},
		{"1.3", `"agent": "linux--U20"`, `"agent": "linux--U21"`, action + "/agent: error: linux--00000000-0000-4000-8000-000000000021 is not in agent_definitions"},
		{"1.3", `"agent": "linux--U20"`, `"targets": ["ssh--U9"], "agent": "linux--U20"`, action + "/targets/0: error"},
		{"1.3", `"ipv4": [`, `"ip": [`, "/address/ip: error: unknown kind of address"},
		{"1.4", `"value": "10"`, `"value": "ten"`, `/playbook_variables/__score__/value: error: "ten" is no integer`},
		{"1.4", `"out_args": ["__out__"]`, `"out_args": ["__limit__"]`, action + "/out_args/0: error: variable __limit__ is constant"},
		{"1.4", `\"__out__:value`, `\"__nope__:value`, action + "/commands/0/command: error: variable __nope__ is not declared"},
		{"1.5", `__score__:value > 9`, `__nope__:value > 9`, cond + "/condition: error: variable __nope__ is not declared"},
		{"1.5", `__score__:value > 9`, `__host__:value MATCHES '(?=x)'`, cond + "/condition: error: column 24: the regular expression cannot be used"},
		{"1.5", `__score__:value > 9`, `__score__:value > 9 and then some`, cond + "/condition: warning: is read as a question for a person"},
		{"1.5", `__score__:value > 9`, `[__score__:value > 9] WITHIN 5 SECONDS`, cond + "/condition: error: FOLLOWEDBY"},
		{"1.7", `"on_true": "action--U12"`, `"on_true": "action--U33"`, cond + "/on_true: error: action--00000000-0000-4000-8000-000000000033 is not in workflow"},
		{"1.7", `"on_completion": "end--U13"`, `"on_completion": "if-condition--U11"`, action + "/on_completion: error: jumps to"},
		{"1.7", `"on_completion": "end--U13"`, `"on_completion": "action--U12"`, action + "/on_completion: error: goes back to"},
		{"1.7", `"workflow_exception": "end--U18",`, ``, "end--00000000-0000-4000-8000-000000000018: warning: no step leads here"},
		{"1.7", `"name": "Stop a miner"`, `"name": "x", "playbook_types": ["mitigation"]`, "/playbook_types: warning"},
	} {
		found := parse(t, sample(c.old, c.now)).Validate()
		if !strings.Contains(found.Error(), c.want) {
			t.Errorf("%s: %s -> %s:\ngot  %v\nwant %s", c.section, c.old, c.now, found, c.want)
		}
		for _, f := range found {
			if f.Pointer != "" && !strings.HasPrefix(f.Pointer, "/") {
				t.Errorf("%s: %q is no JSON pointer", c.section, f.Pointer)
			}
		}
	}
}

// Note 1.7: two parallel branches that assign one variable.
func TestParallelRace(t *testing.T) {
	data := sample(`"on_true": "action--U12", "on_completion": "end--U14"`, `"on_true": "parallel--U15", "on_completion": "end--U14"`,
		`"end--U13": {"type": "end"},`, `"end--U13": {"type": "end"}, "end--U16": {"type": "end"}, "end--U17": {"type": "end"},
  "parallel--U15": {"type": "parallel", "next_steps": ["action--U12", "action--U19"], "on_completion": "end--U16"},
  "action--U19": {"type": "action", "agent": "linux--U20", "out_args": ["__out__"], "commands": [{"type": "bash", "command": "id"}], "on_completion": "end--U17"},`)
	found := parse(t, data).Validate()
	if len(found) != 2 || !strings.Contains(found[0].Message, "assigned in a parallel branch too") {
		t.Fatal(found)
	}
}

// Note 1.1: revoked, and the window [from, until).
func TestRunnable(t *testing.T) {
	from := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	p := parse(t, sample(`"name": "Stop a miner"`, `"name": "x", "valid_from": "2026-02-01T00:00:00.000Z", "valid_until": "2026-03-01T00:00:00.000Z"`))
	for at, want := range map[time.Time]bool{from.Add(-1): false, from: true, from.AddDate(0, 1, 0): false, from.AddDate(0, 1, 0).Add(-1): true} {
		if got := p.Runnable(at) == nil; got != want {
			t.Errorf("%v: got %v", at, got)
		}
	}
	p.Revoked = true
	if p.Runnable(from) == nil {
		t.Error("revoked, and yet runnable")
	}
}

// large is a playbook of n actions, one after the other.
func large(n int) []byte {
	var steps strings.Builder
	for i := range n {
		next := "action--" + uuid(1001+i)
		if i == n-1 {
			next = "end--" + uuid(13)
		}
		fmt.Fprintf(&steps, `"action--%s": {"type": "action", "agent": "linux--U20", "commands": [{"type": "bash", "command": "kill \"__host__:value\""}], "on_completion": %q},`, uuid(1000+i), next)
	}
	return sample(`"on_true": "action--U12"`, `"on_true": "action--`+uuid(1000)+`"`, `"end--U13": {"type": "end"},`, `"end--U13": {"type": "end"},`+steps.String())
}

func BenchmarkParseAndValidate(b *testing.B) {
	data := large(100)
	for b.Loop() {
		parse(b, data).Validate()
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add([]byte(`{"type":"playbook","spec_version":"cacao-2.0","workflow":{"a":{"type":"end"}},"signatures":[{"signature":{}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := cacao.Parse(data)
		if err != nil {
			return
		}
		p.Validate()
		want, err := jcs.Transform(data)
		if err != nil {
			return // numbers beyond floating point
		}
		if got := canonicalOf(t, marshal(t, p)); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
