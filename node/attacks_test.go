package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/lab"
	"picket/node"
	"picket/threats"
)

// A whole Picket finds every attack that the lab plays, by the rules that the attack names. That takes a quarter of an hour:
// it is done where PICKET_REQUIRE names attacks.
func TestAttacksAreFound(t *testing.T) {
	needRoot(t)
	if !slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "attacks") {
		t.Skip("takes a quarter of an hour: PICKET_REQUIRE=attacks plays them, tools/e2e.sh some of them")
	}
	for _, tool := range []string{"runc", "busybox", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatal(err)
		}
	}
	p := newProgram(t)
	b, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(b)+fmt.Sprintf("sensor: {python: true}\ningest: {otlp: %q}\npolicy: {files: [%s]}\n", freePort(t), filepath.Join(p.dir, "policies")))
	if p.cfg, err = node.Load(p.configFile()); err == nil {
		err = p.cfg.Complete()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.start()
	o := lab.Options{Binary: p.bin, Picket: lab.Ask(p.client), Policies: node.PoliciesOf(p.cfg), Profiles: node.ProfilesOf(p.cfg), Patience: time.Minute}
	if o.Traces.Address, o.Traces.Token, err = node.TracesAt(p.cfg); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../threats/*/attack.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no attacks: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := lab.Parse(file, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			t.Run(one.ID, func(t *testing.T) {
				o := o
				if o.Scenario, err = lab.Load(threats.FS, one.ID); err != nil {
					t.Fatal(err)
				}
				report, err := lab.Attack(t.Context(), o)
				if err == nil {
					err = report.Err()
				}
				for _, f := range report.Findings {
					t.Logf("%s after %.1f s: %s", f.Rule, f.Seconds, f.Summary)
				}
				if err != nil {
					t.Errorf("%v\nbeside: %s", err, strings.Join(report.Others, ", "))
				}
			})
		}
	}
}
