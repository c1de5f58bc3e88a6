// Files that are reached through io_uring, which no system call of their own stands for.
//
// An open is told of when it is complete: the file is in the table of descriptors, or in the ring's
// own. What takes names frees them before that, so it is written down when it is submitted.
#ifndef URING_H
#define URING_H

#include "change.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct io_cqe {
	s32 res;
};

struct io_rsrc_node {
	unsigned long file_ptr;
};

struct io_rsrc_data {
	unsigned int nr;
	struct io_rsrc_node **nodes;
};

struct io_file_table {
	struct io_rsrc_data data;
};

struct io_fixed_file { // until 6.12
	unsigned long file_ptr;
};

struct io_file_table___old {
	struct io_fixed_file *files;
};

struct io_ring_ctx {
	struct io_file_table file_table;
};

struct io_kiocb {
	struct file *file;
	u8 opcode;
	u32 flags;
	struct io_cqe cqe;
	struct io_ring_ctx *ctx;
};

struct filename {
	const char *name;
};

struct open_how {
	u64 flags;
};

struct io_open {
	int dfd;
	u32 file_slot;
	struct filename *filename;
	struct open_how how;
};

struct io_rename {
	int old_dfd, new_dfd;
	struct filename *oldpath, *newpath;
};

struct io_unlink {
	int dfd;
	struct filename *filename;
};

struct io_mkdir {
	int dfd;
	struct filename *filename;
};

struct io_link {
	int old_dfd, new_dfd;
	struct filename *oldpath, *newpath;
};

struct io_sync {
	int mode;
};

#pragma clang attribute pop

enum {
	URING_FALLOCATE = 17,
	URING_OPENAT = 18,
	URING_OPENAT2 = 28,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
	URING_SYMLINKAT = 38,
	URING_LINKAT = 39,
	URING_FTRUNCATE = 55,
	URING_QUIET = 1 << 6, // REQ_F_CQE_SKIP: completes without a word when it works
	URING_DATA = 8192,
};

#define URING_ANY_SLOT ((u32)-1)
#define FILE_PTR_MASK (~7ul) // the low bits of a pointer in the ring's table are flags
#define O_ACCMODE 3
#define O_CREAT 0100
#define O_EXCL 0200
#define O_TRUNC 01000

struct uring_note {
	struct file_record r;
	char data[URING_DATA];
};

// Requests with names, from submission to completion.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct uring_note);
} uring_notes SEC(".maps");

static __always_inline u32 request_flags(void *req) {
	u32 flags = 0; // 64 bits in newer kernels

	bpf_probe_read_kernel(&flags, sizeof(flags), req + bpf_core_field_offset(struct io_kiocb, flags));
	return flags;
}

// put_held adds a name that the kernel holds a copy of, and the directory that it starts from.
static __always_inline u16 put_held(struct file_buffer *b, struct task_struct *t, s32 dfd, struct filename *held, u16 *dir_len) {
	const char *name = R1(held, struct filename, name);
	char first = 0;
	long n;

	bpf_probe_read_kernel(&first, 1, name);
	if (dir_len && first != '/')
		*dir_len = put_start(b, t, dfd);
	n = bpf_probe_read_kernel_str(&b->data[b->end & (FILE_PART - 1)], PATH_MAX, name);
	if (n <= 0 || n == PATH_MAX)
		b->r.h.flags |= F_TRUNCATED;
	if (n <= 0)
		return 0;
	b->end += n - 1;
	return n - 1;
}

// named_kind is what a request that takes names will be told as, 0 for others. An open is one only
// where nothing is said of its completion.
static __always_inline u32 named_kind(void *req) {
	u64 flags;

	switch (R1(req, struct io_kiocb, opcode)) {
	case URING_OPENAT:
	case URING_OPENAT2:
		if (!(request_flags(req) & URING_QUIET))
			return 0;
		flags = R1(req, struct io_open, how.flags);
		if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
			return FILE_CREATE;
		return flags & (O_ACCMODE | O_CREAT | O_TRUNC) ? FILE_WRITE : FILE_READ;
	case URING_RENAMEAT:
		return FILE_RENAME;
	case URING_UNLINKAT:
		return FILE_DELETE;
	case URING_MKDIRAT:
		return FILE_MKDIR;
	case URING_SYMLINKAT:
	case URING_LINKAT:
		return FILE_LINK;
	}
	return 0;
}

