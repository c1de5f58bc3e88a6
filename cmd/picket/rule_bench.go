package main

import (
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"picket/detect"
	"picket/event"
	"picket/node"
	"picket/threats"
)

type ruleBenchCmd struct {
	outputFlag
	rulesFlag
	File string        `arg:"" optional:"" help:"Picket's records, one JSON object a line; - reads standard input. Default: the sample events of the threats."`
	Time time.Duration `default:"20ms" help:"How long to measure each rule."`
}

// Help says how it is measured, so that the figures are not taken for more than they are.
func (ruleBenchCmd) Help() string {
	return `Each rule is measured by itself, on the events it is about: the quickest of five rounds, less what an engine without rules takes for the same events. EVALUATED are events that had a text which makes the engine look at the rule; the others it passes over. Rules share work, so that the last line, all rules together on all events, is less than the sum. Other programs on this host disturb the figures.`
}

// benchReport is what rule bench found.
type benchReport struct {
	Events int           `json:"events"`
	Rules  []detect.Cost `json:"rules"` // dearest first
	All    detect.Cost   `json:"all"`
}

func (c *ruleBenchCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	loaded, _ := node.LoadThreats(cfg, node.ThreatRoots(cfg, threats.FS)...) // rule lint says what is wrong
	events, readErr := detect.SampleEvents(loaded), error(nil)
	if c.File != "" {
		events, readErr = a.recording(c.File)
	}
	if len(events) == 0 {
		return errors.Join(readErr, errors.New("there is no event to measure with"))
	}
	began := time.Now()
	m := detect.Meter{Clock: func() time.Duration { return time.Since(began) }, Budget: c.Time}
	report := benchReport{Events: len(events)}
	report.Rules, report.All = m.Measure(loaded, events)
	if c.json() {
		return errors.Join(a.printJSON(report), readErr)
	}
	rows := make([][]string, 0, len(report.Rules)+1)
	for _, r := range report.Rules {
		rows = append(rows, costRow(r.Threat, r.Rule, r))
		if r.Events == 0 {
			rows[len(rows)-1][5] = "–" // nothing to measure with
		}
	}
	rows = append(rows, costRow("", "all together", report.All))
	rows[len(rows)-1][3] = "–"
	a.table([]string{"THREAT", "RULE", "EVENTS", "EVALUATED", "HITS", "NS/EVENT"}, rows)
	return readErr
}

func costRow(threat, rule string, c detect.Cost) []string {
	return []string{threat, rule, strconv.Itoa(c.Events), strconv.Itoa(c.Evaluated), strconv.Itoa(c.Hits), strconv.FormatFloat(c.Nanos, 'f', 0, 64)}
}

// recording reads a file of records, or standard input.
func (a *app) recording(name string) ([]*event.Event, error) {
	var r io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		r = f
	}
	return detect.ReadRecording(name, r)
}
