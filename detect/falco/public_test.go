package falco

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// loadPublic reads the public rules. Without them the test is skipped.
func loadPublic(t testing.TB) *Ruleset {
	t.Helper()
	dir := os.Getenv("PICKET_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	var files []File
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		data, err := os.ReadFile(filepath.Join(dir, "falco", name))
		if os.IsNotExist(err) {
			if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "data") {
				t.Fatalf("needs falco/%s in PICKET_DATA", name)
			}
			t.Skipf("needs falco/%s in PICKET_DATA or ../shared/data", name)
		}
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
