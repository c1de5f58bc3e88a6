// The records that travel to Go, and the maps that every program shares.
#ifndef RECORD_H
#define RECORD_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

// One source, two objects: kernels from 6.2 on let a program cast a pointer to a kernel type and
// read through it directly, which costs a quarter of a chain of probe reads.
#ifdef PICKET_TYPED
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;
#define CAST(p, T) ((T *)bpf_rdonly_cast((p), bpf_core_type_id_kernel(T)))
#define R1(p, T, a) (CAST(p, T)->a)
#define R2(p, T, a, b) (CAST(p, T)->a->b)
#define R3(p, T, a, b, c) (CAST(p, T)->a->b->c)
#else // p is put aside first, or its own members would count as the kernel's
#define R1(p, T, a) ({ void *_p = (void *)(p); BPF_CORE_READ((T *)_p, a); })
#define R2(p, T, a, b) ({ void *_p = (void *)(p); BPF_CORE_READ((T *)_p, a, b); })
#define R3(p, T, a, b, c) ({ void *_p = (void *)(p); BPF_CORE_READ((T *)_p, a, b, c); })
#endif

// Numbers of event.Kind.
enum kind {
	PROCESS_START = 1,
	PROCESS_SEEN,
	PROCESS_FORK,
	PROCESS_EXIT,
	FILE_READ,
	FILE_CREATE,
	FILE_WRITE,
	FILE_RENAME,
	FILE_DELETE,
	FILE_CHMOD,
	NET_CONNECT,
	NET_LISTEN,
	NET_ACCEPT,
	NET_SEND,
	FILE_LINK = 16,
	FILE_MKDIR = 17,
	FILE_TRUNCATE = 18,
	FILE_CHOWN = 19,
	FILE_ATTR = 20,
	FILE_MAP = 21,
	FILE_IO = 22,
	NET_DNS = 25,
	NET_RECEIVE = 27,
	NET_BIND = 28,
	NET_UNIX = 29,
	NET_TLS = 30,
	PROCESS_SIGNAL = 32,
	PROCESS_TRACE = 33,
	HOST_SYSCTL = 40,
	DEVICE_OPEN = 41,
	DEVICE_CONTROL = 42,
	CGROUP_CREATE = 43,
	PROCESS_CAPABILITY = 44,
	KINDS = 64, // event.MaxKinds
};

enum {
	F_TRUNCATED = 1,
	F_MEMFD = 2,
	F_SCRIPT = 4,
	F_NO_NEW_PRIVS = 8,
	F_CREATED = 16,
	F_DELETED = 32,
	F_INITIATED = 64,
	F_BY_DESCRIPTOR = 1024,
};

struct header {
	u64 time; // since boot
	u64 start;
	u64 cgroup;
	u64 parent_start;
	u32 tgid, tid, ppid;
	s32 result;
	u16 kind, flags;
	u32 len; // of the whole record
	char comm[16];
};

struct process_record {
	struct header h;
	u64 cap_eff, cap_perm, cap_inh, cap_bnd, cap_amb;
	u64 exe_ino;
	u32 exe_dev, layer;
	u32 uid, gid, euid, egid, suid, sgid, fsuid, fsgid;
	u32 loginuid, session, seccomp, ns_pid;
	u32 ns_pid_inum, ns_mnt, ns_net, ns_uts, ns_ipc, ns_cgroup, ns_user;
	u32 args_len;
	u16 exe_len, cwd_len, invoked_len, env_len; // of what follows the record, args last
	char tty[32];
};

struct file_record {
	struct header h;
	u64 ino;
	s64 size;
	u32 dev, mode, layer;
	u16 dir_len, path_len, old_dir_len, old_len; // of what follows; a dir only where a path is relative
	u32 how; // enum how; of a mapping what it allows
	u32 rdev; // of a device
	u32 pad;
};

enum how {
	BY_NAME = 1, // an open of which the name is known and not the file
	REMOVED = 2, // the attribute
};

struct net_record {
	struct header h;
	u64 bytes;
	u8 local[16], remote[16];
	u16 local_port, remote_port; // network order
	u16 family;
	u8 protocol, pad;
	u32 count, pad2; // connections that this stands for
};

struct call_record {
	struct header h;
	u64 arg[8]; // five in use: a mask keeps look-ups inside
	u64 target_start;
	u32 target, target_uid; // thread group
	u32 space; // inode of a namespace
	u16 spec; // which call: its place in the table
	u16 exe_len, path_len, text_len[4]; // of what follows: target's executable, a descriptor's path, strings
	u16 pad[3];
	char target_comm[16], space_name[16];
	u8 memory[64]; // that an argument points to
};

