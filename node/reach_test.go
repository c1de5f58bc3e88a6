package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"picket/artifact/sign"
	"picket/event"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// receiver keeps what it was sent.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.got = append(r.got, fmt.Sprintf("%s %s %s %s", q.Method, q.URL.Path, q.Header.Get("Authorization"), body))
		r.mu.Unlock()
		_, _ = io.WriteString(w, `{"key": "SOC-7"}`)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, "\n")
}

// tellers is a playbook whose steps each carry out one OpenC2 command.
func tellers(contents ...string) []byte {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	flow := map[string]any{id("start", 1): map[string]any{"type": "start", "on_completion": id("action", 0)}, id("end", 1): map[string]any{"type": "end"}}
	for i, c := range contents {
		next := id("action", i+1)
		if i == len(contents)-1 {
			next = id("end", 1)
		}
		flow[id("action", i)] = map[string]any{
			"type": "action", "agent": id("security-category", 1), "on_completion": next,
			"commands": []any{map[string]any{"type": "openc2-http", "command": "POST /x HTTP/1.1", "content": c}},
		}
	}
	data, _ := json.Marshal(map[string]any{
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 2), "name": "tellers", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1), "workflow": flow,
		"playbook_variables": map[string]any{"__incident_title__": map[string]any{"type": "string"}},
		"agent_definitions":  map[string]any{id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"server"}}},
	})
	return data
}

// incidentAt is an incident on one host.
type incidentAt string

func (h incidentAt) Incident(_ context.Context, id string) (event.Incident, error) {
	return event.Incident{ID: id, Status: event.IncidentOpen, Severity: event.High, Title: `Weights "sent" out`, Hosts: []string{string(h)}}, nil
}

