// How much each process reads and writes of each large file, counted in a map that Go looks at every
// few seconds. A step told at once: theft need not wait for the look.
#ifndef IO_H
#define IO_H

#include "uring.h"

#define IO_PATH 400
#define E2BIG 7

struct io_key {
	u64 ino, start;
	u32 dev, tgid;
};

// A record with what follows it, and how much of it was told.
struct io_total {
	struct file_record r;
	u64 read, written, told;
	char path[IO_PATH];
	u64 mapped; // of read: since the file was mapped last
};

#define IO_COUNTS 24 // read, written and told, in the place of the record's directory

// Not one that forgets the oldest: what has no room is counted as dropped.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct io_key);
	__type(value, struct io_total);
} io_totals SEC(".maps");

struct io_key *unused_io_key __attribute__((unused));
struct io_total *unused_io_total __attribute__((unused));

// io_begin makes the entry of a process and a file.
static __always_inline struct io_total *io_begin(struct io_key *key, struct file *f, struct inode *i) {
	struct file_buffer *b = file_begin(FILE_IO);
	struct io_total *total;

	if (!b)
		return 0;
	fill_inode(&b->r, i);
	__builtin_memset(b->data, 0, IO_COUNTS);
	b->r.dir_len = b->end = IO_COUNTS;
	b->r.path_len = put_path(b, place_of(f));
	if (b->r.path_len > IO_PATH) {
		b->r.path_len = IO_PATH;
		b->r.h.flags |= F_TRUNCATED;
	}
	if (!b->loose && bpf_map_update_elem(&io_totals, key, b, BPF_NOEXIST) == -E2BIG)
		drop(FILE_IO);
	total = b->loose ? 0 : bpf_map_lookup_elem(&io_totals, key);
	if (total)
		total->mapped = 0;
	file_end(b, false);
	return total;
}

// io_total_of finds the entry of a process and a file. The key stays empty where nothing is counted
// of such a file.
static __always_inline struct io_total *io_total_of(struct settings *s, struct task_struct *t, struct inode *i, struct io_key *key) {
	if (R1(i, struct inode, i_size) < s->io_min || (R1(i, struct inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	key->ino = R1(i, struct inode, i_ino);
	key->dev = R2(i, struct inode, i_sb, s_dev);
	key->tgid = t->tgid;
	key->start = t->group_leader->start_boottime;
	return bpf_map_lookup_elem(&io_totals, key);
}

static __always_inline struct io_total *io_open(struct settings *s, struct task_struct *t, struct file *f) {
	struct inode *i = R1(f, struct file, f_inode);
	struct io_key key = {};
	struct io_total *total = io_total_of(s, t, i, &key);

	return total || !key.tgid ? total : io_begin(&key, f, i);
}

static __always_inline void io_add(struct settings *s, struct io_total *total, struct inode *i, u64 n, bool written) {
	u64 sum, told, len;

	__sync_fetch_and_add(written ? &total->written : &total->read, n);
	sum = total->read + total->written;
	told = total->told;
	if (sum - told < s->io_step || __sync_val_compare_and_swap(&total->told, told, sum) != told)
		return; // another thread tells of this step
	total->r.h.time = bpf_ktime_get_boot_ns();
	total->r.size = R1(i, struct inode, i_size);
	len = total->r.path_len & 511;
	if (len <= IO_PATH)
		send(&volume, 1, &total->r.h, sizeof(total->r) + IO_COUNTS + len);
}

static __always_inline void count_io(struct settings *s, struct task_struct *t, struct file *f, u64 n, bool written) {
	struct io_total *total = io_open(s, t, f);

	if (total)
		io_add(s, total, R1(f, struct file, f_inode), n, written);
}

// Shapes: 0 read(file), 1 write(file), 2 sendfile(out, in), 3 splice(in, _, out) and copy_file_range.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_io, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct file *f;
	struct call c;

	if (ret <= 0 || !s)
		return 0;
	call_of(&c, t, regs);
	if (c.shape != 1) {
		f = file_of(t, c.shape == 2 ? c.arg[1] : c.arg[0]);
		if (f)
			count_io(s, t, f, ret, false);
	}
	if (c.shape != 0) {
		f = file_of(t, c.shape == 3 ? c.arg[2] : c.arg[0]);
		if (f)
			count_io(s, t, f, ret, true);
	}
	return 0;
}

enum {
	URING_READV = 1,
	URING_WRITEV = 2,
	URING_READ_FIXED = 4,
	URING_WRITE_FIXED = 5,
	URING_READ = 22,
	URING_WRITE = 23,
	URING_SPLICE = 30,
	URING_READV_FIXED = 60,
	URING_WRITEV_FIXED = 61,
};

#define SPLICE_F_FD_IN_FIXED (1U << 31)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct io_splice {
	int splice_fd_in;
	unsigned int flags;
};

#pragma clang attribute pop

// spliced_from is the file that a splice reads, by its descriptor: the request has let go of it.
static __always_inline struct file *spliced_from(struct task_struct *t, void *req) {
	u32 fd = R1(req, struct io_splice, splice_fd_in);

	return R1(req, struct io_splice, flags) & SPLICE_F_FD_IN_FIXED ? ring_file(req, fd) : file_of(t, fd);
}

// A program of its own, so that nobody pays for it who counts nothing.
SEC("tp_btf/io_uring_complete")
int BPF_PROG(on_uring_io, void *ring, void *req) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	bool written = false;
	struct file *f;
	s32 res;

	if (!req || !s || t->tgid == s->self || !on_duty(s, AT_COMPLETE_IO))
		return 0;
	switch (R1(req, struct io_kiocb, opcode)) {
	case URING_SPLICE:
		res = R1(req, struct io_kiocb, cqe.res);
		f = spliced_from(t, req);
		if (res > 0 && f)
			count_io(s, t, f, res, false);
	case URING_WRITEV:
	case URING_WRITE_FIXED:
	case URING_WRITE:
	case URING_WRITEV_FIXED:
		written = true;
	case URING_READV:
	case URING_READ_FIXED:
	case URING_READ:
	case URING_READV_FIXED:
		break;
	default:
		return 0;
	}
	res = R1(req, struct io_kiocb, cqe.res);
	f = R1(req, struct io_kiocb, file);
	if (res > 0 && f)
		count_io(s, t, f, res, written);
	return 0;
}

const volatile u64 page_size = 4096;

// Pages of a file that come into a process: so is read what is mapped. There is no file to take a
// path from: on_map made the entry. The kernel tries some pages around the one that was asked for, and
// some again, so that they are counted no further than the file is long.
SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(on_pages, struct address_space *mapping, unsigned long first, unsigned long last) {
	struct settings *s = config();
	struct inode *i = R1(mapping, struct address_space, host);
	struct io_key key = {};
	struct io_total *total = s ? io_total_of(s, bpf_get_current_task_btf(), i, &key) : 0;
	u64 size, n, was;

	if (!total || last < first || !on_duty(s, AT_PAGES))
		return 0;
	size = R1(i, struct inode, i_size);
	n = (last - first + 1) * page_size;
	was = __sync_fetch_and_add(&total->mapped, n);
	if (was < size)
		io_add(s, total, i, n < size - was ? n : size - was, false);
	return 0;
}

#endif
