package node

import (
	"strings"
	"testing"
)

func TestTheIngestSectionIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"ingest: {logs: [{paths: [/var/log/nginx/*.log], engine: vllm}]}": "",
		"ingest: {metrics: on}":                           "",
		"ingest: {metrics: yes}":                          "off or on",
		"ingest: {logs: [{engine: vllm}]}":                "at least one file",
		"ingest: {logs: [{paths: [access.log]}]}":         "whole path",
		"ingest: {logs: [{paths: ['/var/log/[']}]}":       "whole path",
		"ingest: {logs: [{paths: [/a], engine: 'a b'}]}":  "name of an engine",
		"ingest: {logs: [{paths: [/a], kind: x}]}":        "kind",
		"ingest: {kubernetes: /var/log/kubernetes/*.log}": "",
		"ingest: {kubernetes: [/a, audit.log]}":           "whole path",
		"ingest: {tools: {coder: [search], '*': []}}":     "",
	} {
		err := decode("picket.yaml", []byte(text), Default())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestDoctorSaysWhichLogsAreRead(t *testing.T) {
	checks := ingestChecks(Default())
	if len(checks) != 1 || checks[0].Name != "requests" || !strings.Contains(checks[0].Detail, "AI services run") {
		t.Errorf("%+v", checks)
	}
}
