package falco

import (
	"regexp"
	"strings"
)

// outputField is a field in an output text: %proc.name, %proc.aname[2].
var outputField = regexp.MustCompile(`%[a-z0-9_]+(?:\.[a-z0-9_]+)+(?:\[[^\]]*\])?`)

// summary returns the sentence of a finding, made of a rule's output: what stands before the
// fields, which are told in Picket's own way, because it shows attacker's text safely and short.
func (s *source) summary(output string) string {
	text, _, _ := strings.Cut(output, " | ")
	if i := strings.Index(text, " ("); i > 0 && strings.Contains(text[i:], "%") && strings.HasSuffix(strings.TrimSpace(text), ")") {
		text = text[:i] // the older form: text (a=%a b=%b)
	}
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "${", "$ {")
	text = outputField.ReplaceAllStringFunc(text, func(name string) string {
		field, arg, hasArg := strings.Cut(strings.TrimSuffix(name[1:], "]"), "[")
		if field == "evt.type" {
			return s.types[0]
		}
		t, ok, why := s.target(&check{field: field, arg: arg, hasArg: hasArg})
		if !ok || why != "" {
			return "<NA>"
		}
		return "${" + t.names[0] + "}"
	})
	text = strings.TrimRight(text, " .:")
	if text == "" {
		return ""
	}
	switch s.family {
	case process:
		return text + ": ${who} ${where} was started by ${parent}: ${process.cmdline}"
	case local:
		return text + ": ${who} ${where}, ${net.unix.path}"
	case network:
		if s.name == "listen" || s.name == "bind" {
			return text + ": ${who} ${where}, port ${net.local.port}"
		}
		return text + ": ${who} ${where}, ${remote}"
	}
	return text + ": ${who} ${where}, ${file.path}"
}
