package kernel

import "strings"

// Names of what the arguments of calls stand for, as the kernel's headers have them.

var traceRequests = map[uint64]string{
	0: "PTRACE_TRACEME", 4: "PTRACE_POKETEXT", 5: "PTRACE_POKEDATA", 6: "PTRACE_POKEUSR", 13: "PTRACE_SETREGS", 15: "PTRACE_SETFPREGS", 16: "PTRACE_ATTACH",
	0x4205: "PTRACE_SETREGSET", 0x4206: "PTRACE_SEIZE",
}

var socketFamilies = map[uint64]string{
	2: "AF_INET", 3: "AF_AX25", 4: "AF_IPX", 5: "AF_APPLETALK", 6: "AF_NETROM", 9: "AF_X25", 10: "AF_INET6", 11: "AF_ROSE", 15: "AF_KEY", 17: "AF_PACKET",
	21: "AF_RDS", 23: "AF_IRDA", 24: "AF_PPPOX", 26: "AF_LLC", 27: "AF_IB", 28: "AF_MPLS", 29: "AF_CAN", 30: "AF_TIPC", 31: "AF_BLUETOOTH", 33: "AF_RXRPC",
	35: "AF_PHONET", 36: "AF_IEEE802154", 37: "AF_CAIF", 38: "AF_ALG", 39: "AF_NFC", 40: "AF_VSOCK", 41: "AF_KCM", 42: "AF_QIPCRTR", 43: "AF_SMC", 44: "AF_XDP",
	45: "AF_MCTP",
}

var socketKinds = map[uint64]string{
	1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 6: "SOCK_DCCP", 10: "SOCK_PACKET",
}

var cloneFlags = []flagName{
	{0x80, "CLONE_NEWTIME"},
	{0x20000, "CLONE_NEWNS"},
	{0x2000000, "CLONE_NEWCGROUP"},
	{0x4000000, "CLONE_NEWUTS"},
	{0x8000000, "CLONE_NEWIPC"},
	{0x10000000, "CLONE_NEWUSER"},
	{0x20000000, "CLONE_NEWPID"},
	{0x40000000, "CLONE_NEWNET"},
}

// cloneSpaces are all bits of cloneFlags. The lowest is part of the exit signal for clone itself.
const cloneSpaces = 0x7e020000

// spaceTypes are the kinds of namespace that flags name.
var spaceTypes = []flagName{
	{0x20000, "mnt"}, {0x40000000, "net"}, {0x4000000, "uts"}, {0x8000000, "ipc"}, {0x20000000, "pid"}, {0x2000000, "cgroup"}, {0x10000000, "user"}, {0x80, "time"},
}

var mountFlags = bits("MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOSYMFOLLOW - " +
	"MS_NOATIME MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_POSIXACL MS_UNBINDABLE MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME " +
	"- - MS_STRICTATIME MS_LAZYTIME")

var unmountFlags = []flagName{{1, "MNT_FORCE"}, {2, "MNT_DETACH"}, {4, "MNT_EXPIRE"}, {8, "UMOUNT_NOFOLLOW"}}

var openTreeFlags = []flagName{{1, "OPEN_TREE_CLONE"}, {0x8000, "AT_RECURSIVE"}, {0x80000, "OPEN_TREE_CLOEXEC"}, {0x1000, "AT_EMPTY_PATH"}}

var moveMountFlags = []flagName{{4, "MOVE_MOUNT_F_EMPTY_PATH"}, {0x40, "MOVE_MOUNT_T_EMPTY_PATH"}, {0x100, "MOVE_MOUNT_SET_GROUP"}, {0x200, "MOVE_MOUNT_BENEATH"}}

