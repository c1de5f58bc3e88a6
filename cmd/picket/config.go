package main

import (
	"os"

	"picket/node"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Check a configuration file and name the line of each mistake."`
	Default configDefaultCmd `cmd:"" help:"Print a configuration file with every key, its meaning and its default."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"File to check. Default: the one that picket would read."`
}

func (c *configCheckCmd) Run(a *app) error {
	name := c.File
	if name == "" {
		name = a.cli.Config
	}
	if name == "" {
		if _, err := os.Stat(node.DefaultFile); err != nil {
			a.printf("no configuration file: all keys have their defaults, which are right\n")
			return nil
		}
		name = node.DefaultFile
	}
	if _, err := node.Load(name); err != nil {
		return err
	}
	a.printf("%s: ok\n", printable(name, false))
	return nil
}

type configDefaultCmd struct{}

func (c *configDefaultCmd) Run(a *app) error { return node.WriteDefault(a.out) }
