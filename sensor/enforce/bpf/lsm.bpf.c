// What only LSM can refuse: changing model directories, running a program before it replaces
// another, and signals to Picket. An object of its own: many kernels take no program of this type.
// Runs on 6.1 and 6.12.
#include "program.h"
#include "tree.h"

#define EPERM 1
#define FMODE_WRITE 2
#define FAMILY 5 // ancestors of a process that are looked at

// The names of a path from its end: those that are told.
#define LEAF 112
#define ABOVE 72

// 6.12 wants to see that an answer is an error number.
static __always_inline int bounded(int ret) { return ret < 0 && ret >= -4095 ? ret : 0; }

// below walks from a name up to the root of its file system: no text of a path is looked at, and
// mounts do not matter.
static __always_inline bool below(struct dentry *d, struct tree_key *key, u32 *depth) {
	struct dentry *up;

	for (u32 i = 0; i < DEPTH; i++) {
		key->ino = d->d_inode->i_ino;
		key->dev = d->d_inode->i_sb->s_dev;
		*depth = i;
		if (bpf_map_lookup_elem(&trees, key))
			return true;
		up = d->d_parent;
		if (up == d)
			return false;
		d = up;
	}
	return true;
}

static __always_inline void tell(struct binding *b, struct dentry *d, struct tree_key *key, u32 depth, u8 rung) {
	struct repeat_key again = {.tgid = bpf_get_current_pid_tgid() >> 32, .slot = b->slot, .rung = rung};
	struct dentry *up = d->d_parent;
	struct violation *v;
	u32 count;

	__builtin_memcpy(again.addr, &key->ino, 8);
	if (often(&again, &count)) {
		add(&counts, rung * 4 + DENIED);
		return;
	}
	v = begin(b, rung, DENIED);
	if (!v)
		return;
	v->count = count;
	v->ino = key->ino;
	v->dev = key->dev;
	v->major = depth;
	bpf_probe_read_kernel_str(v->path, LEAF, d->d_name.name);
	bpf_probe_read_kernel_str(v->path + LEAF, ABOVE, up->d_name.name);
	bpf_probe_read_kernel_str(v->path + LEAF + ABOVE, ABOVE, up->d_parent->d_name.name);
	bpf_ringbuf_submit(v, 0);
}

// keep refuses what would change a model directory. Where a policy only observes, the sensor tells.
static __noinline int keep(struct dentry *d, u8 rung, int ret) {
	struct tree_key key = {};
	struct binding *b;
	u32 depth = 0;

	if (ret)
		return bounded(ret);
	b = binding_of(&key.cgroup);
	if (!b || !(b->flags & B_MODELS) || !(b->flags & B_ENFORCE) || exempt())
		return 0;
	if (!below(d, &key, &depth))
		return 0;
	tell(b, d, &key, depth, rung);
	return -EPERM;
}

SEC("lsm/file_open")
int BPF_PROG(on_open, struct file *f, int ret) {
	if (!(f->f_mode & FMODE_WRITE))
		return bounded(ret);
	return keep(f->f_path.dentry, FILE_OPEN, ret);
}

SEC("lsm/inode_create")
int BPF_PROG(on_create, struct inode *dir, struct dentry *d, u16 mode, int ret) { return keep(d, INODE_CREATE, ret); }

SEC("lsm/inode_mkdir")
int BPF_PROG(on_mkdir, struct inode *dir, struct dentry *d, u16 mode, int ret) { return keep(d, INODE_MKDIR, ret); }

SEC("lsm/inode_mknod")
int BPF_PROG(on_mknod, struct inode *dir, struct dentry *d, u16 mode, u32 dev, int ret) { return keep(d, INODE_MKNOD, ret); }

SEC("lsm/inode_symlink")
int BPF_PROG(on_symlink, struct inode *dir, struct dentry *d, const char *to, int ret) { return keep(d, INODE_SYMLINK, ret); }

SEC("lsm/inode_unlink")
int BPF_PROG(on_unlink, struct inode *dir, struct dentry *d, int ret) { return keep(d, INODE_UNLINK, ret); }

SEC("lsm/inode_rmdir")
int BPF_PROG(on_rmdir, struct inode *dir, struct dentry *d, int ret) { return keep(d, INODE_RMDIR, ret); }

// A second name outside would be a way to write.
SEC("lsm/inode_link")
int BPF_PROG(on_link, struct dentry *old, struct inode *dir, struct dentry *d, int ret) {
	return keep(d, INODE_LINK, keep(old, INODE_LINK, ret));
}

SEC("lsm/inode_rename")
int BPF_PROG(on_rename, struct inode *from, struct dentry *old, struct inode *to, struct dentry *d, int ret) {
	return keep(d, INODE_RENAME, keep(old, INODE_RENAME, ret));
}

