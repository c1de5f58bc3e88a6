package kernel

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"picket/event"
)

// namedCalls are the calls that get at other processes, at the host or at more rights.
var namedCalls = []namedCall{
	{
		name: "ptrace", kind: event.ProcessTrace, amd64: 101, i386: 26, arm64: 117, arm32: 26, aim: aimPID, aimArg: 2, only: onlyOneOf, onlyArg: 1,
		mask: 1<<0 | 1<<4 | 1<<5 | 1<<6 | 1<<13 | 1<<15 | 1<<16 | 1<<37 | 1<<38,
		say:  func(c *event.Call, r *reported) { c.Request = oneOf(traceRequests, r.arg[0]) },
	},
	{name: "process_vm_readv", kind: event.ProcessTrace, amd64: 310, i386: 347, arm64: 270, arm32: 376, aim: aimPID, aimArg: 1},
	{name: "process_vm_writev", kind: event.ProcessTrace, amd64: 311, i386: 348, arm64: 271, arm32: 377, aim: aimPID, aimArg: 1},
	{
		name: "pidfd_getfd", kind: event.ProcessTrace, amd64: 438, i386: 438, arm64: 438, arm32: 438, aim: aimPIDFD, aimArg: 1,
		say: func(c *event.Call, r *reported) { c.Object = fmt.Sprint("descriptor ", uint32(r.arg[1])) },
	},

	{name: "setns", kind: event.ProcessNamespace, amd64: 308, i386: 346, arm64: 268, arm32: 375, aim: aimSpace, aimArg: 1, say: saySetns},
	{name: "unshare", kind: event.ProcessNamespace, amd64: 272, i386: 310, arm64: 97, arm32: 337, only: onlyBits, onlyArg: 1, mask: cloneSpaces | 0x80, say: sayUnshare},
	{name: "clone", kind: event.ProcessNamespace, amd64: 56, i386: 120, arm64: 220, arm32: 120, only: onlyBits, onlyArg: 1, mask: cloneSpaces, flags: callParent, say: sayClone},
	{name: "clone3", kind: event.ProcessNamespace, amd64: 435, i386: 435, arm64: 435, arm32: 435, only: onlyFirst, onlyArg: 1, mask: cloneSpaces | 0x80, flags: callParent, say: sayUnshare},
	{name: "chroot", kind: event.ProcessNamespace, amd64: 161, i386: 61, arm64: 51, arm32: 61, texts: [4]uint8{1}, say: sayObject},
	{name: "pivot_root", kind: event.ProcessNamespace, amd64: 155, i386: 217, arm64: 41, arm32: 218, texts: [4]uint8{1}, say: sayObject},

	{name: "setuid", kind: event.ProcessCred, amd64: 105, i386: 213, arm64: 146, arm32: 213, say: sayIDs(1)},
	{name: "setgid", kind: event.ProcessCred, amd64: 106, i386: 214, arm64: 144, arm32: 214, say: sayIDs(1)},
	{name: "setreuid", kind: event.ProcessCred, amd64: 113, i386: 203, arm64: 145, arm32: 203, say: sayIDs(2)},
	{name: "setregid", kind: event.ProcessCred, amd64: 114, i386: 204, arm64: 143, arm32: 204, say: sayIDs(2)},
	{name: "setresuid", kind: event.ProcessCred, amd64: 117, i386: 208, arm64: 147, arm32: 208, say: sayIDs(3)},
	{name: "setresgid", kind: event.ProcessCred, amd64: 119, i386: 210, arm64: 149, arm32: 210, say: sayIDs(3)},
	{name: "setfsuid", kind: event.ProcessCred, amd64: 122, i386: 215, arm64: 151, arm32: 215, say: sayIDs(1)},
	{name: "setfsgid", kind: event.ProcessCred, amd64: 123, i386: 216, arm64: 152, arm32: 216, say: sayIDs(1)},
	// The same with ids of 16 bits, for old 32-bit programs.
	{name: "setuid", kind: event.ProcessCred, i386: 23, arm32: 23, say: sayIDs(1)},
	{name: "setgid", kind: event.ProcessCred, i386: 46, arm32: 46, say: sayIDs(1)},
	{name: "setreuid", kind: event.ProcessCred, i386: 70, arm32: 70, say: sayIDs(2)},
	{name: "setregid", kind: event.ProcessCred, i386: 71, arm32: 71, say: sayIDs(2)},
	{name: "setresuid", kind: event.ProcessCred, i386: 164, arm32: 164, say: sayIDs(3)},
	{name: "setresgid", kind: event.ProcessCred, i386: 170, arm32: 170, say: sayIDs(3)},
	{name: "setfsuid", kind: event.ProcessCred, i386: 138, arm32: 138, say: sayIDs(1)},
	{name: "setfsgid", kind: event.ProcessCred, i386: 139, arm32: 139, say: sayIDs(1)},
	{name: "capset", kind: event.ProcessCred, amd64: 126, i386: 185, arm64: 91, arm32: 185, memory: 2, say: sayCaps},

	{name: "mount", kind: event.HostMount, amd64: 165, i386: 21, arm64: 40, arm32: 21, texts: [4]uint8{1, 2, 3, 5}, say: sayMount},
	{name: "umount2", kind: event.HostMount, amd64: 166, i386: 52, arm64: 39, arm32: 52, texts: [4]uint8{1}, say: sayUnmount},
	{name: "open_tree", kind: event.HostMount, amd64: 428, i386: 428, arm64: 428, arm32: 428, path: 1, texts: [4]uint8{2}, say: sayOpenTree},
	{name: "move_mount", kind: event.HostMount, amd64: 429, i386: 429, arm64: 429, arm32: 429, path: 3, texts: [4]uint8{2, 4}, say: sayMoveMount},
	{
		name: "fsopen", kind: event.HostMount, amd64: 430, i386: 430, arm64: 430, arm32: 430, texts: [4]uint8{1},
		say: func(c *event.Call, r *reported) { c.Mount.Type = r.text[0] },
	},
	{name: "fsconfig", kind: event.HostMount, amd64: 431, i386: 431, arm64: 431, arm32: 431, texts: [4]uint8{3, 4}, say: sayFsconfig},
	{name: "fsmount", kind: event.HostMount, amd64: 432, i386: 432, arm64: 432, arm32: 432},
	{name: "mount_setattr", kind: event.HostMount, amd64: 442, i386: 442, arm64: 442, arm32: 442, path: 1, texts: [4]uint8{2}, say: sayOpenTree},

	{
		name: "init_module", kind: event.HostModule, amd64: 175, i386: 128, arm64: 105, arm32: 128, texts: [4]uint8{3},
		say: func(c *event.Call, r *reported) { c.Object = r.text[0] },
	},
	{
		name: "finit_module", kind: event.HostModule, amd64: 313, i386: 350, arm64: 273, arm32: 379, path: 1, texts: [4]uint8{2},
		say: func(c *event.Call, r *reported) {
			c.Module, c.Object, c.Flags = r.path, r.text[0], flagNames(r.arg[2], moduleFlags)
		},
	},
	{
		name: "delete_module", kind: event.HostModule, amd64: 176, i386: 129, arm64: 106, arm32: 129, texts: [4]uint8{1},
		say: func(c *event.Call, r *reported) { c.Module = r.text[0] },
	},

	{
		name: "bpf", kind: event.HostBPF, amd64: 321, i386: 357, arm64: 280, arm32: 386, only: onlyOneOf, onlyArg: 1, memory: 2,
		mask: 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<13 | 1<<14 | 1<<17 | 1<<28 | 1<<29 | 1<<30 | 1<<34, say: sayBPF,
	},

	// A signal that arrives is told of by on_signal.
	{name: "kill", kind: event.ProcessSignal, amd64: 62, i386: 37, arm64: 129, arm32: 37, aim: aimPID, aimArg: 1, only: onlyOneOf, onlyArg: 2, mask: signals, flags: callFailed, say: saySignal(1)},
	{name: "tkill", kind: event.ProcessSignal, amd64: 200, i386: 238, arm64: 130, arm32: 238, aim: aimPID, aimArg: 1, only: onlyOneOf, onlyArg: 2, mask: signals, flags: callFailed, say: saySignal(1)},
	{name: "tgkill", kind: event.ProcessSignal, amd64: 234, i386: 270, arm64: 131, arm32: 268, aim: aimPID, aimArg: 1, flags: callFailed, say: saySignal(2)},
	{name: "pidfd_send_signal", kind: event.ProcessSignal, amd64: 424, i386: 424, arm64: 424, arm32: 424, aim: aimPIDFD, aimArg: 1, only: onlyOneOf, onlyArg: 2, mask: signals, flags: callFailed, say: saySignal(1)},

	{name: "keyctl", kind: event.HostKernel, amd64: 250, i386: 288, arm64: 219, arm32: 311, say: func(c *event.Call, r *reported) { c.Request = oneOf(keyCommands, r.arg[0]) }},
	{name: "add_key", kind: event.HostKernel, amd64: 248, i386: 286, arm64: 217, arm32: 309, texts: [4]uint8{1, 2}, say: sayKey},
	{name: "request_key", kind: event.HostKernel, amd64: 249, i386: 287, arm64: 218, arm32: 310, texts: [4]uint8{1, 2}, say: sayKey},
	{name: "userfaultfd", kind: event.HostKernel, amd64: 323, i386: 374, arm64: 282, arm32: 388},
	{name: "perf_event_open", kind: event.HostKernel, amd64: 298, i386: 336, arm64: 241, arm32: 364, aim: aimPID, aimArg: 2},
	{name: "kexec_load", kind: event.HostKernel, amd64: 246, i386: 283, arm64: 104, arm32: 347},
	{
		name: "kexec_file_load", kind: event.HostKernel, amd64: 320, arm64: 294, arm32: 401, path: 1,
		say: func(c *event.Call, r *reported) { c.Object = r.path },
	},
	{name: "socket", kind: event.HostKernel, amd64: 41, i386: 359, arm64: 198, arm32: 281, only: onlySocket, onlyArg: 1, mask: 1<<64 - 1 - everydaySockets, say: saySocket},
	{name: "iopl", kind: event.HostKernel, amd64: 172, i386: 110, say: func(c *event.Call, r *reported) { c.Object = fmt.Sprint("level ", uint32(r.arg[0])) }},
	{name: "ioperm", kind: event.HostKernel, amd64: 173, i386: 101, say: func(c *event.Call, r *reported) { c.Object = fmt.Sprintf("port %#x", r.arg[0]) }},
	{
		name: "reboot", kind: event.HostKernel, amd64: 169, i386: 88, arm64: 142, arm32: 88,
		say: func(c *event.Call, r *reported) { c.Request = oneOf(rebootCommands, uint64(uint32(r.arg[2]))) },
	},
	{name: "swapon", kind: event.HostKernel, amd64: 167, i386: 87, arm64: 224, arm32: 87, texts: [4]uint8{1}, say: sayObject},
	{name: "swapoff", kind: event.HostKernel, amd64: 168, i386: 115, arm64: 225, arm32: 115, texts: [4]uint8{1}, say: sayObject},
	{name: "acct", kind: event.HostKernel, amd64: 163, i386: 51, arm64: 89, arm32: 51, texts: [4]uint8{1}, say: sayObject},
	{name: "sethostname", kind: event.HostKernel, amd64: 170, i386: 74, arm64: 161, arm32: 74, memory: 1, say: sayHostname},
	{name: "setdomainname", kind: event.HostKernel, amd64: 171, i386: 121, arm64: 162, arm32: 121, memory: 1, say: sayHostname},
	{name: "clock_settime", kind: event.HostKernel, amd64: 227, i386: 264, arm64: 112, arm32: 262},
	{name: "settimeofday", kind: event.HostKernel, amd64: 164, i386: 79, arm64: 170, arm32: 79},
}

