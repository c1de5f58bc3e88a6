// A program that may not run is killed while the kernel still prepares it: it runs no instruction.
// It is for kernels without LSM, which refuses earlier.
#include "program.h"

#define SIGKILL 9

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *t, int old_pid, struct linux_binprm *bprm) {
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0, ino;
	u8 action = SEEN;
	u32 dev;

	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_EXEC) || exempt())
		return 0;
	ino = bprm->file->f_inode->i_ino;
	dev = bprm->file->f_inode->i_sb->s_dev;
	if (may_run(cgroup, bprm, ino, dev))
		return 0;
	if (b->flags & B_ENFORCE && !bpf_send_signal(SIGKILL))
		action = KILLED;
	v = begin(b, EXEC, action);
	if (!v)
		return 0;
	v->ino = ino;
	v->dev = dev;
	bpf_probe_read_kernel_str(v->path, PATH_LEN, bprm->filename);
	bpf_ringbuf_submit(v, 0);
	return 0;
}

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
} __attribute__((preserve_access_index));

struct opened {
	u64 ino;
	u32 dev, fd;
};

struct opened *unused_opened __attribute__((unused));

// on_opened tells which inode and device each of our own descriptors is for. What stat says differs
// from what the kernel keeps on overlays and on btrfs.
SEC("iter/task_file")
int on_opened(struct bpf_iter__task_file *ctx) {
	struct task_struct *t = ctx->task;
	struct file *f = ctx->file;
	struct opened o = {};
	struct settings *s;
	u32 zero = 0;

	s = bpf_map_lookup_elem(&current, &zero);
	if (!t || !f || !s || t->tgid != s->self || t->pid != t->tgid)
		return 0;
	o.ino = f->f_inode->i_ino;
	o.dev = f->f_inode->i_sb->s_dev;
	o.fd = ctx->fd;
	bpf_seq_write(ctx->meta->seq, &o, sizeof(o));
	return 0;
}
