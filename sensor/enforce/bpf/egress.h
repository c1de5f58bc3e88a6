// Where the processes of a cgroup may connect and send to.
#include "enforce.h"

// The part of the context that the programs read. It is the kernel's interface: it stays as it is.
struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4; // network order
	__u32 user_ip6[4];
	__u32 user_port; // network order
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
};

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
};

#define MAX_PORTS 8
#define FULL (32 + 8 + 128) // slot, family, address

struct peer_key {
	u32 bits;
	u32 slot;
	u8 family; // 4 or 6: a network of IPv6 does not cover IPv4 in its clothes
	u8 addr[16];
} __attribute__((packed));

struct peer {
	u8 allow, ports; // ports: how many of port count, 0 for all
	u16 port[MAX_PORTS]; // network order
};

// By policy and address: the longest prefix decides.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct peer_key);
	__type(value, struct peer);
} peers SEC(".maps");

static __always_inline bool allowed(struct binding *b, struct peer_key *key, u16 port) {
	struct peer *p = bpf_map_lookup_elem(&peers, key);

	if (!p)
		return b->flags & B_OPEN;
	if (!p->allow || !p->ports)
		return p->allow;
	for (int i = 0; i < MAX_PORTS; i++)
		if (i < p->ports && p->port[i] == port)
			return true;
	return false;
}

static __always_inline int judge(struct binding *b, struct peer_key *key, u16 port, u8 protocol, u8 rung) {
	bool enforce = b->flags & B_ENFORCE;
	struct repeat_key again = {.tgid = bpf_get_current_pid_tgid() >> 32, .slot = b->slot, .port = port, .rung = rung};
	struct violation *v;
	u32 count;

	if (allowed(b, key, port))
		return 1;
	__builtin_memcpy(again.addr, key->addr, 16);
	if (often(&again, &count)) {
		add(&counts, rung * 4 + (enforce ? DENIED : SEEN));
		return !enforce;
	}
	v = begin(b, rung, enforce ? DENIED : SEEN);
	if (v) {
		v->count = count;
		v->port = port;
		v->family = key->family;
		v->protocol = protocol;
		__builtin_memcpy(v->addr, key->addr, 16);
		bpf_ringbuf_submit(v, 0);
	}
	return !enforce;
}

// The system takes 0.0.0.0 for the loopback address.
static __always_inline int to4(u32 ip, u16 port, u8 protocol, u8 rung) {
	struct peer_key key = {.bits = FULL, .family = 4};
	struct binding *b;
	u64 cgroup = 0;

	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_EGRESS) || exempt())
		return 1;
	if (!ip)
		ip = bpf_htonl(0x7f000001);
	key.slot = b->slot;
	__builtin_memcpy(key.addr, &ip, 4);
	return judge(b, &key, port, protocol, rung);
}

static __always_inline int to6(struct bpf_sock_addr *c, u8 rung) {
	struct peer_key key = {.bits = FULL, .family = 6};
	u32 a0 = c->user_ip6[0], a1 = c->user_ip6[1], a2 = c->user_ip6[2], a3 = c->user_ip6[3];
	u16 port = c->user_port;
	struct binding *b;
	u64 cgroup = 0;

	if (!a0 && !a1 && a2 == bpf_htonl(0xffff)) // IPv4 through a socket of IPv6
		return to4(a3, port, c->protocol, rung);
	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_EGRESS) || exempt())
		return 1;
	if (!a0 && !a1 && !a2 && !a3)
		a3 = bpf_htonl(1);
	key.slot = b->slot;
	__builtin_memcpy(key.addr, &a0, 4);
	__builtin_memcpy(key.addr + 4, &a1, 4);
	__builtin_memcpy(key.addr + 8, &a2, 4);
	__builtin_memcpy(key.addr + 12, &a3, 4);
	return judge(b, &key, port, c->protocol, rung);
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *c) { return to4(c->user_ip4, c->user_port, c->protocol, CONNECT4); }

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *c) { return to4(c->user_ip4, c->user_port, c->protocol, SENDMSG4); }

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *c) { return to6(c, CONNECT6); }

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *c) { return to6(c, SENDMSG6); }

#define SOCK_STREAM 1
#define SOCK_DGRAM 2

// A raw socket, and one of a protocol that the hooks above do not know, would go round them.
SEC("cgroup/sock_create")
int on_socket(struct bpf_sock *s) {
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0;
	u32 type = s->type, protocol = s->protocol;
	bool enforce;

	if (type == SOCK_STREAM && (protocol == 0 || protocol == 6 || protocol == 262))
		return 1;
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == 17 || protocol == 1 || protocol == 58))
		return 1;
	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_EGRESS) || b->flags & B_OPEN || exempt())
		return 1;
	enforce = b->flags & B_ENFORCE;
	v = begin(b, SOCKET, enforce ? DENIED : SEEN);
	if (v) {
		v->protocol = protocol;
		v->family = s->family == 2 ? 4 : 6;
		bpf_ringbuf_submit(v, 0);
	}
	return !enforce;
}
