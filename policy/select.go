package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Subject is a workload that a policy may select.
type Subject struct {
	Cgroup    string // path below the root of cgroup v2
	Container string // "" outside one
	Workload  string // kind
	Engine    string
	Name      string // of the AI workload
	Exe       string
}

// Selects reports whether a policy is for a subject.
func (p *Policy) Selects(s Subject) bool {
	sel := &p.Select
	return fits(sel.Cgroup, s.Cgroup) && (fits(sel.Container, s.Container) || len(s.Container) > 12 && fits(sel.Container, s.Container[:12])) &&
		fits(sel.Workload, s.Workload) && fits(sel.Engine, s.Engine) && fits(sel.Exe, s.Exe)
}

func fits(patterns []string, s string) bool {
	return patterns == nil || s != "" && slices.ContainsFunc(patterns, func(p string) bool { return match(p, s) })
}

// match is path.Match with a last /** for all below.
func match(pattern, s string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
		parts := strings.Count(dir, "/") + 1
		head := s
		for i, n := 0, 0; i < len(s); i++ {
			if s[i] == '/' {
				if n++; n == parts {
					head = s[:i]
					break
				}
			}
		}
		if head == s {
			return false // nothing is below
		}
		pattern, s = dir, head
	}
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// Choose returns the policy for a subject: of those that select it the one with the most keys, then
// the first by name. others are the rest.
func Choose(policies []*Policy, s Subject) (best *Policy, others []*Policy) {
	for _, p := range policies {
		if !p.Selects(s) {
			continue
		}
		if best == nil || p.Before(best) {
			if best != nil {
				others = append(others, best)
			}
			best = p
			continue
		}
		others = append(others, p)
	}
	return best, others
}

// Before reports whether p and not o is for a subject that both select.
func (p *Policy) Before(o *Policy) bool {
	if n := p.keys() - o.keys(); n != 0 {
		return n > 0
	}
	return p.Name < o.Name
}

// Narrower reports whether p selects by more keys than o.
func (p *Policy) Narrower(o *Policy) bool { return p.keys() > o.keys() }

func (p *Policy) lists() [][]string {
	s := &p.Select
	return [][]string{s.Container, s.Cgroup, s.Workload, s.Engine, s.Exe}
}

func (p *Policy) keys() (n int) {
	for _, l := range p.lists() {
		if l != nil {
			n++
		}
	}
	return n
}

// overlaps reports whether two policies select by the same keys and can be for the same subject,
// so that neither is the more particular one.
func overlaps(a, b *Policy) bool {
	la, lb := a.lists(), b.lists()
	for i := range la {
		if (la[i] == nil) != (lb[i] == nil) {
			return false
		}
		if la[i] != nil && !slices.ContainsFunc(la[i], func(x string) bool {
			return slices.ContainsFunc(lb[i], func(y string) bool { return meet(x, y) })
		}) {
			return false
		}
	}
	return true
}

// meet reports whether two patterns can fit the same text. Sets in brackets count as any character.
func meet(a, b string) bool {
	return meeting{}.meet(a, b)
}

// meeting remembers what led nowhere, by what was left of both: stars make for many ways.
type meeting map[[2]int]bool

func (m meeting) meet(a, b string) bool {
	at := [2]int{len(a), len(b)}
	if m[at] {
		return false
	}
	m[at] = true
	switch {
	case a == "" || b == "":
		return strings.Trim(a+b, "*") == ""
	case a[0] == '*':
		return m.meet(a[1:], b) || m.meet(a, b[1:])
	case b[0] == '*':
		return m.meet(a, b[1:]) || m.meet(a[1:], b)
	case a[0] == b[0] || wild(a[0]) || wild(b[0]):
		return m.meet(after(a), after(b))
	}
	return false
}

func wild(c byte) bool { return c == '?' || c == '[' }

// after cuts the first element off a pattern.
func after(p string) string {
	if p[0] == '[' {
		if i := strings.IndexByte(p, ']'); i > 0 {
			return p[i+1:]
		}
	}
	return p[1:]
}

// guarded are cgroups that hold the host together: none of them may be selected.
var guarded = []string{
	"/", "/init.scope", "/system.slice", "/user.slice", "/machine.slice", "/kubepods.slice", "/kubepods", "/docker", "/system",
	"/system.slice/ssh.service", "/system.slice/sshd.service", "/system.slice/containerd.service", "/system.slice/docker.service",
	"/system.slice/kubelet.service", "/system.slice/crio.service", "/system.slice/dbus.service", "/system.slice/picket.service",
	"/system.slice/picket-agent.service", "/system.slice/systemd-journald.service", "/system.slice/systemd-udevd.service",
	"/system.slice/systemd-logind.service", "/system.slice/systemd-networkd.service", "/system.slice/systemd-resolved.service",
	"/system.slice/NetworkManager.service",
}

// Guarded reports whether a cgroup is one that no policy may be for.
func Guarded(cgroup string) bool { return slices.Contains(guarded, cgroup) }

// system reports whether a cgroup pattern is about a part of the system.
func system(pattern string) bool {
	return strings.HasPrefix(pattern, "/system.slice") || strings.HasPrefix(pattern, "/user.slice") || strings.HasPrefix(pattern, "/init.scope")
}

func (p *parser) selection(n *yaml.Node, s *Select) {
	patterns := func(what string, to *[]string, check func(*yaml.Node)) func(*yaml.Node) {
		return func(v *yaml.Node) {
			*to = p.texts(v, "select."+what, 64)
			if len(*to) == 0 {
				p.fail(v, "select."+what+": is empty", "name what is meant, or leave the key out")
			}
			p.list(v, "select."+what, 64, func(c *yaml.Node) {
				if _, err := path.Match(c.Value, ""); err != nil || len(c.Value) > 512 {
					p.fail(c, fmt.Sprintf("select.%s: %q is no pattern", what, c.Value), "* stands for any characters of a part, ? for one")
				} else if check != nil {
					check(c)
				}
			})
		}
	}
	p.keys(n, "select", map[string]func(*yaml.Node){
		"container": patterns("container", &s.Container, nil),
		"cgroup": patterns("cgroup", &s.Cgroup, func(c *yaml.Node) {
			if !clean(c.Value) {
				p.fail(c, fmt.Sprintf("select.cgroup: %q is no path of a cgroup", c.Value), "as in /proc/PID/cgroup behind 0::, such as /system.slice/ollama.service")
				return
			}
			for _, g := range guarded {
				if match(c.Value, g) {
					p.fail(c, fmt.Sprintf("select.cgroup: %q would take in %s, which holds the host together", c.Value, g), "name the workload's own cgroup")
					return
				}
			}
		}),
		"workload": patterns("workload", &s.Workload, func(c *yaml.Node) {
			if !slices.Contains([]string{"inference", "training", "notebook", "agent"}, c.Value) {
				p.fail(c, fmt.Sprintf("select.workload: %q is not known", c.Value), "inference, training, notebook or agent")
			}
		}),
		"engine": patterns("engine", &s.Engine, nil),
		"exe": patterns("exe", &s.Exe, func(c *yaml.Node) {
			if !clean(c.Value) || strings.HasPrefix(c.Value, "/*") {
				p.fail(c, fmt.Sprintf("select.exe: %q is no path of a program", c.Value), "such as /usr/local/bin/ollama")
			}
		}),
	})
	if s.Container == nil && s.Cgroup == nil && s.Workload == nil && s.Engine == nil && s.Exe == nil {
		p.fail(n, "select: names nothing", "container, cgroup, workload, engine or exe")
	}
}
