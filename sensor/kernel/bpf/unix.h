// Connections to sockets of the host. The server's end knows where the socket was bound: by that it
// is chosen and told of, so a bind mount or a link under another name hides nothing. A connection
// that failed, and one that is only begun, have no such end: of these the name that was passed is taken.
#include "syscall.h"

#define UNIX_NAME 108
#define UNIX_PATH 256

struct unix_record {
	struct header h;
	u64 ino;
	u32 dev, peer, count;
	u16 type, len; // of path
	u8 path[UNIX_PATH];
};

struct unix_key {
	u64 start, ino;
	u32 tgid, dev;
	s32 result;
	u32 pad;
	char name[UNIX_NAME + 4]; // of what has no inode
};

struct unix_repeat {
	u64 until;
	u32 more, pad;
	struct unix_record r;
};

// As repeats of net.h.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct unix_key);
	__type(value, struct unix_repeat);
} unix_repeats SEC(".maps");

// Sockets that are wanted: beginnings of paths and of names with @ before them, last parts of paths
// with their NUL, and directories with a slash behind them.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, u32);
} sockets SEC(".maps");

struct unix_buffer {
	struct unix_record r;
	struct unix_key key;
	struct unix_repeat fresh;
	struct prefix_key wanted;
	char name[2 * 128]; // twice as long as its index and its length can be
	u32 len, dir, last; // of name; here, so that the verifier need not follow them
	u32 busy;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct unix_buffer);
} unix_scratch SEC(".maps");

static __always_inline struct unix_buffer *unix_begin(void) {
	u32 zero = 0;
	struct unix_buffer *b = bpf_map_lookup_elem(&unix_scratch, &zero);

	if (!b || __sync_lock_test_and_set(&b->busy, 1)) {
		drop(NET_UNIX);
		return 0;
	}
	__builtin_memset(&b->r, 0, sizeof(b->r));
	__builtin_memset(&b->key, 0, sizeof(b->key));
	__builtin_memset(b->name, 0, sizeof(b->name));
	b->len = b->dir = b->last = 0;
	return b;
}

// is_wanted looks up a piece of text with another character behind it.
static __always_inline bool is_wanted(struct unix_buffer *b, const void *from, u32 len, char behind) {
	__builtin_memset(&b->wanted, 0, sizeof(b->wanted));
	b->wanted.bits = PREFIX_MAX * 8;
	if (len > 127)
		return false; // longer than any that is asked for
	bpf_probe_read_kernel(b->wanted.path, len, from);
	b->wanted.path[len] = behind;
	return bpf_map_lookup_elem(&sockets, &b->wanted);
}

// name_wanted is about a name without a file, or one that the caller passed, in b->name.
static __always_inline bool name_wanted(struct unix_buffer *b) {
	u32 i, len = b->len & 127;

	if (!len)
		return false;
	if (b->name[0])
		for (i = 0; i < UNIX_NAME; i++) {
			if (!b->name[i])
				break;
			if (b->name[i] == '/') {
				b->dir = b->last;
				b->last = i + 1;
			}
		}
	else
		b->name[0] = '@';
	__builtin_memcpy(b->key.name, b->name, UNIX_NAME);
	bpf_probe_read_kernel(b->r.path, len, b->name);
	b->r.len = len;
	if (is_wanted(b, b->name, len, 0))
		return true;
	return b->last && (is_wanted(b, &b->name[b->last & 127], len - b->last, 0) || is_wanted(b, &b->name[b->dir & 127], b->last - b->dir, 0));
}

// file_wanted is about a socket whose file the kernel holds.
static __always_inline bool file_wanted(struct unix_buffer *b, struct path *p) {
	struct dentry *d = BPF_CORE_READ(p, dentry), *parent = BPF_CORE_READ(d, d_parent);
	struct inode *i = BPF_CORE_READ(d, d_inode);
	struct qstr *name = name_of(d), *dir = name_of(parent);
	struct path_buffer *w = path_of(p);
	u32 off, len;

	if (!w)
		return false;
	off = w->off & (PATH_MAX - 1);
	__builtin_memset(&b->wanted, 0, sizeof(b->wanted));
	b->wanted.bits = PREFIX_MAX * 8;
	bpf_probe_read_kernel(b->wanted.path, PREFIX_MAX - 1, &w->b[off]);
	if (!bpf_map_lookup_elem(&sockets, &b->wanted) &&
	    !is_wanted(b, BPF_CORE_READ(name, name), BPF_CORE_READ(name, len), 0) &&
	    !is_wanted(b, BPF_CORE_READ(dir, name), BPF_CORE_READ(dir, len), '/'))
		return false;
	len = PATH_MAX - 1 - off;
	if (w->state == WALK_CUT)
		b->r.h.flags = F_TRUNCATED;
	if (len > UNIX_PATH - 1) { // the end says more than the start
		off += len - (UNIX_PATH - 1);
		len = UNIX_PATH - 1;
		b->r.h.flags = F_TRUNCATED;
	}
	bpf_probe_read_kernel(b->r.path, len & (UNIX_PATH - 1), &w->b[off & (PATH_MAX - 1)]);
	b->r.len = len;
	b->key.ino = b->r.ino = BPF_CORE_READ(i, i_ino);
	b->key.dev = b->r.dev = BPF_CORE_READ(i, i_sb, s_dev);
	return true;
}

