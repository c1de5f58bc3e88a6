package policy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const good = `name: llama
select:
  container: [llama-*]
  workload: inference
mode: enforce
exec:
  allow: [/usr/local/bin/llama-server, /app/bin/*]
egress:
  allow:
    - loopback
    - 10.0.0.0/8
    - 192.0.2.1:443
    - "[2001:db8::1]:443"
    - hub.example.org:443
  deny: [10.9.0.0/16]
devices:
  allow: [gpu, gpu:0, "gpu:GPU-1d5a0ec8-0000-1111-2222-333344445555", gpu:1/gi2/ci0]
models: {paths: [/models], read-only: true, private: true}
sysctl: deny
expires: 2027-06-30
`

func parse(t *testing.T, src string) *Policy {
	t.Helper()
	got, err := Parse("p.yml", []byte(src))
	if err != nil || len(got) != 1 {
		t.Fatalf("%d policies, %v", len(got), err)
	}
	return got[0]
}

func TestModelsMayHaveToBeSigned(t *testing.T) {
	p := parse(t, "name: a\nselect: {engine: vllm}\nmodels: {require: signed, paths: [/models]}\n")
	if d := cmp.Diff(&Models{Paths: []string{"/models"}, Signed: true}, p.Models); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(p.Models, parse(t, p.String()).Models); d != "" {
		t.Error(d)
	}
	by := parse(t, "name: a\nselect: {engine: vllm}\nmodels: {require: signed, by: [release@example.org]}\n")
	if d := cmp.Diff(&Models{Signed: true, By: []string{"release@example.org"}}, parse(t, by.String()).Models); d != "" {
		t.Error(d)
	}
	hold := parse(t, "name: a\nselect: {engine: vllm}\nmodels: {require: signed, paths: [/models], unknown: hold}\n")
	if d := cmp.Diff(&Models{Paths: []string{"/models"}, Signed: true, Hold: true}, parse(t, hold.String()).Models); d != "" {
		t.Error(d)
	}
	for src, why := range map[string]string{"{unknown: hold, require: signed}": "p.yml:3:19: models.unknown: nobody is asked", "{unknown: deny, require: signed, paths: [/m]}": "\"deny\" is not known", "{by: [a], private: true, paths: [/m]}": "nothing has to be signed", "{require: signed, by: [a b]}": `"a b" is no identity`} {
		if _, err := Parse("p.yml", []byte("name: a\nselect: {engine: vllm}\nmodels: "+src+"\n")); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", src, err)
		}
	}
	_, err := Parse("p.yml", []byte("name: a\nselect: {engine: vllm}\nmodels: {require: sealed}\n"))
	if err == nil || !strings.Contains(err.Error(), `p.yml:3:19: models.require: "sealed" is not known`) {
		t.Errorf("got %v", err)
	}
}

