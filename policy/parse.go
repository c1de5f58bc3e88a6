package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var yamlLine = regexp.MustCompile(`line (\d+)`)

// Parse reads the policies of a file, one a document. Mistakes are joined, each an *Error; a policy
// with a mistake is left out.
func Parse(file string, src []byte) ([]*Policy, error) {
	p := &parser{file: file, lines: bytes.Split(src, []byte("\n"))}
	if len(src) > maxFile {
		p.fail(&yaml.Node{Line: 1, Column: 1}, fmt.Sprintf("the file is larger than %d bytes", maxFile), "join addresses into networks")
		return nil, p.err()
	}
	var out []*Policy
	for dec := yaml.NewDecoder(bytes.NewReader(src)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, p.err()
		}
		if err != nil {
			line := 1
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				line, _ = strconv.Atoi(m[1]) // the expression matched digits
			}
			p.fail(&yaml.Node{Line: line, Column: 1}, "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "), "")
			return out, p.err()
		}
		if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		before := len(p.errs)
		if pol := p.policy(doc.Content[0]); len(p.errs) == before {
			out = append(out, pol)
		}
	}
}

type parser struct {
	file  string
	lines [][]byte
	errs  []error
}

func (p *parser) err() error { return errors.Join(p.errs...) }

func (p *parser) fail(n *yaml.Node, msg, hint string) {
	if len(p.errs) >= 50 {
		return // enough to begin with
	}
	e := &Error{File: p.file, Line: max(n.Line, 1), Col: max(n.Column, 1), Msg: msg, Hint: hint}
	if e.Line <= len(p.lines) {
		e.Source = strings.TrimRight(string(p.lines[e.Line-1]), "\r")
		if len(e.Source) > 200 {
			e.Source = e.Source[:200] + "…"
		}
	}
	p.errs = append(p.errs, e)
}

// keys reads a mapping: each key goes to its reader.
func (p *parser) keys(n *yaml.Node, what string, readers map[string]func(*yaml.Node)) map[string]*yaml.Node {
	got := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.fail(n, what+": want keys and values", "known here: "+names(readers))
		return got
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		read := readers[k.Value]
		switch {
		case read == nil:
			p.fail(k, fmt.Sprintf("%s: unknown key %q", what, k.Value), "known here: "+names(readers))
		case got[k.Value] != nil:
			p.fail(k, fmt.Sprintf("%s: %s stands here twice", what, k.Value), "")
		case v.Kind == yaml.AliasNode:
			p.fail(v, what+": an alias is not read here", "write the value out")
		default:
			got[k.Value] = v
			read(v)
		}
	}
	return got
}

func names(readers map[string]func(*yaml.Node)) string {
	var out []string
	for k := range readers {
		out = append(out, k)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (p *parser) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" {
		p.fail(n, what+": want a text", "")
		return ""
	}
	return n.Value
}

// list reads a list of texts, or one text, and calls each with where it stands.
func (p *parser) list(n *yaml.Node, what string, most int, each func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		if strings.TrimSpace(n.Value) == "" {
			p.fail(n, what+": want a text", "")
			return
		}
		each(n)
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.fail(n, what+": want a list", "")
		return
	}
	if len(n.Content) > most {
		p.fail(n, fmt.Sprintf("%s: has %d entries, and at most %d are taken", what, len(n.Content), most), "join them: a network covers its addresses, a pattern its names")
		return
	}
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode || strings.TrimSpace(c.Value) == "" {
			p.fail(c, what+": want a text", "")
			continue
		}
		each(c)
	}
}

func (p *parser) texts(n *yaml.Node, what string, most int) []string {
	out := []string{}
	p.list(n, what, most, func(c *yaml.Node) { out = append(out, c.Value) })
	return out
}

var nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (p *parser) policy(n *yaml.Node) *Policy {
	pol := &Policy{File: p.file, Line: n.Line, Mode: Observe}
	got := p.keys(n, "policy", map[string]func(*yaml.Node){
		"name": func(v *yaml.Node) {
			if pol.Name = p.text(v, "name"); pol.Name != "" && !nameShape.MatchString(pol.Name) {
				p.fail(v, fmt.Sprintf("name: %q is no name for a policy", pol.Name), "lower-case letters, digits, dot, dash and underscore, at most 63")
			}
		},
		"select": func(v *yaml.Node) { p.selection(v, &pol.Select) },
		"mode": func(v *yaml.Node) {
			if pol.Mode = Mode(v.Value); pol.Mode != Observe && pol.Mode != Enforce {
				p.fail(v, fmt.Sprintf("mode: %q is not known", v.Value), "observe or enforce")
			}
		},
		"exec":    func(v *yaml.Node) { pol.Exec = p.exec(v) },
		"egress":  func(v *yaml.Node) { pol.Egress = p.egress(v) },
		"devices": func(v *yaml.Node) { pol.Devices = p.devices(v) },
		"models":  func(v *yaml.Node) { pol.Models = p.models(v) },
		"sysctl": func(v *yaml.Node) {
			if pol.Sysctl = v.Value; pol.Sysctl != "deny" {
				p.fail(v, "sysctl: want deny", "leave the key out to allow writing")
			}
		},
		"expires": func(v *yaml.Node) { pol.Expires = p.expires(v) },
	})
	p.complete(n, pol, got)
	return pol
}

// complete says what a policy lacks, and what would stop the host.
func (p *parser) complete(n *yaml.Node, pol *Policy, got map[string]*yaml.Node) {
	if got["name"] == nil {
		p.fail(n, "the policy has no name", "add name: such as llama-server")
	}
	if got["select"] == nil {
		p.fail(n, "the policy selects nothing", "add select: with container, cgroup, workload, engine or exe")
	}
	if pol.Exec == nil && pol.Egress == nil && pol.Devices == nil && pol.Models == nil && pol.Sysctl == "" {
		p.fail(n, "the policy limits nothing", "add exec, egress, devices, models or sysctl")
	}
	if pol.Mode == Enforce && got["expires"] == nil {
		p.fail(cmp.Or(got["mode"], n), "a policy that is enforced says when it ends", "add expires: with the last day, such as 2027-06-30, or never")
	}
	if pol.Egress != nil && !pol.Egress.Open && len(pol.Egress.Allow) == 0 {
		for _, c := range pol.Select.Cgroup {
			if system(c) {
				p.fail(got["egress"], "an empty allow list would cut "+c+", a part of the system, from the network", "name where it may send to")
			}
		}
	}
}

func (p *parser) exec(n *yaml.Node) *Exec {
	x := &Exec{}
	got := p.keys(n, "exec", map[string]func(*yaml.Node){"allow": func(v *yaml.Node) {
		p.list(v, "exec.allow", MaxExec, func(c *yaml.Node) {
			if !clean(c.Value) || strings.HasSuffix(c.Value, "/") {
				p.fail(c, fmt.Sprintf("exec.allow: %q is no path of a program", c.Value), "write the whole path, such as /usr/bin/python3, or a pattern of the last part, such as /opt/app/bin/*")
				return
			}
			if dir, _, _ := strings.Cut(c.Value, "*"); strings.Contains(c.Value[:strings.LastIndexByte(c.Value, '/')], "*") || dir == "/" {
				p.fail(c, fmt.Sprintf("exec.allow: %q is too wide", c.Value), "a star stands in the last part only, and not for all below /")
				return
			}
			x.Allow = append(x.Allow, c.Value)
		})
	}})
	if got["allow"] == nil || got["allow"].Kind == yaml.SequenceNode && len(got["allow"].Content) == 0 {
		p.fail(n, "exec: an empty allow list would keep every program from running", "name the workload's programs, or leave exec out")
	}
	return x
}

// gpuShape is one GPU: by the number of its device, or by UUID, and of MIG an instance of it.
var gpuShape = regexp.MustCompile(`^gpu:([0-9]{1,3}|GPU-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(/gi[0-9]{1,2}(/ci[0-9]{1,2})?)?$`)

func gpus(s string) bool { return s == "gpu" || strings.HasPrefix(s, "gpu:") }

