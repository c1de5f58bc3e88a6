// What a read-only mount over a model directory refused. The mount says nothing itself: a call that
// ends with EROFS does. Go decides whether it was our mount, by the path.
#include "tree.h"

#define EROFS 30
#define AT_FDCWD -100

enum { IN_TREE = 1, HAS_PATH = 2, IS_CUT = 4 }; // of a violation's access

// By system call number: which argument is the directory, and which the path. NO_ARG for none.
#define NO_ARG 7

struct changing_call {
	u8 dir, path;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, u32);
	__type(value, struct changing_call);
} changing SEC(".maps");

#if defined(__TARGET_ARCH_x86)
static __always_inline bool compat(struct task_struct *t) { return BPF_CORE_READ(t, thread_info.status) & 2; } // TS_COMPAT
static __always_inline u32 number_of(struct pt_regs *r) { return BPF_CORE_READ(r, orig_ax); }
static __always_inline u64 arg_of(struct pt_regs *r, u8 i) {
	return i == 0 ? BPF_CORE_READ(r, di) : i == 1 ? BPF_CORE_READ(r, si) : i == 2 ? BPF_CORE_READ(r, dx) : BPF_CORE_READ(r, r10);
}
#elif defined(__TARGET_ARCH_arm64)
static __always_inline bool compat(struct task_struct *t) { return BPF_CORE_READ(t, thread_info.flags) & (1UL << 22); } // TIF_32BIT
static __always_inline u32 number_of(struct pt_regs *r) { return BPF_CORE_READ(r, syscallno); }
static __always_inline u64 arg_of(struct pt_regs *r, u8 i) {
	return i == 0 ? BPF_CORE_READ(r, orig_x0) : i == 1 ? BPF_CORE_READ(r, regs[1]) : i == 2 ? BPF_CORE_READ(r, regs[2]) : BPF_CORE_READ(r, regs[3]);
}
#endif

struct climb {
	struct dentry *at;
	struct tree_key key;
	u32 depth, found;
};

static long climb_step(u32 i, struct climb *c) {
	struct dentry *at = c->at, *up = BPF_CORE_READ(at, d_parent);
	struct inode *inode = BPF_CORE_READ(at, d_inode);

	c->key.ino = BPF_CORE_READ(inode, i_ino);
	c->key.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	c->depth = i;
	c->found = bpf_map_lookup_elem(&trees, &c->key) != 0;
	if (c->found || up == at)
		return 1;
	c->at = up;
	return 0;
}

// start_of is the directory that a relative path starts from, or what a descriptor is for.
static __always_inline struct dentry *start_of(struct task_struct *t, s32 fd) {
	struct file **table, *f = 0;
	struct fdtable *files;
	struct fs_struct *fs;
	struct path *at;

	if (fd == AT_FDCWD) {
		fs = BPF_CORE_READ(t, fs);
		at = (void *)fs + bpf_core_field_offset(struct fs_struct, pwd);
		return BPF_CORE_READ(at, dentry);
	}
	files = BPF_CORE_READ(t, files, fdt);
	if (fd < 0 || fd >= BPF_CORE_READ(files, max_fds))
		return 0;
	table = BPF_CORE_READ(files, fd);
	bpf_probe_read_kernel(&f, sizeof(f), table + fd);
	if (!f)
		return 0;
	at = (void *)f + bpf_core_field_offset(struct file, f_path);
	return BPF_CORE_READ(at, dentry);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_refused, struct pt_regs *regs, long ret) {
	struct repeat_key again = {.rung = MOUNTED};
	struct climb climb = {};
	struct changing_call *call;
	struct task_struct *t;
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0;
	s32 fd = AT_FDCWD;
	u32 nr, count;
	long n = 0;

	if (ret != -EROFS)
		return 0;
	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_MODELS) || !(b->flags & B_ENFORCE) || exempt())
		return 0;
	t = (void *)bpf_get_current_task();
	nr = number_of(regs);
	call = compat(t) ? 0 : bpf_map_lookup_elem(&changing, &nr);
	if (!call)
		return 0;
	v = begin(b, MOUNTED, DENIED);
	if (!v)
		return 0;
	if (call->path != NO_ARG)
		n = bpf_probe_read_user_str(v->path, PATH_LEN, (void *)arg_of(regs, call->path));
	if (n > 1)
		v->access = n == PATH_LEN ? HAS_PATH | IS_CUT : HAS_PATH;
	if (call->dir != NO_ARG)
		fd = arg_of(regs, call->dir);
	if (v->path[0] != '/') {
		climb.at = start_of(t, fd);
		climb.key.cgroup = cgroup;
		if (climb.at)
			bpf_loop(DEPTH, climb_step, &climb, 0);
	}
	if (climb.found) {
		v->access |= IN_TREE;
		v->ino = climb.key.ino;
		v->dev = climb.key.dev;
		v->major = climb.depth;
	}
	again.tgid = v->tgid;
	again.slot = b->slot;
	__builtin_memcpy(again.addr, v->path, sizeof(again.addr));
	if (often(&again, &count)) {
		bpf_ringbuf_discard(v, 0);
		return 0;
	}
	v->count = count;
	v->minor = fd;
	__builtin_memcpy(v->addr, &cgroup, 8);
	bpf_ringbuf_submit(v, 0);
	return 0;
}
