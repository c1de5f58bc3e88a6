// Files that are opened, renamed, deleted, or get another mode.
#ifndef FILE_H
#define FILE_H

#include "syscall.h"

#define FMODE_READ 1
#define FMODE_WRITE 2
#define FMODE_CREATED 0x100000
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define PROC_MAGIC 0x9fa0
#define AT_FDCWD -100
#define FILE_DATA 20480
#define FILE_PART 16384
#define PREFIX_MAX 248

struct inode_key {
	u64 ino, dev;
};

// Directories, and files in them: reads are reported of these only.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct inode_key);
	__type(value, u32);
} watched SEC(".maps");

struct prefix_key {
	u32 bits;
	char path[PREFIX_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, u32);
} prefixes SEC(".maps");

struct file_buffer {
	struct file_record r;
	char data[FILE_DATA];
	struct prefix_key prefix;
	u32 end; // of the data
	u32 loose; // the file has no place in the tree
	u32 busy;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct file_buffer);
} file_scratch SEC(".maps");

static __always_inline struct file_buffer *file_begin(u32 kind) {
	u32 zero = 0;
	struct file_buffer *b = bpf_map_lookup_elem(&file_scratch, &zero);

	if (!b || __sync_lock_test_and_set(&b->busy, 1)) {
		drop(kind);
		return 0;
	}
	fill_header(&b->r.h, bpf_get_current_task_btf(), kind);
	b->r.ino = b->r.size = b->r.dev = b->r.mode = b->r.layer = b->r.rdev = 0;
	b->r.dir_len = b->r.path_len = b->r.old_dir_len = b->r.old_len = 0;
	b->r.how = 0;
	b->end = b->loose = 0;
	return b;
}

static __always_inline void file_end(struct file_buffer *b, bool emit) {
	u64 total = sizeof(b->r) + (b->end & (FILE_PART - 1));

	if (emit && !b->loose)
		send(&volume, 1, &b->r.h, total);
	b->busy = 0;
}

static __always_inline void fill_inode(struct file_record *r, struct inode *i) {
	r->ino = R1(i, struct inode, i_ino);
	r->dev = R2(i, struct inode, i_sb, s_dev);
	r->size = R1(i, struct inode, i_size);
	r->mode = R1(i, struct inode, i_mode);
	r->layer = layer_of(i);
	if (!R1(i, struct inode, i_nlink))
		r->h.flags |= F_DELETED;
}

// put_path adds the path of a file that the kernel holds and returns its length.
static __always_inline u16 put_path(struct file_buffer *b, struct path *p) {
	struct path_buffer *w = path_of(p);
	u32 len;

	if (!w)
		return 0;
	if (w->state == WALK_CUT)
		b->r.h.flags |= F_TRUNCATED;
	b->loose = w->state == WALK_LOOSE;
	len = path_copy(&b->data[b->end & (FILE_PART - 1)], w);
	b->end += len;
	return len;
}

// put_start adds the directory that a relative path starts from.
static __always_inline u16 put_start(struct file_buffer *b, struct task_struct *t, s32 dfd) {
	void *from;

	if (dfd == AT_FDCWD) {
		from = R1(t, struct task_struct, fs);
		from += bpf_core_field_offset(struct fs_struct, pwd);
	} else {
		from = file_of(t, dfd);
		if (!from)
			return 0;
		from = place_of(from);
	}
	return put_path(b, from);
}

// put_dir adds the directory that a path which the program passed starts from, where that path is
// relative.
static __always_inline u16 put_dir(struct file_buffer *b, struct task_struct *t, s32 dfd, u64 name) {
	char first = 0;

	bpf_probe_read_user(&first, 1, (void *)name);
	return first == '/' ? 0 : put_start(b, t, dfd);
}

// put_name adds a path that the program passed.
static __always_inline u16 put_name(struct file_buffer *b, u64 name) {
	long n = bpf_probe_read_user_str(&b->data[b->end & (FILE_PART - 1)], PATH_MAX, (void *)name);

	if (n < 0 || n == PATH_MAX)
		b->r.h.flags |= F_TRUNCATED;
	if (n <= 0) // older kernels say 0 of an empty name, newer ones 1
		return 0;
	b->end += n - 1;
	return n - 1;
}

static __always_inline bool below_prefix(struct file_buffer *b) {
	struct settings *s = config();
	u32 len = b->r.path_len;

	if (!s || !s->prefixes)
		return true;
	if (len > PREFIX_MAX)
		len = PREFIX_MAX;
	b->prefix.bits = len * 8;
	bpf_probe_read_kernel(b->prefix.path, len & 255 ? len & 255 : 1, b->data);
	return bpf_map_lookup_elem(&prefixes, &b->prefix);
}

static __always_inline bool is_watched(struct file *f, struct inode *i) {
	struct inode_key key = {.ino = R1(i, struct inode, i_ino), .dev = R2(i, struct inode, i_sb, s_dev)};
	struct inode *dir;
	struct path *at;

	if (bpf_map_lookup_elem(&watched, &key))
		return true;
	at = place_of(f);
	dir = BPF_CORE_READ(at, dentry, d_parent, d_inode);
	key.ino = R1(dir, struct inode, i_ino);
	return bpf_map_lookup_elem(&watched, &key);
}