func (p *parser) devices(n *yaml.Node) *Devices {
	d := &Devices{}
	got := p.keys(n, "devices", map[string]func(*yaml.Node){"allow": func(v *yaml.Node) {
		p.list(v, "devices.allow", MaxDevices, func(c *yaml.Node) {
			if strings.HasPrefix(c.Value, "gpu:") && !gpuShape.MatchString(c.Value) {
				p.fail(c, fmt.Sprintf("devices.allow: %q is no GPU", c.Value), "gpu:0 for /dev/nvidia0, gpu:GPU-… for a UUID as nvidia-smi -L shows it, gpu:0/gi1 for an instance of MIG; AMD and Intel by path, such as /dev/dri/renderD128")
				return
			}
			if !gpus(c.Value) && (!clean(c.Value) || !strings.HasPrefix(c.Value, "/dev/") || len(c.Value) < 6) {
				p.fail(c, fmt.Sprintf("devices.allow: %q is no device", c.Value), "gpu, gpu:0, or a path such as /dev/fuse or /dev/nvidia*")
				return
			}
			d.Allow = append(d.Allow, c.Value)
		})
	}})
	if got["allow"] == nil {
		p.fail(n, "devices: has no allow list", "add allow: [] to leave only what every program needs, such as /dev/null")
	}
	return d
}

func (p *parser) models(n *yaml.Node) *Models {
	m := &Models{}
	var unknown *yaml.Node
	p.keys(n, "models", map[string]func(*yaml.Node){
		"paths": func(v *yaml.Node) {
			p.list(v, "models.paths", MaxDevices, func(c *yaml.Node) {
				if !clean(c.Value) || c.Value == "/" {
					p.fail(c, fmt.Sprintf("models.paths: %q is no directory of models", c.Value), "write the whole path")
					return
				}
				m.Paths = append(m.Paths, c.Value)
			})
		},
		"read-only": func(v *yaml.Node) { m.ReadOnly = p.truth(v, "models.read-only") },
		"private":   func(v *yaml.Node) { m.Private = p.truth(v, "models.private") },
		"require": func(v *yaml.Node) {
			if v.Value != "signed" {
				p.fail(v, fmt.Sprintf("models.require: %q is not known", v.Value), "signed, or leave the key out")
			}
			m.Signed = true
		},
		"by": func(v *yaml.Node) {
			p.list(v, "models.by", MaxDevices, func(c *yaml.Node) {
				if c.Value == "" || strings.ContainsAny(c.Value, " \t\n()*") {
					p.fail(c, fmt.Sprintf("models.by: %q is no identity", c.Value), "write it as models.keyless in picket.yaml has it, such as https://github.com/OWNER/REPOSITORY/.github/workflows/release.yml@refs/heads/main")
					return
				}
				m.By = append(m.By, c.Value)
			})
		},
		"unknown": func(v *yaml.Node) {
			if v.Value != "allow" && v.Value != "hold" {
				p.fail(v, fmt.Sprintf("models.unknown: %q is not known", v.Value), "allow, or hold: who opens a file that is not judged yet waits for that, and is refused after half a minute")
			}
			unknown, m.Hold = v, v.Value == "hold"
		},
	})
	if limits := m.ReadOnly || m.Private; !limits && !m.Signed || limits && len(m.Paths) == 0 {
		p.fail(n, "models: limits nothing", "add paths: [/models], and read-only: true, private: true or both; or require: signed")
	}
	if len(m.By) > 0 && !m.Signed {
		p.fail(n, "models: by says who must have signed, and nothing has to be signed", "add require: signed")
	}
	if unknown != nil && (!m.Signed || len(m.Paths) == 0) {
		p.fail(unknown, "models.unknown: nobody is asked about files here", "add require: signed, and paths: with the directories of models")
	}
	return m
}

func (p *parser) truth(n *yaml.Node, what string) bool {
	if n.Value != "true" && n.Value != "false" {
		p.fail(n, what+": want true or false", "")
	}
	return n.Value == "true"
}

func (p *parser) expires(n *yaml.Node) time.Time {
	if n.Value == "never" {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, n.Value)
	if err != nil {
		p.fail(n, fmt.Sprintf("expires: %q is no day", n.Value), "the last day, such as 2027-06-30, or never")
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

// clean reports whether a path is absolute and says each thing once.
func clean(path string) bool {
	if !strings.HasPrefix(path, "/") || len(path) > 4096 || strings.ContainsRune(path, 0) || strings.Contains(path, "//") {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}
