package node

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/detect"
	"picket/event"
	"picket/incident"
	"picket/playbooks"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
	"picket/threats"
)

// pinner plans what agents would, for targets that are not there any more.
type pinner struct{ action.Executor }

func (pinner) Plan(_ context.Context, r *action.Request) (*action.Plan, error) {
	class := map[action.Kind]action.Class{action.Capture: action.Observe, action.Kill: action.Destructive}[r.Kind]
	if class == "" {
		class = action.Reversible
	}
	t := r.Target
	return &action.Plan{Target: t, Class: class, Hits: []string{t.String()}}, nil
}

// drills are the incidents that the sample events of each threat come to, by threat: what its attack in
// the lab raises.
type drills map[string]event.Incident

func (d drills) Incident(_ context.Context, id string) (event.Incident, error) {
	inc, has := d[id]
	if !has {
		return inc, respond.ErrNotFound
	}
	return inc, nil
}

func newDrills(t *testing.T) drills {
	t.Helper()
	all, err := detect.LoadThreats(threats.FS)
	if err != nil {
		t.Fatal(err)
	}
	out := drills{}
	for _, threat := range all {
		e, err := detect.New(detect.Options{Threats: []detect.Threat{threat}, Host: "gpu-1"})
		if err != nil {
			t.Fatal(err)
		}
		c := incident.New(incident.Options{Window: 24 * time.Hour})
		for n, ev := range detect.SampleEvents([]detect.Threat{threat}) {
			if p := ev.Process; p != nil && p.PID == 0 { // samples name only what rules look at
				p.PID = uint32(1000 + n)
			}
			for _, f := range e.Process(ev) {
				f.Host = "gpu-1"
				if inc, _, _ := c.Process(f); len(inc.Processes) > 0 {
					if _, had := out[threat.Name]; !had {
						out[threat.Name] = inc
					}
				}
			}
		}
	}
	return out
}

var drillLine = regexp.MustCompile("`picket lab attack ([a-z-]+)`")

// Each built-in playbook has a drill, and comes to a plan on an incident of its kind that does what the
// playbook's name says, no more and no less.
func TestTheBuiltInPlaybooksPlanOnTheirDrills(t *testing.T) {
	incidents := newDrills(t)
	cfg := Default()
	cfg.Data = t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Respond.Channels = []RespondChannel{{Name: "oncall", Type: "pagerduty", Secret: "@" + secret}, {Name: "cases", Type: "http", URL: "https://cases.example.org"}}
	cfg.Respond.Issuers = []RespondIssuer{{Name: "vault", URL: "https://vault.example.org/{id}", Secret: "@" + secret}}
	s := &server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if err := makeDir(cfg.dir("server"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.openReach(); err != nil {
		t.Fatal(err)
	}
	defer s.reach.Close()
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	lib, err := cfg.Respond.library()
	if err != nil {
		t.Fatal(err)
	}
	e, err := respond.New(t.Context(), respond.Options{Journal: NewJournal(st), Library: lib, Incidents: incidents, Executor: executor{s.reach, pinner{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, b := range lib.Books() {
		if !b.BuiltIn || slices.Contains([]string{"hold-training", "hold-workload", "isolate-workload"}, b.Word) { // which no attack calls for
			continue
		}
		drill := drillLine.FindStringSubmatch(b.Runbook)
		if drill == nil || !strings.Contains(b.Runbook, "## What to say") {
			t.Errorf("%s.md: it has no drill, or nothing to say to people", b.Word)
			continue
		}
		if _, err := fs.Stat(threats.FS, drill[1]+"/attack.yml"); err != nil {
			t.Errorf("%s.md: its drill is no attack of the lab: %v", b.Word, err)
		}
		given := map[string]string{"__issuer__": "vault", "__token_id__": "acc-1", "__model_link__": "/models/llama/current"}
		for name := range given {
			if _, has := b.Variables[name]; !has {
				delete(given, name)
			}
		}
		plan, err := e.Plan(t.Context(), b.Word, drill[1], given, nil)
		if err != nil {
			t.Errorf("%s on %s: %v", b.Word, drill[1], err)
			continue
		}
		var kinds []action.Kind
		for _, a := range plan.Acts {
			kinds = append(kinds, a.Kind)
			if a.Error != "" || a.Open != "" {
				t.Errorf("%s: %s is not planned: %s%s", b.Word, a.Kind, a.Error, a.Open)
			}
		}
		kind, _, _ := strings.Cut(b.Word, "-")
		want := map[string]struct {
			class action.Class
			has   []action.Kind
		}{
			"watch":   {action.Observe, []action.Kind{action.Capture, action.Notify}},
			"contain": {action.Reversible, []action.Kind{action.Capture}},
			"recover": {action.Destructive, []action.Kind{action.Capture, action.Kill, action.Ticket}},
			"end":     {action.Destructive, []action.Kind{action.Capture, action.Kill}},
		}[kind]
		if plan.Class != want.class {
			t.Errorf("%s is %s, want %s", b.Word, plan.Class, want.class)
		}
		for _, k := range want.has {
			if !slices.Contains(kinds, k) {
				t.Errorf("%s plans %v, and no %s", b.Word, kinds, k)
			}
		}
		if kind == "contain" && !slices.Contains(kinds, action.Freeze) && !slices.Contains(kinds, action.Isolate) {
			t.Errorf("%s plans %v: it contains nothing", b.Word, kinds)
		}
		if len(given) > 0 && !slices.Contains(kinds, action.RevokeToken) && !slices.Contains(kinds, action.RollbackModel) {
			t.Errorf("%s plans %v: its variables are for nothing", b.Word, kinds)
		}
	}
	if n := len(lib.Books()); n != 25 {
		t.Errorf("%d playbooks, want three for each of seven kinds, end-workload, and three that hold", n)
	}
	if _, err := fs.Stat(playbooks.FS, "watch-miner.md"); err != nil {
		t.Error(err)
	}
}
