package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"picket/detect"
	"picket/event"
	"picket/node"
	"picket/sigma"
	"picket/threats"
)

type replayCmd struct {
	outputFlag
	Files     []string `arg:"" name:"file" help:"Recordings: JSON, one event a line, plain or compressed with gzip; - reads standard input."`
	Rules     []string `placeholder:"DIR" sep:"none" help:"Run the Sigma rules below a directory too, at any depth. May be given several times."`
	Threats   []string `placeholder:"DIR" sep:"none" help:"Run the threats of a directory of threat folders too. May be given several times."`
	Mapping   []string `placeholder:"FILE" sep:"none" help:"Rewrite the rules with a processing pipeline (YAML). May be given several times."`
	Together  bool     `help:"Replay all files as one, in the order of their events' times, so that sequences span them."`
	Format    string   `enum:",picket,sysmon,auditd,kubernetes,ecs,sigma" default:"" help:"How the recordings are written: picket, sysmon, auditd, kubernetes, ecs or sigma. Default: what their first lines look like."`
	Logsource string   `placeholder:"category=…,product=…,service=…" help:"The Sigma log source that all events of other programs belong to. Default: what each looks like."`
	MinLevel  string   `enum:"informational,low,medium,high,critical" default:"medium" help:"Rules below this level find nothing by themselves."`
	FailOn    string   `enum:",informational,low,medium,high,critical" default:"" help:"End with status 1 if there is a finding this severe or worse."`
}

func (c *replayCmd) Run(a *app) error {
	engine, err := c.engine(a)
	if err != nil {
		return err
	}
	source, err := parseLogsource(c.Logsource)
	if err != nil {
		return &node.Error{Err: err, Hint: "such as --logsource category=process_creation,product=linux", Code: node.ExitUsage}
	}
	worst, bar := event.Severity(0), a.progress()
	replay := &detect.Replay{Engine: engine, Format: c.Format, Source: source, Progress: bar.show, Found: func(f event.Finding) {
		worst = max(worst, f.Severity)
		bar.clear()
		c.print(a, f)
	}}
	read := c.readEach
	if c.Together {
		read = c.readTogether
	}
	unread := read(a, replay, bar)
	if err := a.ctx.Err(); err != nil {
		return err
	}
	s := replay.Summary()
	c.report(a, s, unread)
	switch {
	case c.FailOn != "" && worst >= event.ParseSeverity(c.FailOn):
		return fmt.Errorf("there are findings of level %s or worse", c.FailOn)
	case len(unread) > 0 || s.Unreadable > 0:
		return &node.Error{Err: fmt.Errorf("%d lines and %d recordings could not be read to the end", s.Unreadable, len(unread)), Code: node.ExitInput}
	}
	return nil
}

// engine loads the rules. Those that are wrong are told of and left out.
func (c *replayCmd) engine(a *app) (*detect.Engine, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	brought := slices.Clone(cfg.Detect.Rules) // read below, with the rules that no sensor here has events for
	cfg.Detect.Rules = nil
	roots := node.ThreatRoots(cfg, threats.FS)
	for _, dir := range append(c.Threats, c.Rules...) {
		if !isDir(dir) {
			return nil, &node.Error{Err: fmt.Errorf("there is no directory %s", dir), Hint: "name a directory of rules", Code: node.ExitUsage}
		}
	}
	for _, dir := range c.Threats {
		roots = append(roots, detect.Dir(dir))
	}
	for _, dir := range c.Rules {
		if !slices.Contains(brought, dir) {
			brought = append(brought, dir)
		}
	}
	values, err := node.Placeholders(cfg)
	for _, e := range node.Unjoin(err) {
		a.mistake(e)
	}
	loaded, loadErr := detect.LoadEvery(brought, values, roots...)
	pipelines := make([]*sigma.Pipeline, len(c.Mapping))
	for i, file := range c.Mapping {
		src, err := os.ReadFile(file)
		if err == nil {
			pipelines[i], err = sigma.ParsePipeline(file, src)
		}
		if err != nil {
			return nil, &node.Error{Err: err, Hint: "docs/replay.md shows what a mapping can hold", Code: node.ExitUsage}
		}
	}
	loaded, mapErr := detect.Rewrite(loaded, pipelines...)
	wrong := append(node.Unjoin(loadErr), node.Unjoin(mapErr)...)
	for _, e := range wrong[:min(len(wrong), 5)] {
		a.mistake(e)
	}
	if len(wrong) > 0 {
		a.complain("%d rules are wrong and left out\n", len(wrong))
	}
	return detect.New(detect.Options{Threats: loaded, MinLevel: event.ParseSeverity(c.MinLevel), Hosts: true, Noisy: math.MaxInt})
}

