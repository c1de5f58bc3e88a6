// What a program passed to a send, or got of a receive: it is copied from where the caller has it.
#ifndef BYTES_H
#define BYTES_H

#include "syscall.h"

#define BYTES_MOST 2047 // a mask as well
#define BUFFERS 4
#define MSG_PEEK 2

struct bytes_record {
	struct net_record n;
	u32 len, whole; // of what follows, and before it was cut
};

struct bytes_buffer {
	struct bytes_record r;
	u8 data[2 * (BYTES_MOST + 1)]; // twice as long as its index and its length can be
	u32 busy, unread; // some could not be read
};

struct bytes_record *unused_bytes __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bytes_buffer);
} bytes_scratch SEC(".maps");

struct message { // struct mmsghdr, begun by struct msghdr
	u64 name;
	u64 name_len;
	u64 iov, iov_len, control, control_len, flags;
	u64 len;
};

struct buffer {
	u64 base, len;
};

enum { BY_BUFFER = 1, BY_BUFFERS, BY_MESSAGE, BY_MESSAGES };

// how_passed says where a call has its bytes. Those of 32-bit programs are not looked for.
static __always_inline int how_passed(struct task_struct *t, struct pt_regs *regs) {
	if (is_compat(t))
		return 0;
	switch (call_number(regs)) {
#if defined(__TARGET_ARCH_x86)
	case 0: case 1: case 44: case 45:
		return BY_BUFFER;
	case 19: case 20: case 327: case 328:
		return BY_BUFFERS;
	case 46: case 47:
		return BY_MESSAGE;
	case 299: case 307:
		return BY_MESSAGES;
#elif defined(__TARGET_ARCH_arm64)
	case 63: case 64: case 206: case 207:
		return BY_BUFFER;
	case 65: case 66: case 286: case 287:
		return BY_BUFFERS;
	case 211: case 212:
		return BY_MESSAGE;
	case 243: case 269:
		return BY_MESSAGES;
#endif
	}
	return 0;
}

static __always_inline struct bytes_buffer *bytes_begin(u32 kind) {
	u32 zero = 0;
	struct bytes_buffer *b = bpf_map_lookup_elem(&bytes_scratch, &zero);

	if (!b || __sync_lock_test_and_set(&b->busy, 1)) {
		drop(kind);
		return 0;
	}
	return b;
}

static __always_inline void take_buffer(struct bytes_buffer *b, u64 from, u64 len) {
	u32 off = b->r.len, most = BYTES_MOST - off;

	if (off >= BYTES_MOST || !len)
		return;
	if (len > most)
		len = most;
	if (bpf_probe_read_user(&b->data[off & BYTES_MOST], len & BYTES_MOST, (void *)from))
		b->unread = 1;
	else
		b->r.len = off + len;
}

// take copies the bytes of a call, whole of them in all, of its first or second message.
static __always_inline void take(struct bytes_buffer *b, int how, u64 *arg, u32 whole, u32 nth) {
	u64 at = arg[1], n = arg[2], len;
	struct message m = {};
	struct buffer one;
	u32 i;

	b->r.len = b->unread = 0;
	b->r.whole = whole;
	if (how == BY_BUFFER) {
		take_buffer(b, at, n < whole ? n : whole);
		return;
	}
	if (how == BY_MESSAGE || how == BY_MESSAGES) {
		if (bpf_probe_read_user(&m, sizeof(m) - 8, (void *)at + nth * sizeof(m))) {
			b->unread = 1;
			return;
		}
		at = m.iov;
		n = m.iov_len;
	}
#pragma unroll
	for (i = 0; i < BUFFERS; i++) {
		if (i >= n || b->r.len >= whole)
			break;
		if (bpf_probe_read_user(&one, sizeof(one), (void *)at + i * sizeof(one))) {
			b->unread = 1;
			break;
		}
		len = whole - b->r.len;
		take_buffer(b, one.base, one.len < len ? one.len : len);
	}
}

static __always_inline void tell_bytes(struct bytes_buffer *b, struct task_struct *t, void *ring, u32 which, u16 kind, u16 flags) {
	if (b->unread) {
		drop(kind); // the caller's memory is gone: something was not seen
		return;
	}
	fill_header(&b->r.n.h, t, kind);
	b->r.n.h.flags = flags;
	b->r.n.count = 1;
	send(ring, which, &b->r.n.h, sizeof(b->r) + (b->r.len & BYTES_MOST));
}

#endif
