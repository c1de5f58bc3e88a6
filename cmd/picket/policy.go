package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picket/node"
	"picket/policy"
	"picket/sensor/enforce"
)

type policyCmd struct {
	Check   policyCheckCmd   `cmd:"" help:"Find mistakes in policies, and what of them this kernel cannot enforce."`
	Show    policyShowCmd    `cmd:"" default:"withargs" help:"Show which policies are in use, on which cgroups, and what they stopped."`
	Learn   policyLearnCmd   `cmd:"" help:"Write a policy of what a workload did, as the stored events tell."`
	Diff    policyDiffCmd    `cmd:"" help:"Compare a policy with what its workload did."`
	Enforce policyEnforceCmd `cmd:"" help:"Enforce a policy for a while, let it only observe, or stop all enforcing."`
}

type policyCheckCmd struct {
	outputFlag
	Files []string `arg:"" optional:"" name:"file" help:"Policies, or directories of them. Default: policy.files of the configuration."`
}

func (c *policyCheckCmd) Run(a *app) error {
	files, err := policyFiles(a, c.Files)
	if err != nil {
		return err
	}
	list, err := policy.Load(files...)
	problems := []string{}
	for _, e := range node.Unjoin(err) {
		problems = append(problems, e.Error())
	}
	said := ""
	var means []string
	if os.Geteuid() == 0 {
		caps := enforce.Probe()
		for _, p := range list {
			if err := node.Enforceable(p, caps); err != nil {
				problems = append(problems, err.Error())
			}
			for _, m := range node.Means(p, caps) {
				means = append(means, p.Name+": "+m)
			}
		}
	} else {
		said = "; what this kernel can enforce was not looked at, which needs root"
	}
	if err := a.printProblems(c.outputFlag, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		return &node.Error{Err: fmt.Errorf("%d mistakes: no policy is taken over before they are mended", len(problems)), Code: node.ExitConfig}
	}
	if !c.json() {
		for _, m := range means {
			a.printf("%s\n", m)
		}
		a.printf("%d policies: ok%s\n", len(list), said)
	}
	return nil
}

func policyFiles(a *app, named []string) ([]string, error) {
	if len(named) == 0 {
		cfg, err := a.config()
		if err != nil {
			return nil, err
		}
		return cfg.Policy.Files, nil
	}
	for _, f := range named {
		if _, err := os.Stat(f); err != nil {
			return nil, &node.Error{Err: fmt.Errorf("policy: %w", err), Code: node.ExitUsage}
		}
	}
	return named, nil
}

type policyShowCmd struct {
	outputFlag
	Name string `arg:"" optional:"" help:"A policy: its file as Picket reads it, and where it is in use."`
}

func (c *policyShowCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	st, err := node.ReadPolicyStatus(cfg)
	if c.Name != "" {
		p, found := findPolicy(cfg, c.Name)
		if found != nil {
			return found
		}
		a.printf("# %s\n%s", printable(p.File, false), printable(p.String(), true))
		for _, s := range st.Policies {
			if s.Name == c.Name {
				a.printf("\n# %s on %d cgroups: %s\n", modeWord(s.Enforce), len(s.Cgroups), printable(strings.Join(s.Cgroups, ", "), false))
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(st)
	}
	var rows [][]string
	for _, s := range st.Policies {
		rows = append(rows, []string{s.Name, modeWord(s.Enforce), fmt.Sprint(len(s.Cgroups)), strings.Join(s.Cgroups, ", ")})
	}
	a.table([]string{"POLICY", "DOES", "ON", "CGROUPS"}, rows)
	for _, part := range slices.Sorted(maps.Keys(st.Rungs)) {
		a.printf("%-10s by %s\n", part, st.Rungs[part])
	}
	for _, k := range slices.Sorted(maps.Keys(st.Counts)) {
		a.printf("%-28s %d times\n", k, st.Counts[k])
	}
	for _, c := range st.Enclosed {
		a.printf("made by Picket, for a container that only cgroup v1 tells apart: %s\n", printable(c, false))
	}
	for _, r := range st.Refused {
		a.printf("refused: %s\n", printable(r, true))
	}
	return nil
}

func modeWord(enforced bool) string {
	if enforced {
		return "enforces"
	}
	return "observes"
}

// findPolicy returns the policy of a name.
func findPolicy(cfg *node.Config, name string) (*policy.Policy, error) {
	list, err := policy.Load(cfg.Policy.Files...)
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, &node.Error{Err: fmt.Errorf("there is no policy %q below %s", name, strings.Join(cfg.Policy.Files, ", ")), Hint: "picket policy check names the files it reads", Code: node.ExitUsage}
}

type policyEnforceCmd struct {
	Name string        `arg:"" optional:"" help:"The policy."`
	For  time.Duration `default:"24h" help:"How long; then the policy does what its file says."`
	Off  bool          `help:"With a name: let it only observe. Without: enforce nothing, until --resume."`

	Resume bool `help:"Forget what was said before: each policy does what its file says."`
}

func (c *policyEnforceCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	switch {
	case c.Resume:
		if err := node.ResumeEnforcing(cfg); err != nil {
			return err
		}
		a.printf("each policy does what its file says\n")
		return nil
	case c.Name == "" && c.Off:
		if err := node.StopEnforcing(cfg); err != nil {
			return err
		}
		a.printf("nothing is enforced any more; picket policy enforce --resume ends that\n")
		return nil
	case c.Name == "":
		return &node.Error{Err: errors.New("enforce needs a policy, --off or --resume"), Hint: "picket policy show lists the policies", Code: node.ExitUsage}
	case c.For <= 0 || c.For > 366*24*time.Hour:
		return &node.Error{Err: fmt.Errorf("--for %s: want up to a year", c.For), Code: node.ExitUsage}
	}
	p, err := findPolicy(cfg, c.Name)
	if err != nil {
		return err
	}
	mode := policy.Observe
	if !c.Off {
		mode = policy.Enforce
		forced := *p
		forced.Mode = mode
		if os.Geteuid() == 0 {
			if err := node.Enforceable(&forced, enforce.Probe()); err != nil {
				return err
			}
		}
		if cfg.Policy.Mode == string(policy.Observe) {
			return &node.Error{Err: errors.New("policy.mode is observe in the configuration: nothing is enforced"), Hint: "set it to enforce", Code: node.ExitConfig}
		}
	}
	until := time.Now().Add(c.For)
	if err := node.SetPolicyMode(cfg, c.Name, string(mode), until); err != nil {
		return err
	}
	a.printf("%s: %s until %s, within two seconds; picket policy show says on what\n", c.Name, mode, until.Format("2006-01-02 15:04"))
	return nil
}

// nameOf makes a policy's name of a container's or a cgroup's.
func nameOf(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(s)))
	return strings.TrimLeft(s[:min(len(s), 40)], "-._") + "-policy"
}
