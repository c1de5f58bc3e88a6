package event

import (
	"strconv"
	"strings"
)

// Argv0 returns the first argument, which a program may choose freely, "" where none is known.
func (p *Process) Argv0() string {
	if len(p.Args) > 0 && strings.HasPrefix(p.Cmdline, p.Args[0]) {
		return p.Args[0]
	}
	first, _, _ := strings.Cut(p.Cmdline, " ")
	return first
}

// Arguments returns the arguments after the first, joined by one space.
func (p *Process) Arguments() string {
	return strings.TrimPrefix(p.Cmdline[len(p.Argv0()):], " ")
}

// Command returns Comm and the arguments after the first, joined by one space: the command line
// with the kernel's name in front, which a program cannot choose as freely as its first argument.
func (p *Process) Command() string {
	if p.command != "" {
		return p.command
	}
	return p.joinCommand()
}

func (p *Process) joinCommand() string {
	first := p.Argv0()
	if dir, ok := strings.CutSuffix(first, p.Comm); ok && (dir == "" || strings.HasSuffix(dir, "/")) {
		return p.Cmdline[len(dir):] // the usual case: a part of what is there, so nothing is allocated
	}
	if p.Comm == "" {
		return p.Cmdline
	}
	return p.Comm + p.Cmdline[len(first):]
}

// AncestorNames returns the kernel's names of the ancestors, nearest first. It is not to be changed.
func (p *Process) AncestorNames() []string {
	if p.ancestors != nil {
		return p.ancestors
	}
	return p.listAncestors()
}

func (p *Process) listAncestors() []string {
	n := 0
	for range p.Ancestors {
		n++
	}
	if n == 0 {
		return nil
	}
	names := make([]string, 0, n)
	for a := range p.Ancestors {
		names = append(names, a.kernelName())
	}
	return names
}

// kernelName returns Comm, and where that was not seen the name of the executable.
func (p *Process) kernelName() string {
	if p.Comm != "" {
		return p.Comm
	}
	return p.Name()
}

// ancestor returns the process n generations up: 1 is the parent. It is nil where there is none.
func (p *Process) ancestor(n int) *Process {
	for ; p != nil && n > 0; n-- {
		p = p.Parent
	}
	return p
}

// setAncestors gives p the ancestors that a line such as "sh < nginx < runc" names, nearest first.
func (p *Process) setAncestors(line string) {
	names := strings.Split(line, " < ")
	for _, name := range names[:min(len(names), maxAncestors)] {
		if p.Parent == nil {
			p.Parent = new(Process)
		}
		p.ancestors = nil
		p = p.Parent
		p.Comm = name
	}
}

// ancestor is the field of the comm of the ancestor n generations up.
func ancestor(n int) Info {
	return derived(proc("process.ancestor."+strconv.Itoa(n)+".original_name", "", Text, "comm of the ancestor of that distance: 2 is the parent's parent",
		func(p *Process) Value {
			if a := p.ancestor(n); a != nil {
				return text(a.kernelName())
			}
			return Value{}
		}, nil), "process.ancestors")
}
