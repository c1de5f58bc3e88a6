package artifact

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// configFormat is JSON: configurations and tokenizers of models, Keras models, manifests of archives.
// What it says decides which code a loader runs.
func configFormat() format {
	return format{
		name: "json",
		sniff: func(head []byte, _ *part) bool {
			t := strings.Trim(string(head), " \t\r\n")
			if len(t) < 2 || t[0] != '{' && t[0] != '[' {
				return false
			}
			next := strings.TrimLeft(t[1:], " \t\r\n")
			return next != "" && (next[0] == '"' || t[0] == '{' && next[0] == '}' || t[0] == '[' && beginsValue(next))
		},
		scan: func(s *scan, p *part) { judgeConfig(s, p, p.stream(0), 0) },
	}
}

// beginsValue reports whether a text begins as a value in a list does. What has a name in brackets is no JSON.
func beginsValue(t string) bool {
	for _, literal := range []string{"true", "false", "null", "NaN"} {
		if strings.HasPrefix(literal, t[:min(len(t), len(literal))]) {
			return true
		}
	}
	return strings.ContainsAny(t[:1], "{[]-0123456789")
}

// judgeConfig judges the JSON that r holds, which begins at a byte of p.
func judgeConfig(s *scan, p *part, r io.Reader, at int64) {
	c := &config{s: s, p: p, j: newJSON(r, at)}
	c.j.more = true
	for !s.over {
		k, err := c.j.next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			s.broken(p, c.j.at, "json", err)
			return
		}
		c.token(k)
	}
}

// config judges JSON, token by token.
type config struct {
	s    *scan
	p    *part
	j    *jsonReader
	open []frame // objects and lists that the next token is in
}

// frame is an object or list under way.
type frame struct {
	key    string // of an object: the last; of a list: that which leads to it
	keras  kerasObject
	isList bool
}

func (c *config) token(k token) {
	n := len(c.open)
	switch k.kind {
	case '{', '[':
		f := frame{isList: k.kind == '['}
		if f.isList && n > 0 {
			f.key = c.open[n-1].key
		}
		c.open = append(c.open, f)
	case '}', ']':
		if !c.open[n-1].isList {
			c.open[n-1].keras.judge(c, k.at)
		}
		c.open = c.open[:n-1]
	case 'k':
		c.open[n-1].key = clip(k.text)
	case 's':
		if n > 0 {
			c.text(k, &c.open[n-1])
		}
	case 'l':
		if n > 0 && c.open[n-1].key == "trust_remote_code" && k.text == "true" {
			c.tell(k.at, "remote-code", Suspicious, "trust_remote_code", "It tells loaders to trust the code that comes with the model.")
		}
	}
}

func (c *config) tell(at int64, rule string, v Verdict, name, text string) {
	c.s.issue(c.p, Issue{Rule: rule, Verdict: v, Offset: at, Name: clip(name), Text: text})
}

// under returns the key that leads to the object or list that stands n levels out.
func (c *config) under(n int) string {
	if i := len(c.open) - 1 - n; i >= 0 {
		return c.open[i].key
	}
	return ""
}

func (c *config) text(k token, f *frame) {
	switch f.key {
	case "chat_template", "default_chat_template":
		judgeTemplate(c.s, c.p, k.at, f.key, k.text, k.cut)
	case "template": // of a list of templates with names
		if strings.HasSuffix(c.under(1), "chat_template") {
			judgeTemplate(c.s, c.p, k.at, f.key, k.text, k.cut)
		}
	case "_target_":
		judgeTarget(c.s, c.p, k.at, k.text)
	case "handler":
		if c.under(1) == "model" {
			c.handler(k)
		}
	case "vocabulary":
		if !f.isList { // a list holds the words themselves
			c.vocabulary(k)
		}
	}
	if f.key == "auto_map" || c.under(1) == "auto_map" || c.under(2) == "auto_map" {
		c.autoMap(k)
	}
	if !f.isList {
		f.keras.set(f.key, k)
	}
}

// autoMap judges a class that loaders import from the model's directory, or from that of another.
func (c *config) autoMap(k token) {
	if repo, name, ok := strings.Cut(k.text, "--"); ok {
		c.tell(k.at, "remote-code", Suspicious, k.text, fmt.Sprintf("Loaders that trust remote code take %s from another model, %s.", clip(name), clip(repo)))
		return
	}
	c.tell(k.at, "remote-code", Unknown, k.text, "Loaders that trust remote code import a class from the model's own Python files.")
}

// handler judges what a TorchServe archive runs.
func (c *config) handler(k token) {
	name, _, _ := strings.Cut(k.text, ":")
	switch {
	case path.IsAbs(name) || strings.Contains(name, ".."):
		c.tell(k.at, "handler", Malicious, name, "The model server runs a file outside the archive.")
	case strings.HasSuffix(name, ".py"):
		c.tell(k.at, "handler", Unknown, name, "The model server runs this file of the archive.")
	case strings.ContainsAny(name, "/\\"):
		c.tell(k.at, "handler", Suspicious, name, "The handler is neither a file of the archive nor one of the server's own.")
	}
}

// vocabulary judges where a text layer of Keras gets its words, which it reads when the model is loaded.
func (c *config) vocabulary(k token) {
	switch {
	case strings.Contains(k.text, "://") || path.IsAbs(k.text) || strings.Contains(k.text, ".."):
		c.tell(k.at, "vocabulary-path", Malicious, k.text, "A layer reads its vocabulary from elsewhere when the model is loaded.")
	case k.text != "":
		c.tell(k.at, "vocabulary-path", Suspicious, k.text, "A layer reads its vocabulary from a file when the model is loaded.")
	}
}

// What configurations of honest models have their loader call.
var (
	modelModules = words("nemo nemo_toolkit megatron transformers lightning pytorch_lightning apex")
	modelParts   = []string{"torch.nn.", "torch.optim.", "torch.utils.data.", "torchvision.transforms.", "torchaudio.transforms."}
)

// judgeTarget judges a dotted name that a configuration has its loader call.
func judgeTarget(s *scan, p *part, at int64, name string) {
	i := Issue{Rule: "target", Verdict: Unknown, Offset: at, Name: clip(name), Text: "The loader calls " + clip(name) + ", which is on no list."}
	root, _, _ := strings.Cut(name, ".")
	switch {
	case stdlib[root] || denied(name) || strings.HasPrefix(name, "hydra.utils.") || strings.Contains(name, "__") || reexports(name):
		i.Verdict, i.Text = Malicious, "The loader calls "+clip(name)+", which no model needs."
	case modelModules[root]:
		return
	default:
		for _, m := range modelParts {
			if strings.HasPrefix(name, m) {
				return
			}
		}
	}
	s.issue(p, i)
}
