// Quiet counts what Picket finds in ordinary life: training with checkpoints, serving, adapters, packages, logs, jobs
// of cron and a shell session, done for real by life.py in a cgroup of its own.
//
//	go build -o bin/quiet ./bench/quiet && bin/quiet -picket bin/picket -rounds 3
//
// It prints findings by rule and fails where one is of level medium or above, or where a stranger who reads the
// weights at the end is not found. What other programs of the host do
// meanwhile is counted apart.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"picket/api/client"
	"picket/bench/rig"
	"picket/event"
)

//go:embed life.py
var life []byte

// settle is what the slowest of what is looked for takes: model files are judged once they are left alone.
const settle = 30 * time.Second

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	rounds := flag.Int("rounds", 3, "how often all of it is done")
	flag.Parse()
	if err := run(*picket, *rounds); err != nil {
		log.Fatal("quiet: ", err)
	}
}

func run(picket string, rounds int) (err error) {
	dir, err := rig.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)                                         //nolint:errcheck // a temporary directory
	if err := os.MkdirAll(dir+"/models/llama", 0o755); err != nil { // before Picket looks for it
		return err
	}
	p, err := rig.Start(picket, fmt.Sprintf("workload: {models: [%s/models]}\n", dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	c, err := p.Client()
	if err != nil {
		return err
	}
	began := time.Now()
	own, err := newGroup()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.close()) }()
	if err := live(own, dir, rounds); err != nil {
		return err
	}
	took := time.Since(began)
	time.Sleep(settle)
	all, err := findings(c)
	if err != nil {
		return err
	}
	ours, others, loud := map[string]int{}, 0, 0
	for _, f := range all {
		if !of(&f, own.path, dir) {
			others++
			continue
		}
		ours[fmt.Sprintf("%-13s %s", f.Severity, cmp.Or(f.Rule.Name, f.Rule.ID))]++
		if f.Severity >= event.Medium {
			loud++
			fmt.Printf("%s: %s\n", f.Rule.Name, f.Summary)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(ours)) {
		fmt.Printf("%5d  %s\n", ours[rule], rule)
	}
	fmt.Printf("%d rounds in %v: %d findings of level medium or above, %d below; %d of other programs on this host\n",
		rounds, took.Round(time.Second), loud, len(all)-others-loud, others)
	if loud > 0 {
		return fmt.Errorf("%d findings in ordinary life", loud)
	}
	return heard(c, own, dir)
}

// heard makes sure that what is done there is found where it is no ordinary life: a stranger reads the weights.
func heard(c *client.Client, g *group, dir string) error {
	if err := g.command("cat", dir+"/models/llama/model.safetensors").Run(); err != nil {
		return err
	}
	return rig.Until(2*time.Minute, "a stranger's reading of the weights is found", func() (bool, error) {
		all, err := findings(c)
		return slices.ContainsFunc(all, func(f event.Finding) bool { return f.Severity >= event.Medium && of(&f, g.path, dir) }), err
	})
}

// live plays it.
func live(g *group, dir string, rounds int) error {
	script := filepath.Join(dir, "life.py")
	if err := os.WriteFile(script, life, 0o600); err != nil {
		return err
	}
	cmd := g.command("python3", script, dir, fmt.Sprint(rounds))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// group is a cgroup of our own.
type group struct {
	path string
	dir  *os.File
}

func newGroup() (*group, error) {
	root, err := unified()
	if err != nil {
		return nil, err
	}
	g := &group{path: fmt.Sprintf("/picket-quiet-%d", os.Getpid())}
	if err := os.Mkdir(root+g.path, 0o755); err != nil {
		return nil, err
	}
	g.dir, err = os.Open(root + g.path)
	return g, err
}

func (g *group) close() error { return errors.Join(g.dir.Close(), os.Remove(g.dir.Name())) }

// command is one that starts there, and ends with us.
func (g *group) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.dir.Fd()), Pdeathsig: syscall.SIGTERM}
	return cmd
}

// unified is where cgroup v2 is mounted.
func unified() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			return strings.Fields(before)[4], nil
		}
	}
	return "", errors.Join(errors.New("cgroup v2 is not mounted"), err)
}

func findings(c *client.Client) (all []event.Finding, err error) {
	f := client.FindingFilter{Limit: 500}
	for {
		page, err := c.Findings(context.Background(), f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if f.Before = page.Next; f.Before == "" {
			return all, nil
		}
	}
}

// of reports whether a finding is about what a cgroup did, or about what lies in a directory.
func of(f *event.Finding, cgroup, dir string) bool {
	return strings.Contains(f.Summary, dir) || slices.ContainsFunc(f.Events, func(raw json.RawMessage) bool {
		var e map[string]any
		return json.Unmarshal(raw, &e) == nil && e["process.cgroup"] == cgroup
	})
}
