package detect

import (
	"net/netip"
	"testing"
	"time"

	"picket/event"
)

func TestARuleIsAboutTheServiceThatItNames(t *testing.T) {
	files := map[string]string{}
	for name, source := range map[string]string{
		"ray": "product: ray, category: http_access", "any": "category: http_access", "vllm": "product: vllm, category: http_access",
		"spans": "product: ray, category: gen_ai", "linux": "product: linux, category: http_access", "load": "category: service_metrics",
	} {
		files[name+".yml"] = "title: " + name + "\nid: " + event.HashID(source)[:8] + "-0000-4000-8000-000000000000\nlogsource: {" + source +
			"}\ndetection: {s: {http.route: /api/jobs}, condition: s}\nlevel: high\n"
	}
	threats, err := LoadThreats(Collection(collectionOf(t, files)))
	if err != nil {
		t.Fatal(err)
	}
	fired := func(engine string) string {
		e, err := New(Options{Threats: threats})
		if err != nil {
			t.Fatal(err)
		}
		e.Process(&event.Event{Kind: event.ServiceRequest, Time: time.Unix(1, 0), Request: &event.Request{Engine: engine, Route: "/api/jobs"}})
		names := ""
		for _, r := range e.Rules() {
			if r.Hits > 0 {
				names += r.Name + " "
			}
		}
		return names
	}
	for engine, want := range map[string]string{"ray": "any ray spans ", "vllm": "any vllm ", "": "any ", "of somebody else": "any "} {
		if got := fired(engine); got != want {
			t.Errorf("engine %q: %q fire, want %q", engine, got, want)
		}
	}
}

func TestAFindingOnARequestNamesTheClient(t *testing.T) {
	e := &event.Event{Kind: event.ServiceRequest, Request: &event.Request{Client: netip.MustParseAddrPort("[::ffff:192.0.2.9]:1")}}
	ents := entities(e)
	if len(ents) == 0 || ents[0] != (event.Entity{Kind: event.EntityAddress, ID: "192.0.2.9", Name: "192.0.2.9"}) {
		t.Errorf("%+v", ents)
	}
	e.Request.Client = netip.MustParseAddrPort("127.0.0.1:1")
	if ents := entities(e); len(ents) != 0 && ents[0].Kind == event.EntityAddress {
		t.Errorf("the loopback is everybody's: %+v", ents)
	}
}
