package detect

import (
	"slices"
	"strings"

	"picket/event"
)

// callKinds says which kinds have the fields of what a process asked of the kernel, by the first
// part of their names.
var callKinds = map[string][]event.Kind{
	"signal":     {event.ProcessSignal},
	"target":     {event.ProcessSignal, event.ProcessTrace, event.ProcessNamespace, event.HostKernel},
	"namespace":  {event.ProcessNamespace},
	"mount":      {event.HostMount},
	"module":     {event.HostModule},
	"bpf":        {event.HostBPF},
	"sysctl":     {event.HostSysctl},
	"device":     {event.DeviceOpen, event.DeviceControl},
	"capability": {event.ProcessCapability},
	"cgroup":     {event.CgroupCreate},
}

func callCarries(k event.Kind, of string) bool {
	if of == "call" {
		return k >= event.ProcessSignal
	}
	return slices.Contains(callKinds[of], k)
}

// aboutCall says what a call was done to, and that it was refused.
func aboutCall(e *event.Event) string {
	var s string
	if about := e.Call.About(); about != "" {
		s = ": " + clean(about, 160)
	}
	if e.Kind.Class() == "device" {
		s = ": " + strings.TrimSpace(clean(e.File.Path, 160)+" "+e.Call.Flags)
	}
	if e.Errno != 0 {
		s += ", which was refused"
	}
	return s
}
