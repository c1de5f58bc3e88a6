// System calls that get at other processes, at the host or at more rights. One program tells of all
// of them: a table that Go fills says what each call's arguments are.
#ifndef CALL_H
#define CALL_H

#include "target.h"

#define SOCK_RAW 3

enum { SPECS = 128, CALL_DATA = 20480, CALL_PART = 16384, CALL_TEXT = 2048 };

enum { AIM_NONE, AIM_PID, AIM_PIDFD, AIM_SPACE };

enum {
	ONLY_ALL,
	ONLY_ONE_OF, // the argument is one of the numbers whose bit is set, with PTRACE_SETREGSET and on from bit 32
	ONLY_BITS, // the argument has one of the bits
	ONLY_FIRST, // what the argument points to begins with a word that has one of the bits
	ONLY_SOCKET, // of a family whose bit is set, or raw over IP
};

enum {
	CALL_PARENT = 1, // not where the call returns 0, in a child
	CALL_FAILED = 2, // only where it was refused
};

// Numbers of arguments begin with 1: 0 is none. Only the first two can be asked of.
struct call_spec {
	u64 mask;
	u8 kind, flags;
	u8 aim, aim_arg; // the process that the call is aimed at
	u8 only, only_arg;
	u8 path; // a descriptor whose path is told
	u8 memory; // points to what goes into the record
	u8 text[4]; // strings
	u8 pad[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SPECS);
	__type(key, u32);
	__type(value, struct call_spec);
} call_specs SEC(".maps");

struct call_buffer {
	struct call_record r;
	char data[CALL_DATA];
	u32 end; // of the data
	u32 busy;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct call_buffer);
} call_scratch SEC(".maps");

#define NO_SPEC 0xffff // a record of no call in the table

struct call_spec *unused_call_spec __attribute__((unused));

static __always_inline u64 argument(struct call_record *r, u8 n) { return r->arg[(n - 1) & 7]; }

static __always_inline struct call_buffer *call_begin(u32 kind) {
	u32 zero = 0;
	struct call_buffer *b = bpf_map_lookup_elem(&call_scratch, &zero);

	if (!b || __sync_lock_test_and_set(&b->busy, 1)) {
		drop(kind);
		return 0;
	}
	fill_header(&b->r.h, bpf_get_current_task_btf(), kind);
	__builtin_memset((void *)&b->r + sizeof(struct header), 0, sizeof(b->r) - sizeof(struct header));
	b->end = 0;
	return b;
}

static __always_inline void call_end(struct call_buffer *b) {
	u64 total = sizeof(b->r) + (b->end & (CALL_PART - 1));

	send(&priority, 0, &b->r.h, total);
	b->busy = 0;
}

// call_path adds the path of a file that the kernel holds and returns its length.
static __always_inline u16 call_path(struct call_buffer *b, void *f) {
	struct path_buffer *w = path_of(place_of(f));
	u32 len;

	if (!w)
		return 0;
	if (w->state == WALK_CUT)
		b->r.h.flags |= F_TRUNCATED;
	len = path_copy(&b->data[b->end & (CALL_PART - 1)], w);
	b->end += len;
	return len;
}

static __always_inline void call_target(struct call_buffer *b, void *task) {
	struct call_record *r = &b->r;
	void *f;

	if (!task)
		return;
	r->target = BPF_CORE_READ((struct task_struct *)task, tgid);
	r->target_start = BPF_CORE_READ((struct task_struct *)task, group_leader, start_boottime);
	r->target_uid = BPF_CORE_READ((struct task_struct *)task, real_cred, uid.val);
	bpf_probe_read_kernel(r->target_comm, sizeof(r->target_comm), task + bpf_core_field_offset(struct task_struct, comm));
	f = BPF_CORE_READ((struct task_struct *)task, mm, exe_file);
	if (f)
		r->exe_len = call_path(b, f);
}

