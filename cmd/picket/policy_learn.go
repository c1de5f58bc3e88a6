package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"picket/api/client"
	"picket/node"
	"picket/policy"
)

// maxLearned is how many events are read: the newest.
const maxLearned = 5000

type policyLearnCmd struct {
	serverFlags
	Container string `help:"The workload's container, by its id."`
	Cgroup    string `help:"Or its cgroup, such as /system.slice/ollama.service."`
	Name      string `help:"Name of the policy. Default: made of the container's or cgroup's."`
	Since     string `default:"24h" help:"How far back: 30m, 6h, 7d or a time."`
}

func (c *policyLearnCmd) Run(a *app) error {
	sel, name := policy.Select{}, c.Name
	switch {
	case c.Container != "" && c.Cgroup == "":
		sel.Container = []string{c.Container}
	case c.Cgroup != "" && c.Container == "":
		sel.Cgroup = []string{c.Cgroup}
	default:
		return &node.Error{Err: errors.New("learn needs --container or --cgroup"), Hint: "picket hunt class:process shows both", Code: node.ExitUsage}
	}
	if name == "" {
		name = nameOf(c.Container + c.Cgroup)
	}
	records, err := a.history(c.serverFlags, sel, c.Since)
	if err != nil {
		return err
	}
	l := node.LearnEvents(records)
	if len(l.Programs)+len(l.Peers) == 0 {
		return &node.Error{Err: fmt.Errorf("no program that ran and no connection is known of it since %s", c.Since), Hint: "look further back with --since", Code: node.ExitFailure}
	}
	a.printf("# Learned from %d events since %s. It only observes: picket policy diff shows what it lacks.\n%s", len(records), c.Since, printable(l.Policy(name, sel, time.Now()).String(), true))
	return nil
}

// history returns the stored events of what a policy selects.
func (a *app) history(f serverFlags, sel policy.Select, back string) ([]json.RawMessage, error) {
	var parts []string
	add := func(field string, list []string) {
		var any []string
		for _, s := range list {
			if i := strings.IndexAny(s, "*?["); i >= 0 {
				any = append(any, fmt.Sprintf("%s:=%q*", field, s[:i]))
			} else {
				any = append(any, fmt.Sprintf("%s:=%q", field, s))
			}
		}
		if len(any) > 0 {
			parts = append(parts, "("+strings.Join(any, " or ")+")")
		}
	}
	add("container.id", sel.Container)
	add("process.cgroup", sel.Cgroup)
	add("ai.workload.kind", sel.Workload)
	add("ai.workload.engine", sel.Engine)
	cl, err := a.client(f)
	if err != nil {
		return nil, err
	}
	start, err := since(back, time.Now())
	if err != nil {
		return nil, err
	}
	list, err := cl.Events(a.ctx, client.EventFilter{
		Query: strings.Join(parts, " ") + ` event.kind:in("process.start", "process.seen", "net.connect", "net.send", "policy.violation")`,
		Start: start.UTC().Format(time.RFC3339Nano), Limit: maxLearned,
	})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

type policyDiffCmd struct {
	outputFlag
	serverFlags
	Name  string `arg:"" help:"The policy."`
	Since string `default:"24h" help:"How far back: 30m, 6h, 7d or a time."`
}

func (c *policyDiffCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	p, err := findPolicy(cfg, c.Name)
	if err != nil {
		return err
	}
	records, err := a.history(c.serverFlags, p.Select, c.Since)
	if err != nil {
		return err
	}
	addrs := map[string][]netip.Addr{}
	if p.Egress != nil {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		defer cancel()
		for _, name := range p.Egress.Names() {
			addrs[name], _ = net.DefaultResolver.LookupNetIP(ctx, "ip", name) // one that leads nowhere allows nothing
		}
	}
	out, err := node.LearnEvents(records).Against(p, addrs)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(out)
	}
	for _, d := range out {
		mark, times := "+", fmt.Sprintf("seen %d times, not allowed", d.Times)
		if d.Reason == "unused" {
			mark, times = "-", "allowed, not seen"
		}
		a.printf("%s %-7s %s (%s)\n", mark, d.Rule, printable(d.What, false), times)
	}
	if len(out) == 0 {
		a.printf("%d events since %s, all as the policy says\n", len(records), c.Since)
	}
	return nil
}