struct settings {
	u64 kinds; // bit n: kind n is wanted
	u32 self; // thread group that is not reported but for its processes
	u32 watching; // the watched map is not empty
	u32 prefixes; // file changes are wanted below these paths only
	u32 asleep[2]; // the reader of this ring wants to be woken
	u32 duty; // generation of programs that tells, and phase of a handover
	u64 io_step; // told of when so many bytes were read and written
	s64 io_min; // size of the files that this is counted for
	u32 map_once; // a file that is mapped again in a control group is counted only, for a second
	u32 pad;
	u64 lease; // monotonic time after which nobody is thought to listen any more
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} current SEC(".maps");

// A ring for processes and connections, which files can never fill, and one for files.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} priority SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} volume SEC(".maps");

// Counts by kind: what went onto a ring, and what did not because it was full or because a
// program interrupted another on the same processor.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, u32);
	__type(value, u64);
} sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, u32);
	__type(value, u64);
} dropped SEC(".maps");

// Counts by kind: what was not told of by itself because another like it was, a moment before.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, u32);
	__type(value, u64);
} collapsed SEC(".maps");

struct process_record *unused_process __attribute__((unused));
struct file_record *unused_file __attribute__((unused));
struct net_record *unused_net __attribute__((unused));
struct call_record *unused_call __attribute__((unused));

static __always_inline struct settings *config(void) {
	u32 zero = 0;
	return bpf_map_lookup_elem(&current, &zero);
}

// Programs outlive the agent that loaded them. The next agent loads a generation of its own beside
// them, and then lets that one tell: what one generation tells of, the other does not.
enum { QUIET = 0xff }; // no generation has this number
enum { DUTY_CLAIM = 1, DUTY_SWITCH = 2 };

const volatile u32 generation = 0;

// Where a generation stands aside. The number is the same in each of them.
enum hook { AT_EXIT, AT_EXEC, AT_FORK, AT_END, AT_SIGNAL, AT_SUBMIT, AT_COMPLETE, AT_COMPLETE_IO, AT_SEND, AT_RECEIVE, AT_DNS_SEND,
	AT_DNS_RECEIVE, AT_CAPABLE, AT_SYSCTL, AT_MKDIR, AT_CONNECT4, AT_CONNECT6, AT_SENDMSG4, AT_SENDMSG6, AT_TLS, AT_PAGES };

// What the old generation told of while the duty passes on, by thread and hook.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, u32);
} claims SEC(".maps");

// At each hook the old generation comes first. It claims what it tells of before the duty passes on,
// so that the new one, which may look after that, lets those go.
static __always_inline bool hand_over(u32 duty, bool mine, u32 hook) {
	u64 key = bpf_get_current_pid_tgid() << 32 | hook;
	u32 one = 1;

	if (duty == QUIET)
		return false;
	if ((duty & 3) == DUTY_SWITCH)
		return mine && bpf_map_delete_elem(&claims, &key);
	if (mine)
		bpf_map_update_elem(&claims, &key, &one, BPF_ANY);
	else
		bpf_map_delete_elem(&claims, &key);
	return mine;
}

// on_duty reports whether this generation is the one that tells.
static __always_inline bool on_duty(struct settings *s, u32 hook) {
	u32 duty = s ? s->duty : QUIET;
	bool mine = duty >> 2 == generation;

	return duty & 3 ? hand_over(duty, mine, hook) : mine;
}

static __always_inline void count(void *map, u32 kind) {
	u64 *n = bpf_map_lookup_elem(map, &kind);
	if (n)
		(*n)++;
}

// Slot 0 is the sum over all kinds.
static __always_inline void drop(u32 kind) {
	count(&dropped, kind);
	count(&dropped, 0);
}

static __always_inline void send(void *ring, u32 which, struct header *h, u64 len) {
	struct settings *s = config();
	u64 flags = BPF_RB_NO_WAKEUP;

	// Time since boot is never behind the monotonic one, which stands still while the host sleeps.
	if (s && h->time > s->lease && bpf_ktime_get_ns() > s->lease) {
		s->duty = QUIET;
		drop(h->kind);
		return;
	}
	if (s && s->asleep[which]) {
		s->asleep[which] = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	h->len = len;
	if (bpf_ringbuf_output(ring, h, len, flags))
		drop(h->kind);
	else
		count(&sent, h->kind);
}

static __always_inline u64 cgroup_of(struct task_struct *t) {
	struct kernfs_node *kn = R3(t, struct task_struct, cgroups, dfl_cgrp, kn);
	return R1(kn, struct kernfs_node, id);
}

static __always_inline void fill_header(struct header *h, struct task_struct *t, u16 kind) {
	h->time = bpf_ktime_get_boot_ns();
	h->tgid = t->tgid;
	h->tid = t->pid;
	h->start = t->group_leader->start_boottime;
	h->ppid = t->real_parent->tgid;
	h->parent_start = t->real_parent->group_leader->start_boottime;
	h->cgroup = cgroup_of(t);
	h->result = 0;
	h->kind = kind;
	h->flags = 0;
	bpf_probe_read_kernel(h->comm, sizeof(h->comm), t->comm);
}

#endif
