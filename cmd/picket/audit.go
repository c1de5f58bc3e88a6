package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/node"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List who did what, the latest first."`
	Export auditExportCmd `cmd:"" help:"Print the whole audit log as JSON lines, the first entry first."`
	Verify auditVerifyCmd `cmd:"" help:"Find entries that were changed, taken out, moved or cut off."`
}

// auditPage is how many entries are asked for at a time.
const auditPage = 1000

type auditListCmd struct {
	outputFlag
	serverFlags
	Limit int `default:"50" help:"At most so many."`
}

func (c *auditListCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	page, err := cl.Audit(a.ctx, -1, min(max(c.Limit, 1), auditPage))
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(page.Items)
	}
	rows := make([][]string, len(page.Items))
	for i, e := range page.Items {
		ok := "ok"
		if !e.OK {
			ok = "failed"
		}
		rows[i] = []string{fmt.Sprint(e.Seq), e.Time.Local().Format(time.DateTime), e.Who, e.What, ok, a.fit(e.Object+" "+e.Detail, 70)}
	}
	a.table([]string{"ENTRY", "TIME", "WHO", "WHAT", "", "OBJECT"}, rows)
	return nil
}

// eachEntry reads the server's log to its end.
func (a *app) eachEntry(cl *client.Client, take func(api.AuditEntry) error) error {
	for after := int64(0); ; {
		page, err := cl.Audit(a.ctx, after, auditPage)
		if err != nil || len(page.Items) == 0 {
			return err
		}
		for _, e := range page.Items {
			if err := take(e); err != nil {
				return err
			}
			after = max(after, e.Seq)
		}
	}
}

type auditExportCmd struct{ serverFlags }

func (c *auditExportCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(a.out)
	enc := json.NewEncoder(out)
	if err := a.eachEntry(cl, func(e api.AuditEntry) error { return enc.Encode(e) }); err != nil {
		return err
	}
	return out.Flush()
}

type auditVerifyCmd struct {
	outputFlag
	serverFlags
	File string   `placeholder:"FILE" help:"An export instead of the server's log; - is standard input."`
	Head []string `placeholder:"NUMBER:HASH" help:"An entry that must be there, such as the end that an earlier verify printed. May be given several times."`
}

func (c *auditVerifyCmd) Run(a *app) error {
	var chain node.AuditChain
	for _, h := range c.Head {
		if err := chain.Note(h); err != nil {
			return &node.Error{Err: err, Code: node.ExitUsage}
		}
	}
	if err := c.read(a, &chain); err != nil {
		return err
	}
	chain.End()
	wrong := chain.Wrong()
	if c.json() {
		if err := a.printJSON(struct {
			Head  string   `json:"head"`
			Wrong []string `json:"wrong"`
		}{chain.Head().String(), append([]string{}, wrong...)}); err != nil {
			return err
		}
	} else {
		for _, w := range wrong {
			a.printf("%s\n", printable(w, false))
		}
	}
	switch {
	case len(wrong) > 0:
		return &node.Error{Err: fmt.Errorf("the audit log is not what was written (mistakes: %d)", len(wrong)), Code: node.ExitFailure}
	case c.json():
	case chain.Head().Seq == 0:
		a.printf("the audit log is empty\n")
	default:
		a.printf("%d entries: ok. Keep the end elsewhere, and hand it in with --head the next time:\n%s\n", chain.Head().Seq, chain.Head())
	}
	return nil
}

// read hands a log to the chain.
func (c *auditVerifyCmd) read(a *app, chain *node.AuditChain) error {
	if c.File == "" {
		cl, err := a.client(c.serverFlags)
		if err != nil {
			return err
		}
		noted, err := cl.Audit(a.ctx, -1, 1)
		if err != nil {
			return err
		}
		if err := chain.Note(noted.Head); err != nil {
			return fmt.Errorf("the server's note: %w", err)
		}
		return a.eachEntry(cl, func(e api.AuditEntry) error { chain.Next(e); return nil })
	}
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return &node.Error{Err: err, Code: node.ExitInput}
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	dec := json.NewDecoder(bufio.NewReader(in))
	for n := 1; ; n++ {
		var e api.AuditEntry
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &node.Error{Err: fmt.Errorf("%s: entry %d is none: %w", c.File, n, err), Hint: "picket audit export makes such a file", Code: node.ExitInput}
		}
		chain.Next(e)
	}
}
