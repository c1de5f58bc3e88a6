package cacao

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// checker looks for what is wrong beyond the kinds of values.
type checker struct {
	Problems
	p   *Playbook
	raw object
}

// Validate says what is wrong with the playbook: each problem with its place, and what to do about it.
// A playbook without errors can be run; warnings are about what is odd, open or ignored.
func (p *Playbook) Validate() Problems {
	tree, asRead, err := p.tree()
	if err != nil {
		return Problems{{Severity: Error, Message: err.Error()}}
	}
	c := &checker{p: p, raw: tree, Problems: slices.Clone(p.shape)}
	if !asRead {
		c.Problems = checkShape(tree).problems
	}
	c.envelope()
	c.summary()
	c.definitions()
	for _, id := range slices.Sorted(maps.Keys(p.Workflow)) {
		c.step(id, p.Workflow[id])
	}
	c.variables("/playbook_variables", p.Variables)
	c.graph()
	c.sigs()
	return c.sorted()
}

// envelope checks the properties of the playbook as a whole.
func (c *checker) envelope() {
	p := c.p
	if !strings.HasPrefix(p.ID, "playbook--") {
		c.err("/id", "the id of a playbook begins with playbook--", "")
	}
	if p.CreatedBy != "" && !strings.HasPrefix(p.CreatedBy, "identity--") {
		c.err("/created_by", "created_by is a STIX identity: identity--UUID", "")
	}
	c.order("/modified", p.Created, p.Modified, true, "modified is before created")
	c.order("/valid_until", p.ValidFrom, p.ValidUntil, false, "valid_until is not after valid_from")
	if len(p.Types) > 0 && len(p.Activities) == 0 {
		c.warn("/playbook_types", "a playbook with playbook_types names at least one of playbook_activities", "")
	}
	for i, id := range p.Markings {
		if _, known := p.DataMarkings[id]; !known {
			c.err(join("/markings", i), fmt.Sprintf("marking %s is not in data_marking_definitions", id), "define it: until then the playbook counts as TLP:RED")
		}
	}
}

// order checks that one time does not come before another.
func (c *checker) order(ptr string, first, second Timestamp, equal bool, message string) {
	a, err1 := first.Time()
	b, err2 := second.Time()
	if err1 != nil || err2 != nil {
		return // missing or told of already
	}
	if b.Before(a) || !equal && b.Equal(a) {
		c.err(ptr, message, "")
	}
}

// definitions checks agents, targets, sign-ins, markings and extensions, and that their keys fit.
func (c *checker) definitions() {
	for part, agents := range map[string]map[string]*Agent{"/agent_definitions": c.p.Agents, "/target_definitions": c.p.Targets} {
		for id, a := range agents {
			ptr := join(part, id)
			c.key(ptr, id, a.Type)
			c.agent(ptr, a)
		}
	}
	for id, s := range c.p.Authentication {
		ptr := join("/authentication_info_definitions", id)
		c.key(ptr, id, s.Type)
		if !slices.Contains([]string{"http-basic", "oauth2", "user-auth"}, s.Type) {
			c.warn(join(ptr, "type"), fmt.Sprintf("unknown way to sign in %q", s.Type), "http-basic, oauth2 and user-auth are known")
		}
		c.secret(ptr, s)
	}
	for id, m := range c.p.DataMarkings {
		c.marking(join("/data_marking_definitions", id), id, m)
	}
	known, _ := c.raw["extension_definitions"].(object)
	for id := range known {
		c.key(join("/extension_definitions", id), id, "extension-definition")
	}
	c.extensions("", c.raw, known)
}

func (c *checker) secret(ptr string, s Secret) {
	defs, _ := c.raw["authentication_info_definitions"].(object)
	o, _ := defs[ptr[strings.LastIndexByte(ptr, '/')+1:]].(object)
	for _, name := range []string{"password", "token"} {
		if text, _ := o[name].(string); text != "" && !wholeVariable.MatchString(text) {
			c.warn(join(ptr, name), "a secret stands in the playbook", "keep it in a key store: kms and kms_key_identifier")
		}
	}
	if s.KMS && s.KeyID == "" {
		c.err(join(ptr, "kms"), "kms without kms_key_identifier", "name the key")
	}
}

// key checks that the key of a definition has the type of what it defines.
func (c *checker) key(ptr, id, kind string) {
	if !idPattern.MatchString(id) {
		c.err(ptr, fmt.Sprintf("the key %q is no identifier", id), "a key is TYPE--UUID")
	} else if before, _, _ := strings.Cut(id, "--"); before != kind {
		c.err(ptr, fmt.Sprintf("the key says %s, the type is %q", before, kind), "make them the same")
	}
}

var addressKinds = []string{"dname", "ipv4", "ipv6", "l2mac", "vlan", "url"}

