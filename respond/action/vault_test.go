package action

import (
	"path/filepath"
	"strings"
	"testing"
)

// A secret is asked for at a vault, by the contract of HashiCorp's API for both versions of its
// key-value engine: https://developer.hashicorp.com/vault/api-docs/secret/kv
func TestSecretsOfAVault(t *testing.T) {
	vault := listen(t, func(_ int, s said) (int, string) {
		switch {
		case s.Header.Get("X-Vault-Token") != "hunter2" || s.Header.Get("X-Vault-Namespace") != "soc":
			return 403, `{"errors": ["permission denied"]}`
		case s.Path == "/v1/secret/data/picket":
			return 200, `{"data": {"data": {"key": "from v2", "number": 1}, "metadata": {"version": 3}}}`
		case s.Path == "/v1/kv/picket":
			return 200, `{"data": {"key": "from v1"}}`
		}
		return 404, `{"errors": []}`
	})
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, "hunter2\n")
	w := newWire(ReachOptions{Loopback: true, Vault: Vault{URL: vault.URL, Token: "@" + token, Namespace: "soc"}})
	for ref, want := range map[string]string{"vault:secret/data/picket#key": "from v2", "vault:/kv/picket#key": "from v1"} {
		if got, err := w.secret(ref); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", ref, got, err, want)
		}
	}
	for ref, want := range map[string]string{
		"vault:kv/picket#other": "no such field", "vault:secret/data/picket#number": "no such field", "vault:kv/none#key": "404", "vault:kv/../sys#key": "no vault",
	} {
		_, err := w.secret(ref)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
	writeFile(t, token, "wrong-token\n")
	if _, err := w.secret("vault:kv/picket#key"); err == nil || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "wrong-token") {
		t.Errorf("with a token that counts no more: %v", err)
	}
	for _, v := range []Vault{{URL: "http://v"}, {URL: "http://v", Token: "hunter2"}, {URL: "v", Token: "@/t"}, {URL: "http://v", Token: "vault:a#b"}} {
		if v.Check() == nil {
			t.Errorf("%+v was taken", v)
		}
	}
}
