package main

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"picket/artifact"
)

func (c *scanCmd) print(a *app) error {
	switch c.Output {
	case "json":
		if c.reports == nil {
			c.reports = []artifact.Report{}
		}
		return a.printJSON(c.reports)
	case "sarif":
		return a.printJSON(sarif(c.reports))
	}
	rows, counts := [][]string{}, map[artifact.Verdict]int{}
	for _, r := range c.reports {
		counts[r.Verdict]++
		if r.Verdict != artifact.Unsupported || c.named(r.Path) {
			rows = append(rows, []string{r.Verdict.String(), strings.Join(r.Formats, ","), r.Path})
		}
	}
	a.table([]string{"VERDICT", "FORMAT", "FILE"}, rows)
	for _, r := range c.reports {
		for _, i := range r.Issues {
			if i.Verdict == artifact.Clean || i.Verdict == artifact.Unsupported && !c.named(r.Path) {
				continue
			}
			where := i.Part
			if i.Offset >= 0 {
				where = fmt.Sprintf("%s at %d", where, i.Offset)
			}
			a.printf("\n%s: %s\n  %s  %s\n", printable(r.Path, false), i.Verdict, printable(where, false), printable(i.Text, false))
		}
		if r.Cut > 0 {
			a.printf("\n%s: %d more are not shown\n", printable(r.Path, false), r.Cut)
		}
	}
	for _, s := range c.skipped {
		a.printf("\nskipped %s\n", printable(s, false))
	}
	var said []string
	for _, v := range slices.Backward(slices.Sorted(maps.Keys(counts))) {
		said = append(said, fmt.Sprintf("%d %s", counts[v], v))
	}
	a.printf("\n%d files: %s\n", len(c.reports), strings.Join(said, ", "))
	return nil
}

// sarif puts reports into SARIF 2.1.0, with what tools for code review read of it.
func sarif(reports []artifact.Report) any {
	type obj = map[string]any
	levels := map[artifact.Verdict]string{
		artifact.Malicious: "error", artifact.Suspicious: "warning", artifact.Failed: "warning", artifact.Unknown: "note", artifact.Unsupported: "none", artifact.Clean: "none",
	}
	rules, results := map[string]bool{}, []obj{}
	for _, r := range reports {
		for _, i := range r.Issues {
			rules[i.Rule] = true
			physical := obj{"artifactLocation": obj{"uri": fileURI(r.Path)}}
			if i.Offset >= 0 && !strings.Contains(i.Part, "!") { // an offset in a member is none in the file
				physical["region"] = obj{"byteOffset": i.Offset, "byteLength": 1}
			}
			results = append(results, obj{
				"ruleId": i.Rule, "level": levels[i.Verdict], "message": obj{"text": i.Text},
				"locations":  []obj{{"physicalLocation": physical, "logicalLocations": []obj{{"fullyQualifiedName": i.Part}}}},
				"properties": obj{"verdict": i.Verdict, "name": i.Name, "offset": i.Offset, "reader": i.Reader},
			})
		}
	}
	list := []obj{}
	for _, r := range slices.Sorted(maps.Keys(rules)) {
		list = append(list, obj{"id": r})
	}
	return obj{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []obj{{
			"tool":    obj{"driver": obj{"name": "picket", "version": version, "rules": list}},
			"results": results,
		}},
	}
}

// fileURI writes a path as SARIF wants it: relative ones as they are, with what a URI gives meaning escaped.
func fileURI(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}
