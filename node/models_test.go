package node_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api/client"
	"picket/event"
)

// loader is a program in Python that unpickles files as they come, as a server that loads adapters does.
const loader = `
import pickle, sys, time
for line in sys.stdin:
    with open(line.strip(), "rb") as f:
        pickle.load(f)
        time.sleep(0.1)
    print("loaded", flush=True)
`

// A pickle that runs a command is written into a model directory and unpickled by a real Python. Who
// wrote it, who loaded it and that it ran are told, in one incident; an honest one beside it is not.
func TestAHostileModelIsFoundWhenItIsWrittenAndLoaded(t *testing.T) {
	p := newProgram(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3: it loads the model")
	}
	p.start()
	mine := filepath.Join(p.dir, "ran")
	bad, good := filepath.Join(p.dir, "models/m/adapter.pt"), filepath.Join(p.dir, "models/m/honest.pt")
	make := exec.Command(python, "-c", `
import os, pickle, sys, collections
class Bad:
    def __reduce__(self): return (os.system, ("touch "+sys.argv[3],))
pickle.dump(Bad(), open(sys.argv[1], "wb"))
pickle.dump(collections.OrderedDict(w=[1.0, 2.0]), open(sys.argv[2], "wb"))
`, bad, good, mine)
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	load := exec.Command(python, "-c", loader)
	load.Stdin = strings.NewReader(good + "\n" + bad + "\n")
	var said bytes.Buffer
	load.Stdout, load.Stderr = &said, &said
	if err := load.Run(); err != nil || strings.Count(said.String(), "loaded") != 2 {
		t.Fatalf("%v: %s", err, said.String())
	}
	for _, rule := range []string{"hostile_model_written", "hostile_model_loaded"} {
		p.until(40*time.Second, "the finding of "+rule, func() bool {
			all, err := p.findings(rule)
			return err == nil && len(all) > 0 && strings.Contains(all[0].Summary, bad)
		})
	}
	for _, rule := range []string{"hostile_model_written", "hostile_model_loaded"} {
		all, err := p.findings(rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if strings.Contains(f.Summary, good) {
				t.Errorf("the honest file: %s", f.Summary)
			}
			if !bytes.Contains(f.Events[0], []byte(`"ai.model.verdict":"malicious"`)) || !bytes.Contains(f.Events[0], []byte(`"ai.model.digest":"`)) {
				t.Errorf("the evidence is %s", f.Events[0])
			}
		}
	}
	p.until(20*time.Second, "one incident of both", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{Limit: 100})
		return err == nil && slices.ContainsFunc(list.Items, func(inc event.Incident) bool {
			has := func(rule string) bool {
				return slices.ContainsFunc(inc.Findings, func(f event.FindingRef) bool { return f.Rule == rule })
			}
			return has("hostile_model_written") && has("hostile_model_loaded")
		})
	})
}
