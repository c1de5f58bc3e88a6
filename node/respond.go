package node

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"picket/api"
	"picket/cacao"
	"picket/event"
	"picket/playbooks"
	"picket/respond"
	"picket/respond/action"
	"picket/store/state"
)

// Respond is the respond section.
type Respond struct {
	Playbooks []string      `yaml:"playbooks" doc:"directories of CACAO playbooks, each NAME.json; one of a built-in name replaces that one"`
	Approval  Duration      `yaml:"approval" doc:"how long a request for approval stands; then it expires, and nothing is done"`
	Approvers int           `yaml:"approvers" doc:"how many persons approve a plan in which something cannot be taken back; none of them is the one who asked"`
	Rules     []RespondRule `yaml:"rules" doc:"which incidents are answered with which playbook"`

	Budgets     []RespondBudget `yaml:"budgets" doc:"how much rules do without a person, past which they only suggest"`
	Maintenance []RespondWindow `yaml:"maintenance" doc:"times in which rules only suggest"`

	Local RespondLocal `yaml:"local" doc:"what an agent does by itself while the server is away: docs/local.md"`

	Signatures string       `yaml:"signatures" doc:"off; warn: a plan says that nobody trusted signed its playbook; require: it is neither loaded nor run. Built-in playbooks need none"`
	Keys       []RespondKey `yaml:"keys" doc:"whose signatures of playbooks count"`

	Channels    []RespondChannel `yaml:"channels" doc:"how playbooks tell people and open cases: docs/acts.md"`
	Issuers     []RespondIssuer  `yaml:"issuers" doc:"services that revoke tokens over HTTP, by the id of the token"`
	Vault       RespondVault     `yaml:"vault" doc:"where secrets named vault:PATH#FIELD are"`
	Authorities string           `yaml:"authorities" doc:"file in PEM with authorities that receivers' certificates are checked with, beside the system's"`
	Loopback    bool             `yaml:"loopback" doc:"channels, issuers and the vault may be on this host"`
}

// RespondRule is one of respond.rules.
type RespondRule struct {
	Name        string   `yaml:"name" doc:"its name in runs and in the audit log"`
	Playbook    string   `yaml:"playbook" doc:"the playbook's name"`
	Mode        string   `yaml:"mode" doc:"suggest: a plan is made; approve: people are asked; auto: the plan is run, but for what cannot be taken back; empty is suggest"`
	Level       string   `yaml:"level" doc:"incidents that are at least so severe: low, medium, high, critical; empty takes all"`
	Risk        int      `yaml:"risk" doc:"incidents with at least this risk, of 100; 0 takes all"`
	Threats     []string `yaml:"threats" doc:"incidents with a finding of one of these threats; empty takes all"`
	Rules       []string `yaml:"rules" doc:"incidents with a finding of one of these rules; empty takes all"`
	Entities    []string `yaml:"entities" doc:"incidents with one of these entities, kind:name, where name may hold * and ?; empty takes all"`
	Tags        []string `yaml:"tags" doc:"incidents that bear one of these tags of assets; empty takes all"`
	Hours       string   `yaml:"hours" doc:"08:00-18:00 of the server's day; outside of them the mode is suggest; empty is always"`
	Limit       int      `yaml:"limit" doc:"runs within an hour, past which the mode is suggest; 0 is 10"`
	Destructive bool     `yaml:"destructive" doc:"auto does not ask, even where something cannot be taken back"`
}

// RespondBudget is one of respond.budgets.
type RespondBudget struct {
	Act    string   `yaml:"act" doc:"acts of this kind, such as isolate; empty: of any"`
	Class  string   `yaml:"class" doc:"acts of this class: observe, reversible, destructive; empty: of any"`
	Per    string   `yaml:"per" doc:"workload: of each; empty: of all together"`
	Most   int      `yaml:"most" doc:"so many acts"`
	Within Duration `yaml:"within" doc:"in this time; 0 is 1h"`
}

// RespondWindow is one of respond.maintenance.
type RespondWindow struct {
	From     string   `yaml:"from" doc:"2026-12-01T20:00:00Z"`
	Until    string   `yaml:"until" doc:"2026-12-01T22:00:00Z"`
	Entities []string `yaml:"entities" doc:"incidents with one of these, kind:name; empty: all"`
	Reason   string   `yaml:"reason" doc:"stands in the runs that are only suggested"`
}

// limits returns budgets and windows, or the key at fault.
func (c *Respond) limits() (budgets []respond.Budget, windows []respond.Window, at string, err error) {
	for i, b := range c.Budgets {
		one := respond.Budget{Act: action.Kind(b.Act), Class: action.Class(b.Class), Per: b.Per, Most: b.Most, Within: time.Duration(b.Within)}
		if err := one.Check(); err != nil {
			return nil, nil, fmt.Sprintf("respond.budgets.%d", i), err
		}
		budgets = append(budgets, one)
	}
	for i, w := range c.Maintenance {
		one := respond.Window{Entities: w.Entities, Reason: w.Reason}
		var err1, err2 error
		one.From, err1 = time.Parse(time.RFC3339, w.From)
		one.Until, err2 = time.Parse(time.RFC3339, w.Until)
		err := errors.Join(err1, err2)
		if err == nil {
			err = one.Check()
		}
		if err != nil {
			return nil, nil, fmt.Sprintf("respond.maintenance.%d", i), err
		}
		windows = append(windows, one)
	}
	return budgets, windows, "", nil
}

