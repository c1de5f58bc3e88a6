package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"picket/cacao"
	"picket/node"
	"picket/playbooks"
)

type playbookNewCmd struct {
	Name string `arg:"" help:"Name of the playbook: lower-case words with dashes, such as stop-miner."`
	From string `default:"contain-weights" help:"Built-in playbook to begin with."`
	In   string `placeholder:"DIR" default:"." help:"Directory in which to make it, such as /etc/picket/playbooks."`
}

var dashedWords = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (c *playbookNewCmd) Run(a *app) error {
	if !dashedWords.MatchString(c.Name) {
		return &node.Error{Err: fmt.Errorf("%q: want lower-case words with dashes", c.Name), Code: node.ExitUsage}
	}
	data, err := fs.ReadFile(playbooks.FS, c.From+".json")
	if err != nil {
		return &node.Error{Err: fmt.Errorf("no built-in playbook is named %q", c.From), Hint: "picket playbook list names them", Code: node.ExitUsage}
	}
	p, err := cacao.Parse(data)
	if err != nil {
		return err
	}
	runbook, err := fs.ReadFile(playbooks.FS, c.From+".md")
	if err != nil {
		return err
	}
	title := strings.ReplaceAll(strings.ToUpper(c.Name[:1])+c.Name[1:], "-", " ")
	_, rest, _ := strings.Cut(string(runbook), "\n")
	now := cacao.Stamp(time.Now())
	p.ID, p.CreatedBy, p.Name, p.Created, p.Modified = "playbook--"+newUUID(), "identity--"+newUUID(), title, now, now
	if data, err = json.MarshalIndent(p, "", " "); err != nil {
		return err
	}
	for name, text := range map[string]string{c.Name + ".json": string(data) + "\n", c.Name + ".md": "# " + title + "\n" + strings.ReplaceAll(rest, c.From, c.Name)} {
		if err := writeFresh(filepath.Join(c.In, name), text); err != nil {
			return err
		}
	}
	file := filepath.Join(c.In, c.Name)
	a.printf("%s.json\n%s.md\n\nChange both, and modified in the first. Then:\n  picket playbook validate %s.json\n  picket playbook sign --key soc.pem --signee SOC %s.json\n", file, file, file, file)
	return nil
}

// writeFresh writes a file that is not there yet.
func writeFresh(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &node.Error{Err: fmt.Errorf("%s is there already", file), Hint: "choose another name: nothing is written over", Code: node.ExitUsage}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
