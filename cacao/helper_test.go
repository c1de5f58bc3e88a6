package cacao_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"picket/cacao"
)

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// sample is a playbook with most of what there is; edits replace text in it, old and new in turn.
func sample(edits ...string) []byte {
	s := `{
 "type": "playbook", "spec_version": "cacao-2.0", "id": "playbook--U1", "name": "Stop a miner",
 "created_by": "identity--U2", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-02T00:00:00.000Z",
 "x_canvas": {"zoom": 1.50, "note": "kept <as> it is"},
 "playbook_variables": {
  "__host__": {"type": "ipv4-addr", "value": "192.0.2.7"},
  "__score__": {"type": "integer", "value": "10"},
  "__limit__": {"type": "integer", "value": "9", "constant": true},
  "__out__": {"type": "string"}
 },
 "workflow_start": "start--U10",
 "workflow_exception": "end--U18",
 "workflow": {
  "start--U10": {"type": "start", "on_completion": "if-condition--U11"},
  "if-condition--U11": {"type": "if-condition", "condition": "__score__:value > 9", "on_true": "action--U12", "on_completion": "end--U14", "step_extensions": {"extension-definition--U40": {"x": 12.0, "y": [1e2]}}},
  "action--U12": {"type": "action", "name": "kill", "timeout": 5000, "agent": "linux--U20", "out_args": ["__out__"], "commands": [{"type": "bash", "command": "kill \"__out__:value\""}], "on_completion": "end--U13"},
  "end--U13": {"type": "end"},
  "end--U14": {"type": "end"},
  "end--U18": {"type": "end"}
 },
 "agent_definitions": {"linux--U20": {"type": "linux", "name": "node", "address": {"ipv4": ["__host__:value"]}}},
 "extension_definitions": {"extension-definition--U40": {"type": "extension-definition", "name": "layout", "created_by": "identity--U2", "schema": "https://example.org/s", "version": "1"}}
}`
	for i := 0; i+1 < len(edits); i += 2 {
		if !strings.Contains(s, edits[i]) {
			panic("no such text in the sample: " + edits[i])
		}
		s = strings.Replace(s, edits[i], edits[i+1], 1)
	}
	for n := 50; n > 0; n-- {
		s = strings.ReplaceAll(s, fmt.Sprintf("--U%d", n), "--"+uuid(n))
	}
	return []byte(s)
}

func parse(t testing.TB, data []byte) *cacao.Playbook {
	t.Helper()
	p, err := cacao.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
