package detect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"picket/event"
	"picket/sigma"
)

// Threat is one way of attack that is covered: a folder with a README.md that says what the
// attacker does, Sigma rules, sample events for each rule, and an attack that the lab plays.
type Threat struct {
	Name   string // the folder's
	Title  string // first heading of the README
	Readme string
	Gaps   string // the README's section "Known gaps": what stays dark
	sigma.Collection
	Samples []Sample
	Attacks []*Attack // of its attack.yml, none where it has none
	Source  string    // where the folder was read from

	Brought  bool       // rules as a user brings them: no README, samples or attack
	Inactive []Inactive // of such: rules that no event here can fire
	Warnings []string   // of such: rules that read a field in vain

	Placeholders map[string][]string // what the rules are compiled with
}

// maxFile bounds the size of a file in a threat's folder: rules are written by hand.
const maxFile = 1 << 20

// folder is a file system that knows its own name, for error messages.
type folder struct {
	fs.FS
	name string
	only string // the one threat to load, "" for all

	plain bool // no folders but rules at any depth

	values map[string][]string // of placeholders
}

// Dir returns the threats below a directory, or, where the directory is itself a threat's
// folder (it has a README.md), that one threat.
func Dir(dir string) fs.FS {
	if st, err := os.Stat(filepath.Join(dir, "README.md")); err == nil && !st.IsDir() {
		if abs, err := filepath.Abs(dir); err == nil {
			return folder{os.DirFS(filepath.Dir(abs)), filepath.Dir(filepath.Clean(dir)), filepath.Base(abs), false, nil}
		}
	}
	return folder{FS: os.DirFS(dir), name: dir}
}

// LoadThreats reads the threat folders of each root. A folder of a later root replaces the
// folder of the same name of an earlier one, unless it has faults: then the earlier one stays. The
// rules of a Collection come last: where one has the id of another rule, it is the one refused.
//
// What is in order is returned even if other parts are not: one broken rule costs that rule. The
// error is then a sigma.Errors, sorted by file and line. A caller that reloads keeps its running
// set as long as there is an error.
func LoadThreats(roots ...fs.FS) ([]Threat, error) {
	var faults sigma.Errors
	byName := map[string]Threat{}
	for _, root := range roots {
		l := loader{root: root}
		if f, ok := root.(folder); ok {
			l.root, l.prefix, l.only, l.plain, l.values = f.FS, f.name, f.only, f.plain, f.values
		}
		if l.plain {
			t := l.collection()
			byName["\x00"+l.prefix] = t // no folder has such a name
			faults = append(faults, l.faults...)
			continue
		}
		entries, err := fs.ReadDir(l.root, ".")
		if errors.Is(err, fs.ErrNotExist) {
			continue // no threats of one's own yet
		}
		if err != nil {
			faults = append(faults, fault(l.at("."), 1, 1, "cannot list threats: "+err.Error(), ""))
			continue
		}
		for _, d := range entries {
			name := d.Name()
			if !d.IsDir() || strings.HasPrefix(name, ".") || l.only != "" && l.only != name {
				continue
			}
			before := len(l.faults)
			t := l.threat(name)
			_, earlier := byName[name]
			if earlier && len(l.faults) > before {
				l.fault(name, 0, "has faults, so the threat of this name that comes with the program stays in use", "")
				continue
			}
			byName[name] = t
		}
		faults = append(faults, l.faults...)
	}
	threats := make([]Threat, 0, len(byName))
	for _, t := range byName {
		threats = append(threats, t)
	}
	slices.SortFunc(threats, func(a, b Threat) int {
		return cmp.Or(compareBool(a.Brought, b.Brought), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Source, b.Source))
	})
	faults = append(faults, crossCheck(threats)...)
	if len(faults) == 0 {
		return threats, nil
	}
	slices.SortStableFunc(faults, func(a, b *sigma.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return threats, faults
}

// loader reads the threats of one root and gathers what is wrong with them.
type loader struct {
	root         fs.FS
	prefix, only string
	plain        bool
	values       map[string][]string // of placeholders
	faults       sigma.Errors
}

// at returns a file's name as messages show it.
func (l *loader) at(file string) string { return path.Join(filepath.ToSlash(l.prefix), file) }

func (l *loader) fault(file string, line int, msg, hint string) {
	l.faults = append(l.faults, fault(l.at(file), line, 1, msg, hint))
}

// fault is a fault at a place; a line or column that is not known is the first.
func fault(file string, line, col int, msg, hint string) *sigma.Error {
	return &sigma.Error{File: file, Line: max(line, 1), Col: max(col, 1), Msg: msg, Hint: hint}
}

func (l *loader) threat(name string) Threat {
	t := Threat{Name: name, Source: l.at(name), Placeholders: l.values}
	entries, err := fs.ReadDir(l.root, name)
	if err != nil {
		l.fault(name, 0, "cannot read the threat's folder: "+err.Error(), "")
		return t
	}
	for _, d := range entries {
		file := path.Join(name, d.Name())
		if d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			continue
		}
		switch ext := path.Ext(file); {
		case d.Name() == "README.md":
			if src, ok := l.read(file); ok {
				t.describe(string(src))
			}
		case d.Name() == "attack.yml":
			if src, ok := l.read(file); ok {
				t.Attacks = l.attacks(file, src)
			}
		case ext == ".yml" || ext == ".yaml":
			if src, ok := l.read(file); ok {
				l.rules(&t, file, src)
			}
		case ext == ".events":
			if src, ok := l.read(file); ok {
				l.samples(&t, file, src)
			}
		}
	}
	if t.Readme == "" {
		l.fault(path.Join(name, "README.md"), 0, "is missing or empty", "say what the attacker does, how it shows, and under \"Known gaps\" what stays dark")
	}
	return t
}

