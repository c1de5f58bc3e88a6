package falco

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"picket/detect"
	"picket/event"
	"picket/sigma"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (go test -update writes it anew): %s", name, d)
	}
}

// Each public rule is carried or named with a reason, and what is made of it loads.
func TestPublicRules(t *testing.T) {
	var text strings.Builder
	counts := map[Status]int{}
	ids := map[string]string{}
	var all []*sigma.Rule
	for _, r := range loadPublic(t).Translate() {
		counts[r.Status]++
		fmt.Fprintf(&text, "%s: %s", r.Rule, r.Status)
		if r.Disabled {
			text.WriteString(", disabled")
		}
		text.WriteByte('\n')
		for _, x := range r.Rules {
			if other := ids[x.ID]; other != "" {
				t.Errorf("%s and %s have one id", x.Name, other)
			}
			ids[x.ID] = x.Name
			mark := ""
			if x.Inactive {
				mark = " (inactive)"
			}
			fmt.Fprintf(&text, "  %s%s\n", x.Category, mark)
		}
		for _, s := range r.Reasons {
			fmt.Fprintf(&text, "  - %s\n", s)
		}
		for _, s := range r.Remarks {
			fmt.Fprintf(&text, "  + %s\n", s)
		}
		if (r.Status == Carried) != (len(r.Reasons) == 0) {
			t.Errorf("%s is %s for the reasons %q", r.Rule, r.Status, r.Reasons)
		}
		if len(r.Rules) == 0 {
			continue
		}
		parsed, err := sigma.Parse(r.Name+".yml", r.Document())
		if err != nil || len(parsed.Rules) != len(r.Rules) {
			t.Errorf("%d of %d rules of %s can be read: %v", len(parsed.Rules), len(r.Rules), r.Name, err)
		}
		all = append(all, parsed.Rules...)
	}
	e, err := sigma.Compile(all, detect.Schema())
	if err != nil || len(e.Rules()) != len(all) {
		t.Errorf("%d of %d rules compile: %v", len(e.Rules()), len(all), err)
	}
	want := map[Status]int{Carried: 57, Partly: 20, Inactive: 3, Refused: 13}
	if d := cmp.Diff(want, counts); d != "" {
		t.Error(d)
	}
	golden(t, "public.golden", text.String())
}

// The rules that are made must be such as a person would write.
func TestTranslationReadsWell(t *testing.T) {
	src, err := os.ReadFile("testdata/readable.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rs, err := Load(File{"readable.yaml", src})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, r := range rs.Translate() {
		text.Write(r.Document())
	}
	golden(t, "readable.golden", text.String())
}

