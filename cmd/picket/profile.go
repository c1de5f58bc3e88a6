package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/detect/profile"
	"picket/node"
)

type profileCmd struct {
	List   profileListCmd   `cmd:"" default:"withargs" help:"List what is learned of AI workloads, and how sure it is."`
	Show   profileShowCmd   `cmd:"" help:"Show what is usual for a workload, and what deviated."`
	Freeze profileFreezeCmd `cmd:"" help:"Judge by a profile as it is now, and let it learn no more."`
	Forget profileForgetCmd `cmd:"" help:"Drop a profile: what is usual is learned anew."`
}

type profileListCmd struct {
	outputFlag
}

func (c *profileListCmd) Run(a *app) error {
	list, err := a.profiles()
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(list)
	}
	var rows [][]string
	for _, p := range list {
		things := 0
		for _, items := range p.Items {
			things += len(items)
		}
		rows = append(rows, []string{
			p.ID, p.Name, string(p.Kind), p.Engine, strconv.Itoa(p.Version), p.State(), fmt.Sprintf("%d %%", p.Confidence()),
			p.Seen.Truncate(time.Minute).String(), strconv.Itoa(p.Instances), strconv.Itoa(things), strconv.Itoa(len(p.Strange)),
		})
	}
	a.table([]string{"PROFILE", "WORKLOAD", "KIND", "ENGINE", "VERSION", "STATE", "SURE", "SEEN", "INSTANCES", "USUAL", "DEVIATED"}, rows)
	return nil
}

func (a *app) profiles() ([]*profile.Profile, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return node.ReadProfiles(cfg)
}

// profile returns the one that an id begins.
func (a *app) profile(id string) (*profile.Profile, error) {
	list, err := a.profiles()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(p *profile.Profile) bool { return !strings.HasPrefix(p.ID, id) })
	if len(list) != 1 || id == "" {
		return nil, &node.Error{Err: fmt.Errorf("%d profiles begin with %q", len(list), id), Hint: "picket profile list names them", Code: node.ExitUsage}
	}
	return list[0], nil
}

type profileShowCmd struct {
	outputFlag
	ID string `arg:"" help:"A profile, or the beginning of its id."`
}

func (c *profileShowCmd) Run(a *app) error {
	p, err := a.profile(c.ID)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(p)
	}
	a.printf("%s %s of %s, version %d: %s, %d %% sure\n", p.Engine, p.Kind, printable(p.Image, false), p.Version, p.State(), p.Confidence())
	a.printf("model %s; seen for %s in %d instances, last at %s\n", printable(p.Model, false), p.Seen.Truncate(time.Minute), p.Instances, p.Last.Local().Format("2006-01-02 15:04"))
	var rows [][]string
	for _, what := range slices.Sorted(maps.Keys(p.Items)) {
		rows = append(rows, itemRows(what, p.Items[what])...)
		if n := p.Other[what]; n > 0 {
			rows = append(rows, []string{what, "others, for which there was no room", fmt.Sprint(n), ""})
		}
	}
	a.table([]string{"WHAT", "USUAL", "TIMES", "LAST"}, rows)
	if len(p.Strange) > 0 {
		a.printf("\n")
		a.table([]string{"", "DEVIATED", "TIMES", "LAST TOLD"}, itemRows("", p.Strange))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Series)) {
		s := p.Series[name]
		a.printf("%s: at most %.0f in a minute, at most %.0f on average, of %d minutes\n", name, s.Peak, s.Level, len(s.Ring))
	}
	return nil
}

func itemRows(what string, items map[string]profile.Item) (rows [][]string) {
	for _, v := range slices.Sorted(maps.Keys(items)) {
		rows = append(rows, []string{what, printable(v, false), fmt.Sprint(items[v].Count), time.Unix(items[v].Last, 0).Format("2006-01-02 15:04")})
	}
	return rows
}

type profileFreezeCmd struct {
	ID  string `arg:"" help:"A profile, or the beginning of its id."`
	Off bool   `help:"Let it learn again."`
}

func (c *profileFreezeCmd) Run(a *app) error {
	do, means := "freeze", "judges by what it has learned, and learns nothing more"
	if c.Off {
		do, means = "thaw", "learns again until it is sure"
	}
	return a.orderProfile(c.ID, do, means)
}

type profileForgetCmd struct {
	ID string `arg:"" help:"A profile, or the beginning of its id."`
}

func (c *profileForgetCmd) Run(a *app) error {
	return a.orderProfile(c.ID, "forget", "is learned anew")
}

func (a *app) orderProfile(id, do, means string) error {
	p, err := a.profile(id)
	if err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := node.OrderProfile(cfg, node.ProfileOrder{ID: p.ID, Do: do}); err != nil {
		return err
	}
	a.printf("%s %s %s, from the next second on that the agent runs\n", p.Engine, printable(p.Name, false), means)
	return nil
}
