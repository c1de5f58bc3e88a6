package node

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/cacao"
	"picket/event"
	"picket/playbooks"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// wire is how the server is reached, as a test says.
type wire struct {
	up      bool
	pending int64
}

func (w *wire) Connected() bool                   { return w.up }
func (w *wire) Pending() (events, findings int64) { return 0, w.pending }

// holdFor is the playbook that freezes, for so many milliseconds, under a name and an id of its own.
func holdFor(t *testing.T, milliseconds string) *cacao.Playbook {
	t.Helper()
	b, err := fs.ReadFile(playbooks.FS, "hold-workload.json")
	if err != nil {
		t.Fatal(err)
	}
	p0, err := cacao.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), strings.TrimPrefix(p0.ID, "playbook--"), "00000000-0000-4000-8000-000000000001")
	p, err := cacao.Parse([]byte(strings.Replace(text, "3600000", milliseconds, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func writeBook(t *testing.T, dir, word string, p *cacao.Playbook) {
	t.Helper()
	b, err := json.Marshal(p)
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, word+".json"), b, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// findingAbout is a finding that a process of this host led to.
func findingAbout(pid int, id string, at time.Time) event.Finding {
	exe, _ := os.Readlink("/proc/" + itoa(pid) + "/exe")
	return event.Finding{
		ID: id, Time: at, Host: "h", Rule: event.Rule{ID: "r", Name: "canary", Title: "Canary", Threat: "mine-on-the-node"}, Severity: event.High,
		Processes: []event.ProcessNode{{UID: "u" + id, PID: uint32(pid), Start: at, Name: "bash", Exe: exe}},
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// While the server is there the agent does nothing by itself. When it has been away for the time that the
// configuration says, a real process is frozen; the run outlives the agent, the server takes it over and
// takes it back, and the agent's own engine can do nothing to it any more.
func TestLocalPlaybooks(t *testing.T) {
	a := newActor(t)
	work, file := a.sleeper(t, "/job")
	a.cfg.Respond.Local = RespondLocal{After: Duration(30 * time.Second), Rules: []LocalRule{{Name: "miners", Playbook: "hold-workload", Level: "high", Threats: []string{"mine-on-the-node"}}}}
	if key, msg := a.cfg.Respond.validateLocal(); key != "" {
		t.Fatal(key, msg)
	}
	w := &wire{up: true, pending: 1}
	l, err := newLocal(a.cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), a.acts, w)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	act := func(at time.Time) int {
		n := 0
		for _, o := range l.due(at) {
			if err := l.engine.Follow(t.Context(), o.rule, o.inc); err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	// Something else beside it, at the same time: an incident would hold both, and the rule is about one.
	bystander, beside := a.sleeper(t, "/beside")
	other := findingAbout(bystander.Process.Pid, "f0", now.Add(-time.Second))
	other.Rule.Threat = "open-service"
	l.see(other)
	l.see(findingAbout(work.Process.Pid, "f1", now))
	if n := act(now); n != 0 || !advances(t, file) {
		t.Fatal("it acted though the server was there")
	}
	w.up = false
	if n := act(now.Add(29 * time.Second)); n != 0 || !advances(t, file) {
		t.Fatal("it acted before its time")
	}
	if n := act(now.Add(31 * time.Second)); n != 1 {
		t.Fatalf("%d incidents were answered", n)
	}
	for end := time.Now().Add(30 * time.Second); l.waiting() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the run does not end")
		}
	}
	if advances(t, file) || !advances(t, beside) {
		t.Fatal("it is not frozen, or what runs beside it is")
	}
	again := findingAbout(work.Process.Pid, "f2", now.Add(time.Second))
	again.Processes = append([]event.ProcessNode{{UID: "child", PID: 99999}}, findingAbout(work.Process.Pid, "f1", now).Processes...)
	l.see(again)
	if n := act(now.Add(32 * time.Second)); n != 0 || l.waiting() != 1 {
		t.Errorf("what it started is answered by itself: %d, %d", n, l.waiting())
	}
	if err := l.engine.Close(); err != nil {
		t.Fatal(err)
	}

	// The next agent has the run still, and hands it over.
	l, err = newLocal(a.cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), a.acts, w)
	if err != nil {
		t.Fatal(err)
	}
	defer l.engine.Close()
	a.runs = l.answer
	said, err := a.ask(t, action.Command{Op: action.OpRun})
	var h respond.Handover
	if err == nil {
		err = json.Unmarshal(said.Run, &h)
	}
	if err != nil || h.Kept.Incident != "f1" {
		t.Fatalf("%s %v", said.Run, err)
	}
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	server, err := respond.New(t.Context(), respond.Options{Journal: NewJournal(st), Incidents: nowhere{}, Executor: action.Remote{Ask: func(ctx context.Context, c action.Command) (action.Answer, error) {
		return AskAgent(ctx, a.cfg, c)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	run, err := server.Adopt(t.Context(), "h", "incident1", h)
	if err != nil || len(run.Holds) != 1 || run.Holds[0].Request.Kind != action.Freeze {
		t.Fatalf("%+v %v", run, err)
	}
	if _, err := a.ask(t, action.Command{Op: action.OpTaken, ID: h.Kept.ID}); err != nil || l.waiting() != 0 {
		t.Fatal(err)
	}
	if said, err := a.ask(t, action.Command{Op: action.OpRun}); err != nil || len(said.Run) != 0 {
		t.Errorf("%s %v", said.Run, err)
	}
	p, err := a.local.Plan(t.Context(), &action.Request{Kind: action.Freeze, Target: run.Holds[0].Request.Target})
	if err != nil || p.Held != "agent:h" || !strings.Contains(strings.Join(p.Effects, " "), "of agent:h holds it already") {
		t.Errorf("%+v %v", p, err)
	}
	if run, err = server.Undo(t.Context(), run.ID, "anna"); err != nil || len(run.Holds) != 0 || !advances(t, file) {
		t.Errorf("%+v %v", run.Holds, err)
	}
	old := action.Request{ID: "late", Run: h.Kept.ID, Kind: action.Freeze, Target: lineageOf(work.Process.Pid), By: "agent:h"}
	if res, err := a.local.Do(t.Context(), &old); err != nil || res.State != action.Refused || !strings.Contains(res.Detail, "another's now") {
		t.Errorf("%+v %v", res, err)
	}

	w.up, w.pending = true, 0
	if act(time.Now()); len(l.rules[0].owed) != 0 {
		t.Error("what the server has taken is not forgotten")
	}
}

func TestLocalPlaybooksAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		local RespondLocal
		at    string
		says  string
	}{
		"asks a person": {RespondLocal{After: Duration(time.Minute), Rules: []LocalRule{{Name: "x", Playbook: "contain-miner"}}}, "respond.local.rules.0.playbook", "a person"},
		"too soon":      {RespondLocal{After: Duration(time.Second)}, "respond.local.after", "from 5s to 1d"},
		"no such level": {RespondLocal{After: Duration(time.Minute), Rules: []LocalRule{{Name: "x", Playbook: "hold-workload", Level: "big"}}}, "respond.local.rules.0.level", "low, medium"},
		"twice":         {RespondLocal{After: Duration(time.Minute), Rules: []LocalRule{{Name: "x", Playbook: "hold-workload"}, {Name: "x", Playbook: "hold-workload"}}}, "respond.local.rules.1.name", "a second rule"},
		"unknown":       {RespondLocal{After: Duration(time.Minute), Rules: []LocalRule{{Name: "x", Playbook: "melt"}}}, "respond.local.rules.0.playbook", "not found"},
		"good":          {RespondLocal{After: Duration(time.Minute), Rules: []LocalRule{{Name: "x", Playbook: "hold-workload"}}}, "", ""},
	} {
		r := Default().Respond
		r.Local = c.local
		if key, msg := r.validateLocal(); key != c.at || !strings.Contains(msg, c.says) {
			t.Errorf("%s: %s: %s", name, key, msg)
		}
	}
}

// Where signatures are required, an agent does not run a playbook that nobody who is trusted signed.
func TestLocalPlaybooksAreSigned(t *testing.T) {
	a := newActor(t)
	work, file := a.sleeper(t, "/job")
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pub := filepath.Join(dir, "soc.pub")
	if err := os.WriteFile(pub, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	a.cfg.Respond.Playbooks, a.cfg.Respond.Signatures = []string{filepath.Join(dir, "books")}, "require"
	a.cfg.Respond.Keys = []RespondKey{{File: pub, Classes: []string{"observe"}}}
	a.cfg.Respond.Local = RespondLocal{After: Duration(30 * time.Second), Rules: []LocalRule{{Name: "x", Playbook: "mine"}}}
	book := holdFor(t, "60000")
	writeBook(t, a.cfg.Respond.Playbooks[0], "mine", book)
	open := func() (*local, error) {
		return newLocal(a.cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), a.acts, &wire{})
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), `playbook "mine": not found`) {
		t.Fatalf("a playbook that is not signed is run: %v", err)
	}
	now := time.Now()
	if err := book.Sign(cacao.Signature{
		ID: "jss--00000000-0000-4000-8000-000000000001", Created: cacao.Stamp(now), Modified: cacao.Stamp(now), Signee: "SOC", Algorithm: "Ed25519",
		ValidFrom: cacao.Stamp(now.Add(-time.Hour)), ValidUntil: cacao.Stamp(now.Add(time.Hour)),
	}, private); err != nil {
		t.Fatal(err)
	}
	writeBook(t, a.cfg.Respond.Playbooks[0], "mine", book)
	f := findingAbout(work.Process.Pid, "f1", now)
	answer := func() error {
		l, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer l.engine.Close()
		l.see(f)
		for _, o := range l.due(now.Add(time.Hour)) {
			if err := l.engine.Follow(t.Context(), o.rule, o.inc); err != nil {
				return err
			}
			for end := time.Now().Add(30 * time.Second); l.waiting() == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the run does not end")
				}
			}
		}
		return nil
	}
	if err := answer(); err == nil || !strings.Contains(err.Error(), "may authorise [observe], and this is reversible") || !advances(t, file) {
		t.Fatalf("a key that may only authorise looking: %v", err)
	}
	a.cfg.Respond.Keys[0].Classes = []string{"observe", "reversible"}
	if err := answer(); err != nil || advances(t, file) {
		t.Fatalf("it is signed, and it is not done: %v", err)
	}
}
