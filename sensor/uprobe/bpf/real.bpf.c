// Which inode stands behind what a process mapped, and on which file system: of a file on an overlay
// the kernel keeps probes by the inode below, which stat does not tell. Runs on 5.12 and later.
#include "../../kernel/bpf/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct vm_area_struct {
	unsigned long vm_start;
	struct file *vm_file;
};

struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

struct super_block___kind {
	unsigned long s_magic;
};

#pragma clang attribute pop

struct mapped {
	u64 start, ino;
	u32 dev, magic;
};

struct mapped *unused_mapped __attribute__((unused));

// The thread group that is asked about.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} asked SEC(".maps");

SEC("iter/task_vma")
int on_mapping(struct bpf_iter__task_vma *ctx) {
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *t = ctx->task;
	struct mapped m = {};
	struct file *f;
	u32 zero = 0, *who;

	who = bpf_map_lookup_elem(&asked, &zero);
	if (!t || !vma || !who || t->tgid != *who || t->pid != t->tgid)
		return 0;
	f = vma->vm_file;
	if (!f)
		return 0;
	m.start = vma->vm_start;
	m.ino = f->f_inode->i_ino;
	m.dev = f->f_inode->i_sb->s_dev;
	m.magic = ((struct super_block___kind *)f->f_inode->i_sb)->s_magic;
	bpf_seq_write(ctx->meta->seq, &m, sizeof(m));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
