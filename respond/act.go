package respond

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// order is a command of a step, with the values that it sees.
type order struct {
	p     *cacao.Playbook
	step  *cacao.Step
	index int
	vars  cacao.Variables
}

// acts says what a command comes to: an act for each thing that it is done to. A command that cannot
// be carried out is an error; one whose values are not known yet gives an act that says so.
func (e *Engine) acts(o *order, inc *event.Incident) ([]Act, error) {
	cmd, _ := o.step.CommandAt(o.index)
	switch cmd.Type {
	case "manual":
		text, err := cmd.Text()
		if err != nil {
			return nil, err
		}
		said, err := cacao.Substitute(text, o.vars, cacao.Raw)
		if err != nil {
			said = text // with the names of what is not known yet
		}
		return []Act{{Kind: Manual, Class: action.Observe, Text: said, Digest: sum([]byte("manual"), []byte(text))}}, nil
	case "http-api":
		return o.request()
	case "openc2-http":
		if o.ours() {
			return o.openC2(inc)
		}
		return o.request()
	}
	return o.byHand(cmd)
}

// byHand makes a person's task of a command that Picket does not carry out itself. The command and the
// values are told apart: pasted into it, a value could be read as a part of the command.
func (o *order) byHand(cmd *cacao.Command) ([]Act, error) {
	text, err := cmd.Text()
	if err != nil {
		return nil, err
	}
	agent := "nobody"
	if a := o.p.Agents[o.step.Agent]; a != nil {
		agent = a.Name
	}
	var said strings.Builder
	if o.ours() {
		agent = "the host that it is about: " + agent + " runs none"
	}
	fmt.Fprintf(&said, "Run this %s command on %s:\n%s", cmd.Type, agent, text)
	for _, name := range cacao.References(text) {
		value := "(not known yet)"
		if v, err := o.vars.Get(name); err == nil {
			value = fmt.Sprintf("%q", v.Value.Text)
		}
		fmt.Fprintf(&said, "\nwhere %s is %s", name, value)
	}
	return []Act{{Kind: Manual, Class: action.Observe, Text: said.String(), Digest: sum([]byte(cmd.Type), []byte(text))}}, nil
}

// agent returns whom the command is for: its target, else the step's agent.
func (o *order) agent() (id string, a *cacao.Agent) {
	if _, target := o.step.CommandAt(o.index); target != "" {
		return target, o.p.Targets[target]
	}
	return o.step.Agent, o.p.Agents[o.step.Agent]
}

// ours reports whether the command is for Picket: its agent is a product of a category that Picket is of.
func (o *order) ours() bool {
	a := o.p.Agents[o.step.Agent]
	return a != nil && a.Type == "security-category" && slices.ContainsFunc(a.Category, func(c string) bool {
		return slices.Contains([]string{"endpoint", "edr", "server"}, c)
	})
}

// request makes an act of a request over HTTP.
func (o *order) request() ([]Act, error) {
	cmd, _ := o.step.CommandAt(o.index)
	req, base, err := o.fill()
	if err != nil {
		if missing(cmd, o.vars) {
			return []Act{{Kind: HTTP, Class: action.Destructive, Open: err.Error()}}, nil
		}
		return nil, err
	}
	class := action.Destructive // nobody can say what it does, nor take it back
	if req.Method == "GET" || req.Method == "HEAD" {
		class = action.Observe
	}
	headers, err := json.Marshal(req.Headers)
	if err != nil {
		return nil, err
	}
	// The body and the headers may hold what is not to be kept: the plan binds them by their hash.
	digest := sum([]byte(req.Method), []byte(base+req.Path), headers, []byte(req.Body))
	return []Act{{
		Kind: HTTP, Class: class, Params: map[string]string{"method": req.Method, "url": base + req.Path}, Digest: digest,
		Effects: []string{fmt.Sprintf("The server sends %s %s.", req.Method, base+req.Path)},
	}}, nil
}

// missing reports whether a command needs a value that is not known yet.
func missing(cmd *cacao.Command, vars cacao.Variables) bool {
	texts := []string{}
	for _, f := range []func() (string, error){cmd.Text, cmd.Body} {
		if text, err := f(); err == nil {
			texts = append(texts, text)
		}
	}
	for _, list := range cmd.Headers {
		texts = append(texts, list...)
	}
	for _, name := range cacao.References(strings.Join(texts, "\n")) {
		if _, err := vars.Get(name); err != nil {
			return true
		}
	}
	return false
}

// fill returns the request of a command with its values, and where it goes.
func (o *order) fill() (cacao.Request, string, error) {
	cmd, _ := o.step.CommandAt(o.index)
	req, err := cacao.ForHTTP(cmd, o.vars)
	if err != nil {
		return req, "", err
	}
	id, a := o.agent()
	if a == nil {
		return req, "", fmt.Errorf("%s is not defined", id)
	}
	if a.Authentication != "" {
		return req, "", fmt.Errorf("%s signs in by %s: signing in is not supported yet; leave authentication_info out", id, a.Authentication)
	}
	base, err := baseURL(a, o.vars)
	if err != nil {
		return req, "", fmt.Errorf("%s: %w", id, err)
	}
	return req, base, nil
}

// baseURL returns where an agent is reached, without a slash at the end. A name or an address is
// reached by https; who wants http says so with a url.
func baseURL(a *cacao.Agent, vars cacao.Variables) (string, error) {
	text, host := "", ""
	for _, kind := range []string{"url", "dname", "ipv4", "ipv6"} {
		if list := a.Address[kind]; len(list) > 0 {
			value, err := cacao.Substitute(list[0], vars, cacao.Raw)
			if err != nil {
				return "", err
			}
			if kind == "url" {
				text = value
				break
			}
			if host = value; kind == "ipv6" {
				host = "[" + value + "]"
			}
			break
		}
	}
	if host != "" {
		if text = "https://" + host; a.Port != "" {
			text += ":" + a.Port
		}
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", fmt.Errorf("there is no address: give url, dname, ipv4 or ipv6")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%q is no http or https URL", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("the URL must be a host and at most a path")
	}
	return strings.TrimRight(u.String(), "/"), nil
}
