package detect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

func TestPlacesOfRules(t *testing.T) {
	rule := func(selection string) string {
		return "title: x\nlogsource: {product: linux, category: file_event}\ndetection:\n    sel: {" + selection + "}\n    condition: sel\nlevel: high\n"
	}
	for name, c := range map[string]struct {
		rules []string
		want  Places
	}{
		"none":           {nil, Places{}},
		"of other kinds": {[]string{plainRule()}, Places{}},
		"digits":         {[]string{rule("TargetFilename|startswith: [/0/1, /2]")}, Places{Paths: []string{"/0/1", "/2"}}},
		"one in another": {[]string{rule("TargetFilename|startswith: /0/"), rule("file.path: /0/1")}, Places{Paths: []string{"/0/"}}},
		"in any case":    {[]string{rule("TargetFilename|startswith: /a1")}, Places{Paths: []string{"/A1", "/a1"}}},
		"anywhere":       {[]string{rule("TargetFilename|startswith: /0/"), rule("TargetFilename|endswith: x")}, Places{Why: "rule r1 names no beginning of a path"}},
		"below /":        {[]string{rule("TargetFilename|startswith: /")}, Places{Why: "a rule looks below /"}},
	} {
		files := map[string]string{"x.md": ""}
		for i, r := range c.rules {
			files["r"+string(rune('0'+i))+".yml"] = r
		}
		threats, err := LoadThreats(Collection(collectionOf(t, files)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, engine(t, Options{Threats: threats}).Places()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if p := engine(t, Options{}).Places(); p.Why == "" {
		t.Errorf("the built-in rules look at the weights of models, wherever they are: %s", p)
	}
}

func TestSocketsOfRules(t *testing.T) {
	for selection, want := range map[string][]string{
		"net.unix.runtime: [docker, podman]":                           nil,
		"net.unix.path|startswith: /0/":                                {"/0/"},
		"net.unix.path|startswith: '@a'":                               {"@A", "@a"},
		"net.unix.path|endswith: /x.sock":                              {""},
		"net.unix.path|startswith: /0/, net.unix.path|endswith: .sock": {"/0/"},
	} {
		src := "title: x\nlogsource: {product: linux, category: network_unix}\ndetection:\n    sel: {" + selection + "}\n    condition: sel\nlevel: high\n"
		threats, err := LoadThreats(Collection(collectionOf(t, map[string]string{"x.md": "", "r.yml": src})))
		if err != nil {
			t.Fatal(err)
		}
		e := engine(t, Options{Threats: threats})
		if diff := cmp.Diff(want, e.Sockets()); diff != "" || !e.Demand()[event.NetUnix] {
			t.Errorf("%s: %s, asked for: %v", selection, diff, e.Demand()[event.NetUnix])
		}
	}
	if got := engine(t, Options{}).Sockets(); len(got) > 0 {
		t.Errorf("the built-in rules look at sockets of runtimes alone, not at %q", got)
	}
}

// Whatever folds to a text that begins with s must begin with one of its spellings.
func TestSpellingsCoverEveryCase(t *testing.T) {
	for s, paths := range map[string][]string{
		"/etc/":         {"/etc/x", "/ETC/x", "/eTc/"},
		"/kim":          {"/kim", "/KIM", "/\u212a\u0130m/x"},
		"/etc/passwd.d": {"/etc/passwd.d/x", "/ETC/PASSWD.D/X", "/etc/PASSwd.d"},
		"/ä/x":          {"/ä/x", "/Ä/X"},
		"/usr/local/bin/aaaaaaaaaaaaaaaaaaaaaaaaaaaa": {"/usr/local/bin/AAAAaaaaaaaaaaaaaaaaaaaaaaaa"},
	} {
		list := spellings(s)
		if len(list) > maxSpellings {
			t.Errorf("%q has %d spellings", s, len(list))
		}
		for _, p := range paths {
			covered := false
			for _, l := range list {
				covered = covered || strings.HasPrefix(p, l)
			}
			if !covered {
				t.Errorf("%q is not covered by %q", p, list)
			}
		}
	}
}

func TestDemandOfCalls(t *testing.T) {
	for source, want := range map[string]map[event.Kind]bool{
		"product: linux": {event.ProcessTrace: false, event.HostMount: false, event.ProcessStart: true},
		"product: linux, category: process_access": {event.ProcessTrace: true, event.HostMount: false, event.ProcessStart: false},
		"product: linux, category: driver_load":    {event.HostModule: true, event.ProcessTrace: false},
	} {
		src := "title: x\nlogsource: {" + source + "}\ndetection:\n    sel: {process.exe: /x}\n    condition: sel\nlevel: high\n"
		threats, err := LoadThreats(Collection(collectionOf(t, map[string]string{"x.md": "", "r.yml": src})))
		if err != nil {
			t.Fatal(err)
		}
		demand := engine(t, Options{Threats: threats}).Demand()
		for k, asked := range want {
			if demand[k] != asked {
				t.Errorf("%s: %s is asked for: %v, want %v", source, k, demand[k], asked)
			}
		}
	}
}
