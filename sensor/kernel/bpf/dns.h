// Names that processes look up. A socket that talks to port 53 is told of with the bytes that the
// caller sent or got, which are read where the caller has them: the owner needs no look-up, and
// no other packet of the host costs anything. Go reads the message.
#include "bytes.h"

#define DNS_PORT 53
#define DNS_LEAST 12 // less is no message: over TCP, its length may come alone

// Sockets without a peer that asked port 53, by cookie: the answer comes without the address.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct net_record);
} askers SEC(".maps");

static __always_inline bool asks(struct net_record *r, struct sock *sk) {
	u16 protocol = R1(sk, struct sock, sk_protocol);
	u64 cookie;
	struct net_record *peer;

	if (protocol != 17) // of the many that are no datagrams, most are ruled out here
		return R1(sk, struct sock, __sk_common.skc_dport) == bpf_htons(DNS_PORT) && fill_socket(r, sk);
	if (!fill_socket(r, sk))
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
	struct bytes_buffer *b;
	struct pt_regs *regs;
	u64 arg[4];
	int how;

	if (!s || t->tgid == s->self || !(s->kinds & 1ULL << NET_DNS) || !on_duty(s, hook) || !asks(&r, sk))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(t);
	how = how_passed(t, regs);
	if (!how || !(b = bytes_begin(NET_DNS)))
		return 0;
	call_args(regs, false, arg);
	b->r.n = r;
	take(b, how, arg, ret, 0);
	tell_bytes(b, t, &priority, 0, NET_DNS, flags);
	if (how == BY_MESSAGES && (u32)arg[2] > 1) { // a C library asks two at once; which this is, is not known: Go tells each once
		take(b, how, arg, ret, 1);
		tell_bytes(b, t, &priority, 0, NET_DNS, flags);
	}
	b->busy = 0;
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_dns_send, struct sock *sk, int ret, int flags) {
	return ret >= DNS_LEAST ? look_up(sk, ret, F_INITIATED, AT_DNS_SEND) : 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_dns_recv, struct sock *sk, int ret, int flags) {
	return ret >= DNS_LEAST && !(flags & MSG_PEEK) ? look_up(sk, ret, 0, AT_DNS_RECEIVE) : 0;
}
