package detect

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/event"
	"picket/sigma"
)

// Collection returns the Sigma rules below a directory as a root for LoadThreats: every .yml and
// .yaml file at any depth, as a checkout of a public rule set has them. They become one Threat,
// called after the directory, without README, samples or attack.
//
// A rule that no event of this host can fire is not loaded but listed as Inactive with its reason.
// YAML that is no rule (a workflow, a schema) is passed over.
func Collection(dir string) fs.FS { return folder{FS: os.DirFS(dir), name: dir, plain: true} }

// Inactive is a rule that was read and is in order, but that no event of this host can fire. It
// costs nothing when events are matched.
type Inactive struct {
	Rule   event.Rule     `json:"rule"`
	Level  event.Severity `json:"level"`
	File   string         `json:"file"`
	Line   int            `json:"line"`
	About  string         `json:"about"`  // the log source: windows/registry_event
	Reason string         `json:"reason"` // why: "no sensor here"
}

// Bounds on a collection, many times what the largest public one has.
const (
	maxRules = 50_000
	maxWalk  = 500_000 // files and directories
)

// collection reads all rules below the root.
func (l *loader) collection() Threat {
	name := filepath.Base(filepath.Clean(l.prefix))
	t := Threat{Name: name, Title: "Rules of " + l.prefix, Source: l.prefix, Brought: true, Placeholders: l.values}
	seen := 0
	err := fs.WalkDir(l.root, ".", func(file string, d fs.DirEntry, err error) error {
		if seen++; seen > maxWalk || len(t.Rules)+len(t.Inactive) > maxRules {
			l.fault(".", 0, "holds more than is read", fmt.Sprintf("at most %d rules in %d files", maxRules, maxWalk))
			return fs.SkipAll
		}
		switch hidden := file != "." && strings.HasPrefix(path.Base(file), "."); {
		case err != nil && file == ".":
			return err
		case err != nil:
			l.fault(file, 0, "cannot be read: "+err.Error(), "")
			return nil
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden || path.Ext(file) != ".yml" && path.Ext(file) != ".yaml":
			return nil
		}
		l.collect(&t, file)
		return nil
	})
	if err != nil {
		l.fault(".", 0, "cannot be read: "+err.Error(), "name a directory of Sigma rules")
	}
	return t
}

// collect reads one file of a collection.
func (l *loader) collect(t *Threat, file string) {
	src, ok := l.read(file)
	if !ok {
		return
	}
	before := len(l.faults)
	l.rules(t, file, src)
	if len(l.faults) == before {
		return
	}
	rules, left := holdsRules(src)
	switch {
	case !rules:
		l.faults = l.faults[:before]
	case left != nil: // written for something that no longer is, and nobody mends it
		l.faults = l.faults[:before]
		l.rest(t, left.rule(l.at(file)), givenUp+left.status)
	}
}

// draft is what is told of a rule that is not in order.
type draft struct{ id, title, level, status string }

func (d draft) rule(file string) *sigma.Rule {
	return &sigma.Rule{Meta: sigma.Meta{ID: d.id, Title: d.title, Level: d.level, SourceFile: file, Line: 1}}
}

// holdsRules reports whether YAML looks like a rule, be it a wrong one, and returns the rule where
// it is alone and its author gave it up. What is not YAML is taken for a rule: its author must hear
// of it.
func holdsRules(src []byte) (rules bool, left *draft) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	global := false
	for n := 0; ; n++ {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return rules || !errors.Is(err, io.EOF), left
		}
		if len(doc.Content) == 0 {
			continue
		}
		top := doc.Content[0]
		for _, key := range []string{"detection", "logsource", "correlation", "filter"} {
			rules = rules || child(top, key) != nil
		}
		switch status := text(child(top, "status")); {
		case n > 0 && (!global || status != ""):
			left = nil
		case n == 0 && isGivenUp(status):
			global = text(child(top, "action")) == "global" // and so those that follow
			left = &draft{text(child(top, "id")), text(child(top, "title")), text(child(top, "level")), status}
		}
	}
}

// admit reports whether a rule of a collection is to be loaded. One that cannot fire is noted with
// its reason, one that reads fields in vain with a warning.
func (l *loader) admit(t *Threat, r *sigma.Rule) bool {
	if why := inactive(r); why != "" {
		l.rest(t, r, why)
		return false
	}
	for _, name := range missing(r) {
		t.Warnings = append(t.Warnings, fmt.Sprintf("%s:%d: reads %s, which no event here carries", r.SourceFile, r.Line, name))
	}
	return true
}

// rest notes that a rule is not loaded.
func (l *loader) rest(t *Threat, r *sigma.Rule, why string) {
	info := event.Rule{ID: cmp.Or(r.ID, ruleName(&r.Meta)), Name: ruleName(&r.Meta), Title: r.Title, Threat: t.Name, Author: r.Author, Tags: r.Tags}
	t.Inactive = append(t.Inactive, Inactive{
		Rule: info, Level: event.ParseSeverity(r.Level), File: r.SourceFile, Line: r.Line, About: logsourceText(r.Logsource), Reason: why,
	})
}

// noSensor is the reason of rules about events that no sensor here makes.
const noSensor = "no sensor here"

// givenUp is the reason of rules that their authors took out of use.
const givenUp = "given up by its author: status "

