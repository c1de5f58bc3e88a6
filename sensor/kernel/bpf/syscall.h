// One program on the way out of every system call. On x86 and arm64 the arguments are still in
// the registers there, so a call and its result are seen together and nothing is kept between.
#ifndef SYSCALL_H
#define SYSCALL_H

#include "path.h"

#define AF_INET 2
#define AF_INET6 10
#define REPEAT_NS 1000000000ULL // for so long what is done again is counted only

enum { ROUTES = 512, HANDLERS = 32 };

// Handlers that those of open and connect pass on to.
enum { SLOT_DEVICE = 21, SLOT_MEMORY = 22, SLOT_UNIX = 24 };

// By system call number: handler in the low byte, shape of the arguments in the next. Go fills it
// with what is wanted. The second half is that of 32-bit programs: one map, as a look-up in one of
// two is a call for each system call of the host.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * ROUTES);
	__type(key, u32);
	__type(value, u32);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HANDLERS);
	__type(key, u32);
	__type(value, u32);
} handlers SEC(".maps");

struct call {
	u64 arg[4];
	u32 shape;
};

#if defined(__TARGET_ARCH_x86)
#define COMPAT_MASK 2 // TS_COMPAT
static __always_inline bool is_compat(struct task_struct *t) { return t->thread_info.status & COMPAT_MASK; }
static __always_inline u32 call_number(struct pt_regs *r) { return r->orig_ax; }
static __always_inline void call_args(struct pt_regs *r, bool compat, u64 *a) {
	if (compat) {
		a[0] = (u32)r->bx;
		a[1] = (u32)r->cx;
		a[2] = (u32)r->dx;
		a[3] = (u32)r->si;
		return;
	}
	a[0] = r->di;
	a[1] = r->si;
	a[2] = r->dx;
	a[3] = r->r10;
}
#elif defined(__TARGET_ARCH_arm64)
#define COMPAT_MASK (1UL << 22) // TIF_32BIT
static __always_inline bool is_compat(struct task_struct *t) { return t->thread_info.flags & COMPAT_MASK; }
static __always_inline u32 call_number(struct pt_regs *r) { return r->syscallno; }
static __always_inline void call_args(struct pt_regs *r, bool compat, u64 *a) {
	a[0] = r->orig_x0;
	a[1] = r->regs[1];
	a[2] = r->regs[2];
	a[3] = r->regs[3];
}
#endif

// The fifth argument, which few handlers need.
#if defined(__TARGET_ARCH_x86)
static __always_inline u64 fifth_arg(struct pt_regs *r, bool compat) { return compat ? (u32)r->di : r->r8; }
#elif defined(__TARGET_ARCH_arm64)
static __always_inline u64 fifth_arg(struct pt_regs *r, bool compat) { return r->regs[4]; }
#endif

static __always_inline u32 route_of(struct task_struct *t, struct pt_regs *regs) {
	u32 nr = call_number(regs), *slot;

	if (nr >= ROUTES)
		return 0;
	if (is_compat(t))
		nr += ROUTES;
	slot = bpf_map_lookup_elem(&routes, &nr);
	return slot ? *slot : 0;
}

static __always_inline void call_of(struct call *c, struct task_struct *t, struct pt_regs *regs) {
	call_args(regs, is_compat(t), c->arg);
	c->shape = route_of(t, regs) >> 8;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(dispatch, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	u32 route = route_of(t, regs);
	struct settings *s;

	if (!route)
		return 0;
	s = config();
	if (!s || t->tgid == s->self || !on_duty(s, AT_EXIT | call_number(regs) << 8))
		return 0;
	bpf_tail_call(ctx, &handlers, route & (HANDLERS - 1));
	return 0;
}

#endif