// What is imported goes the whole way: loaded, matched, and told in a sentence.
func TestImportedRuleFindsAndTells(t *testing.T) {
	rs, err := Load(File{"x.yaml", []byte("- {rule: Nc, condition: evt.type=execve and proc.name=nc, output: Tunnel by %proc.name | command=%proc.cmdline, priority: ERROR, tags: [mitre_execution, T1059]}")})
	if err != nil {
		t.Fatal(err)
	}
	r := rs.Translate()[0]
	dir := fstest.MapFS{"falco/README.md": {Data: []byte("# Falco\n")}, "falco/nc.yml": {Data: r.Document()}}
	threats, err := detect.LoadThreats(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := detect.New(detect.Options{Threats: threats})
	if err != nil {
		t.Fatal(err)
	}
	p := &event.Process{PID: 7, Comm: "nc", Exe: "/bin/nc.openbsd", Args: []string{"nc", "-e", "sh"}, Cmdline: "nc -e sh", Parent: &event.Process{PID: 6, Exe: "/bin/sh"}}
	found := e.Process(&event.Event{Kind: event.ProcessStart, Host: "h", Process: p})
	if len(found) != 1 || found[0].Severity != event.High {
		t.Fatalf("found %+v", found)
	}
	if got, want := found[0].Summary, "Tunnel by nc: nc.openbsd (pid 7) on host h was started by sh (pid 6): nc -e sh."; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}

// An import that is repeated, also of a file in which the rule has moved, gives the same ids.
func TestIDsAreStable(t *testing.T) {
	ids := func(text string) (out []string) {
		rs, err := Load(File{"x.yaml", []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs.Translate() {
			if r.Rule == "A" {
				for _, x := range r.Rules {
					out = append(out, x.ID)
				}
			}
		}
		return out
	}
	const a = "- {rule: A, condition: 'evt.type in (execve, connect) and proc.name = %s'}\n"
	first := ids(fmt.Sprintf(a, "nc"))
	if len(first) != 3 || first[0] == first[1] || len(first[0]) != 36 {
		t.Fatalf("ids %q", first)
	}
	if d := cmp.Diff(first, ids("- {rule: B, condition: evt.type=execve}\n"+fmt.Sprintf(a, "ncat"))); d != "" {
		t.Error(d)
	}
}

func TestNamesAreTold(t *testing.T) {
	rs, err := Load(File{"x.yaml", []byte("- {rule: a b, condition: evt.type=execve}\n- {rule: A-B, condition: evt.type=execve}\n- {rule: 規則, condition: evt.type=execve}\n")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rs.Translate() {
		names = append(names, r.Name)
	}
	if d := cmp.Diff([]string{"a_b", "a_b_2", "rule"}, names); d != "" {
		t.Error(d)
	}
}

func TestReasons(t *testing.T) {
	for cond, want := range map[string]string{
		"proc.name = sh":                                                           "not carried: it names no evt.type, so it would run on every event: add one",
		"evt.type=execve and evt.num=0":                                            "not carried: its condition is never true as it stands",
		"evt.type=execve and proc.name in ()":                                      "not carried: its condition is never true as it stands",
		"evt.type=execve and fd.name = /x":                                         "not carried: its condition is never true as it stands",
		"evt.type=execve and proc.env contains X":                                  "not carried: requires proc.env (the environment is not kept)",
		"evt.type=execve and not proc.env contains X":                              "partly: exclusions lost: proc.env (the environment is not kept) (noisier)",
		"evt.type=execve and (proc.name=a or proc.env=X)":                          "partly: alternatives lost: proc.env (the environment is not kept) (narrower)",
		"evt.type=execve and not proc.env in (<NA>)":                               "not carried: requires proc.env (the environment is not kept)",
		"evt.type=execve and proc.name glob '[ab]*'":                               "not carried: requires proc.name (a pattern with brackets)",
		"evt.type=execve and proc.name regex '(?=a)b'":                             "not carried: requires proc.name (the regular expression is not one of RE2)",
		"evt.type=execve and proc.name bcontains fffe":                             "not carried: requires proc.name (bytes that are not text cannot be compared here)",
		"evt.type=execve and proc.name bcontains xx":                               "not carried: requires proc.name (bytes that are not text cannot be compared here)",
		"evt.type=execve and user.uid = root":                                      `not carried: requires user.uid ("root" is not a whole number)`,
		"evt.type=execve and user.uid contains 0":                                  "not carried: requires user.uid (contains of a number)",
		"evt.type=execve and proc.tty = 34816":                                     "not carried: requires proc.tty (other values than 0 are not known here)",
		"evt.type=execve and proc.aname[9] = x":                                    "not carried: requires proc.aname (ancestors are known up to the seventh)",
		"evt.type=execve and len(proc.name) > 3":                                   "not carried: requires proc.name (the transformer len is not known here)",
		"evt.type=execve and tolower(proc.name) = A":                               "not carried: requires proc.name (a text that tolower never yields)",
		"evt.type=execve and proc.nonsense = 1":                                    "not carried: requires proc.nonsense (there is no such field here)",
		"evt.type=openat and fd.name pmatch (/a*)":                                 "not carried: requires fd.name (pmatch with wildcards)",
		"evt.type=connect and fd.sip = example":                                    `not carried: requires fd.sip ("example" is not an address)`,
		"evt.type=connect and fd.name contains 80":                                 "not carried: requires fd.name (a connection has no text form here: test its addresses and ports)",
		"evt.type=connect and fd.name contains docker.sock":                        "carried: ",
		"evt.type=connect and fd.name startswith 10.0.0.1":                         "not carried: requires fd.name (a connection has no text form here: test its addresses and ports)",
		"evt.type=connect and basename(fd.name) = docker.sock":                     "not carried: requires fd.name (the last part of a socket's path is no field here: compare by endswith)",
		"evt.type=bind and fd.sport = 22":                                          "carried: of bind, TCP and UDP ports that are asked for by number are seen (narrower)",
		"evt.type=ptrace and evt.arg.request contains X":                           "carried: of ptrace, requests that attach, seize, write or ask to be traced are seen (narrower)",
		"evt.type=dup and evt.arg.oldfd contains X":                                "inactive: no event source here: dup",
		"evt.type in (setns, unshare, execve)":                                     "carried: ",
		"evt.type in (dup, dup2, execve)":                                          "partly: no event source here: dup, dup2",
		"evt.type!=execve and proc.name=sh":                                        "not carried: it is about events of types that it does not name: add evt.type",
		"evt.type=connect and fd.sport=22 or proc.name=sh":                         "partly: events of types that it does not name are left out (narrower)",
		"evt.type=execveat":                                                        "carried: execveat is not told apart from execve (noisier)",
		"evt.type in (execve, connect) and fd.sip.name=x":                          "not carried: requires fd.sip.name (names of addresses are not looked up)",
		"(evt.type=execve or (evt.type=connect and fd.sip.name=x)) and user.uid=0": "partly: events lost, which require: fd.sip.name (names of addresses are not looked up) (narrower)",
	} {
		rs, err := Load(File{"x.yaml", fmt.Appendf(nil, "- rule: R\n  condition: %q\n", cond)})
		if err != nil {
			t.Errorf("%s: %v", cond, err)
			continue
		}
		r := rs.Translate()[0]
		if got := string(r.Status) + ": " + strings.Join(append(r.Reasons, r.Remarks...), "; "); got != want {
			t.Errorf("%s\nis   %s\nwant %s", cond, got, want)
		}
	}
	rs, err := Load(File{"x.yaml", []byte("- {rule: R, source: k8s_audit, condition: ka.verb = get and unknown_macro}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if r := rs.Translate()[0]; r.Status != Refused || r.Reasons[0] != "source k8s_audit: events of that plugin are not known here" {
		t.Errorf("a rule about another source is %s: %q", r.Status, r.Reasons)
	}
}

func TestUnchanged(t *testing.T) {
	rs, err := Load(File{"x\ny.yaml", []byte("- {rule: \"A\\nB\", condition: evt.type=execve}\n")})
	if err != nil {
		t.Fatal(err)
	}
	r := rs.Translate()[0]
	doc := r.Document()
	if !Unchanged(doc) {
		t.Error("what was just made counts as changed")
	}
	for _, other := range []string{"", "title: x\n", string(doc) + "#", strings.Replace(string(doc), "title", "titel", 1), made + "\n"} {
		if Unchanged([]byte(other)) {
			t.Errorf("%q counts as made by an import", shorten(other, 60))
		}
	}
	if _, err := sigma.Parse("x", doc); err != nil {
		t.Errorf("a line break in a name leaves the comment: %v", err)
	}
}

func FuzzCondition(f *testing.F) {
	for _, c := range []string{
		`evt.type in(connect)and fd.net!=0 or user.loginuid != x`,
		`evt.type=execve and proc.name in (a, "b c") and not (fd.name glob '/x*' or user.uid >= 0)`,
		`evt.type in (open, connect) and fd.net != "10.0.0.0/8" and evt.rawres >= 0 and evt.arg.flags contains O_CREAT`,
		`not not (tolower(proc.name) = val(proc.pname)) and proc.aname[2] exists or evt.type=ptrace`,
		`evt.type=chmod and evt.arg.mode contains S_ISUID and proc.cwd startswith / and proc.args pmatch (/a/, /)`,
	} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, cond string) {
		if len(cond) > 2000 || !utf8.ValidString(cond) { // YAML holds no other
			return
		}
		if _, bad := parseCondition(cond); bad != nil {
			if bad.offset < 0 || bad.offset > len(cond) || bad.msg == "" {
				t.Errorf("%q has the fault %+v", cond, bad)
			}
			return
		}
		rs := &Ruleset{lines: map[string][]string{}}
		tree, err := rs.parse([]segment{{cond, "x.yaml", &yaml.Node{Line: 1, Column: 1}}}, nil)
		if err != nil {
			return // a macro that is not there
		}
		r := &ruleDef{name: "fuzz", source: "syscall", tree: tree}
		res := r.translate("fuzz")
		for _, reason := range res.Reasons {
			if strings.HasPrefix(reason, "the Sigma rule made of it is faulty") && !strings.Contains(reason, "regular expression") {
				t.Errorf("%q: %s", cond, reason)
			}
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte("- {rule: R, condition: a.b exists, exceptions: [{name: x, fields: a.b, values: [[a]]}]}"))
	f.Add([]byte("- &a [*a]\n- {list: l, items: [l]}\n- {macro: m, condition: m or n, append: true}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		rs, err := Load(File{"x.yaml", src})
		if err == nil && rs == nil {
			t.Fatal("nothing and no error")
		}
		for _, r := range rs.Translate() {
			if r.Status != Refused && len(r.Rules) == 0 {
				t.Errorf("%q is %s without a rule", r.Rule, r.Status)
			}
		}
	})
}
