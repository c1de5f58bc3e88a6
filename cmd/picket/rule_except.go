package main

import (
	"errors"
	"strconv"

	"picket/api/client"
	"picket/detect"
	"picket/event"
	"picket/node"
	"picket/threats"
)

type ruleExceptCmd struct {
	Preview exceptPreviewCmd `cmd:"" help:"Show what exceptions would have hidden."`
}

type exceptPreviewCmd struct {
	outputFlag
	serverFlags
	rulesFlag
	File      string `arg:"" help:"A file of exceptions, or a directory of them."`
	Recording string `arg:"" optional:"" help:"Picket's records, one JSON object a line; - reads standard input. Default: the findings that the server keeps, at most 1000 of each rule."`
}

func (c *exceptPreviewCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	loaded, _ := node.LoadThreats(cfg, node.ThreatRoots(cfg, threats.FS)...) // rule lint says what is wrong
	list, err := detect.LoadExceptions(c.File)
	if err = errors.Join(err, detect.CheckExceptions(list, loaded)); len(list) == 0 {
		return errors.Join(err, errors.New("there is no exception in "+c.File))
	}
	var hidden []detect.Hidden
	if c.Recording == "" {
		var findings []event.Finding
		if findings, err = c.findings(a, list); err == nil {
			hidden, err = detect.PreviewFindings(list, findings)
		}
	} else {
		events, readErr := a.recording(c.Recording)
		err = errors.Join(err, readErr)
		var previewErr error
		hidden, previewErr = detect.Preview(loaded, list, events)
		err = errors.Join(err, previewErr)
	}
	if c.json() {
		return errors.Join(a.printJSON(hidden), err)
	}
	a.printHidden(hidden)
	return err
}

// findings reads what the server keeps of the rules that are excepted.
func (c *exceptPreviewCmd) findings(a *app, list []*detect.Exception) ([]event.Finding, error) {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return nil, err
	}
	var out []event.Finding
	asked := map[string]bool{}
	for _, x := range list {
		for _, rule := range x.Rules {
			if asked[rule] {
				continue
			}
			asked[rule] = true
			f := client.FindingFilter{Rule: rule, Limit: 200}
			for range 5 {
				page, err := cl.Findings(a.ctx, f)
				if err != nil {
					return nil, err
				}
				out = append(out, page.Items...)
				if f.Before = page.Next; f.Before == "" {
					break
				}
			}
		}
	}
	return out, nil
}

func (a *app) printHidden(hidden []detect.Hidden) {
	rows := make([][]string, len(hidden))
	for i, h := range hidden {
		state := ""
		if h.Expired {
			state = "expired"
		}
		rows[i] = []string{h.Exception, h.Rule, strconv.Itoa(h.Fired), strconv.Itoa(h.Hidden), strconv.Itoa(h.Fired - h.Hidden), state}
	}
	a.table([]string{"EXCEPTION", "RULE", "FIRED", "HIDDEN", "LEFT", "STATE"}, rows)
	for _, h := range hidden {
		for i, text := range h.Examples {
			if i == 0 {
				a.printf("\n%s would have hidden, of %s:\n", printable(h.Exception, false), printable(h.Rule, false))
			}
			a.printf("  %s\n", printable(text, false))
		}
	}
}
