package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"picket/api"
	"picket/event"
	"picket/inventory"
)

type inventoryCmd struct {
	serverFlags
	Output    string `short:"o" enum:"text,wide,json,cyclonedx" default:"text" help:"How to print: text, wide (with each model file), json, or cyclonedx: a bill of materials in CycloneDX 1.6."`
	Host      string `help:"Only of this host."`
	Kind      string `enum:",inference,training,notebook,agent" default:"" help:"Only inference, training, notebook or agent."`
	Engine    string `help:"Only of this engine, such as vllm."`
	Verdict   string `enum:",clean,unsupported,unknown,failed,suspicious,malicious" default:"" help:"Only with a file of this verdict."`
	Signature string `enum:",unsigned,signed,invalid,untrusted" default:"" help:"Only with a file whose signature is so."`
}

func (c *inventoryCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	list, err := cl.Inventory(a.ctx, api.InventoryQuery{Host: c.Host, Kind: c.Kind, Engine: c.Engine, Verdict: c.Verdict, Signature: c.Signature})
	if err != nil {
		return err
	}
	switch c.Output {
	case "json":
		return a.printJSON(list)
	case "cyclonedx":
		return inventory.WriteBOM(a.out, list, version, time.Now())
	}
	if len(list) == 0 {
		if c.Host+c.Kind+c.Engine+c.Verdict+c.Signature != "" {
			a.printf("No AI workload that runs is so: take a flag away.\n")
			return nil
		}
		a.printf("No AI workload runs: no inference server, training job, notebook or agent that Picket knows.\n" +
			"Agents tell what runs within half a minute. To see one: picket lab attack steal-weights --keep\n")
		return nil
	}
	rows := make([][]string, len(list))
	for i, r := range list {
		rows[i] = []string{r.Host, string(r.Kind), engineOf(&r), a.fit(r.Name, 40), placeOf(&r), gpusOf(&r), strings.Join(r.Listens, " "), filesOf(&r), ago(r.Started, time.Now())}
	}
	a.table([]string{"HOST", "KIND", "ENGINE", "NAME", "WHERE", "GPUS", "LISTENS", "MODEL FILES", "STARTED"}, rows)
	if c.Output == "wide" {
		for i := range list {
			a.wideRunning(&list[i])
		}
	}
	return nil
}

func engineOf(r *event.Running) string { return strings.TrimSpace(r.Engine + " " + r.Version) }

// placeOf is the container and pod of a workload, else its process.
func placeOf(r *event.Running) string {
	if r.Container == nil {
		return fmt.Sprintf("pid %d", r.PID)
	}
	s := r.Container.ID
	if len(s) == 64 { // a digest, as runtimes give them; other names are somebody's own
		s = s[:12]
	}
	if r.Container.PodUID != "" {
		s += " pod " + r.Container.PodUID
	}
	return s
}

// gpusOf names the GPUs that a workload has open.
func gpusOf(r *event.Running) string {
	var out []string
	for _, g := range r.GPUs {
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(g, "/dev/"), "dri/"))
	}
	return cmp.Or(strings.Join(out, " "), "-")
}

// filesOf says how many files a workload uses, and what is wrong with any.
func filesOf(r *event.Running) string {
	n, count := len(r.Files)+r.FilesCut, map[string]int{}
	for _, f := range r.Files {
		count[f.Artifact.Verdict]++
		count[f.Artifact.Signature]++
		if f.Pending {
			count["waiting"]++
		}
	}
	var s strings.Builder
	fmt.Fprint(&s, n)
	for _, what := range []string{"malicious", "suspicious", "failed", event.Invalid, event.Untrusted, event.Signed, "waiting"} {
		if count[what] > 0 {
			fmt.Fprintf(&s, ", %d %s", count[what], what)
		}
	}
	return s.String()
}

// wideRunning prints a workload with its files.
func (a *app) wideRunning(r *event.Running) {
	a.printf("\n%s on %s (%s, pid %d, %d processes)\n", printable(r.Name, false), printable(r.Host, false), printable(engineOf(r), false), r.PID, r.Processes)
	line := func(name, value string) {
		if value != "" {
			a.printf("  %-9s %s\n", name, printable(value, false))
		}
	}
	line("id", r.ID)
	line("program", r.Exe)
	line("users", strings.Join(r.Users, " "))
	line("gpus", strings.Join(r.GPUs, " "))
	if j := r.Job; j != nil {
		line("job", fmt.Sprintf("%s, ranks %s of %d", j.ID, strings.Trim(fmt.Sprint(j.Ranks), "[]"), j.Size))
	}
	var packages []string
	for _, p := range r.Packages {
		packages = append(packages, p.Name+" "+p.Version)
	}
	line("packages", strings.Join(packages, ", "))
	rows := [][]string{}
	for _, f := range r.Files {
		verdict, digest := f.Artifact.Verdict, cmp.Or(f.Artifact.Digest, "-")
		if f.Pending {
			verdict = "waiting"
		}
		rows = append(rows, []string{
			"  " + f.Role, cmp.Or(f.Format, "-"), cmp.Or(verdict, "-"), cmp.Or(f.Artifact.Signature, "-"), digest[:min(16, len(digest))], f.Path,
		})
	}
	if len(rows) > 0 {
		a.table([]string{"  ROLE", "FORMAT", "VERDICT", "SIGNATURE", "SHA-256", "FILE"}, rows)
	}
	for _, f := range r.Files {
		line("issue", prefixed(f.Path+": ", f.Artifact.Issue))
		line("signature", prefixed(f.Path+": ", f.Artifact.Refusal))
	}
	if r.FilesCut > 0 {
		a.printf("  %d more files are not listed\n", r.FilesCut)
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
