// Paths by walking dentries from a file that the kernel holds, up to the root of its mount
// namespace. A string that a program passed is not trusted where a file is at hand.
#ifndef PATH_H
#define PATH_H

#include "record.h"

#define PATH_MAX 4096

// A path grows from its end to its start. The upper half is never written: it lets the verifier
// see that a masked start plus a masked length stay inside.
//
// The state of the walk lies beside it and not on the stack: what a program reads from a map is
// unknown to the verifier, so that it need not try each step of the loop.
struct path_buffer {
	char b[2 * PATH_MAX];
	void *dentry, *mnt; // mnt: the struct vfsmount
	u32 off, state;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct path_buffer);
} path_scratch SEC(".maps");

enum { WALK_MORE, WALK_ROOT, WALK_LOOSE, WALK_CUT };

// Both fields are constant in newer kernels, and relocation does not look through that: so the
// member's address is taken first.
static __always_inline struct qstr *name_of(void *dentry) { return dentry + bpf_core_field_offset(struct dentry, d_name); }
static __always_inline struct path *place_of(void *file) { return file + bpf_core_field_offset(struct file, f_path); }

static long walk_step(u32 i, void *unused) {
	u32 zero = 0, len, off;
	struct path_buffer *w = bpf_map_lookup_elem(&path_scratch, &zero);
	struct dentry *parent, *root;
	struct qstr *name;

	if (!w)
		return 1;
	parent = R1(w->dentry, struct dentry, d_parent);
	root = R1(w->mnt, struct vfsmount, mnt_root);
	if (w->dentry == root || w->dentry == parent) {
		void *m = w->mnt - bpf_core_field_offset(struct mount, mnt);
		void *up = R1(m, struct mount, mnt_parent);

		if (w->dentry != root) { // memfd, O_TMPFILE, pipe: it has a name but no place
			w->state = WALK_LOOSE;
			return 1;
		}
		if (m == up) {
			w->state = WALK_ROOT;
			return 1;
		}
		w->dentry = R1(m, struct mount, mnt_mountpoint);
		w->mnt = up + bpf_core_field_offset(struct mount, mnt);
		return 0;
	}
	off = w->off;
	name = name_of(w->dentry);
	len = BPF_CORE_READ(name, len) & 255;
	if (off < len + 1) {
		w->state = WALK_CUT;
		return 1;
	}
	off = (off - len - 1) & (PATH_MAX - 1);
	w->b[off] = '/';
	bpf_probe_read_kernel(&w->b[off + 1], len, BPF_CORE_READ(name, name));
	w->off = off;
	w->dentry = parent;
	return 0;
}

// path_of leaves the path in the scratch buffer, from off on; state says how the walk ended.
static __always_inline struct path_buffer *path_of(struct path *p) {
	u32 zero = 0;
	struct path_buffer *w = bpf_map_lookup_elem(&path_scratch, &zero);

	if (!w)
		return 0;
	w->dentry = BPF_CORE_READ(p, dentry);
	w->mnt = BPF_CORE_READ(p, mnt);
	w->off = PATH_MAX - 1;
	w->state = WALK_MORE;
	bpf_loop(256, walk_step, 0, 0);
	if (w->state == WALK_MORE)
		w->state = WALK_CUT;
	if (w->off == PATH_MAX - 1 && w->state == WALK_ROOT) {
		w->off = PATH_MAX - 2;
		w->b[PATH_MAX - 2] = '/';
	}
	return w;
}

static __always_inline u32 path_copy(char *to, struct path_buffer *w) {
	u32 off = w->off & (PATH_MAX - 1), len = (PATH_MAX - 1 - off) & (PATH_MAX - 1);

	bpf_probe_read_kernel(to, len, &w->b[off]);
	return len;
}

#define OVERLAY_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994

// layer_of says where in an overlay a file lies: 0 not on one, 1 in the image, 2 written since.
static __always_inline u32 layer_of(struct inode *i) {
	void *upper = 0;

	if (BPF_CORE_READ(i, i_sb, s_magic) != OVERLAY_MAGIC)
		return 0;
	if (bpf_core_type_exists(struct ovl_inode)) {
		struct ovl_inode *o = (void *)i - bpf_core_field_offset(struct ovl_inode, vfs_inode);
		upper = BPF_CORE_READ(o, __upperdentry);
	} else { // overlay is a module: the pointer follows the inode
		bpf_probe_read_kernel(&upper, sizeof(upper), (void *)i + bpf_core_type_size(struct inode));
	}
	return upper ? 2 : 1;
}

static __always_inline struct file *file_of(struct task_struct *t, u32 fd) {
	struct fdtable *fdt = R2(t, struct task_struct, files, fdt);
	struct file **all, *f = 0;

	if (fd >= R1(fdt, struct fdtable, max_fds))
		return 0;
	all = R1(fdt, struct fdtable, fd);
	bpf_probe_read_kernel(&f, sizeof(f), all + fd);
	return f;
}

#endif
