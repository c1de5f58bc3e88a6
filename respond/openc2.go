package respond

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"picket/cacao"
	"picket/event"
	"picket/respond/action"
)

// openC2 is a command of OpenC2 1.0, as far as Picket carries it out.
type openC2 struct {
	Action string                     `json:"action"`
	Target map[string]json.RawMessage `json:"target"`
	Args   openC2Args                 `json:"args"`
	ID     string                     `json:"command_id"`
}

type openC2Args struct {
	Duration int64             `json:"duration"` // milliseconds
	Response string            `json:"response_requested"`
	Picket   map[string]string `json:"x-picket"` // act, and its parameters
}

// openC2Acts are the acts that each action may mean; the first is meant where args do not say.
var openC2Acts = map[string][]action.Kind{
	"contain": {action.Freeze, action.Isolate, action.Quarantine, action.IsolatePod, action.Cordon, action.Suspend, action.HoldJob, action.DrainNode},
	"deny":    {action.Isolate, action.Cut, action.ExcludeGPU},
	"stop":    {action.Kill, action.Evict, action.DeletePod, action.Drain, action.RequeueJob, action.CancelJob, action.ResetGPU},
	"set":     {action.Label, action.Annotate, action.Taint, action.Scale, action.Uncordon, action.ReleaseJob, action.ResumeNode},
	"restore": {Undo},
	"copy":    {action.Capture, action.Checkpoint},
	"create":  {action.Notify, action.Ticket, action.RevokeToken, action.RollbackModel},
}

// actClass is how much harm an act does, before an agent has said so of the very thing.
var actClass = map[action.Kind]action.Class{
	action.Freeze: action.Reversible, action.Isolate: action.Reversible, action.ExcludeGPU: action.Reversible, action.Quarantine: action.Reversible, action.RollbackModel: action.Reversible,
	action.Label: action.Reversible, action.Annotate: action.Reversible, action.Cordon: action.Reversible, action.Uncordon: action.Reversible, action.Taint: action.Reversible,
	action.Scale: action.Reversible, action.Suspend: action.Reversible, action.IsolatePod: action.Reversible,
	action.HoldJob: action.Reversible, action.ReleaseJob: action.Reversible, action.DrainNode: action.Reversible, action.ResumeNode: action.Reversible,
	action.RequeueJob: action.Destructive, action.CancelJob: action.Destructive, action.Checkpoint: action.Observe,
	action.Evict: action.Destructive, action.DeletePod: action.Destructive, action.Drain: action.Destructive,
	action.Kill: action.Destructive, action.Cut: action.Destructive, action.RevokeToken: action.Destructive, action.ResetGPU: action.Destructive,
	action.Capture: action.Observe, action.Notify: action.Observe, action.Ticket: action.Observe, Undo: action.Observe,
}

// The time that a reversible act holds where its command does not say, and the longest that it may.
const (
	defaultTTL = time.Hour
	maxTTL     = 7 * 24 * time.Hour
)

// shortHolds tells of acts that end by themselves while a question of the plan may still stand.
func (p *Plan) shortHolds() (out []string) {
	if len(p.Questions) == 0 && !slices.ContainsFunc(p.Acts, func(a Act) bool { return a.Kind == Manual }) {
		return nil
	}
	for i := range p.Acts {
		if a := &p.Acts[i]; !a.LeftOut && a.TTL > 0 && a.TTL < askTimeout {
			said := fmt.Sprintf("“%s”: %s ends by itself after %s, and a question stands for %s: it may be over before somebody answers", a.Name, a.Kind, a.TTL, askTimeout)
			if !slices.Contains(out, said) {
				out = append(out, said)
			}
		}
	}
	return out
}

