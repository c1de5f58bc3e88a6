package event

import "net/netip"

// TLS is the hello with which a process begins an encrypted connection.
type TLS struct {
	ServerName string // of the server that is wanted; "" where the hello says none
	Version    string // the highest that the process offers: 1.3, 1.2
	ALPN       string // protocols that it offers, each with a semicolon behind it
	// Inner is set where the hello carries another one that is encrypted (Encrypted Client Hello), or
	// pretends to, as browsers do. ServerName is the outer one then.
	Inner bool
}

// tlsRows are about encrypted connections.
var tlsRows = []Info{
	hello("net.tls.server_name", Text, "name of the server that the process wants, as it says it itself; tls.client.server_name of ECS",
		func(t *TLS) Value { return text(t.ServerName) }, func(t *TLS, s string) error { t.ServerName = s; return nil }),
	hello("net.tls.version", Text, "highest version that the process offers: 1.3, 1.2",
		func(t *TLS) Value { return text(t.Version) }, func(t *TLS, s string) error { t.Version = s; return nil }),
	hello("net.tls.alpn", Text, "protocols that the process offers, each with a semicolon behind it: h2;http/1.1;",
		func(t *TLS) Value { return text(t.ALPN) }, func(t *TLS, s string) error { t.ALPN = s; return nil }),
	hello("net.tls.inner", Boolean, "true where the true name is encrypted, or pretended to be, and net.tls.server_name is the outer one",
		func(t *TLS) Value { return boolean(t.Inner) },
		func(t *TLS, s string) error {
			return flag(func(_ *Event, b bool) { t.Inner = b })(nil, s)
		}),
}

func hello(name string, t ValueKind, doc string, get func(*TLS) Value, set func(*TLS, string) error) Info {
	return top(name, "", t, doc,
		func(e *Event) Value {
			if e.Net.TLS == nil {
				return Value{}
			}
			return get(e.Net.TLS)
		},
		func(e *Event, s string) error {
			if e.Net.TLS == nil {
				e.Net.TLS = new(TLS)
			}
			return set(e.Net.TLS, s)
		})
}

func (t *TLS) describe(remote netip.AddrPort) string {
	if t == nil || t.ServerName == "" {
		return remote.String()
	}
	return t.ServerName + " at " + remote.String()
}
