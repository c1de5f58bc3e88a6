package falco

import (
	"io"
	"testing"

	"picket/bench/public"
)

// loadPublic reads the public rules. Without them the test is skipped.
func loadPublic(t testing.TB) *Ruleset {
	t.Helper()
	var files []File
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		data, err := io.ReadAll(public.Open(t, "falco/"+name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{name, data})
	}
	rs, err := Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}
