// What the programs at functions of libraries share: who calls, and the ring on which records go.
#ifndef PROBE_H
#define PROBE_H

#include "../../kernel/bpf/vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define BPF_MAP_TYPE_PERCPU_HASH 5

// Registers of the caller, as the kernel hands them to programs: the layout is part of its interface.
#if defined(__TARGET_ARCH_x86)
struct registers {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#define FIRST(r) ((r)->di)
#define SECOND(r) ((r)->si)
#define THIRD(r) ((r)->dx)
#define FOURTH(r) ((r)->cx)
#define RESULT(r) ((r)->ax)
#define PLACE(r) ((r)->ip)
#elif defined(__TARGET_ARCH_arm64)
struct registers {
	u64 regs[31], sp, pc, pstate;
};
#define FIRST(r) ((r)->regs[0])
#define SECOND(r) ((r)->regs[1])
#define THIRD(r) ((r)->regs[2])
#define FOURTH(r) ((r)->regs[3])
#define RESULT(r) ((r)->regs[0])
#define PLACE(r) ((r)->pc)
#endif

struct caller {
	u64 time, start, parent_start, cgroup; // times since boot
	u32 tgid, tid, ppid, count;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 << 10);
} records SEC(".maps");

// What there was no room for: on the ring, and in tables.
enum { RING, TABLE, LOSSES };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSSES);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

static __always_inline void lose(u32 what) {
	u64 *n = bpf_map_lookup_elem(&lost, &what);
	if (n)
		(*n)++;
}

static __always_inline u64 start_of(void) {
	struct task_struct *t = (void *)bpf_get_current_task();

	return BPF_CORE_READ(t, group_leader, start_boottime);
}

static __always_inline void fill_caller(struct caller *c) {
	struct task_struct *t = (void *)bpf_get_current_task();
	u64 id = bpf_get_current_pid_tgid();

	c->time = bpf_ktime_get_boot_ns();
	c->tgid = id >> 32;
	c->tid = id;
	c->start = BPF_CORE_READ(t, group_leader, start_boottime);
	c->ppid = BPF_CORE_READ(t, real_parent, tgid);
	c->parent_start = BPF_CORE_READ(t, real_parent, group_leader, start_boottime);
	c->cgroup = bpf_get_current_cgroup_id();
	c->count = 1;
	bpf_get_current_comm(c->comm, sizeof(c->comm));
}

#endif
