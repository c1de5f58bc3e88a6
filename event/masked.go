package event

import (
	"slices"
	"strings"
)

// Loader reports whether the executable is the loader of shared libraries, run by hand: it then
// starts the program that its arguments name, which no execve shows.
func (p *Process) Loader() bool {
	name := lastOf(p.Exe)
	return name == "ld.so" || strings.HasPrefix(name, "ld-") && strings.Contains(name, ".so") || strings.HasPrefix(name, "ld64.so")
}

// commLen is how much of a name the kernel keeps.
const commLen = 15

// Masked reports whether the process was started under a name that is not its executable's, nor
// the one by which that was called: the first argument of a program is its caller's to choose.
func (p *Process) Masked() bool {
	if p.Invoked == "" || p.Exe == "" || len(p.Args) == 0 {
		return false // it ran before, and may have renamed itself
	}
	names := []string{lastOf(p.Exe), lastOf(p.Invoked)}
	if p.Comm != "" && !p.FDExec && !slices.ContainsFunc(names, func(n string) bool { return n[:min(len(n), commLen)] == p.Comm }) {
		return true
	}
	called := lastOf(strings.TrimPrefix(p.Args[0], "-")) // of a login shell
	return !p.Script && !p.FDExec && !slices.Contains(names, called) && !manyInOne(names[0])
}

// manyInOne reports whether a program goes by the name of each that it holds.
func manyInOne(name string) bool { return name == "busybox" || name == "toybox" || name == "coreutils" }

func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