func TestParse(t *testing.T) {
	net := netip.MustParsePrefix
	want := &Policy{
		Name: "llama", File: "p.yml", Line: 1, Mode: Enforce, Sysctl: "deny",
		Select: Select{Container: []string{"llama-*"}, Workload: []string{"inference"}},
		Exec:   &Exec{Allow: []string{"/usr/local/bin/llama-server", "/app/bin/*"}},
		Egress: &Egress{
			Allow: []Peer{
				{Prefix: net("127.0.0.0/8")},
				{Prefix: net("::1/128")},
				{Prefix: net("10.0.0.0/8")},
				{Prefix: net("192.0.2.1/32"), Port: 443},
				{Prefix: net("2001:db8::1/128"), Port: 443},
				{Name: "hub.example.org", Port: 443},
			},
			Deny: []Peer{{Prefix: net("10.9.0.0/16")}},
		},
		Devices: &Devices{Allow: []string{"gpu", "gpu:0", "gpu:GPU-1d5a0ec8-0000-1111-2222-333344445555", "gpu:1/gi2/ci0"}},
		Models:  &Models{Paths: []string{"/models"}, ReadOnly: true, Private: true},
		Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
	}
	opts := cmp.Options{cmpopts.IgnoreUnexported(Peer{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	p := parse(t, good)
	if d := cmp.Diff(want, p, opts); d != "" {
		t.Error(d)
	}
	back := parse(t, p.String())
	if d := cmp.Diff(want, back, opts); d != "" {
		t.Errorf("written and read again:\n%s", d)
	}
}

func TestMistakesAreLocated(t *testing.T) {
	const head = "name: x\nselect: {container: x}\n"
	many := &strings.Builder{}
	for i := range 100_000 {
		fmt.Fprintf(many, "    - 10.%d.%d.%d\n", i>>16&255, i>>8&255, i&255)
	}
	for _, tt := range []struct{ src, want string }{
		{head, "p.yml:1:1: the policy limits nothing"},
		{"select: {container: x}\negress: {allow: []}\n", "p.yml:1:1: the policy has no name"},
		{"name: x\negress: {allow: []}\n", "the policy selects nothing"},
		{"name: X y\nselect: {container: x}\negress: {allow: []}\n", `p.yml:1:7: name: "X y" is no name`},
		{head + "egres: {allow: []}\n", `p.yml:3:1: policy: unknown key "egres"`},
		{head + "mode: block\negress: {allow: []}\n", `p.yml:3:7: mode: "block" is not known`},
		{head + "mode: enforce\negress: {allow: []}\n", "p.yml:3:7: a policy that is enforced says when it ends"},
		{head + "exec: {allow: []}\n", "p.yml:3:7: exec: an empty allow list would keep every program from running"},
		{head + "exec: {allow: [sh]}\n", `p.yml:3:16: exec.allow: "sh" is no path of a program`},
		{head + "exec: {allow: [/*]}\n", `exec.allow: "/*" is too wide`},
		{head + "exec: {allow: [/opt/*/bin/x]}\n", "is too wide"},
		{head + "egress: {}\n", "p.yml:3:9: egress: has neither allow nor deny"},
		{head + "egress: {allow: [10.0.0.1/8]}\n", "p.yml:3:18: egress.allow: \"10.0.0.1/8\" has bits behind its length: 10.0.0.0/8 is meant"},
		{head + "egress: {allow: [10.0.0.1:0]}\n", "has no port from 1 to 65535"},
		{head + "egress: {allow: ['*']}\n", "is no address, network or name"},
		{head + "egress: {allow: [10.0.0.0/8], deny: [10.0.0.0/8]}\n", "p.yml:3:18: egress: 10.0.0.0/8 is both allowed and denied"},
		{head + "egress: {deny: [evil.example.org]}\n", "is a name, and who is denied a name uses another"},
		{head + "egress:\n  allow:\n" + many.String(), "p.yml:5:5: egress.allow: has 100000 entries, and at most 4096 are taken"},
		{head + "devices: {allow: [/etc/passwd]}\n", `devices.allow: "/etc/passwd" is no device`},
		{head + "devices: {allow: ['gpu:x']}\n", `p.yml:3:19: devices.allow: "gpu:x" is no GPU`},
		{head + "devices: {allow: ['gpu:GPU-1']}\n", `devices.allow: "gpu:GPU-1" is no GPU`},
		{head + "devices: {allow: ['gpu:0/../1']}\n", `devices.allow: "gpu:0/../1" is no GPU`},
		{head + "devices: {allow: [{gpu: 0}]}\n", `devices.allow: want a text`},
		{head + "models: {paths: [/models]}\n", "p.yml:3:9: models: limits nothing"},
		{head + "models: {private: true}\n", "models: limits nothing"},
		{head + "models: {private: yes, paths: [/models]}\n", "p.yml:3:19: models.private: want true or false"},
		{head + "models: {private: true, paths: [/]}\n", `models.paths: "/" is no directory of models`},
		{head + "sysctl: no\n", "sysctl: want deny"},
		{head + "egress: {allow: []}\nexpires: soon\n", `p.yml:4:10: expires: "soon" is no day`},
		{"name: x\nselect: {cgroup: /**}\negress: {allow: []}\n", `"/**" would take in /, which`},
		{"name: x\nselect: {cgroup: /*}\negress: {allow: [loopback]}\n", `select.cgroup: "/*" would take in /`},
		{"name: x\nselect: {cgroup: /system.slice/*}\negress: {allow: [loopback]}\n", `would take in /system.slice/ssh.service, which holds the host together`},
		{"name: x\nselect: {cgroup: /system.slice/**}\negress: {allow: [loopback]}\n", "which holds the host together"},
		{"name: x\nselect: {cgroup: /system.slice/ollama.service}\negress: {allow: []}\n", "an empty allow list would cut /system.slice/ollama.service"},
		{"name: x\nselect: {workload: robot}\negress: {allow: []}\n", `select.workload: "robot" is not known`},
		{"name: x\nselect: {container: []}\negress: {allow: []}\n", "select.container: is empty"},
		{"name: x\nname: y\nselect: {container: x}\negress: {allow: []}\n", "p.yml:2:1: policy: name stands here twice"},
		{"name: [\n", "p.yml:1:1: is not YAML"},
		{"- a\n", "p.yml:1:1: policy: want keys and values"},
	} {
		_, err := Parse("p.yml", []byte(tt.src))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			src := tt.src[:min(len(tt.src), 200)]
			t.Errorf("%q:\n got %v\nwant it to contain %s", src, err, tt.want)
		}
	}
}

func TestAGroupWithinAGuardedOneIsTaken(t *testing.T) {
	p := parse(t, "name: x\nselect: {cgroup: /system.slice/ollama.service}\negress: {allow: [loopback]}\n")
	if !p.Selects(Subject{Cgroup: "/system.slice/ollama.service"}) || p.Selects(Subject{Cgroup: "/system.slice/ssh.service"}) {
		t.Error("the wrong service is selected")
	}
}

func TestSelects(t *testing.T) {
	vllm := Subject{Cgroup: "/kubepods.slice/pod1/c1", Container: "c1", Workload: "inference", Engine: "vllm", Exe: "/usr/bin/python3.12"}
	for _, tt := range []struct {
		sel  string
		want bool
	}{
		{"{container: c1}", true},
		{"{container: c*}", true},
		{"{container: [x, c1]}", true},
		{"{container: d*}", false},
		{"{engine: vllm, workload: inference}", true},
		{"{engine: vllm, workload: training}", false},
		{"{cgroup: /kubepods.slice/**}", true},
		{"{cgroup: /kubepods.slice/*/c1}", true},
		{"{cgroup: /kubepods.slice/*}", false},
		{"{exe: /usr/bin/python*}", true},
		{"{exe: /usr/bin/node}", false},
	} {
		p := parse(t, "name: x\nselect: "+tt.sel+"\negress: {allow: [loopback]}\n")
		if got := p.Selects(vllm); got != tt.want {
			t.Errorf("%s: %t", tt.sel, got)
		}
	}
	if p := parse(t, "name: x\nselect: {container: '*'}\negress: {allow: []}\n"); p.Selects(Subject{Cgroup: "/user"}) {
		t.Error("a process outside of containers is selected by any container")
	}
}

func TestChooseTakesTheMoreParticular(t *testing.T) {
	wide := parse(t, "name: a-wide\nselect: {workload: inference}\negress: {allow: []}\n")
	narrow := parse(t, "name: z-narrow\nselect: {workload: inference, engine: vllm}\negress: {allow: []}\n")
	best, others := Choose([]*Policy{wide, narrow}, Subject{Cgroup: "/c", Workload: "inference", Engine: "vllm"})
	if best != narrow || len(others) != 1 || others[0] != wide {
		t.Errorf("got %v, beside %v", best, others)
	}
}

func TestOverlappingPoliciesAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, sel string) {
		src := "name: " + name + "\nselect: " + sel + "\negress: {allow: []}\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yml"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "{container: llama-*}")
	write("b", "{container: '*-8b'}")
	write("c", "{container: whisper}")
	write("d", "{container: llama-8b, engine: vllm}")
	got, err := Load(dir)
	var kept []string
	for _, p := range got {
		kept = append(kept, p.Name)
	}
	if d := cmp.Diff([]string{"a", "c", "d"}, kept); d != "" {
		t.Error(d)
	}
	if err == nil || !strings.Contains(err.Error(), "b.yml:1:1: policy b selects what policy a") {
		t.Errorf("got %v", err)
	}
}

