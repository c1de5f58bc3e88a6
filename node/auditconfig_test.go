package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatTakesAuditLogsIsChecked(t *testing.T) {
	whole := IngestAudit{Listen: "127.0.0.1:9443", Certificate: "/c", Key: "/k", Token: "/t"}
	for name, c := range map[string]struct {
		change func(*IngestAudit)
		key    string
	}{
		"whole":               {func(*IngestAudit) {}, ""},
		"nothing":             {func(c *IngestAudit) { *c = IngestAudit{} }, ""},
		"no address":          {func(c *IngestAudit) { c.Listen = "" }, "ingest.audit.listen"},
		"a name":              {func(c *IngestAudit) { c.Listen = "localhost:1" }, "ingest.audit.listen"},
		"no certificate":      {func(c *IngestAudit) { c.Certificate = "" }, "ingest.audit.certificate"},
		"no key":              {func(c *IngestAudit) { c.Key = "" }, "ingest.audit.key"},
		"nobody is asked":     {func(c *IngestAudit) { c.Token = "" }, "ingest.audit.token"},
		"a certificate is":    {func(c *IngestAudit) { c.Token, c.Clients = "", "/ca" }, ""},
		"a token, not a file": {func(c *IngestAudit) { c.Token = "s3cret" }, "ingest.audit.token"},
		"clients, not a file": {func(c *IngestAudit) { c.Clients = "ca.pem" }, "ingest.audit.clients"},
	} {
		one := whole
		c.change(&one)
		if key, msg := one.validate(); key != c.key || (key == "") != (msg == "") {
			t.Errorf("%s: %s %s", name, key, msg)
		}
	}
	dir := t.TempDir()
	for _, f := range []struct{ name, text string }{{"c", "no certificate"}, {"k", ""}, {"t", "short"}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad := IngestAudit{Listen: "127.0.0.1:9443", Certificate: dir + "/c", Key: dir + "/k", Token: dir + "/t"}
	if _, err := bad.read(); err == nil || !strings.Contains(err.Error(), "ingest.audit.token") || strings.Contains(err.Error(), "short") {
		t.Errorf("%v", err)
	}
	bad.Token = ""
	if _, err := bad.read(); err == nil || !strings.Contains(err.Error(), "ingest.audit.certificate") {
		t.Errorf("%v", err)
	}
	bad.Key = dir + "/none"
	if _, err := bad.read(); err == nil || !strings.Contains(err.Error(), "ingest.audit.key") {
		t.Errorf("%v", err)
	}
}
