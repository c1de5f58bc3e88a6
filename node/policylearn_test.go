package node

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/policy"
)

func TestLearn(t *testing.T) {
	var records []json.RawMessage
	add := func(s string) { records = append(records, json.RawMessage(s)) }
	add(`{"event.kind":"process.start","process.exe":"/usr/bin/python3","container.id":"c1"}`)
	add(`{"event.kind":"process.start","process.exe":"/memfd:x","process.memfd":"true"}`)
	add(`{"event.kind":"process.seen","process.exe":"/usr/bin/python3"}`)
	add(`{"event.kind":"net.connect","net.remote.ip":"127.0.0.1","net.remote.port":"8080"}`)
	add(`{"event.kind":"net.connect","net.remote.ip":"192.0.2.1","net.remote.port":"443"}`)
	add(`{"event.kind":"net.connect","net.remote.ip":"2001:db8::1","net.remote.port":"443"}`)
	add(`{"event.kind":"net.send","net.remote.ip":"::ffff:192.0.2.1","net.remote.port":"443"}`)
	for i := range 9 {
		add(fmt.Sprintf(`{"event.kind":"net.connect","net.remote.ip":"198.51.100.%d","net.remote.port":"443"}`, i+1))
	}
	add(`{"count":1}`)
	add(`{"event.kind":"net.connect","net.remote.ip":"203.0.113.1","net.remote.port":"22","event.errno":"1"}`) // stopped before
	add(`{"event.kind":"process.start","process.exe":"/usr/bin/id"}`)
	add(`{"event.kind":"policy.violation","process.exe":"/usr/bin/id","policy.action":"killed"}`)
	l := LearnEvents(records)
	p := l.Policy("c1", policy.Select{Container: []string{"c1"}}, time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	want := `name: c1
select:
  container: [c1]
mode: observe
exec:
  allow:
    - /usr/bin/python3
egress:
  allow:
    - "127.0.0.0/8"
    - "192.0.2.1:443"
    - "198.51.100.0/24"
    - "[2001:db8::1]:443"
expires: 2027-11-25
`
	if d := cmp.Diff(want, p.String()); d != "" {
		t.Error(d)
	}
	got, err := policy.Parse("c1.yml", []byte(p.String()))
	if err != nil || len(got) != 1 {
		t.Fatalf("what was learned is no policy: %v", err)
	}
	if d, err := l.Against(got[0], nil); err != nil || len(d) != 2 { // what was stopped
		t.Errorf("what was learned is not allowed: %v %v", d, err)
	}
	other, err := policy.Parse("x.yml", []byte(strings.Replace(p.String(), "python3", "node", 1)))
	if err != nil {
		t.Fatal(err)
	}
	add(`{"event.kind":"net.connect","net.remote.ip":"203.0.113.9","net.remote.port":"22"}`)
	d, err := LearnEvents(records).Against(other[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Difference{
		{"egress", "203.0.113.1:22", 1, "forbidden"},
		{"egress", "203.0.113.9:22", 1, "forbidden"},
		{"exec", "/usr/bin/id", 1, "forbidden"},
		{"exec", "/usr/bin/python3", 2, "forbidden"},
		{"exec", "/usr/bin/node", 0, "unused"},
	}, d); diff != "" {
		t.Error(diff)
	}
}