// RespondKey is one of respond.keys.
type RespondKey struct {
	Thumbprint string   `yaml:"thumbprint" doc:"of the key, as picket playbook verify prints it"`
	File       string   `yaml:"file" doc:"or the public key itself, in PEM"`
	Classes    []string `yaml:"classes" doc:"of plans that it may authorise: observe, reversible, destructive"`
}

func (k *RespondKey) trusted() (respond.TrustedKey, error) {
	out := respond.TrustedKey{Thumbprint: strings.ToLower(k.Thumbprint)}
	for _, c := range k.Classes {
		out.Classes = append(out.Classes, action.Class(c))
	}
	if (k.File == "") == (k.Thumbprint == "") {
		return out, errors.New("want a thumbprint or a file, one of them")
	}
	if k.File != "" {
		text, err := os.ReadFile(k.File)
		if err != nil {
			return out, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return out, fmt.Errorf("%s holds no PEM", k.File)
		}
		if out.Key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return out, fmt.Errorf("%s: %w", k.File, err)
		}
		if out.Thumbprint, err = cacao.Thumbprint(out.Key); err != nil {
			return out, err
		}
	}
	return out, out.Check()
}

// signatures returns the policy, or the key at fault.
func (c *Respond) signatures() (s respond.Signatures, at string, err error) {
	s.Mode = respond.SignatureMode(c.Signatures)
	if err := s.Check(); err != nil {
		return s, "respond.signatures", err
	}
	for i := range c.Keys {
		k, err := c.Keys[i].trusted()
		if err != nil {
			return s, fmt.Sprintf("respond.keys.%d", i), err
		}
		s.Keys = append(s.Keys, k)
	}
	return s, "", nil
}

func (r *RespondRule) rule() respond.Rule {
	out := respond.Rule{
		Name: r.Name, Playbook: r.Playbook, Mode: respond.Mode(r.Mode), Risk: r.Risk, Threats: r.Threats, Rules: r.Rules, Entities: r.Entities, Tags: r.Tags,
		Hours: r.Hours, Limit: r.Limit, Destructive: r.Destructive,
	}
	if r.Level != "" {
		out.Level = event.ParseSeverity(r.Level)
	}
	return out
}

// validate returns the key at fault and what was expected.
func (c *Respond) validate() (key, msg string) {
	if c.Approval < Duration(time.Minute) {
		return "respond.approval", "want at least 1m"
	}
	if c.Approvers < 1 || c.Approvers > 10 {
		return "respond.approvers", "want a number from 1 to 10"
	}
	for i := range c.Rules {
		at := fmt.Sprintf("respond.rules.%d", i)
		if !oneOf(c.Rules[i].Level, "", "informational", "low", "medium", "high", "critical") {
			return at + ".level", "want low, medium, high or critical"
		}
		r := c.Rules[i].rule()
		if err := r.Check(); err != nil {
			return at, err.Error()
		}
	}
	if _, _, at, err := c.limits(); err != nil {
		return at, err.Error()
	}
	if _, at, err := c.signatures(); err != nil {
		return at, err.Error()
	}
	if key, msg := c.validateLocal(); key != "" {
		return key, msg
	}
	return c.validateReach()
}

// library reads the built-in playbooks and those of directories. What has mistakes is told in the error.
func (c *Respond) library() (*respond.Library, error) {
	from := []fs.FS{respond.BuiltIn(playbooks.FS)}
	for _, dir := range c.Playbooks {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			from = append(from, os.DirFS(dir))
		}
	}
	return respond.ReadLibrary(from...)
}

func (c *Respond) config() respond.Config {
	out := respond.Config{Approval: time.Duration(c.Approval), Approvers: c.Approvers}
	out.Signatures, _, _ = c.signatures() // checked when it was read, as are these
	out.Budgets, out.Windows, _, _ = c.limits()
	for i := range c.Rules {
		out.Rules = append(out.Rules, c.Rules[i].rule())
	}
	return out
}