func (l *loader) read(file string) ([]byte, bool) {
	st, err := fs.Stat(l.root, file)
	if err == nil && st.Size() > maxFile {
		l.fault(file, 0, fmt.Sprintf("is larger than %d bytes", maxFile), "split it")
		return nil, false
	}
	var src []byte
	if err == nil {
		src, err = fs.ReadFile(l.root, file)
	}
	if err != nil {
		l.fault(file, 0, "cannot be read: "+err.Error(), "")
		return nil, false
	}
	return src, true
}

// describe takes the title and the known gaps out of the README.
func (t *Threat) describe(readme string) {
	t.Readme = readme
	inGaps := false
	var gaps strings.Builder
	for line := range strings.Lines(readme) {
		heading := strings.HasPrefix(line, "#")
		text := strings.TrimSpace(strings.TrimLeft(line, "#"))
		if heading && t.Title == "" {
			t.Title = text
		}
		if heading {
			inGaps = strings.EqualFold(text, "known gaps")
			continue
		}
		if inGaps {
			gaps.WriteString(line)
		}
	}
	t.Gaps = strings.TrimSpace(gaps.String())
}

// rules reads the documents of one rule file.
func (l *loader) rules(t *Threat, file string, src []byte) {
	parsed, err := sigma.Parse(l.at(file), src)
	if err != nil {
		l.faults = append(l.faults, asFaults(err, l.at(file), 1)...)
	}
	for _, r := range parsed.Rules {
		if l.plain && !l.admit(t, r) {
			continue
		}
		if !l.plain {
			r.Name = ruleName(&r.Meta)
		}
		if _, err := (sigma.Options{Placeholders: l.values}).Compile([]*sigma.Rule{r}, Schema()); err != nil {
			if why, ok := lacksValues(err); ok && l.plain {
				l.rest(t, r, why)
				continue
			}
			l.faults = append(l.faults, sayWhere(asFaults(err, r.SourceFile, r.Line))...)
			continue
		}
		if l.fits(&r.Meta) {
			t.Rules = append(t.Rules, r)
		}
	}
	for _, c := range parsed.Correlations {
		c.Name = ruleName(&c.Meta)
		if l.correlation(c) && l.fits(&c.Meta) {
			t.Correlations = append(t.Correlations, c)
		}
	}
	t.Filters = append(t.Filters, parsed.Filters...)
}

// fits reports whether our own field of a rule is in order.
func (l *loader) fits(m *sigma.Meta) bool {
	if _, _, err := summaryOf(m.Custom); err != nil {
		l.faults = append(l.faults, fault(m.SourceFile, err.line, err.col, err.msg, err.hint))
		return false
	}
	return true
}