func isGivenUp(status string) bool { return status == "deprecated" || status == "unsupported" }

// inactive says why no event of this host can fire r, "" where one can.
func inactive(r *sigma.Rule) string {
	if isGivenUp(r.Status) {
		return givenUp + r.Status
	}
	kinds := KindsOf(r.Logsource)
	if len(kinds) == 0 {
		return noSensor
	}
	if !r.CanFire(func(field string) bool { return !carried(kinds, field) }) {
		if fields := missing(r); len(fields) > 0 {
			return "reads " + strings.Join(fields, ", ") + ", which no event here carries"
		}
		return "its condition can never hold"
	}
	return ""
}

// missing returns the fields that r reads and that no event it is about carries.
func missing(r *sigma.Rule) []string {
	kinds := KindsOf(r.Logsource)
	return slices.DeleteFunc(r.Fields(), func(field string) bool { return carried(kinds, field) })
}

// KindsOf returns the kinds of event that a rule about want applies to.
func KindsOf(want sigma.Logsource) []event.Kind {
	var out []event.Kind
	for k := range event.Kinds {
		if covered(want, k) {
			out = append(out, k)
		}
	}
	return out
}

// carried reports whether events of any of the kinds can have a field.
func carried(kinds []event.Kind, field string) bool {
	f, ok := event.Lookup(field)
	return ok && slices.ContainsFunc(kinds, func(k event.Kind) bool { return carries(k, f) })
}

// carries reports whether events of kind k can have a field.
func carries(k event.Kind, f event.Info) bool {
	switch of, _, _ := strings.Cut(f.Name, "."); {
	case callKinds[of] != nil || of == "call":
		return callCarries(k, of)
	case f.Sigma == "SourceImage":
		return k == event.ProcessTrace
	case artifactField(f.Name):
		return k == event.ModelSeen || k == event.PolicyViolation
	case of == "file" || strings.HasPrefix(f.Name, "ai.model."):
		return k == event.ModelSeen || k == event.ProfileDeviation || k.Class() == "file" || (k.Class() == "device" || k == event.PolicyViolation) && of == "file"
	case strings.HasPrefix(f.Name, "net.dns."):
		return k == event.NetDNS
	case strings.HasPrefix(f.Name, "net.tls."):
		return k == event.NetTLS
	case f.Name == "net.hostname":
		return k == event.NetConnect || k == event.NetTLS || k == event.ProfileDeviation
	case of == "policy":
		return k == event.PolicyViolation
	case of == "profile":
		return k == event.ProfileDeviation
	case of == "action":
		return k == event.ActionDone
	case strings.HasPrefix(f.Name, "gpu.error."):
		return k == event.GPUFault
	case of == "gpu":
		of := f.Name == "gpu.uuid" || f.Name == "gpu.name" || f.Name == "gpu.pci"
		return k == event.GPUSample || of && k == event.ProfileDeviation || k == event.GPUFault && (of || f.Name == "gpu.source")
	case of == "drift":
		return k == event.ModelDrift
	case f.Name == "gen_ai.request.model" && k == event.ModelDrift:
		return true
	case f.Name == "principal.id" || f.Name == "principal.kind" || f.Name == "gen_ai.request.model" || f.Name == "http.client.ip":
		return k == event.ServiceRequest || k == event.PrincipalHour
	case of == "principal":
		return k == event.PrincipalHour
	case of == "http" || of == "gen_ai" || asked(f.Name):
		return k == event.ServiceRequest
	case of == "service":
		return k == event.ServiceMetrics
	case f.Name == "ai.engine":
		return k == event.ServiceRequest || k == event.ServiceMetrics
	case of == "kubernetes" || f.Sigma == "apiGroup":
		return k == event.KubernetesAudit
	case of == "cuda":
		return k == event.CUDACall
	case of == "python":
		return k == event.PythonAudit
	case of == "net" || of == "sigma": // both ends by Sigma's names
		return k.Class() == "net" || k == event.PolicyViolation || k == event.ProfileDeviation
	case of == "message":
		return k == event.SensorHealth
	}
	return true
}

// asked reports whether a field is one of requests to AI services.
func asked(name string) bool {
	for _, noun := range [...]string{"ai.request.", "ai.prompt.", "ai.tool.", "ai.content.", "ai.answer."} {
		if strings.HasPrefix(name, noun) {
			return true
		}
	}
	return false
}

// artifactField reports whether a field is one that only the look at a model file fills.
func artifactField(name string) bool {
	switch name {
	case "ai.model.use", "ai.model.digest", "ai.model.verdict", "ai.model.issue", "ai.model.signature", "ai.model.signer", "ai.model.refusal":
		return true
	}
	return false
}

// logsourceText writes a log source as its parts: windows/registry_event.
func logsourceText(l sigma.Logsource) string {
	text := strings.Join(slices.DeleteFunc([]string{l.Product, l.Category, l.Service}, func(s string) bool { return s == "" }), "/")
	return cmp.Or(text, "any")
}

// lacksValues reports whether all that is wrong with a rule are placeholders without values.
func lacksValues(err error) (string, bool) {
	list, ok := errors.AsType[sigma.Errors](err)
	if !ok {
		return "", false
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Msg, "placeholder ") {
			return "", false
		}
	}
	return list[0].Msg, true
}