// openRespond makes the engine that runs playbooks, and goes on with runs of before.
func (s *server) openRespond(ctx context.Context) error {
	lib, err := s.cfg.Respond.library()
	if err != nil {
		s.log.Error("a playbook has mistakes and cannot be run: picket playbook validate tells them", "error", err)
	}
	cfg := s.cfg.Respond.config()
	cfg.Assets = s.assets
	if err := lib.Sign(cfg.Signatures, time.Now()); err != nil {
		s.log.Warn("nobody who is trusted signed a playbook", "respond.signatures", cfg.Signatures.Mode, "error", err)
	}
	if err := cfg.Check(lib); err != nil {
		return &Error{Err: err, Hint: "picket playbook list names the playbooks; directories of them are respond.playbooks in picket.yaml", Code: ExitConfig}
	}
	s.respond, err = respond.New(ctx, respond.Options{
		Log: s.part("respond"), Registerer: s.reg, Journal: auditing{NewJournal(s.state), s.audit}, Incidents: known1{s.state}, Executor: s.executor,
		Library: lib, Config: cfg, Changed: s.runChanged, Costs: s.costing().costs,
	})
	return err
}

// runChanged notes that a run changed, for pages. The first may be before there is an API; what finds no
// room is seen when a page reads by itself.
func (s *server) runChanged(r respond.Run) {
	select {
	case s.runsChanged <- api.RunChange{ID: r.ID, Incident: r.Incident, State: r.State}:
	default:
	}
}

func (s *server) publishRuns(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.runsChanged:
			s.api.PublishRun(r)
		}
	}
}

// known1 tells the engine of incidents.
type known1 struct{ *state.Store }

// Incident returns one.
func (k known1) Incident(ctx context.Context, id string) (event.Incident, error) {
	inc, err := k.Store.Incident(ctx, id)
	return inc, respondError(err)
}

// answerIncident hands an incident that changed to the rules.
func (s *server) answerIncident(ctx context.Context, inc event.Incident) {
	if err := s.followRules(ctx, inc); err != nil && ctx.Err() == nil {
		s.log.Warn("an incident was not answered", "incident", inc.ID, "error", err)
	}
}

func (s *server) followRules(ctx context.Context, inc event.Incident) error {
	if inc.Status == event.IncidentClosed && inc.Verdict == event.FalsePositive {
		return s.respond.UndoIncident(ctx, inc.ID, "policy:false positive")
	}
	if len(s.cfg.Respond.Rules) == 0 {
		return nil
	}
	var threats []string
	if slices.ContainsFunc(s.cfg.Respond.Rules, func(r RespondRule) bool { return len(r.Threats) > 0 }) {
		list, err := s.state.Findings(ctx, state.FindingQuery{Incident: inc.ID, Limit: 1000})
		if err != nil {
			return err
		}
		for _, f := range list {
			if !slices.Contains(threats, f.Rule.Threat) {
				threats = append(threats, f.Rule.Threat)
			}
		}
	}
	return s.respond.Respond(ctx, inc, threats)
}

// NewJournal keeps runs in the state.
func NewJournal(s *state.Store) respond.Journal { return journal{s} }

type journal struct{ s *state.Store }

func (j journal) TakeOver(ctx context.Context) (uint64, error) { return j.s.TakeRuns(ctx) }

func (j journal) Save(ctx context.Context, fence uint64, k respond.Kept, records []respond.Record) error {
	docs, first := make([][]byte, len(records)), int64(0)
	for i, r := range records {
		if i == 0 {
			first = r.Seq
		}
		doc, err := json.Marshal(r)
		if err != nil {
			return err
		}
		docs[i] = doc
	}
	return respondError(j.s.SaveRun(ctx, fence, state.Run(k), first, docs))
}

func (j journal) Run(ctx context.Context, id string) (respond.Kept, error) {
	r, err := j.s.Run(ctx, id)
	return respond.Kept(r), respondError(err)
}

func (j journal) Runs(ctx context.Context, q respond.Query) ([]respond.Kept, error) {
	list, err := j.s.Runs(ctx, state.RunQuery{Incident: q.Incident, Open: q.Open, Limit: q.Limit})
	out := make([]respond.Kept, len(list))
	for i, r := range list {
		out[i] = respond.Kept(r)
	}
	return out, err
}

func (j journal) Records(ctx context.Context, run string) ([]respond.Record, error) {
	docs, err := j.s.RunRecords(ctx, run)
	if err != nil {
		return nil, err
	}
	out := make([]respond.Record, len(docs))
	for i, doc := range docs {
		if err := json.Unmarshal(doc, &out[i]); err != nil {
			return nil, fmt.Errorf("record %d of run %s: %w", i+1, run, err)
		}
	}
	return out, nil
}

func (j journal) Stopped(ctx context.Context) (string, error) { return j.s.RunsStopped(ctx) }

func (j journal) SetStopped(ctx context.Context, by string) error { return j.s.SetRunsStopped(ctx, by) }

// respondError turns errors of the state into those of respond.
func respondError(err error) error {
	for of, is := range map[error]error{state.ErrNotFound: respond.ErrNotFound, state.ErrConflict: respond.ErrConflict, state.ErrFenced: respond.ErrFenced} {
		if errors.Is(err, of) {
			return fmt.Errorf("%w: %w", is, err)
		}
	}
	return err
}