// runOf has an engine run a playbook to its end, approved by another person where it waits, and returns
// what happened.
func runOf(t *testing.T, host, book string, x action.Executor) (respond.Run, string) {
	t.Helper()
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	lib, err := respond.ReadLibrary(fstest.MapFS{"tellers.json": &fstest.MapFile{Data: []byte(book)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := respond.New(t.Context(), respond.Options{Journal: NewJournal(st), Library: lib, Incidents: incidentAt(host), Executor: x})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	r, err := e.Request(t.Context(), respond.Request{Playbook: "tellers", Incident: "inc-1", By: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	if r.State == respond.Waiting {
		if r, err = e.Approve(t.Context(), r.ID, "berta", r.Plan.Hash, ""); err != nil {
			t.Fatal(err)
		}
	}
	for until := time.Now().Add(20 * time.Second); r.State == respond.Running && len(r.Asks) == 0 && time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if r, err = e.Get(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	records, err := e.Records(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(struct {
		Run     respond.Run
		Records []respond.Record
	}{r, records})
	return r, string(text)
}

// People are told, a case is opened and a token revoked, by a playbook and the configuration as a file
// has it. No secret stands in what is kept.
func TestAPlaybookReachesPeople(t *testing.T) {
	r := newReceiver(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "picket.yaml")
	text := fmt.Sprintf(`data: %[1]s
respond:
  loopback: true
  channels:
    - {name: hook, type: webhook, url: %[2]q, secret: "@%[3]s"}
    - {name: cases, type: http, url: "%[2]s/cases", secret: "@%[3]s"}
  issuers:
    - {name: hub, url: "%[2]s/tokens/{id}", secret: "@%[3]s"}
`, filepath.Join(dir, "data"), r.URL+"/hook", secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if err := makeDir(cfg.dir("server"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.openReach(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = s.reach.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended; _ = s.reach.Close() })
	command := `{"action": "create", "target": {"x-picket": {"entity": "incident"}}, "args": {"x-picket": {%s}}}`
	run, kept := runOf(t, "gpu-1", string(tellers(
		fmt.Sprintf(command, `"act": "notify", "channel": "hook", "title": "__incident_title__:value", "severity": "high"`),
		fmt.Sprintf(command, `"act": "ticket", "channel": "cases", "title": "__incident_title__:value"`),
		fmt.Sprintf(command, `"act": "revoke-token", "issuer": "hub", "id": "acc-1"`),
	)), executor{server: s.reach})
	if run.State != respond.Succeeded || run.Plan.Class != action.Destructive || run.Plan.Acts[0].Effects[0] != `channel hook (webhook) gets: [high] Weights "sent" out` {
		t.Errorf("%s %s: %+v", run.State, run.Failure, run.Plan.Acts)
	}
	for _, want := range []string{"POST /hook/cases Bearer hunter2-key {\"action\":\"open\"", "DELETE /hook/tokens/acc-1 Bearer hunter2-key", `"title":"Weights \"sent\" out"`} {
		if !strings.Contains(r.all(), want) {
			t.Errorf("no %s in\n%s", want, r.all())
		}
	}
	journal, err := os.ReadFile(filepath.Join(cfg.dir("server"), "acts", "actions.journal"))
	if err != nil || strings.Contains(kept+string(journal), "hunter2") || !strings.Contains(kept, "SOC-7") {
		t.Errorf("kept, %v: %s", err, kept)
	}
}

func TestMistakesInChannelsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		`channels: [{name: a, type: slack, url: "https://hooks.example/T/B"}]`:                         "picket.yaml:2:14: respond.channels.0: the url of an incoming webhook is a secret",
		`channels: [{name: a, type: webhook, url: "https://x", secret: hunter2}]`:                      "a secret is named, not written",
		`channels: [{name: a, type: fax}]`:                                                             "want one of alertmanager, email, http, iris, jira",
		`channels: [{name: a, type: http, url: "https://x"}, {name: a, type: http, url: "https://y"}]`: "there are two of that name",
		`channels: [{name: a, type: pagerduty, secret: "vault:kv/a#b"}]`:                               "respond.vault names none",
		`issuers: [{name: a, url: "https://x/{id}"}]`:                                                  "a secret is named",
		`vault: {url: "https://vault", token: hunter2}`:                                                "want a token that is named",
		`signatures: always`:                             "want off, warn or require",
		`keys: [{thumbprint: 12ab, classes: [observe]}]`: "64 hexadecimal digits",
		`keys: [{file: /nowhere, classes: [observe]}]`:   "no such file",
		`budgets: [{act: reboot}]`:                       "want one of",
		`maintenance: [{from: today, until: tomorrow}]`:  "cannot parse",
		`authorities: here.pem`:                          "want the whole path",
	} {
		file := filepath.Join(t.TempDir(), "picket.yaml")
		if err := os.WriteFile(file, []byte("respond:\n  "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") && !strings.Contains(err.Error(), "|") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// modelKey makes a key that signs models, and a file of its public half.
func modelKey(t *testing.T, dir string) (private []byte, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(dir, "pub.pem")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half}), 0o600); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), public
}

func signModel(t *testing.T, at string, key []byte) {
	t.Helper()
	s, err := sign.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := sign.OpenTree(at, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	m, err := sign.Make(t.Context(), tree, sign.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := s.Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "model.sig"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A model is switched back by a playbook, to the version that was signed last and holds.
func TestAPlaybookSwitchesAModelBack(t *testing.T) {
	dir := t.TempDir()
	key, pub := modelKey(t, dir)
	models := filepath.Join(dir, "llama")
	for n, v := range []string{"v1", "v2", "v3", "v4"} {
		at := filepath.Join(models, v)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "m.gguf"), []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		if v == "v4" {
			continue // has no signature, and is in use
		}
		signModel(t, at, key)
		old := time.Now().Add(time.Duration(n-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(at, "model.sig"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(models, "current")
	if err := os.Symlink("v4", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(models, "v3", "m.gguf"), []byte("poisoned"), 0o600); err != nil { // the last one signed is not what was signed
		t.Fatal(err)
	}
	a := newKeepersOn(t, func(cfg *Config) { cfg.Models.Trust = []string{pub} })
	book := tellers(fmt.Sprintf(`{"action": "create", "target": {"file": {"path": %q}}, "args": {"duration": 3600000, "x-picket": {"act": "rollback-model"}}}`, link))
	run, kept := runOf(t, a.cfg.Host, string(book), executor{agents: a.local})
	if to, _ := os.Readlink(link); run.State != respond.Succeeded || to != "v2" || len(run.Holds) != 1 {
		t.Fatalf("it leads to %s: %s", to, kept)
	}
	var x interface { // as the engine asks for it
		Extend(ctx context.Context, r *action.Request, ttl time.Duration, by string) (*action.Result, error)
	} = executor{agents: a.local}
	res, err := x.Extend(t.Context(), &run.Holds[0].Request, 24*time.Hour, "ada")
	if err != nil || time.Until(res.Until) < 23*time.Hour {
		t.Errorf("it does not hold for longer: %+v %v", res, err)
	}
	if res, err := a.local.Undo(t.Context(), &run.Holds[0].Request); err != nil || res.State != action.Undone {
		t.Fatal(res, err)
	}
	if to, _ := os.Readlink(link); to != "v4" {
		t.Errorf("taken back it leads to %s", to)
	}
}