// Mode, owner, times and length. Newer kernels put the mount's user mapping first: each kernel takes
// one of the two, for the answer of the program before stands in another place.
SEC("lsm/inode_setattr")
int BPF_PROG(on_setattr_mapped, void *mapping, struct dentry *d, void *attr, int ret) { return keep(d, INODE_SETATTR, ret); }

SEC("lsm/inode_setattr")
int BPF_PROG(on_setattr, struct dentry *d, void *attr, int ret) { return keep(d, INODE_SETATTR, ret); }

SEC("lsm/inode_setxattr")
int BPF_PROG(on_setxattr, void *mapping, struct dentry *d, const char *name, const void *value, u64 size, int flags, int ret) {
	return keep(d, INODE_XATTR, ret);
}

SEC("lsm/inode_removexattr")
int BPF_PROG(on_removexattr, void *mapping, struct dentry *d, const char *name, int ret) { return keep(d, INODE_XATTR, ret); }

SEC("lsm/inode_set_acl")
int BPF_PROG(on_set_acl, void *mapping, struct dentry *d, const char *name, void *acl, int ret) { return keep(d, INODE_ACL, ret); }

SEC("lsm/inode_remove_acl")
int BPF_PROG(on_remove_acl, void *mapping, struct dentry *d, const char *name, int ret) { return keep(d, INODE_ACL, ret); }

struct linux_binprm___start {
	char buf[256];
} __attribute__((preserve_access_index));

// on_check refuses a program before the old one is gone. Of a script it waits for the interpreter,
// for which it is asked again.
SEC("lsm/bprm_check_security")
int BPF_PROG(on_check, struct linux_binprm *bprm, int ret) {
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0, ino;
	char start[2] = {};
	bool enforce;
	u32 dev;

	if (ret)
		return bounded(ret);
	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_EXEC) || exempt())
		return 0;
	bpf_core_read(start, sizeof(start), &((struct linux_binprm___start *)bprm)->buf);
	if (start[0] == '#' && start[1] == '!')
		return 0;
	ino = bprm->file->f_inode->i_ino;
	dev = bprm->file->f_inode->i_sb->s_dev;
	if (may_run(cgroup, bprm, ino, dev))
		return 0;
	enforce = b->flags & B_ENFORCE;
	v = begin(b, CHECK, enforce ? DENIED : SEEN);
	if (v) {
		v->ino = ino;
		v->dev = dev;
		bpf_probe_read_kernel_str(v->path, PATH_LEN, bprm->filename);
		bpf_ringbuf_submit(v, 0);
	}
	ret = enforce ? -EPERM : 0;
	barrier_var(ret); // or the compiler makes it sums, whose bounds 6.12 does not know
	return bounded(ret);
}

// ours reports whether a process is, or descends from, the one that is guarded.
static __always_inline bool ours(struct task_struct *t, u32 guard) {
	for (int i = 0; i < FAMILY; i++) {
		if (BPF_CORE_READ(t, tgid) == guard)
			return true;
		t = BPF_CORE_READ(t, real_parent);
	}
	return false;
}

// Signals that do nothing to a process that does not ask for them, and the one that wakes it.
static __always_inline bool harmless(int sig) { return !sig || sig == 17 || sig == 18 || sig == 23 || sig == 28; }

// on_kill lets pass what the guarded processes and init send, and the kernel, which does not ask.
SEC("lsm/task_kill")
int BPF_PROG(on_kill, struct task_struct *t, void *info, int sig, const struct cred *cred, int ret) {
	struct binding nobody = {};
	u32 zero = 0, count;
	struct settings *s = bpf_map_lookup_elem(&current, &zero);
	struct repeat_key again = {.tgid = bpf_get_current_pid_tgid() >> 32, .port = sig, .rung = TASK_KILL};
	struct violation *v;

	if (ret)
		return bounded(ret);
	if (!s || !s->guard || harmless(sig) || again.tgid == 1)
		return 0;
	if (!ours(t, s->guard) || ours((void *)bpf_get_current_task(), s->guard))
		return 0;
	if (often(&again, &count)) {
		add(&counts, TASK_KILL * 4 + DENIED);
		return -EPERM;
	}
	v = begin(&nobody, TASK_KILL, DENIED);
	if (v) {
		v->count = count;
		v->major = t->tgid;
		v->minor = sig;
		bpf_probe_read_kernel_str(v->path, sizeof(t->comm), t->comm);
		bpf_ringbuf_submit(v, 0);
	}
	return -EPERM;
}

// on_alive shows that the hooks are called: a kernel may take the programs and have LSM for BPF off.
SEC("lsm/file_open")
int BPF_PROG(on_alive, struct file *f, int ret) {
	u32 zero = 0, tgid = bpf_get_current_pid_tgid() >> 32;
	struct settings *s = bpf_map_lookup_elem(&current, &zero);

	if (s && tgid == s->self)
		add(&counts, 0);
	return bounded(ret);
}

char LICENSE[] SEC("license") = "GPL";
