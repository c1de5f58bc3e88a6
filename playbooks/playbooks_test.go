package playbooks_test

import (
	"io/fs"
	"strings"
	"testing"

	"picket/cacao"
	"picket/playbooks"
)

func TestEachPlaybookIsSoundAndHasARunbook(t *testing.T) {
	files, err := fs.Glob(playbooks.FS, "*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := fs.ReadFile(playbooks.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := cacao.Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if found := p.Validate(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		runbook, err := fs.ReadFile(playbooks.FS, strings.TrimSuffix(name, ".json")+".md")
		if err != nil || !strings.HasPrefix(string(runbook), "# "+p.Name+"\n") {
			t.Errorf("%s has no runbook with its name as the title: %v", name, err)
		}
	}
}
