package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"picket/event"
)

// tell derives risk, severity, title and summary from what the incident holds.
func tell(inc *event.Incident) {
	inc.Severity = severity(inc)
	inc.Risk = risk(inc)
	worst := inc.Findings[0]
	for _, f := range inc.Findings {
		if f.Severity > worst.Severity {
			worst = f
		}
	}
	main, _ := place(inc)
	inc.Title = say(plain(worst.Title), 120)
	if main != "" {
		inc.Title += " " + main
	}
	inc.Summary = summary(inc)
}

// place says where it happened: in the workload, else the container, else on the host; and the
// narrower and wider places that this leaves out.
func place(inc *event.Incident) (main, rest string) {
	w, c := named(inc, event.EntityWorkload), named(inc, event.EntityContainer)
	containers, hosts := number(c, "container", "containers"), number(inc.Hosts, "host", "hosts")
	switch {
	case len(w) > 0 && len(c) > 0:
		return "in " + list(w, 2), containers + " on " + hosts
	case len(w) > 0:
		return "in " + list(w, 2), hosts
	case len(c) > 0:
		return "in " + containers, hosts
	case hosts != "":
		return "on " + hosts, ""
	}
	return "", ""
}

// summary tells in a few sentences where it happened, how much there is, what was done by whom,
// and what it touches.
func summary(inc *event.Incident) string {
	var b strings.Builder
	main, rest := place(inc)
	if main != "" {
		b.WriteString(strings.ToUpper(main[:1]) + main[1:])
		if rest != "" {
			b.WriteString(" (" + rest + ")")
		}
		b.WriteString(", ")
	}
	n := "1 finding"
	show := "shows"
	if inc.FindingN != 1 {
		n, show = fmt.Sprintf("%d findings", inc.FindingN), "show"
	}
	b.WriteString(n)
	if d := inc.LastSeen.Sub(inc.FirstSeen); d >= time.Second {
		b.WriteString(" within " + lasted(d))
	}
	done, by := list(tacticList(inc), 20), list(actors(inc), 4)
	switch {
	case done != "" && by != "":
		fmt.Fprintf(&b, " %s %s by %s", show, done, by)
	case done != "":
		fmt.Fprintf(&b, " %s %s", show, done)
	case by != "":
		fmt.Fprintf(&b, " %s something wrong with %s", show, by)
	}
	b.WriteString(".")
	var touched []string
	if m := named(inc, event.EntityModel); len(m) > 0 {
		touched = append(touched, number(m, "model", "models"))
	}
	if a := named(inc, event.EntityAddress); len(a) > 0 {
		touched = append(touched, number(a, "remote address", "remote addresses"))
	}
	if len(touched) > 0 {
		fmt.Fprintf(&b, " Involved: %s.", strings.Join(touched, "; "))
	}
	if t := techniqueList(inc); len(t) > 0 {
		fmt.Fprintf(&b, " Techniques: %s.", list(t, 6))
	}
	return b.String()
}

// lasted writes a duration as people do: 41s, 12m, 3h20m.
func lasted(d time.Duration) string {
	if d < 10*time.Minute {
		return d.Round(time.Second).String()
	}
	d = d.Round(time.Minute)
	switch h, m := int(d.Hours()), int(d.Minutes())%60; {
	case h == 0:
		return fmt.Sprintf("%dm", m)
	case m == 0:
		return fmt.Sprintf("%dh", h)
	default:
		return fmt.Sprintf("%dh%dm", h, m)
	}
}

// named returns the names of entities of a kind; of addresses those outside first.
func named(inc *event.Incident, k event.EntityKind) []string {
	var out, inside []string
	for _, e := range inc.Entities {
		name := e.Name
		if e.Kind != k {
			continue
		}
		if name == "" {
			name = e.ID
		}
		to := &out
		if k == event.EntityAddress && !telling(e.ID) {
			to = &inside
		}
		*to = append(*to, say(name, 60))
	}
	slices.Sort(out)
	slices.Sort(inside)
	return slices.Compact(append(out, inside...))
}

// actors returns the names of the processes that findings are about, in order of appearance.
func actors(inc *event.Incident) []string {
	names := map[string]string{}
	for _, p := range inc.Processes {
		names[p.UID] = p.Name
	}
	var out []string
	for _, f := range inc.Findings { // sorted by time
		if n := say(names[f.Process], 40); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// tacticList returns the tactics in the order of the kill chain, in words.
func tacticList(inc *event.Incident) []string {
	var out []string
	for _, t := range inc.Techniques { // sorted by stage
		w := strings.Replace(words(t.Tactic), "ai ", "AI ", 1)
		if w = say(w, 40); w != "" && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// techniqueList returns the techniques as "Name (ID)", ATT&CK's before ATLAS's, which often say the same.
func techniqueList(inc *event.Incident) []string {
	var out, names []string
	for _, attack := range []bool{true, false} {
		for _, t := range inc.Techniques {
			if (t.Framework == "attack") != attack || t.ID == "" || slices.Contains(names, t.ID) || t.Name != "" && slices.Contains(names, t.Name) {
				continue
			}
			names = append(names, t.ID, t.Name)
			text := say(t.ID, 20)
			if t.Name != "" {
				text = say(t.Name, 60) + " (" + text + ")"
			}
			out = append(out, text)
		}
	}
	return out
}

// number puts the noun before what it counts: "host a", "hosts a and b". Of none it is "".
func number(s []string, one, many string) string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return one + " " + list(s, 1)
	}
	return many + " " + list(s, 3)
}

// list joins at most n names: "a, b and c", "a, b and 5 more".
func list(s []string, n int) string {
	if len(s) > n && len(s) > 1 {
		s = append(slices.Clone(s[:n]), fmt.Sprintf("%d more", len(s)-n))
	}
	switch len(s) {
	case 0:
		return ""
	case 1:
		return s[0]
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// say makes a name that an attacker may have chosen fit for a sentence: no control, formatting or
// broken characters, at most limit of them.
func say(s string, limit int) string {
	if len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

// proper are the words that keep their capital inside a sentence.
var proper = map[string]bool{
	"Linux": true, "Unix": true, "Python": true, "Perl": true, "Ruby": true, "Java": true, "Docker": true, "Kubernetes": true,
	"Jupyter": true, "Ray": true, "Triton": true, "Ollama": true, "Apache": true, "Nginx": true, "Azure": true, "Google": true, "Windows": true,
}

// plain turns a rule's title, Written Like This, into the beginning of a sentence. Names and
// abbreviations stay; so does a title that is a sentence already.
func plain(title string) string {
	w := strings.Fields(title)
	for _, x := range w {
		if len(x) > 4 && unicode.IsLower([]rune(x)[0]) {
			return title
		}
	}
	for i, x := range w {
		r := []rune(x)
		ordinary := true // a capital, if at all, at the beginning alone
		for _, c := range r[1:] {
			ordinary = ordinary && (unicode.IsLower(c) || c == '-' || c == ',')
		}
		if i > 0 && ordinary && !proper[strings.TrimRight(x, ",")] {
			r[0] = unicode.ToLower(r[0])
			w[i] = string(r)
		}
	}
	return strings.Join(w, " ")
}