// correlation reports whether what a finding needs of c is there: an id, a title, a level and fields
// that events have.
func (l *loader) correlation(c *sigma.Correlation) bool {
	before := len(l.faults)
	add := func(part, msg, hint string) {
		l.faults = append(l.faults, fault(c.SourceFile, c.LineOf(part), 1, msg, hint))
	}
	if c.ID == "" {
		add("", "a correlation needs an id", "add id: with a fresh UUID")
	}
	if c.Title == "" {
		add("", "a correlation needs a title", "")
	}
	if event.ParseSeverity(c.Level).String() != c.Level {
		add("level", fmt.Sprintf("level %q is not known", c.Level), "informational, low, medium, high or critical")
	}
	check := func(part string, names ...string) {
		for _, name := range names {
			if _, ok := event.Lookup(name); !ok && c.Aliases[name] == nil {
				add(part, fmt.Sprintf("there is no field %q", name), "such as container.id or process.user")
			}
		}
	}
	check("correlation.group-by", c.GroupBy...)
	check("correlation.condition.field", c.Condition.Fields...)
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		check("correlation.aliases", slices.Sorted(maps.Values(c.Aliases[name]))...)
	}
	return len(l.faults) == before
}

func asFaults(err error, file string, line int) sigma.Errors {
	if list, ok := errors.AsType[sigma.Errors](err); ok {
		return list
	}
	if one, ok := errors.AsType[*sigma.Error](err); ok {
		return sigma.Errors{one}
	}
	return sigma.Errors{fault(file, line, 1, err.Error(), "")}
}

// crossCheck drops what only shows once all threats are read: two rules with one id or name, and
// correlations and filters that name a rule which is not there.
func crossCheck(threats []Threat) sigma.Errors {
	var faults sigma.Errors
	seen := map[string]string{} // id and name to where it was first
	taken := func(t *Threat, m *sigma.Meta) bool {
		name := ruleName(m)
		if t.Brought {
			name = m.Name // files of two collections may well be called the same
		}
		for _, n := range []string{m.ID, name} {
			if first, ok := seen[n]; ok && n != "" {
				faults = append(faults, fault(m.SourceFile, m.LineOf("id"), 1, fmt.Sprintf("%q is taken by %s", n, first), "give each rule its own id and name"))
				return true
			}
		}
		seen[m.ID] = fmt.Sprintf("%s:%d", m.SourceFile, m.LineOf("id"))
		seen[name] = seen[m.ID]
		return false
	}
	var all sigma.Collection
	for i := range threats {
		t := &threats[i]
		t.Rules = slices.DeleteFunc(t.Rules, func(r *sigma.Rule) bool { return taken(t, &r.Meta) })
		t.Correlations = slices.DeleteFunc(t.Correlations, func(c *sigma.Correlation) bool { return taken(t, &c.Meta) })
		all.Add(&t.Collection)
	}
	follow, err := sigma.NewCorrelator(all.Rules, all.Correlations, sigma.CorrelatorOptions[struct{}]{Schema: Schema()})
	if err != nil {
		faults = append(faults, asFaults(err, "", 1)...)
	}
	good, values := follow.Correlations(), valuesFor(threats...)
	for i := range threats {
		t := &threats[i]
		t.Correlations = slices.DeleteFunc(t.Correlations, func(c *sigma.Correlation) bool { return !slices.Contains(good, c) })
		t.Filters = slices.DeleteFunc(t.Filters, func(f *sigma.Filter) bool {
			_, err := sigma.Options{Filters: []*sigma.Filter{f}, Placeholders: values}.Compile(all.Rules, Schema())
			if err != nil {
				faults = append(faults, sayWhere(asFaults(err, f.SourceFile, f.Line))...)
			}
			return err != nil
		})
	}
	return faults
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// ruleName returns what a rule is called: its name, or the name of its file.
func ruleName(m *sigma.Meta) string { return cmp.Or(m.Name, fileName(m.SourceFile)) }

// fileName returns the last part of a path, without its ending.
func fileName(file string) string {
	base := path.Base(file)
	return strings.TrimSuffix(base, path.Ext(base))
}
