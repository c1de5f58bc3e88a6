package main

import (
	"errors"
	"fmt"
	"io/fs"

	"picket/detect"
	"picket/lab"
	"picket/node"
	"picket/threats"
)

type labCmd struct {
	List   labListCmd   `cmd:"" help:"List the attacks."`
	Attack labAttackCmd `cmd:"" help:"Play an attack in a container of its own and wait for Picket to see it."`
}

type labListCmd struct{ outputFlag }

func (c *labListCmd) Run(a *app) error {
	loaded, err := detect.LoadThreats(threats.FS)
	if err != nil {
		return err
	}
	type row struct {
		ID         string   `json:"id"`
		Threat     string   `json:"threat"`
		Title      string   `json:"title"`
		Techniques []string `json:"techniques"`
		Rules      []string `json:"rules"`
	}
	var list []row
	var cells [][]string
	for _, t := range loaded {
		for i, at := range t.Attacks {
			list = append(list, row{at.ID, t.Name, at.Title, at.Techniques, at.Rules})
			name := at.ID
			if i == 0 {
				name = t.Name // it goes by the threat's name, too
			}
			cells = append(cells, []string{name, at.Title})
		}
	}
	if c.json() {
		return a.printJSON(list)
	}
	a.table([]string{"ATTACK", "WHAT HAPPENS"}, cells)
	return nil
}

type labAttackCmd struct {
	outputFlag
	serverFlags
	Threat string `arg:"" help:"Name of the threat to play, or id of one of its attacks; picket lab list shows them."`
	Alone  bool   `help:"Play the attack without asking Picket what it saw."`
	Keep   bool   `help:"Leave the container running until Ctrl-C."`
	Seed   uint64 `help:"Same seed, same names and bytes. Default: another each time."`
}

func (c *labAttackCmd) Run(a *app) error {
	scenario, err := lab.Load(threats.FS, c.Threat)
	if errors.Is(err, fs.ErrNotExist) {
		return &node.Error{Err: fmt.Errorf("no attack is called %q", c.Threat), Hint: "picket lab list shows them", Code: node.ExitUsage}
	}
	if err != nil {
		return err
	}
	o := lab.Options{Scenario: scenario, Out: a.err, Seed: c.Seed, Keep: c.Keep}
	if !c.json() {
		o.Out = a.out
	}
	if !c.Alone {
		cl, err := a.client(c.serverFlags)
		if err != nil {
			return err
		}
		if _, err := cl.Health(a.ctx); err != nil {
			return &node.Error{Err: err, Hint: "start Picket with: picket run; or play the attack unseen with --alone", Code: node.ExitHost}
		}
		o.Picket = lab.Ask(cl)
		if cfg, err := a.config(); err == nil {
			if scenario.Sandbox.Policy != "" {
				o.Policies = node.PoliciesOf(cfg)
			}
			if scenario.Sandbox.Profile != "" {
				o.Profiles = node.ProfilesOf(cfg)
			}
			if o.Traces.Address, o.Traces.Token, err = node.TracesAt(cfg); err != nil {
				return err
			}
		}
	}
	report, err := lab.Attack(a.ctx, o)
	if err != nil {
		return err
	}
	if c.json() {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if report.Incident != nil {
		a.printf("\nRead it: picket incidents show %s\n", report.Incident.ID[:8])
	}
	return report.Err()
}
