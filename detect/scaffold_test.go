package detect

import (
	"testing"
	"testing/fstest"
)

const someID = "01234567-89ab-4cde-8f01-23456789abcd"

func TestAScaffoldIsInOrder(t *testing.T) {
	files, err := Scaffold("steal-prompts", someID, "2026-11-25")
	if err != nil {
		t.Fatal(err)
	}
	root := fstest.MapFS{}
	for name, text := range files {
		root["steal-prompts/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	threats, err := LoadThreats(root)
	if err != nil || len(threats) != 1 || len(threats[0].Rules) != 1 {
		t.Fatalf("%v %+v", err, threats)
	}
	for _, p := range Lint(threats[0]) {
		t.Errorf("lint: %s", p)
	}
	results := Test(threats[0])
	if len(results) != 2 {
		t.Errorf("%d samples", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestScaffoldRefusesNames(t *testing.T) {
	for _, name := range []string{"", "Steal", "steal_x", "../x", "a/b", "-a", "a-", "a--b", "1a", "a b", string(make([]byte, 100))} {
		if _, err := Scaffold(name, someID, ""); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
	if _, err := Scaffold("steal", "1234", ""); err == nil {
		t.Error("what is no UUID is taken for one")
	}
}