// call_space takes in the namespace that a descriptor stands for, or the process.
static __always_inline void call_space(struct call_buffer *b, struct task_struct *t, u32 fd) {
	struct file *f = file_of(t, fd);
	struct inode *i;
	struct ns_common *ns;

	if (!f)
		return;
	i = BPF_CORE_READ(f, f_inode);
	if (BPF_CORE_READ(i, i_sb, s_magic) != NSFS_MAGIC) {
		void *task = task_of(pid_of_file(f));

		call_target(b, task);
		if (task && b->r.arg[1] & CLONE_NEWNS)
			b->r.space = BPF_CORE_READ((struct task_struct *)task, nsproxy, mnt_ns, ns.inum);
		return;
	}
	b->r.space = BPF_CORE_READ(i, i_ino);
	ns = BPF_CORE_READ(i, i_private);
	bpf_probe_read_kernel_str(b->r.space_name, sizeof(b->r.space_name), BPF_CORE_READ(ns, ops, name));
}

static __always_inline void call_aim(struct call_buffer *b, struct call_spec *s, struct task_struct *t) {
	u64 a = argument(&b->r, s->aim_arg);

	switch (s->aim) {
	case AIM_PID:
		if ((s32)a > 0)
			call_target(b, task_of(find_pid(t, a)));
		break;
	case AIM_PIDFD:
		call_target(b, task_of(pid_of_file(file_of(t, a))));
		break;
	case AIM_SPACE:
		call_space(b, t, a);
	}
}

static __always_inline void call_texts(struct call_buffer *b, struct call_spec *s) {
	long n;
	u32 i;

	for (i = 0; i < 4; i++) {
		u8 arg = s->text[i];

		if (!arg)
			continue;
		n = bpf_probe_read_user_str(&b->data[b->end & (CALL_PART - 1)], CALL_TEXT, (void *)argument(&b->r, arg));
		if (n <= 1)
			continue;
		if (n == CALL_TEXT)
			b->r.h.flags |= F_TRUNCATED;
		b->r.text_len[i] = n - 1;
		b->end += n - 1;
	}
}

// call_wanted reports whether anyone asks for a call with these arguments.
static __always_inline bool call_wanted(u64 *arg, struct call_spec *s, long ret) {
	u64 a = s->only_arg == 1 ? arg[0] : arg[1], first = 0;

	if ((s->flags & CALL_PARENT && !ret) || (s->flags & CALL_FAILED && ret >= 0))
		return false;
	switch (s->only) {
	case ONLY_ONE_OF:
		if (a >= 0x4200) // of ptrace, which has none from 34 on below
			a -= 0x4200 - 32;
		return a < 64 && s->mask & 1ull << (a & 63);
	case ONLY_BITS:
		return a & s->mask;
	case ONLY_FIRST:
		bpf_probe_read_user(&first, sizeof(first), (void *)a);
		arg[0] = first;
		return first & s->mask;
	case ONLY_SOCKET:
		return a < 64 && (s->mask & 1ull << (a & 63) || ((a == AF_INET || a == AF_INET6) && (arg[1] & 0xf) == SOCK_RAW));
	}
	return true;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_call, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	u32 id = route_of(t, regs) >> 8;
	struct call_buffer *b;
	struct call_spec *s;
	struct file *f;
	u64 arg[4];

	s = bpf_map_lookup_elem(&call_specs, &id);
	if (!s)
		return 0;
	call_args(regs, is_compat(t), arg);
	if (!call_wanted(arg, s, ret) || !(b = call_begin(s->kind)))
		return 0;
	__builtin_memcpy(b->r.arg, arg, sizeof(arg));
	b->r.arg[4] = fifth_arg(regs, is_compat(t));
	b->r.spec = id;
	b->r.h.result = ret < 0 ? ret : 0;
	call_aim(b, s, t);
	if (s->path && (f = file_of(t, argument(&b->r, s->path))))
		b->r.path_len = call_path(b, f);
	if (s->memory)
		bpf_probe_read_user(b->r.memory, sizeof(b->r.memory), (void *)argument(&b->r, s->memory));
	call_texts(b, s);
	call_end(b);
	return 0;
}

#endif
