package event

import (
	"net/netip"
	"testing"
)

func TestHelloOfTLS(t *testing.T) {
	e := sample()
	e.Kind, e.Net = NetTLS, Net{Remote: netip.MustParseAddrPort("203.0.113.9:443"), Protocol: "tcp", Initiated: true}
	if got := e.Describe(); got != "cat[11] began TLS with 203.0.113.9:443" {
		t.Errorf("without a hello: %s", got)
	}
	e.Net.TLS = &TLS{ServerName: "a.test", Version: "1.3", ALPN: "h2;", Inner: true}
	back, err := ParseRecord(e.AppendRecord(nil))
	if err != nil {
		t.Fatal(err)
	}
	if *back.Net.TLS != *e.Net.TLS || back.Describe() != "cat[11] began TLS with a.test at 203.0.113.9:443" {
		t.Errorf("%+v: %s", back.Net.TLS, back.Describe())
	}
	other := *e
	other.Net.TLS = &TLS{ServerName: "b.test", Version: "1.3", ALPN: "h2;", Inner: true}
	if other.ID() == e.ID() {
		t.Error("two names have one id")
	}
}
