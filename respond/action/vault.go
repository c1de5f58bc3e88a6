package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Vault is a service that gives out secrets over HTTP as HashiCorp Vault and OpenBao do: a GET of
// /v1/PATH, whose answer holds fields under data, or under data.data in version 2 of its key-value
// engine. A secret of it is named vault:PATH#FIELD.
type Vault struct {
	URL       string
	Token     string // a reference: @/path or env:NAME
	Namespace string
}

// Check says what is wrong with how a vault is named.
func (v Vault) Check() error {
	if v == (Vault{}) {
		return nil
	}
	if _, err := base(Channel{URL: v.URL}); err != nil {
		return err
	}
	if !isReference(v.Token) || strings.HasPrefix(v.Token, vaultScheme) {
		return errors.New("want a token that is named, not written: @/path of a file, or env:NAME")
	}
	return nil
}

const (
	vaultScheme = "vault:"
	vaultTime   = 15 * time.Second
)

// vaultRef parts a reference into what is asked for and its field.
func vaultRef(ref string) (path, field string, ok bool) {
	rest, ok := strings.CutPrefix(ref, vaultScheme)
	path, field, has := strings.Cut(rest, "#")
	path = strings.Trim(path, "/")
	return path, field, ok && has && path != "" && field != "" && !strings.ContainsAny(path, "?#%\\") && !strings.Contains("/"+path+"/", "/../")
}

// fromVault reads a field of a secret. Nothing of the answer stands in an error.
func (w *wire) fromVault(ref string) (string, error) {
	path, field, ok := vaultRef(ref)
	if !ok || w.vault.URL == "" {
		return "", fmt.Errorf("secret %s: no vault is named to ask for it", ref)
	}
	token, err := w.secret(w.vault.Token)
	if err != nil {
		return "", fmt.Errorf("the vault's token: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), vaultTime)
	defer cancel()
	header := map[string]string{"X-Vault-Token": token}
	if w.vault.Namespace != "" {
		header["X-Vault-Namespace"] = w.vault.Namespace
	}
	u, err := url.Parse(strings.TrimRight(w.vault.URL, "/"))
	if err != nil {
		return "", fmt.Errorf("secret %s: the vault's url makes no sense", ref)
	}
	b, err := w.do(ctx, call{method: http.MethodGet, url: u.JoinPath("v1", path).String(), header: header, hide: []string{token}})
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", ref, err)
	}
	var answer struct{ Data map[string]json.RawMessage }
	if json.Unmarshal(b, &answer) != nil {
		return "", fmt.Errorf("secret %s: the answer is not what a vault says", ref)
	}
	fields := answer.Data
	if inner := map[string]json.RawMessage{}; fields["metadata"] != nil && json.Unmarshal(fields["data"], &inner) == nil {
		fields = inner // version 2
	}
	var s string
	if json.Unmarshal(fields[field], &s) != nil || s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("secret %s: there is no such field that holds a text of one line", ref)
	}
	return s, nil
}
