package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeylessTrustIsWhole: an identity without who vouched for it, or without a root that can be read, is a mistake.
func TestKeylessTrustIsWhole(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, []byte(`{"tlogs": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for why, k := range map[string]Keyless{
		"must all be there":     {Identity: "a", Root: root},
		"no such file":          {Identity: "a", Issuer: "b", Root: root + "x"},
		"one of each is needed": {Identity: "a", Issuer: "b", Root: root},
	} {
		_, err := readTrust(Models{Keyless: []Keyless{k}})
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "models.keyless: entry 1") {
			t.Errorf("got %v, want %s", err, why)
		}
	}
}
