package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"picket/detect"
	"picket/node"
	"picket/threats"
)

type ruleCmd struct {
	List    ruleListCmd    `cmd:"" help:"List the rules that an agent on this host loads."`
	Lint    ruleLintCmd    `cmd:"" help:"Find mistakes in threat folders and name file and line."`
	Explain ruleExplainCmd `cmd:"" help:"Show how a rule is evaluated: events, sensor hooks, fields and condition."`
	Except  ruleExceptCmd  `cmd:"" help:"Try exceptions before they are used."`
	Bench   ruleBenchCmd   `cmd:"" help:"Measure what each rule costs on a recording."`
	New     ruleNewCmd     `cmd:"" help:"Make the folder of a new threat, in order as it stands."`
	Test    ruleTestCmd    `cmd:"" help:"Run the sample events of threat folders: hits must fire, misses must not."`
	Import  ruleImportCmd  `cmd:"" help:"Translate the rules of another program."`
}

// threatArgs name threat folders: directories, or names of threats that are loaded.
type threatArgs struct {
	rulesFlag
	Threats []string `arg:"" optional:"" name:"threat" help:"A directory of threat folders, one threat folder, or the name of a loaded threat. Default: all that are loaded."`
}

// load reads the threats. What is in order is returned even where err is not nil.
func (t threatArgs) load(a *app) ([]detect.Threat, error) {
	cfg, err := t.config(a)
	if err != nil {
		return nil, err
	}
	roots, names := node.ThreatRoots(cfg, threats.FS), map[string]bool{}
	if dirs := t.directories(); len(dirs) > 0 {
		roots = dirs
		for _, dir := range t.Rules {
			roots = append(roots, detect.Collection(dir))
		}
	}
	for _, n := range t.Threats {
		if !isDir(n) {
			names[n] = true
		}
	}
	loaded, err := node.LoadThreats(cfg, roots...)
	var out []detect.Threat
	for _, l := range loaded {
		if len(names) == 0 || names[l.Name] {
			out = append(out, l)
			delete(names, l.Name)
		}
	}
	for n := range names {
		return nil, &node.Error{Err: fmt.Errorf("no threat %q is loaded and no directory has that name", n), Hint: "picket rule list shows the threats", Code: node.ExitUsage}
	}
	return out, err
}

func (t threatArgs) directories() []fs.FS {
	var dirs []fs.FS
	for _, n := range t.Threats {
		if isDir(n) {
			dirs = append(dirs, detect.Dir(n))
		}
	}
	return dirs
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

type ruleLintCmd struct {
	outputFlag
	threatArgs
	Exceptions []string `placeholder:"PATH" sep:"none" help:"Lint a file or directory of exceptions too. May be given several times."`
}

func (c *ruleLintCmd) Run(a *app) error {
	loaded, loadErr := c.load(a)
	var problems []string
	for _, e := range node.Unjoin(loadErr) {
		problems = append(problems, e.Error())
	}
	for _, t := range loaded {
		for _, p := range detect.Lint(t) {
			problems = append(problems, p.Error())
		}
	}
	excepted, err := c.exceptions(a)
	if err != nil {
		return err
	}
	problems = append(problems, excepted...)
	if err := a.printProblems(c.outputFlag, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems in %d threats", len(problems), len(loaded))
	}
	if !c.json() {
		a.printf("%d threats: nothing to complain about\n", len(loaded))
	}
	return nil
}

// exceptions returns what is wrong with the exceptions that are named, beside all rules there are.
func (c *ruleLintCmd) exceptions(a *app) ([]string, error) {
	if len(c.Exceptions) == 0 {
		return nil, nil
	}
	for _, name := range c.Exceptions {
		if _, err := os.Stat(name); err != nil {
			return nil, &node.Error{Err: err, Hint: "name a file of exceptions, or a directory of them", Code: node.ExitUsage}
		}
	}
	cfg, err := c.config(a)
	if err != nil {
		return nil, err
	}
	all, _ := node.LoadThreats(cfg, append(node.ThreatRoots(cfg, threats.FS), c.directories()...)...) // said already
	list, err := detect.LoadExceptions(c.Exceptions...)
	var out []string
	for _, e := range node.Unjoin(err) {
		out = append(out, e.Error())
	}
	for _, p := range detect.LintExceptions(list, all, time.Now()) {
		out = append(out, p.Error())
	}
	return out, nil
}

type ruleTestCmd struct {
	outputFlag
	threatArgs
}

func (c *ruleTestCmd) Run(a *app) error {
	loaded, loadErr := c.load(a)
	results, failed := []detect.Result{}, 0
	for _, t := range loaded {
		results = append(results, detect.Test(t)...)
	}
	for _, r := range results {
		if !r.OK {
			failed++
		}
	}
	if c.json() {
		if err := a.printJSON(results); err != nil {
			return err
		}
	} else {
		a.printResults(results)
		a.printf("%d samples in %d threats, %d failed\n", len(results), len(loaded), failed)
	}
	if failed > 0 {
		loadErr = errors.Join(loadErr, fmt.Errorf("%d samples failed", failed))
	}
	return loadErr
}

func (a *app) printResults(results []detect.Result) {
	for _, r := range results {
		want := "miss"
		if r.Hit {
			want = "hit"
		}
		mark := a.colour("32", "ok  ")
		if !r.OK {
			mark = a.colour("31", "FAIL")
		}
		a.printf("%s  %-34s %-4s  %s\n", mark, r.Rule, want, printable(r.Why, false))
		if !r.OK {
			a.printf("      %s:%d: %s\n", r.File, r.Line, strings.TrimSpace(printable(r.Problem, true)))
		}
	}
}