func (c *checker) agent(ptr string, a *Agent) {
	switch a.Type {
	case "http-api", "linux", "net-address", "ssh":
		if len(a.Address) == 0 {
			c.err(ptr, "address is missing", "give dname, ipv4, ipv6, l2mac, vlan or url, each a list")
		}
	case "security-category":
		if len(a.Category) == 0 {
			c.err(ptr, "category is missing", "")
		}
	case "sector":
		if a.Sector == "" {
			c.err(ptr, "sector is missing", "")
		}
	case "group", "individual", "location", "organization":
	default:
		c.warn(join(ptr, "type"), fmt.Sprintf("unknown type of agent %q", a.Type), "a person has to decide who that is")
	}
	for kind, list := range a.Address {
		at := join(join(ptr, "address"), kind)
		if !slices.Contains(addressKinds, kind) {
			c.err(at, fmt.Sprintf("unknown kind of address %q", kind), "dname, ipv4, ipv6, l2mac, vlan or url")
		}
		for i, text := range list {
			c.address(join(at, i), kind, text)
		}
	}
	if _, known := c.p.Authentication[a.Authentication]; a.Authentication != "" && !known {
		c.err(join(ptr, "authentication_info"), fmt.Sprintf("%s is not in authentication_info_definitions", a.Authentication), "define it")
	}
}

// address checks an address that is known already; one with a variable in it is checked when it is used.
func (c *checker) address(ptr, kind, text string) {
	if reference.MatchString(text) {
		return
	}
	if want := map[string]string{"ipv4": "ipv4-addr", "ipv6": "ipv6-addr", "l2mac": "mac-addr", "url": "uri"}[kind]; want != "" {
		if err := CheckType(want, text); err != nil {
			c.err(ptr, fmt.Sprintf("%q is %v", text, err), "")
		}
	}
}

func (c *checker) marking(ptr, id string, m Marking) {
	c.key(ptr, id, m.Type)
	if m.ID != id {
		c.err(join(ptr, "id"), "the id is not the key of the definition", "make them the same")
	}
	c.order(join(ptr, "valid_until"), m.ValidFrom, m.ValidUntil, false, "valid_until is not after valid_from")
	switch m.Type {
	case "marking-tlp":
		if !slices.Contains(levels, m.TLP) {
			c.err(join(ptr, "tlpv2_level"), fmt.Sprintf("%q is no TLP 2.0 level", m.TLP), strings.Join(levels, ", "))
		}
	case "marking-statement":
		if m.Statement == "" {
			c.err(ptr, "statement is missing", "")
		}
	case "marking-iep":
		if m.IEPTLP == "" {
			c.err(ptr, "tlp is missing", "")
		}
	default:
		c.err(join(ptr, "type"), fmt.Sprintf("there is no marking of type %q", m.Type), "marking-tlp, marking-statement or marking-iep")
	}
}

// extensions checks that each extension in the document is defined in it.
func (c *checker) extensions(ptr string, o, known object) {
	for name, v := range o {
		inner, ok := v.(object)
		if !ok {
			continue
		}
		at := join(ptr, name)
		if !strings.HasSuffix(name, "_extensions") {
			if strings.Count(at, "/") < 3 {
				c.extensions(at, inner, known)
			}
			continue
		}
		for id := range inner {
			if _, defined := known[id]; !defined {
				c.warn(join(at, id), "the extension is not in extension_definitions", "define it; it is kept as it is")
			}
		}
	}
}

var (
	reference     = regexp.MustCompile(`(__[a-zA-Z_][a-zA-Z0-9_-]{0,199}?__):value`)
	wholeVariable = regexp.MustCompile(`^__[a-zA-Z_][a-zA-Z0-9_-]{0,199}__:value$`)
)

// variables checks the declarations of one scope.
func (c *checker) variables(ptr string, vs Variables) {
	for name, v := range vs {
		at := join(ptr, name)
		if !namePattern.MatchString(name) {
			c.err(at, fmt.Sprintf("%q is no name of a variable", name), "names begin and end with two underscores: __target__")
		}
		if _, known := types[v.Type]; !known && v.Type != "" {
			c.warn(join(at, "type"), fmt.Sprintf("unknown type of variable %q", v.Type), "it takes any text")
		}
		if !v.Value.Known {
			if v.Constant && !v.External {
				c.err(at, "a constant without a value can never get one", "give it a value")
			}
			continue
		}
		if reference.MatchString(v.Value.Text) { // the value of another variable
			continue
		}
		if err := CheckType(v.Type, v.Value.Text); err != nil {
			c.err(join(at, "value"), fmt.Sprintf("%q is %v", short(v.Value.Text), err), "")
		}
	}
}

// short cuts a text for a message.
func short(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
