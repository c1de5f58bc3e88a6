package sigma_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"picket/bench/public"
	"picket/sigma"
)

// publicFiles returns the living public rule files by name. Without them the test is skipped.
func publicFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, f := range public.Rules(t) {
		files[f.Name] = f.Data
	}
	return files
}

// loadPublic parses all living public rules, in the order of their files.
func loadPublic(t testing.TB) (rules []*sigma.Rule, errs sigma.Errors) {
	t.Helper()
	files := publicFiles(t)
	parsed.Do(func() { parsed.rules, parsed.errs = parseAll(files) })
	return parsed.rules, parsed.errs
}

var parsed struct {
	sync.Once
	rules []*sigma.Rule
	errs  sigma.Errors
}

func parseAll(files map[string][]byte) (rules []*sigma.Rule, errs sigma.Errors) {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		rs, err := sigma.Parse(path, files[path])
		rules = append(rules, rs.Rules...)
		if es, ok := errors.AsType[sigma.Errors](err); ok {
			errs = append(errs, es...)
		}
	}
	return rules, errs
}

func TestPublicRulesLoad(t *testing.T) {
	rules, errs := loadPublic(t)
	for _, e := range errs {
		t.Errorf("%v", e)
	}
	e, err := sigma.Compile(rules, schema)
	var es sigma.Errors
	errors.As(err, &es)
	for _, e := range es {
		if !strings.Contains(e.Msg, "placeholder") {
			t.Errorf("%v", e)
		}
	}
	if len(rules) != 3780 || len(e.Rules()) != 3755 || len(es) != 25 {
		t.Errorf("%d rules parsed, %d compiled, %d need placeholders; want 3780, 3755, 25", len(rules), len(e.Rules()), len(es))
	}
	values := map[string][]string{}
	for missing := es; len(missing) > 0; { // a rule is refused for the first it lacks
		for _, e := range missing {
			name := e.Msg[strings.IndexByte(e.Msg, '%')+1 : strings.LastIndexByte(e.Msg, '%')]
			values[name] = []string{"192.0.2.1"}
		}
		_, err := sigma.Options{Placeholders: values}.Compile(rules, schema)
		if missing = nil; err != nil {
			errors.As(err, &missing)
		}
	}
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	t.Logf("placeholders: %s", strings.Join(names, ", "))
	e, err = sigma.Options{Placeholders: values}.Compile(rules, schema)
	if err != nil || len(e.Rules()) != 3780 {
		t.Errorf("with placeholders %d rules compile: %v", len(e.Rules()), err)
	}
}

func TestPublicRulesLint(t *testing.T) {
	rules, _ := loadPublic(t)
	for _, p := range sigma.Lint(rules, nil) {
		t.Error(p)
	}
}
