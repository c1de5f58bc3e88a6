package cacao

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Shell is a shell command whose values come through its environment: no value is read as shell.
type Shell struct {
	Script string
	Env    []string // NAME=value
}

// envPrefix begins the names of the environment variables of a Shell, so that they are none that
// programs read (PATH, LD_PRELOAD).
const envPrefix = "CACAO_"

// ForShell prepares a shell command. References become references to environment variables. They must
// stand outside quotes or in double ones: in single quotes and in here-documents the shell would not
// replace them, and in what it reads twice ($(…), backquotes, eval) nobody can say how often a value
// is read, so those are refused.
func ForShell(text string, vars Variables) (Shell, error) {
	sh := Shell{}
	env := map[string]string{}
	var b strings.Builder
	var errs []error
	at, state := 0, shellState{}
	for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
		state.read(text[at:m[0]])
		b.WriteString(text[at:m[0]])
		at = m[1]
		name := text[m[2]:m[3]]
		v, err := vars.Get(name)
		if err == nil {
			err = state.refuses(name)
		}
		if err == nil && strings.ContainsRune(v.Value.Text, 0) {
			err = fmt.Errorf("variable %s: a zero byte cannot stand in a command", name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		key := envPrefix + strings.ReplaceAll(strings.Trim(name, "_"), "-", "_")
		if old, taken := env[key]; taken && old != v.Value.Text {
			errs = append(errs, fmt.Errorf("variable %s has the same name as another but for - and _", name))
		}
		env[key] = v.Value.Text
		if state.double {
			b.WriteString("${" + key + "}")
		} else {
			b.WriteString(`"${` + key + `}"`)
		}
	}
	b.WriteString(text[at:])
	sh.Script = b.String()
	for _, key := range slices.Sorted(maps.Keys(env)) {
		sh.Env = append(sh.Env, key+"="+env[key])
	}
	return sh, errors.Join(errs...)
}

// shellState follows the quotes of a shell text.
type shellState struct {
	single, double, escaped, comment bool
	nested, here, eval               bool
}

var evalWord = regexp.MustCompile(`(^|[\s;&|(])(eval|source|\.|(ba|da|z|k)?sh\s+(-\w+\s+)*-\w*c|su|ssh|xargs|awk|perl|python3?|sed)\s`)

func (s *shellState) read(text string) {
	for i := range len(text) {
		c := text[i]
		switch {
		case s.escaped:
			s.escaped = false
		case s.single:
			s.single = c != '\''
		case s.comment:
			s.comment = c != '\n'
		case c == '\\':
			s.escaped = true
		case c == '\'' && !s.double:
			s.single = true
		case c == '"':
			s.double = !s.double
		case c == '`', c == '$' && i+1 < len(text) && (text[i+1] == '(' || text[i+1] == '{' || text[i+1] == '\''):
			s.nested = true
		case c == '#' && !s.double && (i == 0 || strings.IndexByte(" \t\n;", text[i-1]) >= 0):
			s.comment = true
		case c == '<' && !s.double && i+1 < len(text) && text[i+1] == '<':
			s.here = true
		}
	}
	s.eval = s.eval || evalWord.MatchString(text)
}

func (s *shellState) refuses(name string) error {
	where := ""
	switch {
	case s.single:
		where = "in single quotes, where the shell replaces nothing: use double quotes"
	case s.escaped:
		where = "behind a backslash: remove it"
	case s.nested:
		where = "in or behind $(…), ${…}, $'…' or backquotes: put it into a shell variable before them"
	case s.here:
		where = "behind <<: print it with printf instead"
	case s.eval:
		where = "behind a command that reads it as a program (eval, sh -c, awk, …): pass it as an argument of a script"
	default:
		return nil
	}
	return fmt.Errorf("variable %s stands %s", name, where)
}
