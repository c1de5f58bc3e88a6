package action

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTicketHTTPContract(t *testing.T) {
	l := listen(t, func(n int, _ said) (int, string) {
		return map[bool]int{true: 502, false: 201}[n == 1], `{"number":"INC0012"}`
	})
	a := reached(t, NewTicket, Channel{Name: "desk", Type: "http", URL: l.URL + "/cases", Secret: "env:KEY"})
	r := told("desk")
	if res := must(a.Do(t.Context(), r))(t); res.State != Done || res.Output != "INC0012" {
		t.Fatalf("%+v", res)
	}
	if res := must(a.Undo(t.Context(), r))(t); res.State != Undone {
		t.Fatalf("%+v", res)
	}
	var keys []string
	for i, s := range l.requests() {
		keys = append(keys, s.Header.Get("Idempotency-Key"))
		want := map[string]any{"action": map[bool]string{true: "open", false: "close"}[i < 2]}
		maps.Copy(want, wantFacts)
		if diff := cmp.Diff(want, without(t, s.Body, "at")); diff != "" || s.Header.Get("Authorization") != "Bearer hunter2" || s.Method+s.Path != "POST/cases" {
			t.Errorf("%s%s %v\n%s", s.Method, s.Path, s.Header, diff)
		}
	}
	if diff := cmp.Diff([]string{"req-1-open", "req-1-open", "req-1-close"}, keys); diff != "" {
		t.Error(diff)
	}
}

// cases is a system that opens cases: what a test's receiver remembers.
type cases struct {
	mu   sync.Mutex
	open []map[string]any
	lose bool // the answer to the first that is opened gets lost
}

func (c *cases) add(s said) (lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, s.Body.(map[string]any))
	return c.lose && len(c.open) == 1
}

func (c *cases) n() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func TestJiraContract(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprintf("answer lost %v", lose), func(t *testing.T) {
			c, status := &cases{lose: lose}, "new"
			l := listen(t, func(_ int, s said) (int, string) {
				switch s.Method + " " + s.Path {
				case "POST /rest/api/3/search/jql":
					jql, _ := s.Body.(map[string]any)["jql"].(string)
					if c.n() == 0 || !strings.HasPrefix(jql, `labels = "picket-`) {
						return 200, `{"issues":[]}`
					}
					return 200, fmt.Sprintf(`{"issues":[{"key":"SEC-9","fields":{"status":{"name":"To Do","statusCategory":{"key":%q}}}}]}`, status)
				case "POST /rest/api/3/issue":
					if c.add(s) {
						return 0, ""
					}
					return 201, `{"id":"10001","key":"SEC-9","self":"x"}`
				case "GET /rest/api/3/issue/SEC-9/transitions":
					return 200, `{"transitions":[{"id":"11","to":{"statusCategory":{"key":"indeterminate"}}},{"id":"31","to":{"statusCategory":{"key":"done"}}}]}`
				case "POST /rest/api/3/issue/SEC-9/comment":
					return 201, `{}`
				case "POST /rest/api/3/issue/SEC-9/transitions":
					status = "done"
					return 204, ""
				}
				return 404, ""
			})
			a := reached(t, NewTicket, Channel{Name: "jira", Type: "jira", URL: l.URL, Project: "SEC", User: "bot@example.org", Secret: "env:KEY"})
			r := told("jira")
			for range 2 { // asked for again it opens no second
				if res := must(a.Do(t.Context(), r))(t); res.State != Done || res.Output != "SEC-9" {
					t.Fatalf("%+v", res)
				}
			}
			if c.n() != 1 {
				t.Fatalf("%d issues", c.n())
			}
			fields := c.open[0]["fields"].(map[string]any)
			description := fields["description"].(map[string]any)
			labels := fields["labels"].([]any)
			want := map[string]any{
				"project": map[string]any{"key": "SEC"}, "issuetype": map[string]any{"name": "Task"}, "summary": "TLP:AMBER [high] Weights sent out",
				"description": description, "labels": []any{"picket", labels[1]},
			}
			if diff := cmp.Diff(want, fields); diff != "" {
				t.Error(diff)
			}
			paragraphs := description["content"].([]any)
			first := map[string]any{"type": "paragraph", "content": []any{map[string]any{"type": "text", "text": "process <!channel> ```@all [x](javascript:1) "}}}
			if description["type"] != "doc" || description["version"] != 1.0 || !cmp.Equal(first, paragraphs[0]) || !cmp.Equal(map[string]any{"type": "paragraph"}, paragraphs[2]) {
				t.Errorf("description %v", description)
			}
			if holds, detail, err := a.Verify(t.Context(), r); !holds || err != nil || detail != "issue SEC-9: To Do" {
				t.Errorf("verify: %v %s %v", holds, detail, err)
			}
			for range 2 {
				if res := must(a.Undo(t.Context(), r))(t); res.State != Undone || status != "done" {
					t.Errorf("%s: %+v", status, res)
				}
			}
			var changes []string
			for _, s := range l.requests() {
				if s.Header.Get("Authorization") != "Basic Ym90QGV4YW1wbGUub3JnOmh1bnRlcjI=" {
					t.Errorf("authorization %s", s.Header.Get("Authorization"))
				}
				if strings.HasSuffix(s.Path, "/transitions") && s.Method == "POST" || strings.HasSuffix(s.Path, "/comment") {
					changes = append(changes, string(s.raw))
				}
			}
			text := `{"type":"text","text":"Picket took back what this issue was opened for."}`
			wantComment := `{"body":{"content":[{"content":[` + text + `],"type":"paragraph"}],"type":"doc","version":1}}`
			if len(changes) != 2 || !cmp.Equal(decode[any](t, changes[0]), decode[any](t, wantComment)) || changes[1] != `{"transition":{"id":"31"}}` {
				t.Errorf("changes %q", changes)
			}
		})
	}
}

