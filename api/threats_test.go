package api_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/api"
)

// A viewer reads the catalogue, and of each entry what hosts lack for it.
func TestThreatsSayWhatIsSeenAndWhatHostsLack(t *testing.T) {
	s, _, open := setup(t)
	b := open()
	b.signIn(link(t, s, "vic"))
	code, text := b.do("GET", "/api/v1/threats", "")
	var list api.List[api.Covered]
	if err := json.Unmarshal([]byte(text), &list); code != 200 || err != nil {
		t.Fatalf("%d %v: %.300s", code, err, text)
	}
	seen := map[string]int{}
	for _, c := range list.Items {
		seen[string(c.Coverage)]++
		if c.ID == "" || c.Group == "" || c.Coverage == "dark" && c.Gap == "" {
			t.Errorf("%s says too little: %+v", c.ID, c)
		}
	}
	if len(list.Items) < 100 || seen["seen"] == 0 || seen["partly"] == 0 || seen["dark"] == 0 {
		t.Errorf("%d entries: %v", len(list.Items), seen)
	}
	if d := cmp.Diff(map[string][]string{"file-open": {"gpu-02"}}, list.Items[0].Missing); d != "" {
		t.Error(d)
	}
}
