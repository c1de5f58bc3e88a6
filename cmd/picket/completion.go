package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c *completionCmd) Run(a *app) error { //nolint:unparam // a command returns an error
	words := map[string][]string{}
	collect(a.kong.Model.Node, "", words)
	switch c.Shell {
	case "fish":
		a.printf("%s", fish(a.kong.Model.Node))
	case "zsh":
		a.printf("#compdef picket\nautoload -U +X bashcompinit && bashcompinit\n%s", bash(words))
	default:
		a.printf("%s", bash(words))
	}
	return nil
}

// collect gathers, for each command path, the commands and flags that may follow it.
func collect(n *kong.Node, path string, words map[string][]string) {
	for _, f := range n.AllFlags(true) {
		for _, flag := range f {
			words[path] = append(words[path], "--"+flag.Name)
		}
	}
	for _, c := range n.Children {
		if c.Hidden {
			continue
		}
		words[path] = append(words[path], c.Name)
		collect(c, strings.TrimSpace(path+" "+c.Name), words)
	}
}

func bash(words map[string][]string) string {
	var b strings.Builder
	b.WriteString("_picket() {\n  local cur path w i\n  cur=${COMP_WORDS[COMP_CWORD]}\n  path=\n" +
		"  for ((i = 1; i < COMP_CWORD; i++)); do\n    w=${COMP_WORDS[i]}\n    [[ $w == -* ]] || path=\"${path:+$path }$w\"\n  done\n  case $path in\n")
	for _, path := range slices.Sorted(maps.Keys(words)) {
		list := words[path]
		fmt.Fprintf(&b, "  %q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", path, strings.Join(list, " "))
	}
	b.WriteString("  *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n  esac\n}\ncomplete -o default -F _picket picket\n")
	return b.String()
}

func fish(root *kong.Node) string {
	var b strings.Builder
	for _, c := range root.Children {
		fmt.Fprintf(&b, "complete -c picket -n __fish_use_subcommand -a %s -d %q\n", c.Name, c.Help)
		for _, s := range c.Children {
			fmt.Fprintf(&b, "complete -c picket -n '__fish_seen_subcommand_from %s' -a %s -d %q\n", c.Name, s.Name, s.Help)
		}
		for _, f := range c.Flags {
			fmt.Fprintf(&b, "complete -c picket -n '__fish_seen_subcommand_from %s' -l %s -d %q\n", c.Name, f.Name, f.Help)
		}
	}
	return b.String()
}
