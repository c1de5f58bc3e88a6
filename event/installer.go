package event

import (
	"slices"
	"strings"
)

// installers are programs that install packages, with the words that tell them to; nil where they always do.
var installers = map[string][]string{
	"pip": {"install", "download", "wheel"}, "uv": {"pip", "add", "sync", "run", "tool"}, "pipx": {"install", "run", "inject", "upgrade"},
	"conda": {"install", "create", "update", "env"}, "mamba": {"install", "create", "update", "env"}, "micromamba": {"install", "create", "update", "env"},
	"poetry": {"install", "add", "update", "sync"}, "pdm": {"install", "add", "update", "sync"},
	"npm": {"install", "i", "ci", "add", "update", "exec"}, "pnpm": {"install", "i", "add", "update", "dlx"},
	"yarn": {"install", "add", "dlx", "up"}, "bun": {"install", "i", "add", "x"}, "uvx": nil, "npx": nil, "bunx": nil,
	"ensurepip": nil, "venv": nil, // modules of Python: until 3.11 they install setuptools, too
}

// Installer returns the name of the installer of packages that a process is while it installs, such as pip;
// "" for any other process.
func (p *Process) Installer() string {
	args := p.Args
	if len(args) == 0 {
		args = strings.Fields(p.Cmdline)
	}
	for i := 0; i < len(args) && i < 4; i++ { // an interpreter, its options, the tool
		if i > 0 && strings.HasPrefix(args[i], "-") {
			continue
		}
		name := toolName(args[i])
		words, known := installers[name]
		if !known || i > 0 && shell(args[0]) && !strings.Contains(args[i], "/") {
			if i == 0 && (interpreter(args[0]) || shell(args[0])) {
				continue
			}
			return ""
		}
		if name == "ensurepip" || name == "venv" {
			if i == 0 || !strings.HasPrefix(args[i-1], "-") || !strings.HasSuffix(args[i-1], "m") {
				return "" // a program of that name
			}
		}
		if words == nil || toldTo(args[i+1:], words) {
			return name
		}
		return ""
	}
	return ""
}

// OfInstaller returns the installer farthest up from a process, itself included, nil for none: pip starts
// itself again for what a build needs.
func (p *Process) OfInstaller() *Process {
	if p.sealed {
		return p.installer
	}
	return p.findInstaller()
}

func (p *Process) findInstaller() (found *Process) {
	if p.Installer() != "" {
		found = p
	}
	for a := range p.Ancestors {
		if a.sealed {
			if a.installer != nil {
				found = a.installer
			}
			return found
		}
		if a.Installer() != "" {
			found = a
		}
	}
	return found
}

// toldTo reports whether the first word that is no option is one of some.
func toldTo(args, words []string) bool {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return slices.Contains(words, a)
		}
	}
	return false
}

func interpreter(arg string) bool {
	name := lastOf(arg)
	return strings.HasPrefix(name, "python") || strings.HasPrefix(name, "pypy") || name == "node" || name == "bun"
}

// shell reports whether an argument names a shell, which runs installers that are scripts.
func shell(arg string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "ash"}, lastOf(arg))
}

// toolName is the name of a program without its directory and version: pip of /usr/bin/pip3.11.
func toolName(arg string) string {
	name := lastOf(arg)
	for _, end := range [...]string{".js", ".cjs", ".mjs"} {
		name = strings.TrimSuffix(name, end)
	}
	name = strings.TrimSuffix(name, "-cli")
	if rest, ok := strings.CutPrefix(name, "pip"); ok && strings.Trim(rest, "0123456789.") == "" {
		return "pip"
	}
	return name
}
