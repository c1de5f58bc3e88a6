package action

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"picket/event"
)

// jira speaks REST v3. An issue is found again by a label that comes from the request, so that none is
// opened twice; Jira takes a moment until it finds a new one.
type jira struct {
	asker
	project, issue string
}

func newJira(w *wire, c Channel) (receiver, error) {
	u, err := base(c)
	if err != nil {
		return nil, err
	}
	if c.Project == "" || c.Secret == "" {
		return nil, errors.New("want a project, and the API token as secret")
	}
	j := &jira{asker{w: w, url: u}, c.Project, c.Issue}
	if j.issue == "" {
		j.issue = "Task"
	}
	j.auth = func() (string, []string, error) {
		token, err := w.secret(c.Secret)
		if err != nil || c.User == "" {
			return "Bearer " + token, []string{token}, err
		}
		basic := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + token))
		return "Basic " + basic, []string{token, basic}, nil
	}
	return j, nil
}

func (*jira) label(m *message) string { return "picket-" + event.HashID("ticket", m.ID) }

// jiraIssue is what Picket reads of an issue.
type jiraIssue struct {
	Key    string
	Fields struct {
		Status struct {
			Name           string
			StatusCategory struct{ Key string }
		}
	}
}

// find returns the request's issue, nil where there is none.
func (j *jira) find(ctx context.Context, m *message) (*jiraIssue, error) {
	query := map[string]any{"jql": fmt.Sprintf("labels = %q ORDER BY created ASC", j.label(m)), "maxResults": 1, "fields": []string{"status"}}
	var found struct{ Issues []jiraIssue }
	if err := j.ask(ctx, http.MethodPost, "/rest/api/3/search/jql", query, &found); err != nil || len(found.Issues) == 0 {
		return nil, err
	}
	return &found.Issues[0], nil
}

func (j *jira) send(ctx context.Context, m *message) (string, error) {
	return openOnce(ctx, func(ctx context.Context) (string, error) {
		issue, err := j.find(ctx, m)
		if issue == nil {
			return "", err
		}
		return issue.Key, nil
	}, func(ctx context.Context) (string, error) {
		var made struct{ Key string }
		err := j.change(ctx, "/rest/api/3/issue", map[string]any{"fields": map[string]any{
			"project": map[string]string{"key": j.project}, "issuetype": map[string]string{"name": j.issue},
			"summary": oneLine(m.heading(), 255), "description": adf(m.whole()), "labels": []string{"picket", j.label(m)},
		}}, &made)
		return made.Key, err
	})
}

func (j *jira) holds(ctx context.Context, m *message) (bool, string, error) {
	issue, err := j.find(ctx, m)
	if err != nil || issue == nil {
		return false, "no issue of this request", err
	}
	return true, fmt.Sprintf("issue %s: %s", oneLine(issue.Key, 64), oneLine(issue.Fields.Status.Name, 64)), nil
}

// takeBack comments the issue and moves it to a status that counts as done, where its workflow has
// one step that leads there.
func (j *jira) takeBack(ctx context.Context, m *message) (string, error) {
	issue, err := j.find(ctx, m)
	switch {
	case err != nil:
		return "", err
	case issue == nil:
		return "no issue of this request is open", nil
	case issue.Fields.Status.StatusCategory.Key == "done":
		return fmt.Sprintf("issue %s is done", oneLine(issue.Key, 64)), nil
	}
	at := "/rest/api/3/issue/" + pathSafe(issue.Key)
	comment := map[string]any{"body": adf("Picket took back what this issue was opened for.")}
	if err := j.change(ctx, at+"/comment", comment, nil); err != nil {
		return "", err
	}
	var ways struct {
		Transitions []struct {
			ID string
			To struct {
				StatusCategory struct{ Key string }
			}
		}
	}
	if err := j.ask(ctx, http.MethodGet, at+"/transitions", nil, &ways); err != nil {
		return "", err
	}
	for _, t := range ways.Transitions {
		if t.To.StatusCategory.Key == "done" {
			err := j.change(ctx, at+"/transitions", map[string]any{"transition": map[string]string{"id": t.ID}}, nil)
			return fmt.Sprintf("issue %s is commented and done", oneLine(issue.Key, 64)), err
		}
	}
	return fmt.Sprintf("issue %s is commented; its workflow has no step to done from here: close it by hand", oneLine(issue.Key, 64)), nil
}

// pathSafe is a key fit for a path: letters, digits and dashes.
func pathSafe(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, key)
}

// adf is plain text in Atlassian's document format: a paragraph for each line, in which nothing is
// mark-up.
func adf(text string) map[string]any {
	var paragraphs []any
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		p := map[string]any{"type": "paragraph"}
		if line != "" { // a text without any is refused
			p["content"] = []any{map[string]any{"type": "text", "text": line}}
		}
		paragraphs = append(paragraphs, p)
	}
	return map[string]any{"type": "doc", "version": 1, "content": paragraphs}
}
