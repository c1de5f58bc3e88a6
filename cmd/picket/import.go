package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"picket/detect/falco"
)

type ruleImportCmd struct {
	Falco ruleImportFalcoCmd `cmd:"" help:"Translate Falco rules, with their macros and lists, into Sigma rules, and say of each what could not be carried over."`
}

type ruleImportFalcoCmd struct {
	outputFlag
	Files    []string `arg:"" name:"file" help:"Falco rule files, in the order in which Falco loads them."`
	Out      string   `placeholder:"DIR" help:"Write one file for each rule into DIR. Default: print the rules, and the report to standard error."`
	Force    bool     `help:"Overwrite files in DIR that were not made by an import, or were edited since."`
	Disabled bool     `help:"Take rules that are disabled in the Falco files, too."`
}

// maxRuleFile bounds what is read of a file; more is refused.
const maxRuleFile = 16 << 20

func (c *ruleImportFalcoCmd) Run(a *app) error {
	var files []falco.File
	for _, name := range c.Files {
		data, err := readRuleFile(name)
		if err != nil {
			return err
		}
		files = append(files, falco.File{Name: name, Data: data})
	}
	rules, loadErr := falco.Load(files...)
	results := rules.Translate()
	written := 0
	if c.Out != "" {
		var err error
		if written, err = c.write(results); err != nil {
			return errors.Join(err, loadErr)
		}
	}
	if c.json() {
		return errors.Join(a.printJSON(results), loadErr)
	}
	report := *a
	if c.Out == "" {
		for _, r := range results {
			if c.takes(r) {
				a.printf("%s", r.Document())
			}
		}
		report.out = a.err
	}
	report.importReport(results, c.Disabled)
	if c.Out != "" {
		a.printf("%d files written to %s\n", written, printable(c.Out, false))
	}
	return loadErr
}

func readRuleFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxRuleFile))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return data, nil
}

// takes reports whether a rule is written.
func (c *ruleImportFalcoCmd) takes(r falco.Result) bool {
	return len(r.Rules) > 0 && (!r.Disabled || c.Disabled)
}

// write puts each rule into a file of its own. It looks at all of them before it writes the
// first, so that it either writes all or nothing.
func (c *ruleImportFalcoCmd) write(results []falco.Result) (int, error) {
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return 0, fmt.Errorf("make the directory for rules: %w", err)
	}
	contents := map[string][]byte{}
	for _, r := range results {
		if !c.takes(r) {
			continue
		}
		path := filepath.Join(c.Out, r.Name+".yml")
		contents[path] = r.Document()
		old, err := os.ReadFile(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return 0, fmt.Errorf("look at what is there: %w", err)
		case !c.Force && !falco.Unchanged(old):
			return 0, fmt.Errorf("%s was not made by an import, or was edited since: nothing is written; move it away, or overwrite such files with --force", path)
		}
	}
	for path, content := range contents {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return 0, fmt.Errorf("write rules: %w", err)
		}
	}
	return len(contents), nil
}

// importReport says what became of each rule, and how many there are of each sort.
func (a *app) importReport(results []falco.Result, all bool) {
	counts := map[falco.Status]int{}
	disabled := 0
	rows := make([][]string, len(results))
	for i, r := range results {
		counts[r.Status]++
		status := string(r.Status)
		if r.Disabled {
			disabled++
			status += ", disabled"
		}
		rows[i] = []string{status, fmt.Sprintf("%s:%d", r.File, r.Line), r.Rule, strings.Join(slices.Concat(r.Reasons, r.Remarks), "; ")}
	}
	a.table([]string{"STATUS", "WHERE", "RULE", "WHY"}, rows)
	a.printf("%d rules: %d carried, %d partly, %d inactive, %d not carried\n",
		len(results), counts[falco.Carried], counts[falco.Partly], counts[falco.Inactive], counts[falco.Refused])
	if disabled > 0 && !all {
		a.printf("%d of them are disabled and left out; --disabled takes them, too\n", disabled)
	}
}
