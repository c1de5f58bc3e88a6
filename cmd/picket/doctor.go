package main

import (
	"errors"

	"picket/node"
)

var errDoctor = errors.New("picket run cannot work here; each FAIL above says why")

type doctorCmd struct{ outputFlag }

func (c *doctorCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	checks := node.Doctor(cfg)
	if c.json() {
		if err := a.printJSON(checks); err != nil {
			return err
		}
	} else {
		for _, k := range checks {
			mark := a.colour("32", "ok  ")
			if !k.OK {
				mark = a.colour("33", "no  ")
			}
			if k.Fatal {
				mark = a.colour("31", "FAIL")
			}
			a.printf("%s  %-20s %s\n", mark, k.Name, printable(k.Detail, false))
		}
	}
	for _, k := range checks {
		if k.Fatal {
			return &node.Error{Err: errDoctor, Code: node.ExitHost}
		}
	}
	return nil
}