// parseLogsource reads category=…,product=…,service=….
func parseLogsource(s string) (*sigma.Logsource, error) {
	if s == "" {
		return nil, nil
	}
	var l sigma.Logsource
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(part, "=")
		dst := map[string]*string{"category": &l.Category, "product": &l.Product, "service": &l.Service}[strings.TrimSpace(key)]
		if !ok || dst == nil {
			return nil, fmt.Errorf("--logsource: %q is not category=…, product=… or service=…", part)
		}
		*dst = strings.TrimSpace(value)
	}
	return &l, nil
}

// readEach replays one file after another. It returns what could not be read.
func (c *replayCmd) readEach(a *app, replay *detect.Replay, bar *progressBar) (unread []error) {
	for _, file := range c.Files {
		in, size, err := openInput(file)
		if err == nil {
			bar.begin(file, size)
			err = replay.Read(a.ctx, in.name, in)
			bar.clear()
			_ = in.Close() // it was only read
		}
		if err != nil {
			unread = append(unread, err)
		}
		if a.ctx.Err() != nil {
			break
		}
	}
	return unread
}

// readTogether replays all files as one.
func (c *replayCmd) readTogether(a *app, replay *detect.Replay, bar *progressBar) (unread []error) {
	var inputs []detect.Input
	total := int64(0)
	for _, file := range c.Files {
		in, size, err := openInput(file)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		defer in.Close() //nolint:errcheck // it was only read
		inputs, total = append(inputs, detect.Input{Name: in.name, Data: in}), total+size
	}
	bar.begin(fmt.Sprintf("%d recordings", len(inputs)), total)
	defer bar.clear()
	return append(unread, node.Unjoin(replay.ReadTogether(a.ctx, inputs...))...)
}

// input is a file that is read, by the name that messages call it.
type input struct {
	*os.File
	name string
}

// openInput opens a file, - being standard input. The size is 0 where it is not known.
func openInput(file string) (in input, size int64, err error) {
	if file == "-" {
		return input{os.Stdin, "standard input"}, 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return input{}, 0, err
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		size = st.Size()
	}
	return input{f, file}, size, nil
}

// print prints one finding: a line for people, or an object for programs.
func (c *replayCmd) print(a *app, f event.Finding) {
	if c.json() {
		b, err := json.Marshal(f)
		if err == nil {
			a.printf("%s\n", b)
		}
		return
	}
	level := f.Severity.String()
	a.printf("%s  %s%s  %-28s  %s\n", f.Time.UTC().Format("2006-01-02 15:04:05.000"), a.severity(f.Severity), strings.Repeat(" ", max(0, 8-len(level))),
		printable(f.Rule.Name, false), a.fit(printable(f.Summary, false), 66))
}

// report prints what came of it: for people below the findings, for programs as words on standard
// error, so that standard output holds findings only.
func (c *replayCmd) report(a *app, s detect.ReplaySummary, unread []error) {
	say := a.printf
	if c.json() {
		say = a.complain
	}
	for _, e := range s.Faults {
		a.mistake(e)
	}
	for _, e := range unread {
		a.mistake(e)
	}
	if !c.json() && s.Findings > 0 {
		say("\n")
	}
	for _, r := range s.Recordings {
		say("%s: %d events, read as %s\n", printable(r.Name, false), r.Events, r.Format)
	}
	for _, r := range s.Rules {
		say("%6d  %-13s  %s\n", r.Findings, r.Level, printable(r.Rule, false))
	}
	say("%d findings in %d events; %d lines unreadable, %d events of no rule's log source, %d repeats kept quiet\n",
		s.Findings, s.Events, s.Unreadable, s.Unrouted, s.Repeats)
}

// mistake prints what is wrong with a file to standard error.
func (a *app) mistake(err error) {
	a.complain("%s\n", printable(strings.ReplaceAll(err.Error(), "\t", "  "), true))
}

// complain prints to standard error.
func (a *app) complain(format string, args ...any) { fmt.Fprintf(a.err, format, args...) } //nolint:errcheck // nowhere left to report to