var fsconfigCommands = map[uint64]string{
	0: "FSCONFIG_SET_FLAG", 1: "FSCONFIG_SET_STRING", 2: "FSCONFIG_SET_BINARY", 3: "FSCONFIG_SET_PATH", 4: "FSCONFIG_SET_PATH_EMPTY",
	5: "FSCONFIG_SET_FD", 6: "FSCONFIG_CMD_CREATE", 7: "FSCONFIG_CMD_RECONFIGURE", 8: "FSCONFIG_CMD_CREATE_EXCL",
}

var moduleFlags = []flagName{{1, "MODULE_INIT_IGNORE_MODVERSIONS"}, {2, "MODULE_INIT_IGNORE_VERMAGIC"}, {4, "MODULE_INIT_COMPRESSED_FILE"}}

var bpfCommands = map[uint64]string{
	5: "BPF_PROG_LOAD", 6: "BPF_OBJ_PIN", 7: "BPF_OBJ_GET", 8: "BPF_PROG_ATTACH", 9: "BPF_PROG_DETACH",
	13: "BPF_PROG_GET_FD_BY_ID", 14: "BPF_MAP_GET_FD_BY_ID", 17: "BPF_RAW_TRACEPOINT_OPEN",
	28: "BPF_LINK_CREATE", 29: "BPF_LINK_UPDATE", 30: "BPF_LINK_GET_FD_BY_ID", 34: "BPF_LINK_DETACH",
}

var bpfTypes = map[uint64]string{
	1: "socket_filter", 2: "kprobe", 3: "sched_cls", 4: "sched_act", 5: "tracepoint", 6: "xdp", 7: "perf_event", 8: "cgroup_skb", 9: "cgroup_sock",
	10: "lwt_in", 11: "lwt_out", 12: "lwt_xmit", 13: "sock_ops", 14: "sk_skb", 15: "cgroup_device", 16: "sk_msg", 17: "raw_tracepoint",
	18: "cgroup_sock_addr", 19: "lwt_seg6local", 20: "lirc_mode2", 21: "sk_reuseport", 22: "flow_dissector", 23: "cgroup_sysctl",
	24: "raw_tracepoint_writable", 25: "cgroup_sockopt", 26: "tracing", 27: "struct_ops", 28: "ext", 29: "lsm", 30: "sk_lookup", 31: "syscall", 32: "netfilter",
}

var keyCommands = map[uint64]string{
	0: "KEYCTL_GET_KEYRING_ID", 1: "KEYCTL_JOIN_SESSION_KEYRING", 2: "KEYCTL_UPDATE", 3: "KEYCTL_REVOKE", 4: "KEYCTL_CHOWN", 5: "KEYCTL_SETPERM",
	6: "KEYCTL_DESCRIBE", 7: "KEYCTL_CLEAR", 8: "KEYCTL_LINK", 9: "KEYCTL_UNLINK", 10: "KEYCTL_SEARCH", 11: "KEYCTL_READ", 12: "KEYCTL_INSTANTIATE",
	15: "KEYCTL_SET_TIMEOUT", 18: "KEYCTL_SESSION_TO_PARENT", 21: "KEYCTL_INVALIDATE", 22: "KEYCTL_GET_PERSISTENT",
}

var rebootCommands = map[uint64]string{
	0: "LINUX_REBOOT_CMD_CAD_OFF", 0x1234567: "LINUX_REBOOT_CMD_RESTART", 0x89abcdef: "LINUX_REBOOT_CMD_CAD_ON", 0xcdef0123: "LINUX_REBOOT_CMD_HALT",
	0x4321fedc: "LINUX_REBOOT_CMD_POWER_OFF", 0xa1b2c3d4: "LINUX_REBOOT_CMD_RESTART2", 0xd000fce2: "LINUX_REBOOT_CMD_SW_SUSPEND", 0x45584543: "LINUX_REBOOT_CMD_KEXEC",
}

// bits names the bits from the lowest on; - has no name.
func bits(names string) (out []flagName) {
	for i, name := range strings.Fields(names) {
		if name != "-" {
			out = append(out, flagName{1 << i, name})
		}
	}
	return out
}