// openC2 makes acts of an OpenC2 command for Picket.
func (o *order) openC2(inc *event.Incident) ([]Act, error) {
	cmd, _ := o.step.CommandAt(o.index)
	req, err := cacao.ForHTTP(cmd, o.vars)
	if err != nil {
		if missing(cmd, o.vars) {
			return []Act{{Kind: meant(cmd), Class: action.Destructive, Open: err.Error()}}, nil
		}
		return nil, err
	}
	var c openC2
	dec := json.NewDecoder(bytes.NewReader([]byte(req.Body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("content is no OpenC2 command that Picket knows: %w", err)
	}
	kind, err := c.kind()
	if err != nil {
		return nil, err
	}
	a := Act{Kind: kind, Class: actClass[kind], Digest: sum([]byte(req.Body)), Params: maps.Clone(c.Args.Picket)}
	delete(a.Params, "act")
	if a.TTL, err = c.ttl(a.Class); err != nil {
		return nil, err
	}
	if kind == Undo {
		a.Effects = []string{"What the run did until then is taken back, the latest first."}
		return []Act{a}, nil
	}
	targets, err := c.targets(kind, inc)
	if err != nil {
		return nil, err
	}
	var out []Act
	for _, t := range targets {
		one := a
		one.Target, one.Params = t, maps.Clone(a.Params)
		out = append(out, one)
	}
	return out, nil
}

// meant says which act a command means some of whose values are not known yet.
func meant(cmd *cacao.Command) action.Kind {
	body, err := cmd.Body()
	var c openC2
	if err != nil || json.Unmarshal([]byte(body), &c) != nil {
		return action.Kill
	}
	if kind, err := c.kind(); err == nil && onAgent(kind) {
		return kind
	}
	return action.Kill
}

func (c *openC2) kind() (action.Kind, error) {
	kinds, has := openC2Acts[c.Action]
	if !has {
		return "", fmt.Errorf("content/action: Picket does not carry out %q: %s (%w)", c.Action, strings.Join(slices.Sorted(maps.Keys(openC2Acts)), ", "), ErrUnsupported)
	}
	if word := action.Kind(c.Args.Picket["act"]); word != "" {
		if !slices.Contains(kinds, word) {
			return "", fmt.Errorf("content/args/x-picket/act: %s does not mean %q: %v", c.Action, word, kinds)
		}
		return word, nil
	}
	if _, file := c.Target["file"]; file && c.Action == "contain" {
		return action.Quarantine, nil
	}
	if c.Action == "deny" && (c.Target["ipv4_net"] != nil || c.Target["ipv6_net"] != nil) {
		return action.Cut, nil
	}
	return kinds[0], nil
}

func (c *openC2) ttl(class action.Class) (time.Duration, error) {
	d := time.Duration(c.Args.Duration) * time.Millisecond
	switch {
	case c.Args.Duration < 0 || c.Args.Duration > maxTTL.Milliseconds():
		return 0, fmt.Errorf("content/args/duration: want milliseconds, at most %d: %s", maxTTL.Milliseconds(), maxTTL)
	case class != action.Reversible && d > 0:
		return 0, fmt.Errorf("content/args/duration: %s does not end by itself", c.Action)
	case class == action.Reversible && d == 0:
		return defaultTTL, nil
	}
	return d, nil
}

// targets returns what the command is about: x-picket names what an incident is about, by the word of
// the entity; a file or a network is named as OpenC2 does.
func (c *openC2) targets(kind action.Kind, inc *event.Incident) ([]action.Target, error) {
	if len(c.Target) != 1 {
		return nil, fmt.Errorf("content/target: want one target, there are %d", len(c.Target))
	}
	for name, raw := range c.Target {
		switch name {
		case "x-picket":
			var t struct {
				Entity string            `json:"entity"`
				Object *action.ObjectPin `json:"object"`
			}
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&t); err != nil {
				return nil, fmt.Errorf("content/target/x-picket: %w", err)
			}
			if t.Object != nil && t.Entity != "" {
				return nil, fmt.Errorf("content/target/x-picket: want an entity or an object, not both")
			}
			if t.Object != nil {
				return objectTarget(inc, t.Object)
			}
			list, err := resolve(inc, t.Entity)
			if err != nil {
				return nil, fmt.Errorf("content/target/x-picket/entity: %w", err)
			}
			return list, nil
		case "file":
			var t struct {
				Path string `json:"path"`
			}
			if err := json.Unmarshal(raw, &t); err != nil || !strings.HasPrefix(t.Path, "/") {
				return nil, fmt.Errorf("content/target/file: want a path from /")
			}
			if len(inc.Hosts) != 1 {
				return nil, fmt.Errorf("content/target/file: the incident is on %d hosts: which one is meant is not known", len(inc.Hosts))
			}
			return []action.Target{{Host: inc.Hosts[0], File: &action.FilePin{Path: t.Path}}}, nil
		case "ipv4_net", "ipv6_net":
			var network string
			if err := json.Unmarshal(raw, &network); err != nil || cacao.CheckType(strings.TrimSuffix(name, "_net")+"-addr", network) != nil {
				return nil, fmt.Errorf("content/target/%s: want an address or a network", name)
			}
			list, err := resolve(inc, "workload")
			if err != nil {
				return nil, fmt.Errorf("content/target/%s: %w", name, err)
			}
			for i := range list {
				list[i].Address = network
			}
			return list, nil
		default:
			return nil, fmt.Errorf("content/target: Picket cannot %s a target of type %q: x-picket, file, ipv4_net or ipv6_net (%w)", kind, name, ErrUnsupported)
		}
	}
	return nil, nil
}

// objectTarget returns where an object is acted on: one of Slurm or of a host by an agent on the incident's host.
func objectTarget(inc *event.Incident, o *action.ObjectPin) ([]action.Target, error) {
	if o.Of != action.Slurm && o.Of != action.OfHost {
		return []action.Target{{Object: o}}, nil
	}
	if len(inc.Hosts) != 1 {
		return nil, fmt.Errorf("content/target/x-picket/object: %d hosts are known: which one's agent is meant is not", len(inc.Hosts))
	}
	return []action.Target{{Host: inc.Hosts[0], Object: o}}, nil
}