// sayIDs tells the first n arguments; an id of -1 stays as it was.
func sayIDs(n int) func(*event.Call, *reported) {
	return func(c *event.Call, r *reported) {
		var ids []string
		for _, id := range r.arg[:n] {
			ids = append(ids, fmt.Sprint(int32(id)))
		}
		c.IDs = strings.Join(ids, " ")
	}
}

// sayCaps tells the effective capabilities: the low words of three sets, then the high words.
func sayCaps(c *event.Call, r *reported) {
	low, high := binary.NativeEndian.Uint32(r.memory[:]), binary.NativeEndian.Uint32(r.memory[12:])
	c.Flags = strings.Join(event.Capabilities(uint64(low)|uint64(high)<<32), "|")
}

// everydaySockets are the families that programs open all the time: of the host, of IP, of the kernel.
const everydaySockets = 1<<unix.AF_UNSPEC | 1<<unix.AF_UNIX | 1<<unix.AF_INET | 1<<unix.AF_INET6 | 1<<unix.AF_NETLINK

// saySocket tells the family as the request, and the kind of socket as a flag.
func saySocket(c *event.Call, r *reported) {
	c.Request, c.Flags = oneOf(socketFamilies, r.arg[0]), oneOf(socketKinds, r.arg[1]&0xf)
	c.Object = fmt.Sprintf("protocol %d", uint32(r.arg[2]))
}

