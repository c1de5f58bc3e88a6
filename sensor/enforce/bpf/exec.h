// Which programs the processes of a cgroup may run. A program that may not is killed while the
// kernel still prepares it: it runs no instruction.
#include "enforce.h"

#define SIGKILL 9
#define SCRIPT_LEN 232

enum { ANY_USE = 1, FOR_SCRIPTS = 2 };

struct program_key {
	u64 cgroup, ino;
	u32 dev, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct program_key);
	__type(value, u32);
} programs SEC(".maps");

// A script is known by its name and the interpreter that it is given to: of the script's own file
// the kernel has let go by then.
struct script_key {
	u64 cgroup, ino; // of the interpreter
	u32 dev, pad;
	char name[SCRIPT_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct script_key);
	__type(value, u32);
} scripts SEC(".maps");

static __always_inline bool may_run(u64 cgroup, struct linux_binprm *bprm, u64 ino, u32 dev) {
	struct program_key key = {.cgroup = cgroup, .ino = ino, .dev = dev};
	struct script_key script = {.cgroup = cgroup, .ino = ino, .dev = dev};
	u32 *use = bpf_map_lookup_elem(&programs, &key);
	long n;

	if (!use)
		return false;
	if (*use & ANY_USE)
		return true;
	if (bprm->filename == bprm->interp)
		return false; // the interpreter itself
	n = bpf_probe_read_kernel_str(script.name, SCRIPT_LEN, bprm->filename);
	if (n <= 0 || n >= SCRIPT_LEN)
		return false;
	return bpf_map_lookup_elem(&scripts, &script);
}

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
