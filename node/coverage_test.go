package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/api"
	"picket/detect"
	"picket/threats"
)

func TestCoverageNamesWhatHostsLackAndWhatIsNotLoaded(t *testing.T) {
	loaded, err := detect.LoadThreats(threats.FS)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(loaded []detect.Threat) api.Covered {
		t.Helper()
		list, err := Coverage(loaded, map[string]map[string]bool{"n1": {"file-open": true}, "n2": {"file-open": false}, "n3": nil})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.ID == "DX01" {
				return c
			}
		}
		t.Fatal("the catalogue has no DX01")
		return api.Covered{}
	}
	c := entry(loaded)
	if d := cmp.Diff(map[string][]string{"file-open": {"n2"}}, c.Missing); d != "" {
		t.Error(d)
	}
	if len(c.Unloaded) > 0 || len(c.Techniques) != len(c.Atlas)+len(c.Attack) {
		t.Errorf("not loaded: %q; techniques %v of %q and %q", c.Unloaded, c.Techniques, c.Atlas, c.Attack)
	}
	if c = entry(nil); !cmp.Equal(c.Unloaded, c.Rules) || c.Missing != nil {
		t.Errorf("without rules: %+v", c)
	}
}
