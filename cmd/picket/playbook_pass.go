package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"picket/cacao"
	"picket/node"
)

type playbookExportCmd struct {
	serverFlags
	Playbook string `arg:"" help:"The playbook's name or id: picket playbook list."`
}

func (c *playbookExportCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	p, err := cl.Playbook(a.ctx, c.Playbook)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, p.Body, "", "  "); err != nil {
		return fmt.Errorf("playbook %s: %w", c.Playbook, err)
	}
	a.printf("%s\n", out.String())
	return nil
}

type playbookImportCmd struct {
	File    string `arg:"" help:"The playbook; - reads standard input."`
	Name    string `placeholder:"NAME" help:"How it is to be called. Default: the file's name."`
	Into    string `placeholder:"DIR" help:"Where to. Default: the first of respond.playbooks in picket.yaml."`
	Replace bool   `help:"Take the place of a playbook of that name, or of an older version of the same."`
}

var playbookName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

func (c *playbookImportCmd) Run(a *app) error {
	data, p, err := c.read(os.Stdin)
	if err != nil {
		return err
	}
	for _, found := range p.Validate() {
		a.complain("%s: %s\n", printable(c.File, false), printable(found.String(), true))
	}
	if n := len(p.Validate().Errors()); n > 0 {
		return &node.Error{Err: fmt.Errorf("%d mistakes: it was not taken over", n), Code: node.ExitFailure}
	}
	if err := p.Runnable(time.Now()); err != nil {
		return fmt.Errorf("it was not taken over: %w", err)
	}
	name, dir, err := c.place(a)
	if err != nil {
		return err
	}
	if err := c.fits(dir, name, p); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(dir, name+".json"), data); err != nil {
		return fmt.Errorf("playbook: %w", err)
	}
	a.printf("%s is playbook %s of %s; the server has it from its next start on\n", printable(filepath.Join(dir, name+".json"), false), printable(p.ID, false), printable(string(p.Modified), false))
	return nil
}

// read reads the playbook, and returns it as it was written: what is signed stays as it is.
func (c *playbookImportCmd) read(stdin io.Reader) ([]byte, *cacao.Playbook, error) {
	in := stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, nil, fmt.Errorf("playbook: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read from
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, cacao.MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("playbook: %w", err)
	}
	if len(data) > cacao.MaxSize {
		return nil, nil, fmt.Errorf("playbook %s: more than %d bytes", c.File, cacao.MaxSize)
	}
	p, err := cacao.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return data, p, nil
}

func (c *playbookImportCmd) place(a *app) (name, dir string, err error) {
	if name = c.Name; name == "" {
		name = strings.TrimSuffix(filepath.Base(c.File), ".json")
	}
	if !playbookName.MatchString(name) {
		return "", "", &node.Error{Err: fmt.Errorf("%q is no name of a playbook", name), Hint: "give it one with --name: small letters, digits, dashes", Code: node.ExitUsage}
	}
	if dir = c.Into; dir == "" {
		cfg, err := a.config()
		if err != nil {
			return "", "", err
		}
		if len(cfg.Respond.Playbooks) == 0 {
			return "", "", &node.Error{Err: errors.New("respond.playbooks names no directory"), Hint: "name one with --into", Code: node.ExitUsage}
		}
		dir = cfg.Respond.Playbooks[0]
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("playbooks: %w", err)
	}
	return name, dir, nil
}

// fits refuses what would take the place of another playbook, or of a newer version, unasked.
func (c *playbookImportCmd) fits(dir, name string, p *cacao.Playbook) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("playbooks: %w", err)
	}
	for _, file := range files {
		is := strings.TrimSuffix(filepath.Base(file), ".json")
		old, err := readPlaybook(file)
		switch {
		case err != nil && is != name:
			continue // another file's mistakes are not ours
		case err == nil && old.ID == p.ID && is != name:
			return fmt.Errorf("%s is the same playbook: name that one with --name %s", file, is)
		case err == nil && old.ID == p.ID && old.Modified > p.Modified:
			return fmt.Errorf("%s is a newer version, of %s: this one is of %s", file, old.Modified, p.Modified)
		case is == name && !c.Replace:
			return &node.Error{Err: fmt.Errorf("there is a playbook %s", file), Hint: "give another --name, or --replace it", Code: node.ExitFailure}
		}
	}
	return nil
}