// put_request writes down what a request names. The names are gathered first, so that the walk to
// their directories is in the program twice and not ten times.
static __always_inline void put_request(struct file_buffer *b, struct task_struct *t, void *req) {
	struct filename *name = 0, *old = 0;
	s32 dfd = AT_FDCWD, old_dfd = AT_FDCWD;
	struct file_record *r = &b->r;

	switch (R1(req, struct io_kiocb, opcode)) {
	case URING_OPENAT:
	case URING_OPENAT2:
		r->how = BY_NAME;
		dfd = R1(req, struct io_open, dfd);
		name = R1(req, struct io_open, filename);
		break;
	case URING_UNLINKAT:
		r->h.flags |= F_DELETED;
		dfd = R1(req, struct io_unlink, dfd);
		name = R1(req, struct io_unlink, filename);
		break;
	case URING_MKDIRAT:
		r->mode = S_IFDIR;
		dfd = R1(req, struct io_mkdir, dfd);
		name = R1(req, struct io_mkdir, filename);
		break;
	case URING_RENAMEAT:
		dfd = R1(req, struct io_rename, new_dfd);
		name = R1(req, struct io_rename, newpath);
		old_dfd = R1(req, struct io_rename, old_dfd);
		old = R1(req, struct io_rename, oldpath);
		break;
	case URING_SYMLINKAT:
		r->mode = S_IFLNK; // what it leads to is read from where the link is
		// fall through
	case URING_LINKAT:
		dfd = R1(req, struct io_link, new_dfd);
		name = R1(req, struct io_link, newpath);
		old_dfd = R1(req, struct io_link, old_dfd);
		old = R1(req, struct io_link, oldpath);
		break;
	}
	if (name)
		r->path_len = put_held(b, t, dfd, name, &r->dir_len);
	if (old)
		r->old_len = put_held(b, t, old_dfd, old, r->mode == S_IFLNK ? 0 : &r->old_dir_len);
}

// io_uring_submit_sqe before 6.3, by the same first argument.
SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(on_uring_submit, void *req) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	u32 kind = named_kind(req);
	u64 key = (u64)req;
	struct file_buffer *b;
	bool told = false;

	if (!kind || !s || !(s->kinds & (1ull << kind)) || t->tgid == s->self || !on_duty(s, AT_SUBMIT))
		return 0;
	b = file_begin(kind);
	if (!b)
		return 0;
	put_request(b, t, req);
	// Of a quiet request nothing more is heard unless it fails: it is taken to work.
	if (!(request_flags(req) & URING_QUIET) && b->end <= URING_DATA)
		told = bpf_map_update_elem(&uring_notes, &key, b, BPF_ANY) == 0;
	file_end(b, !told);
	return 0;
}

// ring_file returns a file of the ring's own table.
static __always_inline struct file *ring_file(void *req, u32 slot) {
	void *table = R1(req, struct io_kiocb, ctx);
	void *one = 0;

	table += bpf_core_field_offset(struct io_ring_ctx, file_table);
	if (bpf_core_field_exists(struct io_file_table, data)) {
		if (slot >= BPF_CORE_READ((struct io_file_table *)table, data.nr))
			return 0;
		bpf_probe_read_kernel(&one, sizeof(one), BPF_CORE_READ((struct io_file_table *)table, data.nodes) + slot);
		return one ? (void *)(BPF_CORE_READ((struct io_rsrc_node *)one, file_ptr) & FILE_PTR_MASK) : 0;
	}
	one = BPF_CORE_READ((struct io_file_table___old *)table, files);
	bpf_probe_read_kernel(&one, sizeof(one), one + slot * bpf_core_type_size(struct io_fixed_file));
	return (void *)((unsigned long)one & FILE_PTR_MASK);
}

static __always_inline void uring_opened(struct settings *s, struct task_struct *t, void *req, s32 res) {
	u32 slot = R1(req, struct io_open, file_slot);
	struct file *f;

	if (!slot)
		f = file_of(t, res);
	else
		f = ring_file(req, slot == URING_ANY_SLOT ? res : slot - 1);
	if (f)
		tell_open(s, f);
}

// uring_held tells of what came of a file that the kernel holds.
static __always_inline void uring_held(struct settings *s, struct task_struct *t, void *req, u8 op, s32 res) {
	struct file *f;

	if (op == URING_OPENAT || op == URING_OPENAT2) {
		uring_opened(s, t, req, res);
		return;
	}
	if (!(s->kinds & (1ull << FILE_TRUNCATE)))
		return;
	if (op == URING_FALLOCATE && !(R1(req, struct io_sync, mode) & FALLOC_CHANGES))
		return;
	f = R1(req, struct io_kiocb, file);
	if (f)
		tell_cut(f);
}

static __always_inline bool uring_counts(u8 op) {
	return op == URING_OPENAT || op == URING_OPENAT2 || (op >= URING_RENAMEAT && op <= URING_LINKAT) || op == URING_FALLOCATE || op == URING_FTRUNCATE;
}

// The worker that completes a request is a thread of the process that made it.
SEC("tp_btf/io_uring_complete")
int BPF_PROG(on_uring_done, void *ring, void *req) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct uring_note *note;
	u64 key = (u64)req, len;
	s32 res;
	u8 op;

	if (!req || !s)
		return 0;
	op = R1(req, struct io_kiocb, opcode);
	if (!uring_counts(op) || t->tgid == s->self || !on_duty(s, AT_COMPLETE))
		return 0;
	res = R1(req, struct io_kiocb, cqe.res);
	if (op < URING_RENAMEAT || op > URING_LINKAT) {
		if (res >= 0)
			uring_held(s, t, req, op, res);
		return 0;
	}
	note = bpf_map_lookup_elem(&uring_notes, &key);
	if (!note)
		return 0;
	len = (note->r.dir_len + note->r.path_len + note->r.old_dir_len + note->r.old_len) & (2 * URING_DATA - 1);
	if (res >= 0 && len <= URING_DATA)
		send(&volume, 1, &note->r.h, sizeof(note->r) + len);
	bpf_map_delete_elem(&uring_notes, &key);
	return 0;
}

#endif
