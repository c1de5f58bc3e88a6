package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"picket/api/client"
	"picket/node"
)

type eventsCmd struct {
	outputFlag
	serverFlags
	Query  string `arg:"" optional:"" help:"Words and field:value, such as class:net or process.name:curl."`
	Follow bool   `short:"f" help:"Show events as they come, until Ctrl-C."`
	Limit  int    `default:"30" help:"Without --follow: at most so many."`
}

func (c *eventsCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	if !c.Follow {
		return a.search(cl, client.EventFilter{Query: c.Query, Limit: c.Limit, Start: "24h"}, c.outputFlag)
	}
	err = cl.Stream(a.ctx, client.StreamOptions{Events: true, Query: c.Query}, func(m client.Message) error {
		if m.Event == "event" {
			a.printRow(m.Data, c.outputFlag)
		}
		return nil
	})
	if errors.Is(err, a.ctx.Err()) {
		return nil // Ctrl-C is how following ends
	}
	return err
}

type huntCmd struct {
	outputFlag
	serverFlags
	Query  string `arg:"" optional:"" help:"What to look for: words of an event's message, field:value pairs, and LogsQL."`
	Since  string `default:"24h" help:"How far back, or from when: 30m, 6h, 7d or a time."`
	Until  string `help:"Until when; default now."`
	Limit  int    `default:"100" help:"At most so many, the newest."`
	Fields bool   `help:"List the fields that a query may name, with what they mean."`
}

func (c *huntCmd) Run(a *app) error {
	if c.Query == "" && !c.Fields {
		return &node.Error{Err: errors.New("hunt needs a query"), Hint: "picket hunt weights looks for a word; picket hunt --fields lists the fields", Code: node.ExitUsage}
	}
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	if c.Fields {
		return a.fields(cl, c.outputFlag)
	}
	start, err := since(c.Since, time.Now())
	if err != nil {
		return err
	}
	f := client.EventFilter{Query: c.Query, Start: start.UTC().Format(time.RFC3339Nano), Limit: c.Limit}
	if c.Until != "" {
		end, err := since(c.Until, time.Now())
		if err != nil {
			return err
		}
		f.End = end.UTC().Format(time.RFC3339Nano)
	}
	return a.search(cl, f, c.outputFlag)
}

// search prints the events that f selects, oldest first, as a terminal is read.
func (a *app) search(cl *client.Client, f client.EventFilter, o outputFlag) error {
	list, err := cl.Events(a.ctx, f)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		if o.json() {
			return nil
		}
		a.printf("No events match. Look further back with --since, or see the fields with: picket hunt --fields\n")
		return nil
	}
	for _, v := range slices.Backward(list.Items) {
		a.printRow(v, o)
	}
	if !o.json() && list.Next != "" {
		a.printf("There are older ones; --limit shows them.\n")
	}
	return nil
}

// printRow prints one record: as it is for programs, as a line for people.
func (a *app) printRow(row json.RawMessage, o outputFlag) {
	if o.json() {
		a.printf("%s\n", row)
		return
	}
	var r map[string]string
	if json.Unmarshal(row, &r) != nil {
		a.printf("%s\n", printable(string(row), false)) // a row of a query that counts
		return
	}
	if r["_msg"] == "" {
		a.printf("%s\n", printable(string(row), false))
		return
	}
	when := r["_time"]
	if t, err := time.Parse(time.RFC3339Nano, when); err == nil {
		when = t.Local().Format("2006-01-02 15:04:05.000")
	}
	where := r["container.id"]
	if where == "" {
		where = r["host"]
	}
	a.printf("%s  %-14s  %-20s  %s\n", when, r["event.kind"], short(printable(where, false), 20), a.fit(printable(r["_msg"], false), 60))
}

func (a *app) fields(cl *client.Client, o outputFlag) error {
	fields, err := cl.Fields(a.ctx)
	if err != nil {
		return err
	}
	if o.json() {
		return a.printJSON(fields)
	}
	rows := make([][]string, len(fields))
	for i, f := range fields {
		rows[i] = []string{f.Name, f.Sigma, f.Doc}
	}
	a.table([]string{"FIELD", "IN RULES", "MEANING"}, rows)
	return nil
}

// fit cuts s to what is left of a terminal's line behind used columns; a pipe gets all of it.
func (a *app) fit(s string, used int) string {
	w, ok := a.terminal()
	if !ok {
		return s
	}
	return strings.TrimSpace(short(s, max(w-used, 20)))
}
