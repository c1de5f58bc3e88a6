package policy

import (
	"fmt"
	"strings"
	"time"
)

// String writes the policy as a file that Parse reads.
func (p *Policy) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nselect:\n", p.Name)
	for i, l := range p.lists() {
		if l != nil {
			fmt.Fprintf(&b, "  %s: %s\n", [...]string{"container", "cgroup", "workload", "engine", "exe"}[i], flow(l))
		}
	}
	fmt.Fprintf(&b, "mode: %s\n", p.Mode)
	if p.Exec != nil {
		b.WriteString("exec:\n")
		block(&b, "allow", p.Exec.Allow)
	}
	if e := p.Egress; e != nil {
		b.WriteString("egress:\n")
		if !e.Open {
			block(&b, "allow", peers(e.Allow))
		}
		if len(e.Deny) > 0 {
			block(&b, "deny", peers(e.Deny))
		}
	}
	if p.Devices != nil {
		b.WriteString("devices:\n")
		block(&b, "allow", p.Devices.Allow)
	}
	if m := p.Models; m != nil {
		fmt.Fprintf(&b, "models:\n  read-only: %t\n  private: %t\n", m.ReadOnly, m.Private)
		if m.Signed {
			b.WriteString("  require: signed\n")
		}
		if len(m.By) > 0 {
			block(&b, "by", m.By)
		}
		if m.Hold {
			b.WriteString("  unknown: hold\n")
		}
		block(&b, "paths", m.Paths)
	}
	if p.Sysctl != "" {
		fmt.Fprintf(&b, "sysctl: %s\n", p.Sysctl)
	}
	if p.Expires.IsZero() {
		b.WriteString("expires: never\n")
	} else {
		fmt.Fprintf(&b, "expires: %s\n", p.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
	}
	return b.String()
}

func peers(list []Peer) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

// String writes the entry as a list holds it.
func (p Peer) String() string {
	s := p.Name
	if s == "" {
		if s = p.Prefix.String(); p.Prefix.IsSingleIP() {
			s = p.Prefix.Addr().String()
		}
		if p.Port != 0 && p.Prefix.Addr().Is6() {
			s = "[" + s + "]"
		}
	}
	if p.Port != 0 {
		s = fmt.Sprintf("%s:%d", s, p.Port)
	}
	return s
}

func block(b *strings.Builder, key string, list []string) {
	if len(list) == 0 {
		fmt.Fprintf(b, "  %s: []\n", key)
		return
	}
	fmt.Fprintf(b, "  %s:\n", key)
	for _, s := range list {
		fmt.Fprintf(b, "    - %s\n", quote(s))
	}
}

func flow(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// quote writes a text so that YAML reads it as one, whatever is in it.
func quote(s string) string {
	plain := s != ""
	for i := range len(s) {
		c := s[i]
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/' || i > 0 && (c >= '0' && c <= '9' || strings.IndexByte("._-+/", c) >= 0))
	}
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}
