// Files that are linked, cut, given to another owner or get an attribute, and directories that are
// made. What goes through a descriptor is told by its dentry. Of the rest there is only the string
// that the program passed, as with rename.
#ifndef CHANGE_H
#define CHANGE_H

#include "file.h"

#define FALLOC_CHANGES 0x3a // holes, collapsed, zeroed and inserted ranges

static __always_inline void put_file(struct file_buffer *b, struct file *f) {
	fill_inode(&b->r, R1(f, struct file, f_inode));
	b->r.path_len = put_path(b, place_of(f));
}

static __always_inline void put_named(struct file_buffer *b, struct task_struct *t, s32 dfd, u64 name) {
	b->r.dir_len = put_dir(b, t, dfd, name);
	b->r.path_len = put_name(b, name);
}

// put_target adds a file by directory and name, or by descriptor where the name is empty.
static __always_inline void put_target(struct file_buffer *b, struct task_struct *t, s32 dfd, u64 name) {
	struct file *f;
	char first = 1;

	bpf_probe_read_user(&first, 1, (void *)name);
	if (first) {
		put_named(b, t, dfd, name);
		return;
	}
	f = file_of(t, dfd);
	if (f)
		put_file(b, f);
}

// Shapes: 0 link(old, new), 1 linkat(dir, old, dir, new), 2 symlink(target, new),
// 3 symlinkat(target, dir, new).
SEC("tp_btf/sys_exit")
int BPF_PROG(on_link, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct call c;

	if (ret || !(b = file_begin(FILE_LINK)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape >= 2) {
		b->r.mode = S_IFLNK;
		put_named(b, t, c.shape == 2 ? AT_FDCWD : (s32)c.arg[1], c.shape == 2 ? c.arg[1] : c.arg[2]);
		b->r.old_len = put_name(b, c.arg[0]); // read from where the link is, not from where we are
		file_end(b, true);
		return 0;
	}
	if (c.shape == 0) {
		c.arg[3] = c.arg[1];
		c.arg[1] = c.arg[0];
		c.arg[0] = c.arg[2] = (u64)AT_FDCWD;
	}
	put_named(b, t, c.arg[2], c.arg[3]);
	b->r.old_dir_len = put_dir(b, t, c.arg[0], c.arg[1]);
	b->r.old_len = put_name(b, c.arg[1]);
	file_end(b, true);
	return 0;
}

// Shapes: 0 mkdir(path, mode), 1 mkdirat(dir, path, mode).
SEC("tp_btf/sys_exit")
int BPF_PROG(on_mkdir, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct call c;

	if (ret || !(b = file_begin(FILE_MKDIR)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape == 0) {
		c.arg[1] = c.arg[0];
		c.arg[0] = (u64)AT_FDCWD;
	}
	b->r.mode = S_IFDIR;
	put_named(b, t, c.arg[0], c.arg[1]);
	file_end(b, true);
	return 0;
}

// tell_cut tells of a file that a descriptor was used to cut. A memfd has no place and is left out.
static __always_inline void tell_cut(struct file *f) {
	struct file_buffer *b = file_begin(FILE_TRUNCATE);

	if (!b)
		return;
	put_file(b, f);
	file_end(b, (b->r.mode & S_IFMT) == S_IFREG && below_prefix(b));
}

// Shapes: 0 truncate(path, size), 1 ftruncate(file, size), 2 fallocate(file, mode), 3 truncate64 of
// 32-bit arm, which has a gap before the size.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_truncate, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct file *f;
	struct call c;

	if (ret)
		return 0;
	call_of(&c, t, regs);
	if (c.shape == 2 && !(c.arg[1] & FALLOC_CHANGES))
		return 0; // room for later, no change
	if (c.shape == 1 || c.shape == 2) {
		f = file_of(t, c.arg[0]);
		if (f)
			tell_cut(f);
		return 0;
	}
	b = file_begin(FILE_TRUNCATE);
	if (!b)
		return 0;
	b->r.size = c.shape ? c.arg[2] : c.arg[1];
	put_named(b, t, AT_FDCWD, c.arg[0]);
	file_end(b, true);
	return 0;
}

// put_changed adds the file that a call of shape 0 names by path, 1 by descriptor, 2 by directory and
// name. It reports whether it was the last, which has its other arguments further on.
static __always_inline bool put_changed(struct file_buffer *b, struct task_struct *t, struct call *c) {
	struct file *f;

	switch (c->shape & 3) {
	case 0:
		put_named(b, t, AT_FDCWD, c->arg[0]);
		return false;
	case 1:
		f = file_of(t, c->arg[0]);
		if (f)
			put_file(b, f);
		return false;
	}
	put_target(b, t, c->arg[0], c->arg[1]);
	return true;
}

// Shapes: 0 chown(path, user, group), 1 fchown(file, user, group), 2 fchownat(dir, path, user,
// group); 4 more where ids have 16 bits.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_chown, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	u32 user, group;
	struct call c;

	if (ret || !(b = file_begin(FILE_CHOWN)))
		return 0;
	call_of(&c, t, regs);
	user = c.arg[1];
	group = c.arg[2];
	if (put_changed(b, t, &c)) {
		user = c.arg[2];
		group = c.arg[3];
	}
	if (c.shape & 4) { // the 16-bit word for "leave it"
		user = (user & 0xffff) == 0xffff ? (u32)-1 : user & 0xffff;
		group = (group & 0xffff) == 0xffff ? (u32)-1 : group & 0xffff;
	}
	b->r.size = (u64)group << 32 | user;
	file_end(b, true);
	return 0;
}

// Shapes: 0 setxattr(path, name), 1 fsetxattr(file, name), 2 setxattrat(dir, path, flags, name);
// 4 more where the attribute is removed.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_attribute, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct call c;

	if (ret || !(b = file_begin(FILE_ATTR)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape & 4)
		b->r.how = REMOVED;
	if (put_changed(b, t, &c))
		c.arg[1] = c.arg[3];
	b->r.old_len = put_name(b, c.arg[1]);
	file_end(b, true);
	return 0;
}

#endif