// signals are those up to 31. Signal 0 only asks whether a process is there.
const signals = 1<<32 - 2

func saySignal(arg int) func(*event.Call, *reported) {
	return func(c *event.Call, r *reported) { c.Number = int64(uint32(r.arg[arg])) }
}

func sayObject(c *event.Call, r *reported) { c.Object = r.text[0] }

func sayKey(c *event.Call, r *reported) { c.Request, c.Object = r.text[0], r.text[1] }

func sayHostname(c *event.Call, r *reported) {
	c.Object = strings.ToValidUTF8(string(r.memory[:min(r.arg[1], uint64(len(r.memory)))]), "\ufffd")
}

// saySetns tells the kinds that the flags name, where the descriptor is no namespace itself.
func saySetns(c *event.Call, r *reported) {
	c.Flags = flagNames(uint64(uint32(r.arg[1])), cloneFlags)
	if c.Space.Types == "" {
		c.Space.Types = spaces(r.arg[1])
	}
}

func sayUnshare(c *event.Call, r *reported) {
	flags := r.arg[0] & (cloneSpaces | 0x80)
	c.Flags, c.Space.Types = flagNames(flags, cloneFlags), spaces(flags)
}

// sayClone leaves out the signal that is told when the child ends, in the lowest byte.
func sayClone(c *event.Call, r *reported) {
	r.arg[0] &= cloneSpaces
	sayUnshare(c, r)
}

