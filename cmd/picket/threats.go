package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"picket/api"
	"picket/node"
	"picket/sensor/kernel"
	"picket/threats"
)

type threatsCmd struct {
	outputFlag
	rulesFlag
	Entries  []string `arg:"" optional:"" name:"id" help:"Entries to show whole, such as DX01. Default: a line for each."`
	By       string   `enum:"group,attack,atlas" default:"group" help:"Count by group, by technique of ATT&CK or of ATLAS: ${enum}."`
	Coverage string   `enum:"seen,partly,dark,any" default:"any" help:"Only entries of which so much is seen: ${enum}."`
}

func (c *threatsCmd) Run(a *app) error {
	loaded, err := threatArgs{rulesFlag: c.rulesFlag}.load(a)
	if err != nil {
		return err
	}
	hosts := capabilities()
	rows, err := node.Coverage(loaded, hosts)
	if err != nil {
		return err
	}
	if len(c.Entries) > 0 {
		return c.show(a, rows)
	}
	rows = slices.DeleteFunc(rows, func(r api.Covered) bool { return c.Coverage != "any" && c.Coverage != string(r.Coverage) })
	switch {
	case c.json():
		return a.printJSON(rows)
	case c.By != "group":
		c.techniques(a, rows)
		return nil
	}
	c.list(a, rows)
	if hosts == nil {
		a.printf("\nWhat this host can see is not known: that needs root.\n")
	}
	return nil
}

// capabilities says what this host's kernel can do, under its name and by row of picket doctor; nil where
// nobody may ask.
func capabilities() map[string]map[string]bool {
	if os.Geteuid() != 0 {
		return nil
	}
	out := map[string]bool{}
	for _, c := range kernel.Probe() {
		out[c.Name] = c.OK
	}
	return map[string]map[string]bool{"this host": out}
}

func (c *threatsCmd) list(a *app, rows []api.Covered) {
	if len(rows) == 0 {
		a.printf("No entry is %s.\n", c.Coverage)
		return
	}
	var table [][]string
	counts := map[threats.Coverage]int{}
	for _, r := range rows {
		counts[r.Coverage]++
		said := strings.Join(r.Rules, ", ")
		if r.Coverage == threats.Dark {
			said = r.Gap
		}
		table = append(table, []string{r.ID, a.coverage(r), r.Group, r.Title, said})
	}
	a.table([]string{"ID", "COVERAGE", "GROUP", "WHAT THE ATTACKER DOES", "RULES, OR WHY THERE ARE NONE"}, table)
	a.printf("\n")
	c.groups(a, rows)
	a.printf("\n%d entries: %d seen, %d partly, %d dark. picket threats ID says what of one stays dark.\n",
		len(rows), counts[threats.Seen], counts[threats.Partly], counts[threats.Dark])
}

// groups counts entries by group, in the catalogue's order.
func (c *threatsCmd) groups(a *app, rows []api.Covered) {
	counts, order := map[string]map[threats.Coverage]int{}, []string{}
	for _, r := range rows {
		if counts[r.Group] == nil {
			counts[r.Group] = map[threats.Coverage]int{}
			order = append(order, r.Group)
		}
		counts[r.Group][r.Coverage]++
	}
	var table [][]string
	for _, g := range order {
		n := counts[g]
		table = append(table, []string{g, fmt.Sprint(n[threats.Seen]), fmt.Sprint(n[threats.Partly]), fmt.Sprint(n[threats.Dark])})
	}
	a.table([]string{"GROUP", "SEEN", "PARTLY", "DARK"}, table)
}

// coverage is the word for a row, and whether this host lacks what it takes.
func (a *app) coverage(r api.Covered) string {
	colour := map[threats.Coverage]string{threats.Seen: "32", threats.Partly: "33", threats.Dark: "31"}[r.Coverage]
	word := string(r.Coverage)
	switch lacks := len(r.Missing) > 0 || len(r.Unloaded) > 0; {
	case lacks && (len(r.Missing) == len(r.Needs) || len(r.Unloaded) == len(r.Rules)):
		colour, word = "31", word+", not here"
	case lacks:
		colour, word = "33", word+", in part here"
	}
	return a.colour(colour, word)
}

// techniques counts entries by technique.
func (c *threatsCmd) techniques(a *app, rows []api.Covered) {
	counts, ids := map[string]map[threats.Coverage]int{}, map[string][]string{}
	for _, r := range rows {
		list := r.Attack
		if c.By == "atlas" {
			list = r.Atlas
		}
		for _, t := range list {
			if counts[t] == nil {
				counts[t] = map[threats.Coverage]int{}
			}
			counts[t][r.Coverage]++
			ids[t] = append(ids[t], r.ID)
		}
	}
	var table [][]string
	for _, t := range slices.Sorted(maps.Keys(counts)) {
		n := counts[t]
		table = append(table, []string{t, fmt.Sprint(n[threats.Seen]), fmt.Sprint(n[threats.Partly]), fmt.Sprint(n[threats.Dark]), strings.Join(ids[t], " ")})
	}
	a.table([]string{"TECHNIQUE", "SEEN", "PARTLY", "DARK", "ENTRIES"}, table)
}

// show prints entries whole.
func (c *threatsCmd) show(a *app, rows []api.Covered) error {
	var found []api.Covered
	for _, id := range c.Entries {
		i := slices.IndexFunc(rows, func(r api.Covered) bool { return strings.EqualFold(r.ID, id) })
		if i < 0 {
			return &node.Error{Err: fmt.Errorf("the catalogue has no entry %q", id), Hint: "picket threats lists them", Code: node.ExitUsage}
		}
		found = append(found, rows[i])
	}
	if c.json() {
		return a.printJSON(found)
	}
	for i, r := range found {
		if i > 0 {
			a.printf("\n")
		}
		a.printf("%s  %s\n", r.ID, r.Title)
		for _, line := range [][2]string{
			{"group", r.Group},
			{"coverage", a.coverage(r)},
			{"rules", strings.Join(r.Rules, ", ")},
			{"dark", r.Gap},
			{"ATLAS", strings.Join(r.Atlas, ", ")},
			{"ATT&CK", strings.Join(r.Attack, ", ")},
			{"needs", strings.Join(r.Needs, ", ")},
			{"lacks here", strings.Join(slices.Sorted(maps.Keys(r.Missing)), ", ")},
			{"not loaded", strings.Join(r.Unloaded, ", ")},
		} {
			if line[1] != "" {
				a.printf("  %-10s %s\n", line[0], line[1])
			}
		}
	}
	return nil
}