// peer_wanted is about a connection that stands.
static __always_inline bool peer_wanted(struct unix_buffer *b, struct sock *sk) {
	struct unix_sock *peer = (struct unix_sock *)BPF_CORE_READ((struct unix_sock *)sk, peer);
	struct unix_address *a;
	struct pid *pid = BPF_CORE_READ(sk, sk_peer_pid);
	struct upid up = {};
	struct path *p;

	if (!peer)
		return false;
	if (pid)
		bpf_probe_read_kernel(&up, sizeof(up), (void *)pid + bpf_core_field_offset(struct pid, numbers));
	b->r.peer = up.nr;
	p = (void *)peer + bpf_core_field_offset(struct unix_sock, path);
	if (BPF_CORE_READ(p, dentry))
		return file_wanted(b, p);
	a = BPF_CORE_READ(peer, addr);
	if (!a)
		return false; // it has no name
	b->len = BPF_CORE_READ(a, len) - sizeof(u16);
	if (b->len > UNIX_NAME)
		return false;
	bpf_probe_read_kernel(b->name, b->len & 127, (void *)a + bpf_core_field_offset(struct unix_address, name) + sizeof(u16));
	return name_wanted(b);
}

static __always_inline void unix_send(struct unix_buffer *b, struct task_struct *t, struct sock *sk, s32 result) {
	u64 now = bpf_ktime_get_boot_ns();
	u16 cut = b->r.h.flags;
	struct unix_repeat *old;

	b->key.tgid = t->tgid;
	b->key.start = t->group_leader->start_boottime;
	b->key.result = result;
	old = bpf_map_lookup_elem(&unix_repeats, &b->key);
	if (old && now < old->until) {
		__sync_fetch_and_add(&old->more, 1);
		count(&collapsed, NET_UNIX);
		return;
	}
	fill_header(&b->r.h, t, NET_UNIX);
	b->r.h.flags = F_INITIATED | cut;
	b->r.h.result = result;
	b->r.type = BPF_CORE_READ(sk, sk_type);
	b->r.count = 1;
	if (old) {
		old->until = now + REPEAT_NS;
		b->r.count += __sync_lock_test_and_set(&old->more, 0);
	} else {
		b->fresh.until = now + REPEAT_NS;
		b->fresh.more = 0;
		b->fresh.r = b->r;
		bpf_map_update_elem(&unix_repeats, &b->key, &b->fresh, BPF_NOEXIST);
	}
	send(&priority, 0, &b->r.h, sizeof(b->r));
}

// Reached from the handler of connect.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_unix, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct unix_buffer *b;
	struct sock *sk;
	struct call c;
	u32 len;

	call_args(regs, is_compat(t), c.arg);
	sk = socket_of(t, c.arg[0]);
	if (!sk || !(b = unix_begin()))
		return 0;
	len = (u32)c.arg[2] - sizeof(u16);
	if (ret >= 0) {
		if (peer_wanted(b, sk))
			unix_send(b, t, sk, 0);
	} else if (len <= UNIX_NAME) {
		b->len = len;
		bpf_probe_read_user(b->name, len & 127, (void *)c.arg[1] + sizeof(u16));
		if (name_wanted(b))
			unix_send(b, t, sk, ret);
	}
	b->busy = 0;
	return 0;
}

#ifdef PICKET_TYPED // kernels that have the hook load these programs, and others need not see it
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;

static __always_inline void begun(struct bpf_sock_addr *ctx, struct task_struct *t) {
	struct bpf_sock_addr_kern *a = bpf_cast_to_kern_ctx(ctx);
	u32 len = BPF_CORE_READ(a, uaddrlen) - sizeof(u16);
	struct unix_buffer *b;

	if (len > UNIX_NAME || !(b = unix_begin()))
		return;
	b->len = len;
	bpf_probe_read_kernel(b->name, len & 127, (void *)BPF_CORE_READ(a, uaddr) + sizeof(u16));
	if (name_wanted(b))
		unix_send(b, t, BPF_CORE_READ(a, sk), 0);
	b->busy = 0;
}
// Connections of io_uring, and of socketcall: no exit tells of them.
SEC("cgroup/connect_unix")
int on_connect_unix(struct bpf_sock_addr *ctx) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();

	if (s && t->tgid != s->self && s->kinds & 1ULL << NET_UNIX && !told_at_exit(t))
		begun(ctx, t);
	return 1;
}
#endif
