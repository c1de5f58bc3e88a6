package detect

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplainTellsWhatBecomesOfARule(t *testing.T) {
	threats, err := LoadThreats(Collection(collectionOf(t, map[string]string{
		"cron.yml": `title: Cron
id: 31111111-1111-4111-8111-111111111111
logsource: {product: linux, category: file_event}
detection:
    sel: {TargetFilename|startswith: [/etc/cron.d/, /var/spool/cron/]}
    other: {TargetFilename|startswith: /x/, Hashes: x}
    condition: 1 of them
level: high
`,
		"reg.yml": plainRule("linux, category: process_creation", "windows, category: registry_event"),
	})))
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Threats: append(threats, shipped(t)...)})
	got := e.Explain("Cron")
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	x := got[0]
	if diff := cmp.Diff([]string{"/etc/cron.d/", "/var/spool/cron/", "/x/"}, x.Paths); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"file.create", "file.write", "file.rename", "file.link", "file.truncate"}, x.Events); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Hashes"}, x.Missing); diff != "" {
		t.Error(diff)
	}
	if x.Plan == nil || len(x.Plan.Witnesses) != 3 {
		t.Errorf("%+v", x.Plan)
	}

	got = e.Explain("11111111-1111-4111-8111-111111111111")
	if len(got) != 1 || got[0].Inactive != "windows/registry_event: no sensor here" || got[0].Plan != nil {
		t.Errorf("%+v", got)
	}

	got = e.Explain("weights_stolen")
	if len(got) != 1 || len(got[0].Steps) != 2 {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff([]string{"file.read", "net.send"}, got[0].Events); diff != "" {
		t.Error(diff)
	}
	if got := e.Explain("nothing"); got != nil {
		t.Errorf("%+v", got)
	}
}
