package event

import (
	"math/bits"
	"strconv"
	"strings"
)

// capabilities are the kernel's capabilities in the order of their bits.
var capabilities = strings.Fields(`
CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
CAP_CHECKPOINT_RESTORE`)

// capNames returns the names of the capabilities in a mask. All or the first of all, which is
// what privileged processes have, cost nothing.
func capNames(mask uint64) []string {
	mask &= 1<<len(capabilities) - 1
	n := bits.OnesCount64(mask)
	if mask == 1<<n-1 {
		return capabilities[:n:n]
	}
	names := make([]string, 0, n)
	for ; mask != 0; mask &= mask - 1 {
		names = append(names, capabilities[bits.TrailingZeros64(mask)])
	}
	return names
}

// Capabilities returns the names of the capabilities in a mask, such as CAP_SYS_ADMIN. They are not to be changed.
func Capabilities(mask uint64) []string { return capNames(mask) }

// CapabilityName returns the name of a capability, or its number where it is newer than this list.
func CapabilityName(n uint32) string {
	if int(n) < len(capabilities) {
		return capabilities[n]
	}
	return strconv.FormatUint(uint64(n), 10)
}

// capSets are a process's capabilities by name, once it is sealed.
type capSets struct{ effective, permitted []string }

// capSets returns the names of p's capabilities. They are those of the parent where the masks are
// the same, so that a thousand containers of one kind share one list.
func (p *Process) capSets() *capSets {
	if p.caps != nil {
		return p.caps
	}
	if up := p.Parent; up != nil && up.caps != nil && up.Cred.CapEff == p.Cred.CapEff && up.Cred.CapPerm == p.Cred.CapPerm {
		return up.caps
	}
	return &capSets{capNames(p.Cred.CapEff), capNames(p.Cred.CapPerm)}
}

// permissions are the texts of the low twelve bits of a mode, nine bytes each, as ls -l writes
// them: rwsr-xr-x. One text holds them all, so that reading one allocates nothing.
var permissions = func() string {
	var b strings.Builder
	for mode := range 1 << 12 {
		for who := 6; who >= 0; who -= 3 {
			special, mark := mode>>(9+who/3)&1 == 1, "sS"
			if who == 0 {
				mark = "tT"
			}
			b.WriteByte("-r"[mode>>(who+2)&1])
			b.WriteByte("-w"[mode>>(who+1)&1])
			switch runs := mode >> who & 1; {
			case special:
				b.WriteByte(mark[1-runs])
			default:
				b.WriteByte("-x"[runs])
			}
		}
	}
	return b.String()
}()

// Permissions returns the permissions in the file's mode as ls -l writes them, "" where the mode
// is not known.
func (f *File) Permissions() string {
	if f.Mode == 0 {
		return ""
	}
	i := int(f.Mode&0o7777) * 9
	return permissions[i : i+9]
}
