package detect

import (
	"testing"

	"picket/threats"
)

func shipped(t testing.TB) []Threat {
	t.Helper()
	list, err := LoadThreats(threats.FS)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestShippedThreatsAreCompleteAndTrue(t *testing.T) {
	list := shipped(t)
	if len(list) < 3 {
		t.Fatalf("%d threats, want at least 3", len(list))
	}
	for _, threat := range list {
		for _, p := range Lint(threat) {
			t.Error(p)
		}
		results := Test(threat)
		if len(results) < 2*(len(threat.Rules)+len(threat.Correlations)) {
			t.Errorf("%s: only %d samples", threat.Name, len(results))
		}
		for _, r := range results {
			if !r.OK {
				t.Errorf("%s:%d: %s: %s (%s)", r.File, r.Line, r.Rule, r.Problem, r.Why)
			}
		}
	}
}
