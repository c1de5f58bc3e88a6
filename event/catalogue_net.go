package event

// nameRows are about the names of hosts, and what comes from them.
var nameRows = []Info{
	top("net.bytes_in", "", Integer, "bytes received so far by the process from the other end",
		func(e *Event) Value { return count(e.Net.BytesIn) }, number(func(e *Event, n int64) { e.Net.BytesIn = uint64(n) })),
	top("net.hostname", "DestinationHostname", Text, "the name that the other end's address was an answer to, where it was looked up on this host",
		func(e *Event) Value { return text(e.Net.Hostname) }, func(e *Event, s string) error { e.Net.Hostname = s; return nil }),
	dns("net.dns.name", "QueryName", Text, "name that was looked up",
		func(d *DNS) Value { return text(d.Name) }, func(d *DNS, s string) error { d.Name = s; return nil }),
	dns("net.dns.type", "record_type", Text, "type of the record that was asked for: A, AAAA, TXT…",
		func(d *DNS) Value { return text(d.Type) }, func(d *DNS, s string) error { d.Type = s; return nil }),
	dns("net.dns.answer", "", Boolean, "true where this is an answer, false where it is a question",
		func(d *DNS) Value { return boolean(d.Answer) }, flagDNS(func(d *DNS, b bool) { d.Answer = b })),
	dns("net.dns.status", "QueryStatus", Integer, "an answer's code: 0 no error, 3 no such name",
		func(d *DNS) Value {
			if !d.Answer {
				return Value{}
			}
			return integer(int64(d.Status))
		}, numberDNS(func(d *DNS, n int64) { d.Status = uint8(n) })),
	dns("net.dns.results", "QueryResults", Text, "an answer's addresses and names, each with a semicolon behind it",
		func(d *DNS) Value { return text(d.Results) }, func(d *DNS, s string) error { d.Results = s; return nil }),
}

func dns(name, sigma string, t ValueKind, doc string, get func(*DNS) Value, set func(*DNS, string) error) Info {
	return top(name, sigma, t, doc,
		func(e *Event) Value {
			if e.Net.DNS == nil {
				return Value{}
			}
			return get(e.Net.DNS)
		},
		func(e *Event, s string) error { return set(e.dns(), s) })
}

func (e *Event) dns() *DNS {
	if e.Net.DNS == nil {
		e.Net.DNS = new(DNS)
	}
	return e.Net.DNS
}

func flagDNS(put func(*DNS, bool)) func(*DNS, string) error {
	return func(d *DNS, s string) error {
		return flag(func(_ *Event, b bool) { put(d, b) })(nil, s)
	}
}

func numberDNS(put func(*DNS, int64)) func(*DNS, string) error {
	return func(d *DNS, s string) error {
		return number(func(_ *Event, n int64) { put(d, n) })(nil, s)
	}
}

func (d *DNS) describe() string {
	switch {
	case d == nil:
		return " looked up a name"
	case !d.Answer:
		return " asked for " + d.Name + " (" + d.Type + ")"
	case d.Results == "":
		return " was told that there is no " + d.Name + " (" + d.Type + ")"
	}
	return " was told that " + d.Name + " (" + d.Type + ") is " + d.Results
}
