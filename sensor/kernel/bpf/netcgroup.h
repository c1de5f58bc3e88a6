// Connections that come by another way than connect(2): datagrams sent to an address, TCP fast
// open, io_uring, and the socketcall of 32-bit programs. A program on the control group sees them
// all as the caller does them, before the result: they are told of as begun.
#include "syscall.h"

enum { HANDLE_CONNECT = 5 }; // handleConnect of route.go

struct bpf_sock_addr { // as the kernel's interface lays it out
	u32 user_family, user_ip4, user_ip6[4], user_port;
	u32 family, type, protocol;
	u32 msg_src_ip4, msg_src_ip6[4];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

struct bpf_sock {
	u32 bound_dev_if, family, type, protocol, mark, priority;
	u32 src_ip4, src_ip6[4], src_port;
};

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

static __always_inline bool fill_peer(struct net_record *r, struct bpf_sock_addr *a, struct settings *s, struct task_struct *t, u32 hook) {
	if (!s || t->tgid == s->self || !on_duty(s, hook))
		return false;
	r->protocol = a->protocol;
	if (r->protocol != IPPROTO_TCP && r->protocol != IPPROTO_UDP)
		return false;
	r->remote_port = a->user_port;
	r->local_port = bpf_htons(a->sk->src_port);
	return r->remote_port;
}

static __always_inline void fill_peer4(struct net_record *r, struct bpf_sock_addr *a) {
	u32 remote = a->user_ip4, local = a->sk->src_ip4;

	r->family = AF_INET;
	__builtin_memcpy(r->remote, &remote, 4);
	__builtin_memcpy(r->local, &local, 4);
}

static __always_inline void fill_peer6(struct net_record *r, struct bpf_sock_addr *a) {
	u32 remote[4] = {a->user_ip6[0], a->user_ip6[1], a->user_ip6[2], a->user_ip6[3]};
	struct bpf_sock *sk = a->sk;
	u32 local[4] = {sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3]};

	r->family = AF_INET6;
	__builtin_memcpy(r->remote, remote, 16);
	__builtin_memcpy(r->local, local, 16);
}

// told_at_exit reports whether the caller is in a call whose exit tells of the connection, with
// its result. Workers of io_uring are in none.
static __always_inline bool told_at_exit(struct task_struct *t) {
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);

	return (route_of(t, regs) & (HANDLERS - 1)) == HANDLE_CONNECT;
}

static __always_inline u64 config_kinds(void) {
	struct settings *s = config();
	return s ? s->kinds : 0;
}

// note_asker lets the bytes of a socket be known for a look-up where it has no peer.
static __always_inline void note_asker(struct bpf_sock_addr *a, struct net_record *r) {
	u64 cookie = bpf_get_socket_cookie(a);

	bpf_map_update_elem(&askers, &cookie, r, BPF_ANY);
}

// connecting lets every connection pass, and tells of one that no exit will.
static __always_inline int connecting(struct bpf_sock_addr *a, bool six) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct net_record r = {};

	if (!(config_kinds() & 1ULL << NET_CONNECT) || told_at_exit(t) || !fill_peer(&r, a, config(), t, six ? AT_CONNECT6 : AT_CONNECT4))
		return 1;
	if (six)
		fill_peer6(&r, a);
	else
		fill_peer4(&r, a);
	send_once(&r, t, NET_CONNECT, r.remote_port, F_INITIATED, 0);
	return 1;
}

// sending lets every datagram pass, and tells of where it goes.
static __always_inline int sending(struct bpf_sock_addr *a, bool six) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct net_record r = {};

	if (!fill_peer(&r, a, config(), t, six ? AT_SENDMSG6 : AT_SENDMSG4))
		return 1;
	if (six)
		fill_peer6(&r, a);
	else
		fill_peer4(&r, a);
	if (r.remote_port == bpf_htons(DNS_PORT))
		note_asker(a, &r);
	if (config_kinds() & 1ULL << NET_CONNECT)
		send_once(&r, t, NET_CONNECT, r.remote_port, F_INITIATED, 0);
	return 1;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *a) { return connecting(a, false); }

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *a) { return connecting(a, true); }

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *a) { return sending(a, false); }

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *a) { return sending(a, true); }