func TestSet(t *testing.T) {
	p := parse(t, "name: x\nselect: {container: x}\negress:\n  allow: [10.0.0.0/8, '10.1.0.0/16:443', '192.0.2.0/24:80', '192.0.2.1:443', 10.9.9.9, 'hub.example.org:443', '2001:db8::/32']\n  deny: [10.9.0.0/16]\n")
	set, err := p.Egress.Compile(map[string][]netip.Addr{"hub.example.org": {netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("::ffff:203.0.113.6")}})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]bool{
		"10.2.3.4:1": true, "10.1.2.3:22": true, "10.9.1.1:80": false, "10.9.9.9:80": true, // /32 allow beats /16 deny
		"192.0.2.9:80": true, "192.0.2.9:443": false, "192.0.2.1:443": true, "192.0.2.1:80": true, "192.0.2.1:22": false,
		"203.0.113.5:443": true, "203.0.113.6:443": true, "203.0.113.5:80": false, "8.8.8.8:53": false,
		"[2001:db8::1]:9": true, "[2001:db9::1]:9": false, "[::ffff:10.2.3.4]:1": true,
	} {
		if got := set.Allows(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s: %t", to, got)
		}
	}
	open := parse(t, "name: x\nselect: {container: x}\negress: {deny: [169.254.169.254]}\n")
	if set, _ = open.Egress.Compile(nil); !set.Allows(netip.MustParseAddrPort("8.8.8.8:53")) || set.Allows(netip.MustParseAddrPort("169.254.169.254:80")) {
		t.Error("a deny list alone denies more or less than it names")
	}
}

func TestTooManyPorts(t *testing.T) {
	var list []string
	for i := range MaxPorts + 1 {
		list = append(list, fmt.Sprintf("'192.0.2.1:%d'", 1000+i))
	}
	p := parse(t, "name: x\nselect: {container: x}\negress: {allow: ["+strings.Join(list, ", ")+"]}\n")
	if _, err := p.Egress.Compile(nil); err == nil || !strings.Contains(err.Error(), "192.0.2.1/32 is allowed with 9 ports, and at most 8 are kept") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("name: x\nselect: {cgroup: [/a/**, '/b/[x]*']}\nmodels: {paths: [/m], read-only: true}\nexec: {allow: /bin/sh}\n---\n- x\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := Parse("f", src)
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		for _, p := range got {
			if p.Egress != nil {
				_, _ = p.Egress.Compile(nil)
			}
			p.Selects(Subject{Cgroup: "/a/b", Container: "c", Exe: "/bin/sh"})
			back, err := Parse("f", []byte(p.String()))
			if err != nil || len(back) != 1 || back[0].String() != p.String() {
				t.Fatalf("written policy reads as another: %v\n%s", err, p)
			}
		}
	})
}
