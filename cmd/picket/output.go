package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"picket/event"
)

// outputFlag chooses between a table for people and JSON for programs.
type outputFlag struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"How to print: text or json."`
}

func (o outputFlag) json() bool { return o.Output == "json" }

// printJSON prints v indented. encoding/json escapes control characters and what HTML gives meaning.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printProblems prints what was found wrong, one below the other or as JSON.
func (a *app) printProblems(o outputFlag, problems []string) error {
	if o.json() {
		return a.printJSON(problems)
	}
	for _, p := range problems {
		a.printf("%s\n", printable(p, true))
	}
	return nil
}

// printf prints to the command's output.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) } //nolint:errcheck // a closed pipe ends the program

// table prints rows in columns. Cells are made printable; the last column is cut to the terminal.
func (a *app) table(header []string, rows [][]string) {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	if _, tty := a.terminal(); !tty || len(rows) > 0 {
		fmt.Fprintln(w, strings.Join(header, "\t")) //nolint:errcheck // Flush reports it
	}
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i], false)
		}
		fmt.Fprintln(w, strings.Join(r, "\t")) //nolint:errcheck // Flush reports it
	}
	_ = w.Flush() // a closed pipe ends the program
}

// terminal returns the width of the terminal that the output goes to, or false.
func (a *app) terminal() (width int, ok bool) {
	f, isFile := a.out.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	w, _, err := term.GetSize(int(f.Fd()))
	return w, err == nil
}

// colour wraps s in an SGR sequence where the output is a terminal and NO_COLOR is unset.
func (a *app) colour(code, s string) string {
	if _, tty := a.terminal(); !tty || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// severity returns the level's name in its colour.
func (a *app) severity(s event.Severity) string {
	code := map[event.Severity]string{event.Critical: "1;31", event.High: "31", event.Medium: "33", event.Low: "36"}[s]
	if code == "" {
		return s.String()
	}
	return a.colour(code, s.String())
}

// printable shows control characters and what could steer a terminal as escapes, so that text which
// an attacker chose cannot move the cursor, hide a line or reorder what is read.
func printable(s string, lines bool) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= 0x20 && s[i] < 0x7f || lines && s[i] == '\n'
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && lines, unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// short cuts s to n characters and says so with an ellipsis.
func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// ago writes how long before now t was.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "never"
	case d < 0:
		return t.Format(time.RFC3339)
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// since reads a --since flag: a duration before now, or a time.
func since(s string, now time.Time) (time.Time, error) {
	if num, ok := strings.CutSuffix(s, "d"); ok {
		var days int
		if _, err := fmt.Sscanf(num, "%d", &days); err == nil {
			return now.AddDate(0, 0, -days), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--since %q: want a duration such as 30m, 6h or 7d, or a time such as 2026-01-31T08:00:00Z", s)
	}
	return t, nil
}