// tell_open tells of a file that was just opened.
static __always_inline void tell_open(struct settings *s, struct file *f) {
	struct inode *i = R1(f, struct file, f_inode);
	struct file_buffer *b;
	u32 mode, kind;

	if ((R1(i, struct inode, i_mode) & S_IFMT) != S_IFREG)
		return;
	mode = R1(f, struct file, f_mode);
	if (!(mode & (FMODE_READ | FMODE_WRITE)))
		return; // O_PATH: neither can be done with it
	kind = mode & FMODE_CREATED ? FILE_CREATE : mode & FMODE_WRITE ? FILE_WRITE : FILE_READ;
	if (!(s->kinds & (1ull << kind)) || (kind == FILE_READ && (!s->watching || !is_watched(f, i))))
		return;
	b = file_begin(kind);
	if (!b)
		return;
	fill_inode(&b->r, i);
	if (mode & FMODE_CREATED)
		b->r.h.flags |= F_CREATED;
	b->r.path_len = put_path(b, place_of(f));
	file_end(b, kind == FILE_READ || below_prefix(b));
}

// is_memory reports whether a file is /proc/PID/mem.
static __always_inline bool is_memory(struct file *f, struct inode *i) {
	char name[4] = {};
	struct path *at;
	struct qstr *last;

	if (R2(i, struct inode, i_sb, s_magic) != PROC_MAGIC)
		return false;
	at = place_of(f);
	last = name_of(BPF_CORE_READ(at, dentry));
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(last, name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && !name[3];
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_open, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct inode *i;
	struct file *f;
	u32 type;

	if (ret < 0 || !s)
		return 0;
	f = file_of(t, ret);
	if (!f)
		return 0;
	i = R1(f, struct file, f_inode);
	type = R1(i, struct inode, i_mode) & S_IFMT;
	if (type != S_IFREG) {
		if ((type == S_IFCHR || type == S_IFBLK) && s->kinds & 1ull << DEVICE_OPEN)
			bpf_tail_call(ctx, &handlers, SLOT_DEVICE);
		return 0;
	}
	if (s->kinds & 1ull << PROCESS_TRACE && is_memory(f, i))
		bpf_tail_call(ctx, &handlers, SLOT_MEMORY);
	tell_open(s, f);
	return 0;
}

// Shapes: 0 rename(old, new), 1 renameat(dir, old, dir, new).
SEC("tp_btf/sys_exit")
int BPF_PROG(on_rename, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct call c;

	if (ret || !(b = file_begin(FILE_RENAME)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape == 0) {
		c.arg[3] = c.arg[1];
		c.arg[1] = c.arg[0];
		c.arg[0] = c.arg[2] = (u64)AT_FDCWD;
	}
	b->r.dir_len = put_dir(b, t, c.arg[2], c.arg[3]);
	b->r.path_len = put_name(b, c.arg[3]);
	b->r.old_dir_len = put_dir(b, t, c.arg[0], c.arg[1]);
	b->r.old_len = put_name(b, c.arg[1]);
	file_end(b, true);
	return 0;
}

// Shapes: 0 unlink(path), 1 unlinkat(dir, path).
SEC("tp_btf/sys_exit")
int BPF_PROG(on_unlink, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct call c;

	if (ret || !(b = file_begin(FILE_DELETE)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape == 0) {
		c.arg[1] = c.arg[0];
		c.arg[0] = (u64)AT_FDCWD;
	}
	b->r.h.flags |= F_DELETED;
	b->r.dir_len = put_dir(b, t, c.arg[0], c.arg[1]);
	b->r.path_len = put_name(b, c.arg[1]);
	file_end(b, true);
	return 0;
}

// Shapes: 0 chmod(path, mode), 1 fchmod(file, mode), 2 fchmodat(dir, path, mode).
SEC("tp_btf/sys_exit")
int BPF_PROG(on_chmod, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file_buffer *b;
	struct file *f;
	struct call c;

	if (ret || !(b = file_begin(FILE_CHMOD)))
		return 0;
	call_of(&c, t, regs);
	if (c.shape == 1) {
		f = file_of(t, c.arg[0]);
		if (f) {
			fill_inode(&b->r, R1(f, struct file, f_inode));
			b->r.path_len = put_path(b, place_of(f));
		}
		b->r.mode = c.arg[1];
	} else {
		if (c.shape == 0) {
			c.arg[2] = c.arg[1];
			c.arg[1] = c.arg[0];
			c.arg[0] = (u64)AT_FDCWD;
		}
		b->r.dir_len = put_dir(b, t, c.arg[0], c.arg[1]);
		b->r.path_len = put_name(b, c.arg[1]);
		b->r.mode = c.arg[2];
	}
	b->r.mode &= 07777;
	file_end(b, true);
	return 0;
}

#endif
