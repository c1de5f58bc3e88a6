package event

import (
	"strconv"
	"strings"
)

// Call is what a process asked of the kernel, beyond files and connections. What a call does not
// have is empty.
type Call struct {
	Name    string // the system call
	Request string // what it was to do, where one call does several things: PTRACE_ATTACH
	Flags   string // by name, with | between
	Object  string // what it was about, where no field below says it
	Number  int64  // the signal, or the first id that was asked for
	IDs     string // the user or group ids that were asked for, separated by spaces
	Target  *Process
	Space   Space
	Mount   Mount
	Module  string // a path, or a name where there is no file
	BPF     string // name of the program
	BPFType string // of the program
	Sysctl  string // name of the setting: kernel/core_pattern
	Value   string // that it gets
	Group   string // path of the control group

	Capability string // that was used: CAP_SYS_ADMIN
}

// Space is a namespace that a process entered or made.
type Space struct {
	Types string // mnt, net, uts, ipc, pid, cgroup, user, time; several with a space between
	Inode uint32 // of one that was there before
	Host  bool   // it is one of the host's own
}

// Mount is what was mounted, as the program spelled it.
type Mount struct {
	Source, Target, Type, Options string
}

// text tells calls apart.
func (c *Call) text() string {
	var target string
	if c.Target != nil {
		target = strconv.FormatUint(uint64(c.Target.PID), 10)
	}
	return strings.Join([]string{
		c.Name, c.Request, c.Flags, c.Object, strconv.FormatInt(c.Number, 10), c.IDs, target, c.Space.Types,
		strconv.FormatUint(uint64(c.Space.Inode), 10), c.Mount.Source, c.Mount.Target, c.Mount.Type, c.Mount.Options, c.Module, c.BPF, c.BPFType, c.Sysctl, c.Value, c.Group, c.Capability,
	}, "\x00")
}

// About returns what a call was done to, in a few words: the same for the same thing.
func (c *Call) About() string {
	var words []string
	for _, w := range []string{c.Request, c.Flags, c.Space.Types, c.Mount.Type, c.Mount.Source, c.Mount.Target, c.Module, c.BPFType, c.BPF, c.Object, c.IDs, c.Sysctl, c.Value, c.Group, c.Capability} {
		if w != "" {
			words = append(words, w)
		}
	}
	if t := c.Target; t != nil {
		words = append(words, t.Name()+"["+strconv.FormatUint(uint64(t.PID), 10)+"]")
	}
	return strings.Join(words, " ")
}

// Foreign reports whether the target runs in another container than the process that made the
// call, or outside of all while that one is inside.
func (e *Event) Foreign() bool {
	if e.Call == nil || e.Call.Target == nil || e.Process == nil {
		return false
	}
	return containerOf(e.Process) != containerOf(e.Call.Target)
}

func containerOf(p *Process) string {
	if p.Container == nil {
		return ""
	}
	return p.Container.ID
}

// describe is the sentence of Describe about a call.
func (c *Call) describe(who string, errno int32) string {
	s := who + " called " + c.Name
	if about := c.About(); about != "" {
		s += ": " + about
	}
	if errno != 0 {
		s += " (refused: error " + strconv.Itoa(int(errno)) + ")"
	}
	return s
}