func TestIrisContract(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprintf("answer lost %v", lose), func(t *testing.T) {
			c, status := &cases{lose: lose}, "New"
			var updates []string
			l := listen(t, func(_ int, s said) (int, string) {
				switch s.Method + " " + s.Path {
				case "GET /alerts/filter?per_page=100&source_reference=req-1":
					alerts := []any{map[string]any{"alert_id": 3, "alert_source_ref": "req-12"}} // it holds the reference, and is another
					if c.n() > 0 {
						alerts = append(alerts, map[string]any{"alert_id": 5, "alert_source_ref": "req-1", "alert_status": map[string]string{"status_name": status}})
					}
					b, _ := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"total": len(alerts), "alerts": alerts}})
					return 200, string(b)
				case "GET /manage/severities/list":
					return 200, `{"status":"success","data":[{"severity_id":1,"severity_name":"Medium"},{"severity_id":5,"severity_name":"High"}]}`
				case "GET /manage/alert-status/list":
					return 200, `{"status":"success","data":[{"status_id":2,"status_name":"New"},{"status_id":6,"status_name":"Closed"}]}`
				case "POST /alerts/add":
					if c.add(s) {
						return 0, ""
					}
					return 200, `{"status":"success","data":{"alert_id":5,"alert_source_ref":"req-1"}}`
				case "POST /alerts/update/5":
					status = "Closed"
					updates = append(updates, string(s.raw))
					return 200, `{"status":"success","data":{}}`
				}
				return 404, ""
			})
			a := reached(t, NewTicket, Channel{Name: "iris", Type: "iris", URL: l.URL, Customer: 4, Secret: "env:KEY"})
			r := told("iris")
			for range 2 {
				if res := must(a.Do(t.Context(), r))(t); res.State != Done || res.Output != "5" {
					t.Fatalf("%+v", res)
				}
			}
			if c.n() != 1 {
				t.Fatalf("%d alerts", c.n())
			}
			c.open[0]["alert_source_content"] = without(t, c.open[0]["alert_source_content"], "at")
			got := without(t, c.open[0], "alert_source_event_time", "alert_description")
			want := map[string]any{
				"alert_title": "TLP:AMBER [high] Weights sent out", "alert_source": "Picket", "alert_source_ref": "req-1",
				"alert_source_link": "https://picket.example.org/incidents/inc-7", "alert_severity_id": 5.0, "alert_status_id": 2.0,
				"alert_customer_id": 4.0, "alert_tags": "picket", "alert_source_content": wantFacts,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if holds, detail, err := a.Verify(t.Context(), r); !holds || err != nil || detail != "alert 5: New" {
				t.Errorf("verify: %v %s %v", holds, detail, err)
			}
			if res := must(a.Undo(t.Context(), r))(t); res.State != Undone || status != "Closed" {
				t.Errorf("%+v", res)
			}
			want = map[string]any{"alert_status_id": 6.0, "alert_note": "Picket took back what this alert was opened for."}
			if len(updates) != 1 || !cmp.Equal(any(want), decode[any](t, updates[0])) {
				t.Errorf("updates %q", updates)
			}
			for _, s := range l.requests() {
				if s.Header.Get("Authorization") != "Bearer hunter2" {
					t.Errorf("authorization %s", s.Header.Get("Authorization"))
				}
			}
		})
	}
}

// TestTicketThatCannotBeFound is unknown, and not opened again: the answer was lost, and the system
// does not show what it may have opened.
func TestTicketThatCannotBeFound(t *testing.T) {
	opened := 0
	l := listen(t, func(_ int, s said) (int, string) {
		if s.Path == "/rest/api/3/issue" {
			opened++
			return 504, ""
		}
		return 200, `{"issues":[]}`
	})
	a := reached(t, NewTicket, Channel{Name: "jira", Type: "jira", URL: l.URL, Project: "SEC", Secret: "env:KEY"})
	if res := must(a.Do(t.Context(), told("jira")))(t); res.State != Unknown || opened != 1 {
		t.Errorf("opened %d times: %+v", opened, res)
	}
	l = listen(t, func(int, said) (int, string) { return 500, "" })
	a = reached(t, NewTicket, Channel{Name: "jira", Type: "jira", URL: l.URL, Project: "SEC", Secret: "@/nowhere/token"})
	if res := must(a.Do(t.Context(), told("jira")))(t); res.State != Failed || len(l.requests()) != 0 {
		t.Errorf("without its secret: %+v", res)
	}
}