func spaces(flags uint64) string {
	var out []string
	for _, f := range spaceTypes {
		if flags&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, " ")
}

func sayMount(c *event.Call, r *reported) {
	flags := r.arg[3]
	if flags&0xffff0000 == 0xc0ed0000 { // a mark that old programs set
		flags &= 0xffff
	}
	c.Flags = flagNames(flags, mountFlags)
	c.Mount = event.Mount{Source: r.text[0], Target: r.text[1], Type: r.text[2], Options: hideOptions(r.text[3])}
}

// hideOptions masks the values of options that may be secret.
func hideOptions(s string) string {
	words := strings.Split(s, ",")
	for i, w := range words {
		if name, _, ok := strings.Cut(w, "="); ok && (isSecret(name) || name == "pass") {
			words[i] = name + "=" + mask
		}
	}
	return strings.Join(words, ",")
}

func sayUnmount(c *event.Call, r *reported) {
	c.Mount.Target, c.Flags = r.text[0], flagNames(r.arg[1], unmountFlags)
}

func sayOpenTree(c *event.Call, r *reported) {
	c.Mount.Source, c.Flags = join([]byte(below(r.path, r.text[0])), []byte(r.text[0])), flagNames(r.arg[2], openTreeFlags)
	if r.text[0] == "" {
		c.Mount.Source = r.path
	}
}

func sayMoveMount(c *event.Call, r *reported) {
	c.Mount.Source, c.Flags = r.text[0], flagNames(r.arg[4], moveMountFlags)
	c.Mount.Target = r.path
	if r.text[1] != "" {
		c.Mount.Target = join([]byte(below(r.path, r.text[1])), []byte(r.text[1]))
	}
}

// below returns the directory that a name starts from, "" where the name says it all.
func below(dir, name string) string {
	if strings.HasPrefix(name, "/") {
		return ""
	}
	return dir
}

func sayFsconfig(c *event.Call, r *reported) {
	c.Request = oneOf(fsconfigCommands, uint64(uint32(r.arg[1])))
	key, value := r.text[0], ""
	if r.arg[1] == 1 || r.arg[1] == 3 {
		value = r.text[1]
	}
	switch {
	case key == "source":
		c.Mount.Source = value
	case value != "":
		c.Mount.Options = hideOptions(key + "=" + value)
	default:
		c.Mount.Options = key
	}
}

// sayBPF reads the start of bpf(2)'s attributes.
func sayBPF(c *event.Call, r *reported) {
	c.Request = oneOf(bpfCommands, r.arg[0])
	if r.arg[0] != 5 {
		return
	}
	c.BPFType = oneOf(bpfTypes, uint64(binary.NativeEndian.Uint32(r.memory[:])))
	name, _, _ := strings.Cut(string(r.memory[48:64]), "\x00")
	c.BPF = strconv.QuoteToGraphic(name)
	c.BPF = c.BPF[1 : len(c.BPF)-1]
}
