package main

import (
	"errors"
	"fmt"

	"picket/node"
	"picket/sensor/kernel"
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
			a.printf("%s  %-20s %12s  %s\n", mark, k.Name, span(k.Costs), printable(k.Detail, false))
		}
	}
	if !c.json() {
		a.printf("\nTimes are those of one run of the programs behind a line, measured here, just now.\n")
	}
	for _, k := range checks {
		if k.Fatal {
			return &node.Error{Err: errDoctor, Code: node.ExitHost}
		}
	}
	return nil
}

// span says what the cheapest and the dearest of some programs take.
func span(costs []kernel.Cost) string {
	if len(costs) == 0 {
		return ""
	}
	least, most := costs[0].Nanoseconds, costs[0].Nanoseconds
	for _, c := range costs {
		least, most = min(least, c.Nanoseconds), max(most, c.Nanoseconds)
	}
	if least == most {
		return fmt.Sprintf("%.1f µs", most/1000)
	}
	return fmt.Sprintf("%.1f-%.1f µs", least/1000, most/1000)
}
