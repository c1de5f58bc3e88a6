// Connections: who makes, awaits and takes them, and how much a process sends where. The socket
// is reached through the file descriptor of the call, so the owner is the caller.
#include "syscall.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AF_UNIX 1
#define SOCK_DGRAM 2
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define BINDPORT_LOCK 8
#define FIRST_REPORT (64 << 10)

static __always_inline struct sock *socket_of(struct task_struct *t, u32 fd) {
	struct file *f = file_of(t, fd);
	struct socket *s;
	struct inode *i;

	if (!f)
		return 0;
	i = R1(f, struct file, f_inode);
	if ((R1(i, struct inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	s = R1(f, struct file, private_data);
	return R1(s, struct socket, sk);
}

// fill_socket reports false for what is not TCP or UDP over IP.
static __always_inline bool fill_socket(struct net_record *r, struct sock *sk) {
	u32 v4;

	r->family = R1(sk, struct sock, __sk_common.skc_family);
	r->local_port = bpf_htons(R1(sk, struct sock, __sk_common.skc_num));
	r->remote_port = R1(sk, struct sock, __sk_common.skc_dport);
	switch (R1(sk, struct sock, sk_protocol)) {
	case 6:
	case 262: // MPTCP
		r->protocol = 6;
		break;
	case 17:
		r->protocol = 17;
		break;
	default:
		return false;
	}
	if (r->family == AF_INET) {
		v4 = R1(sk, struct sock, __sk_common.skc_rcv_saddr);
		__builtin_memcpy(r->local, &v4, 4);
		v4 = R1(sk, struct sock, __sk_common.skc_daddr);
		__builtin_memcpy(r->remote, &v4, 4);
		return true;
	}
	if (r->family != AF_INET6)
		return false;
	BPF_CORE_READ_INTO(&r->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	BPF_CORE_READ_INTO(&r->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	return true;
}

struct address {
	u16 family, port;
	u32 v4;
	u8 v6[16];
};

// A connection that failed has left no address on the socket: the program's own must do.
static __always_inline void fill_wanted(struct net_record *r, u64 user) {
	struct address a = {};

	if (bpf_probe_read_user(&a, sizeof(a), (void *)user) && bpf_probe_read_user(&a, 8, (void *)user))
		return;
	r->remote_port = a.port;
	__builtin_memset(r->remote, 0, sizeof(r->remote));
	if (a.family == AF_INET)
		__builtin_memcpy(r->remote, &a.v4, 4);
	else if (a.family == AF_INET6)
		__builtin_memcpy(r->remote, a.v6, 16);
	if (a.family == AF_INET || a.family == AF_INET6)
		r->family = a.family;
}

struct repeat_key {
	u64 start;
	u32 tgid;
	s32 result;
	u16 port, family, kind, pad;
	u8 remote[16];
};

struct repeat {
	u64 until; // of the second in which others like it are only counted
	u32 more, pad; // counted and not told of yet
	struct net_record r;
};

// What a process just did, so that doing the same again within a second is counted and not told
// of one by one. Go removes what is over, and tells what was still counted. Where there is no room,
// each is told of.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct repeat_key);
	__type(value, struct repeat);
} repeats SEC(".maps");

// send_once sends a connection, or counts it where one like it was sent less than a second ago.
// port is the one that stays the same from one to the next.
static __always_inline void send_once(struct net_record *r, struct task_struct *t, u16 kind, u16 port, u16 flags, s32 result) {
	struct repeat_key key = {.tgid = t->tgid, .start = t->group_leader->start_boottime, .result = result,
		.port = port, .family = r->family, .kind = kind};
	u64 now = bpf_ktime_get_boot_ns();
	struct repeat fresh = {}, *old;

	__builtin_memcpy(key.remote, r->remote, 16);
	old = bpf_map_lookup_elem(&repeats, &key);
	if (old && now < old->until) {
		__sync_fetch_and_add(&old->more, 1);
		count(&collapsed, kind);
		return;
	}
	fill_header(&r->h, t, kind);
	r->h.flags = flags;
	r->h.result = result;
	r->count = 1;
	if (old) {
		old->until = now + REPEAT_NS;
		r->count += __sync_lock_test_and_set(&old->more, 0);
	} else {
		fresh.until = now + REPEAT_NS;
		fresh.r = *r;
		bpf_map_update_elem(&repeats, &key, &fresh, BPF_NOEXIST);
	}
	send(&priority, 0, &r->h, sizeof(*r));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_connect, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s;
	struct net_record r = {};
	struct sock *sk;
	struct call c;

	if (ret == -EISCONN || ret == -EALREADY)
		return 0; // asks how an earlier call went
	call_args(regs, is_compat(t), c.arg);
	sk = socket_of(t, c.arg[0]);
	if (!sk)
		return 0;
	s = config();
	if (R1(sk, struct sock, __sk_common.skc_family) == AF_UNIX) {
		if (s && s->kinds & 1ULL << NET_UNIX)
			bpf_tail_call(ctx, &handlers, SLOT_UNIX);
		return 0;
	}
	if (!s || !(s->kinds & 1ULL << NET_CONNECT) || !fill_socket(&r, sk))
		return 0;
	if (ret == -EINPROGRESS)
		ret = 0;
	if (ret < 0)
		fill_wanted(&r, c.arg[1]);
	if (r.remote_port)
		send_once(&r, t, NET_CONNECT, r.remote_port, F_INITIATED, ret);
	return 0;
}

// tell_bind tells of a port that was asked for by number. One that the kernel chose says nothing.
static __always_inline void tell_bind(struct net_record *r, struct task_struct *t, struct sock *sk, u64 user, s32 result) {
	if (result < 0) {
		fill_wanted(r, user);
		r->local_port = r->remote_port;
		__builtin_memcpy(r->local, r->remote, 16);
	} else if (!(BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & BINDPORT_LOCK)) {
		return;
	}
	__builtin_memcpy(r->remote, r->local, 16); // by which repeats are known
	if (r->local_port)
		send_once(r, t, NET_BIND, r->local_port, 0, result);
}

enum { SHAPE_LISTEN, SHAPE_BIND };

// A datagram socket awaits what comes from its bind on.
static __always_inline void awaiting(struct task_struct *t, u64 fd, u64 address, u32 shape, long ret) {
	struct net_record r = {};
	struct sock *sk;
	struct settings *s = config();

	sk = socket_of(t, fd);
	if (!s || !sk || !fill_socket(&r, sk))
		return;
	if (shape == SHAPE_BIND && s->kinds & 1ULL << NET_BIND) {
		tell_bind(&r, t, sk, address, ret);
		r.count = 0;
	}
	if (ret || !r.local_port || !(s->kinds & 1ULL << NET_LISTEN))
		return;
	if (shape == SHAPE_BIND && BPF_CORE_READ(sk, sk_type) != SOCK_DGRAM)
		return;
	fill_header(&r.h, t, NET_LISTEN);
	send(&priority, 0, &r.h, sizeof(r));
}

static __always_inline void accepted(struct task_struct *t, long ret) {
	struct net_record r = {};
	struct sock *sk;

	if (ret < 0)
		return;
	sk = socket_of(t, ret);
	if (sk && fill_socket(&r, sk))
		send_once(&r, t, NET_ACCEPT, r.local_port, 0, 0);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_listen, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct call c;

	call_of(&c, t, regs);
	awaiting(t, c.arg[0], c.arg[1], c.shape, ret);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_accept, struct pt_regs *regs, long ret) {
	accepted(bpf_get_current_task_btf(), ret);
	return 0;
}

// socketcall(which, arguments) of 32-bit programs. A connect by it is told of by the control group.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_socketcall, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	u64 kinds = s ? s->kinds : 0;
	u32 arg[2] = {};
	struct call c;

	call_args(regs, is_compat(t), c.arg);
	switch (c.arg[0]) {
	case 2: // bind
	case 4: // listen
		if (!(kinds & (1ULL << NET_LISTEN | 1ULL << NET_BIND)) || bpf_probe_read_user(arg, sizeof(arg), (void *)c.arg[1]))
			return 0;
		awaiting(t, arg[0], arg[1], c.arg[0] == 2 ? SHAPE_BIND : SHAPE_LISTEN, ret);
		return 0;
	case 5: // accept
	case 18: // accept4
		if (kinds & 1ULL << NET_ACCEPT)
			accepted(t, ret);
	}
	return 0;
}

struct flow_key {
	u64 start;
	u32 tgid;
	u16 port, family;
	u8 remote[16];
};

struct flow {
	u64 bytes, next;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

// flow_grew adds bytes to what a process exchanged with the peer in r, kept in map. It reports
// whether the sum, then in r, is to be told of: at the first 64 KiB and each time it is four times as much.
static __always_inline bool flow_grew(void *map, struct net_record *r, struct task_struct *t, int bytes) {
	struct flow fresh = {.next = FIRST_REPORT}, *f;
	struct flow_key key = {};
	u64 next;

	key.tgid = t->tgid;
	key.start = t->group_leader->start_boottime;
	key.port = r->remote_port;
	key.family = r->family;
	__builtin_memcpy(key.remote, r->remote, 16);
	f = bpf_map_lookup_elem(map, &key);
	if (!f) {
		bpf_map_update_elem(map, &key, &fresh, BPF_NOEXIST);
		f = bpf_map_lookup_elem(map, &key);
		if (!f)
			return false;
	}
	r->bytes = __sync_fetch_and_add(&f->bytes, bytes) + bytes;
	next = f->next;
	return r->bytes >= next && __sync_val_compare_and_swap(&f->next, next, r->bytes * 4) == next;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct net_record r = {};

	if (ret <= 0 || !s || t->tgid == s->self || !on_duty(s, AT_SEND) || !fill_socket(&r, sk) || !r.remote_port)
		return 0;
	if (!flow_grew(&flows, &r, t, ret))
		return 0;
	fill_header(&r.h, t, NET_SEND);
	r.h.flags = F_INITIATED;
	send(&priority, 0, &r.h, sizeof(r));
	return 0;
}
