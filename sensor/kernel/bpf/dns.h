// Names that processes look up. A socket that talks to port 53 is told of with the bytes that the
// caller sent or got, which are read where the caller has them: the owner needs no look-up, and
// no other packet of the host costs anything. Go reads the message.
#include "syscall.h"

#define DNS_PORT 53
#define DNS_BYTES 1024
#define MSG_PEEK 2

struct dns_record {
	struct net_record n;
	u32 len, pad; // of data
	u8 data[DNS_BYTES];
};

struct dns_record *unused_dns __attribute__((unused));

// Sockets without a peer that asked port 53, by cookie: the answer comes without the address.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct net_record);
} askers SEC(".maps");

struct message { // struct mmsghdr, begun by struct msghdr
	u64 name;
	u64 name_len;
	u64 iov, iov_len, control, control_len, flags;
	u64 len;
};

struct buffer {
	u64 base, len;
};

enum { BY_BUFFER = 1, BY_MESSAGE, BY_MESSAGES };

// how_passed says where a call has its bytes. Those of 32-bit programs are not looked for.
static __always_inline int how_passed(struct task_struct *t, struct pt_regs *regs) {
	if (is_compat(t))
		return 0;
	switch (call_number(regs)) {
#if defined(__TARGET_ARCH_x86)
	case 0: case 1: case 44: case 45:
		return BY_BUFFER;
	case 46: case 47:
		return BY_MESSAGE;
	case 299: case 307:
		return BY_MESSAGES;
#elif defined(__TARGET_ARCH_arm64)
	case 63: case 64: case 206: case 207:
		return BY_BUFFER;
	case 211: case 212:
		return BY_MESSAGE;
	case 243: case 269:
		return BY_MESSAGES;
#endif
	}
	return 0;
}

static __always_inline void tell_dns(struct net_record *n, struct task_struct *t, u64 from, u64 len, u16 flags) {
	struct dns_record *r;
	struct settings *s = config();
	u64 wake = BPF_RB_NO_WAKEUP;

	if (!s || !len)
		return;
	if (len > DNS_BYTES)
		len = DNS_BYTES;
	r = bpf_ringbuf_reserve(&priority, sizeof(*r), 0);
	if (!r) {
		drop(NET_DNS);
		return;
	}
	r->n = *n;
	fill_header(&r->n.h, t, NET_DNS);
	r->n.h.flags = flags;
	r->n.h.len = sizeof(*r);
	r->n.count = 1;
	r->pad = 0;
	if (bpf_probe_read_user(r->data, len, (void *)from)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		drop(NET_DNS); // the caller's memory is gone: a name was not seen
		return;
	}
	r->len = len;
	if (s->asleep[0]) {
		s->asleep[0] = 0;
		wake = BPF_RB_FORCE_WAKEUP;
	}
	bpf_ringbuf_submit(r, wake);
	count(&sent, NET_DNS);
}

static __always_inline void tell_message(struct net_record *n, struct task_struct *t, u64 at, u64 most, u16 flags) {
	struct message m = {};
	struct buffer b = {};

	if (bpf_probe_read_user(&m, sizeof(m) - 8, (void *)at) || bpf_probe_read_user(&b, sizeof(b), (void *)m.iov))
		return;
	tell_dns(n, t, b.base, b.len < most ? b.len : most, flags);
}

static __always_inline bool asks(struct net_record *r, struct sock *sk) {
	u64 cookie;
	struct net_record *peer;

	if (R1(sk, struct sock, sk_protocol) != 17 || !fill_socket(r, sk))
		return false;
	if (r->remote_port)
		return r->remote_port == bpf_htons(DNS_PORT);
	cookie = bpf_get_socket_cookie(sk);
	peer = bpf_map_lookup_elem(&askers, &cookie);
	if (!peer)
		return false;
	r->family = peer->family;
	r->remote_port = peer->remote_port;
	__builtin_memcpy(r->remote, peer->remote, 16);
	__builtin_memcpy(r->local, peer->local, 16);
	return true;
}

static __always_inline int look_up(struct sock *sk, int ret, u16 flags, u32 hook) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct net_record r = {};
	struct pt_regs *regs;
	u64 arg[4];

	if (!s || t->tgid == s->self || !(s->kinds & 1ULL << NET_DNS) || !on_duty(s, hook) || !asks(&r, sk))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(t);
	call_args(regs, false, arg);
	switch (how_passed(t, regs)) {
	case BY_BUFFER:
		tell_dns(&r, t, arg[1], (u32)ret < arg[2] ? (u32)ret : arg[2], flags);
		break;
	case BY_MESSAGE:
		tell_message(&r, t, arg[1], (u32)ret, flags);
		break;
	case BY_MESSAGES: // a C library asks two at once; which this is, is not known: Go tells each once
		tell_message(&r, t, arg[1], (u32)ret, flags);
		if ((u32)arg[2] > 1)
			tell_message(&r, t, arg[1] + sizeof(struct message), (u32)ret, flags);
	}
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_dns_send, struct sock *sk, int ret, int flags) {
	return ret > 0 ? look_up(sk, ret, F_INITIATED, AT_DNS_SEND) : 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_dns_recv, struct sock *sk, int ret, int flags) {
	return ret > 0 && !(flags & MSG_PEEK) ? look_up(sk, ret, 0, AT_DNS_RECEIVE) : 0;
}
