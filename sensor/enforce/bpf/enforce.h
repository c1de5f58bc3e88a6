// What all programs share: which cgroup is under which policy, and how a violation travels.
#ifndef ENFORCE_H
#define ENFORCE_H

#include "../../kernel/bpf/vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define PATH_LEN 256
#define LEVELS 16 // of cgroups, from the root down, at which a policy may stand
#define REPEAT_NS 1000000000ULL

enum { // of a binding
	B_ENFORCE = 1,
	B_EGRESS = 2,
	B_OPEN = 4, // egress: what no entry covers is allowed
	B_EXEC = 8,
	B_DEVICE = 16,
	B_SYSCTL = 32,
	B_ISOLATED = 64,
	B_MODELS = 128,
};

enum rung {
	CONNECT4 = 1,
	CONNECT6,
	SENDMSG4,
	SENDMSG6,
	SOCKET,
	EXEC,
	DEVICE,
	SYSCTL,
	CHECK, // from here on they are hooks of LSM
	FILE_OPEN,
	INODE_CREATE,
	INODE_MKDIR,
	INODE_MKNOD,
	INODE_SYMLINK,
	INODE_LINK,
	INODE_UNLINK,
	INODE_RMDIR,
	INODE_RENAME,
	INODE_SETATTR,
	INODE_XATTR,
	INODE_ACL,
	TASK_KILL,
	MOUNTED, // a read-only mount
	RUNGS,
};

enum { SEEN, DENIED, KILLED };

struct binding {
	u64 until; // since boot, 0 for ever
	u32 slot; // of the policy: its sets are kept by it
	u32 flags;
};

// By the id of a cgroup; it holds for the cgroups below too, the deepest that is bound counts.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct binding);
} bound SEC(".maps");

struct settings {
	u32 self; // thread group that nothing is done to
	u32 guard; // thread group that, with those it started, gets no signal from others; 0 for none
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} current SEC(".maps");

struct violation {
	u64 time, start, parent_start, cgroup; // times since boot
	u64 ino;
	u32 tgid, tid, ppid, slot;
	u32 dev, count, major, minor;
	u16 port, family; // network order; 4 or 6
	u8 rung, action, protocol, access;
	u8 addr[16];
	char comm[16];
	char path[PATH_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 << 10);
} violations SEC(".maps");

// Counts by rung and action: exact, whatever the ring had room for. The first shows that LSM is at work.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RUNGS * 4);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} dropped SEC(".maps");

struct repeat_key {
	u32 tgid, slot;
	u16 port, rung;
	u8 addr[16];
};

struct repeat {
	u64 until;
	u32 more, pad;
};

// What was told of less than a second ago is counted, and told with the next one.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct repeat_key);
	__type(value, struct repeat);
} repeats SEC(".maps");

struct violation *unused_violation __attribute__((unused));

static __always_inline void add(void *map, u32 i) {
	u64 *n = bpf_map_lookup_elem(map, &i);
	if (n)
		(*n)++;
}

// binding_of finds the policy of the current process by its cgroup and those above. A process that
// moves into a cgroup of its own below stays bound. id becomes that of the cgroup that is bound.
static __always_inline struct binding *binding_of(u64 *id) {
	struct binding *found = 0, *b;
	u64 now = 0, a;

	for (int level = 1; level <= LEVELS; level++) {
		a = bpf_get_current_ancestor_cgroup_id(level);
		if (!a)
			break;
		b = bpf_map_lookup_elem(&bound, &a);
		if (!b)
			continue;
		if (b->until) {
			if (!now)
				now = bpf_ktime_get_boot_ns();
			if (now >= b->until)
				continue;
		}
		found = b;
		*id = a;
	}
	return found;
}

static __always_inline bool exempt(void) {
	u32 zero = 0, tgid = bpf_get_current_pid_tgid() >> 32;
	struct settings *s = bpf_map_lookup_elem(&current, &zero);

	return tgid == 1 || !s || tgid == s->self;
}

// often reports whether the same was told a moment ago; else count is how many this one stands for.
static __always_inline bool often(struct repeat_key *key, u32 *count) {
	u64 now = bpf_ktime_get_boot_ns();
	struct repeat fresh = {.until = now + REPEAT_NS}, *old = bpf_map_lookup_elem(&repeats, key);

	*count = 1;
	if (!old) {
		bpf_map_update_elem(&repeats, key, &fresh, BPF_NOEXIST);
		return false;
	}
	if (now < old->until) {
		__sync_fetch_and_add(&old->more, 1);
		return true;
	}
	old->until = now + REPEAT_NS;
	*count += __sync_lock_test_and_set(&old->more, 0);
	return false;
}

static __always_inline struct violation *begin(struct binding *b, u8 rung, u8 action) {
	struct task_struct *t;
	struct violation *v;

	add(&counts, rung * 4 + action);
	v = bpf_ringbuf_reserve(&violations, sizeof(*v), 0);
	if (!v) {
		add(&dropped, 0);
		return 0;
	}
	__builtin_memset(v, 0, sizeof(*v));
	v->time = bpf_ktime_get_boot_ns();
	v->tgid = bpf_get_current_pid_tgid() >> 32;
	v->tid = bpf_get_current_pid_tgid();
	t = (void *)bpf_get_current_task();
	v->start = BPF_CORE_READ(t, group_leader, start_boottime);
	v->ppid = BPF_CORE_READ(t, real_parent, tgid);
	v->parent_start = BPF_CORE_READ(t, real_parent, group_leader, start_boottime);
	v->cgroup = bpf_get_current_cgroup_id();
	v->slot = b->slot;
	v->rung = rung;
	v->action = action;
	v->count = 1;
	bpf_get_current_comm(v->comm, sizeof(v->comm));
	return v;
}

#endif
