// Programs that start, fork, end, and those that were there before.
#include "path.h"

#define DATA_MAX 65536
#define PART_MAX 32768 // a part starts below this and is shorter, so it always fits
#define ARGS_MAX 32767
#define ENV_STRINGS 256
#define ENV_VALUE 256

struct exec_buffer {
	struct process_record r;
	char data[DATA_MAX];
	char env[ENV_VALUE];
	u64 env_pos, env_end;
	u32 end; // of the data
	u32 busy;
};

// Too large for a per-CPU array: an element for each processor instead. Go sets the number.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_buffer);
} exec_scratch SEC(".maps");

static __always_inline void fill_credentials(struct process_record *r, struct task_struct *t) {
	const struct cred *c = t->cred;

	r->uid = c->uid.val;
	r->gid = c->gid.val;
	r->euid = c->euid.val;
	r->egid = c->egid.val;
	r->suid = c->suid.val;
	r->sgid = c->sgid.val;
	r->fsuid = c->fsuid.val;
	r->fsgid = c->fsgid.val;
	// Two words in older kernels, one number in newer: 8 bytes in both.
	bpf_core_read(&r->cap_eff, 8, &c->cap_effective);
	bpf_core_read(&r->cap_perm, 8, &c->cap_permitted);
	bpf_core_read(&r->cap_inh, 8, &c->cap_inheritable);
	bpf_core_read(&r->cap_bnd, 8, &c->cap_bset);
	bpf_core_read(&r->cap_amb, 8, &c->cap_ambient);
	r->ns_user = BPF_CORE_READ(c, user_ns, ns.inum);
}

static __always_inline void fill_process(struct process_record *r, struct task_struct *t) {
	struct nsproxy *ns = BPF_CORE_READ(t, nsproxy);
	struct pid *pid = BPF_CORE_READ(t, thread_pid);
	struct tty_struct *tty = BPF_CORE_READ(t, signal, tty);
	struct upid up = {};
	u32 level;

	fill_credentials(r, t);
	r->loginuid = bpf_core_field_exists(t->loginuid) ? BPF_CORE_READ(t, loginuid.val) : (u32)-1;
	r->session = bpf_core_field_exists(t->sessionid) ? BPF_CORE_READ(t, sessionid) : (u32)-1;
	r->seccomp = bpf_core_field_exists(t->seccomp) ? BPF_CORE_READ(t, seccomp.mode) : 0;
	if (t->atomic_flags & 1)
		r->h.flags |= F_NO_NEW_PRIVS;
	level = BPF_CORE_READ(pid, level) & 31;
	bpf_probe_read_kernel(&up, sizeof(up), (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	r->ns_pid = up.nr;
	r->ns_pid_inum = BPF_CORE_READ(up.ns, ns.inum);
	r->ns_mnt = BPF_CORE_READ(ns, mnt_ns, ns.inum);
	r->ns_net = BPF_CORE_READ(ns, net_ns, ns.inum);
	r->ns_uts = BPF_CORE_READ(ns, uts_ns, ns.inum);
	r->ns_ipc = BPF_CORE_READ(ns, ipc_ns, ns.inum);
	r->ns_cgroup = BPF_CORE_READ(ns, cgroup_ns, ns.inum);
	r->tty[0] = 0;
	if (tty)
		bpf_probe_read_kernel_str(r->tty, sizeof(r->tty), (void *)tty + bpf_core_field_offset(struct tty_struct, name));
}

static __always_inline void fill_executable(struct process_record *r, struct file *f) {
	struct inode *i = BPF_CORE_READ(f, f_inode);
	char name[6] = {};
	struct path *at;
	struct qstr *last;

	r->exe_ino = BPF_CORE_READ(i, i_ino);
	r->exe_dev = BPF_CORE_READ(i, i_sb, s_dev);
	r->layer = layer_of(i);
	if (BPF_CORE_READ(i, i_nlink))
		return;
	r->h.flags |= F_DELETED;
	if (BPF_CORE_READ(i, i_sb, s_magic) != TMPFS_MAGIC)
		return;
	at = place_of(f);
	last = name_of(BPF_CORE_READ(at, dentry));
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(last, name));
	if (name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':')
		r->h.flags |= F_MEMFD;
}

// append_path adds a path to the data after the record and returns its length.
static __always_inline u16 append_path(struct exec_buffer *b, struct path *p) {
	struct path_buffer *w = path_of(p);
	u32 len;

	if (!w || w->state == WALK_LOOSE)
		return 0;
	if (w->state == WALK_CUT)
		b->r.h.flags |= F_TRUNCATED;
	len = path_copy(&b->data[b->end & (PART_MAX - 1)], w);
	b->end += len;
	return len;
}

#define LD_PRELO 0x4f4c4552505f444cULL
#define LD_AUDIT 0x54494455415f444cULL
#define LD_LIBRA 0x415242494c5f444cULL

// env_step keeps the variables that make the loader run foreign code. The rest may hold secrets
// and never leaves the kernel.
static long env_step(u32 i, void *unused) {
	u32 cpu = bpf_get_smp_processor_id();
	struct exec_buffer *b = bpf_map_lookup_elem(&exec_scratch, &cpu);
	u64 head;
	long n;

	if (!b || b->env_pos >= b->env_end)
		return 1;
	n = bpf_probe_read_user_str(b->env, ENV_VALUE, (void *)b->env_pos);
	if (n <= 0)
		return 1;
	b->env_pos += n == ENV_VALUE ? ENV_VALUE - 1 : n;
	__builtin_memcpy(&head, b->env, 8);
	if (n > 8 && (head == LD_PRELO || head == LD_AUDIT || head == LD_LIBRA) && b->end < PART_MAX - 2048) {
		bpf_probe_read_kernel(&b->data[b->end & (PART_MAX - 1)], n & (2 * ENV_VALUE - 1), b->env);
		b->end += n;
	}
	return 0;
}

static __always_inline void fill_exec(struct exec_buffer *b, struct task_struct *t, struct linux_binprm *bprm) {
	struct process_record *r = &b->r;
	struct file *f = bprm->file;
	struct mm_struct *mm = t->mm;
	u64 args, len, total;
	u32 start;
	long n;

	fill_header(&r->h, t, PROCESS_START);
	fill_process(r, t);
	fill_executable(r, f);
	b->end = 0;
	r->exe_len = append_path(b, place_of(f));
	r->cwd_len = append_path(b, (void *)t->fs + bpf_core_field_offset(struct fs_struct, pwd));
	n = bpf_probe_read_kernel_str(&b->data[b->end & (PART_MAX - 1)], PATH_MAX, bprm->filename);
	r->invoked_len = n > 0 ? n - 1 : 0;
	b->end += r->invoked_len;
	if (bprm->filename != bprm->interp)
		r->h.flags |= F_SCRIPT;
	if (bprm->fdpath)
		r->h.flags |= F_BY_DESCRIPTOR;
	start = b->end;
	b->env_pos = mm->env_start;
	b->env_end = mm->env_end;
	bpf_loop(ENV_STRINGS, env_step, 0, 0);
	r->env_len = b->end - start;
	args = mm->arg_start;
	len = mm->arg_end - args;
	if (len > ARGS_MAX) {
		len = ARGS_MAX;
		r->h.flags |= F_TRUNCATED;
	}
	len &= PART_MAX - 1;
	start = b->end & (PART_MAX - 1);
	// Written by the kernel moments ago: the pages are there.
	if (bpf_probe_read_user(&b->data[start], len, (void *)args)) {
		len = 0;
		r->h.flags |= F_TRUNCATED;
	}
	r->args_len = len;
	total = sizeof(*r) + start + len;
	send(&priority, 0, &r->h, total);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *t, int old_pid, struct linux_binprm *bprm) {
	u32 cpu = bpf_get_smp_processor_id();
	struct exec_buffer *b = bpf_map_lookup_elem(&exec_scratch, &cpu);

	if (!on_duty(config(), AT_EXEC))
		return 0;
	if (!b || __sync_lock_test_and_set(&b->busy, 1)) {
		drop(PROCESS_START);
		return 0;
	}
	fill_exec(b, t, bprm);
	b->busy = 0;
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child) {
	struct header h = {};

	if (child->pid != child->tgid || !on_duty(config(), AT_FORK))
		return 0;
	fill_header(&h, child, PROCESS_FORK);
	h.ppid = child->real_parent->tgid;
	send(&priority, 0, &h, sizeof(h));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *t) {
	struct header h = {};
	int code;

	if (t->signal->live.counter)
		return 0; // other threads go on
	if (!on_duty(config(), AT_END))
		return 0;
	fill_header(&h, t, PROCESS_EXIT);
	code = t->signal->group_exit_code;
	h.result = code ? code : t->exit_code;
	send(&priority, 0, &h, sizeof(h));
	return 0;
}

// seen writes a record without data for each process that runs now. Its strings come from /proc.
SEC("iter/task")
int on_seen(struct bpf_iter__task *ctx) {
	struct task_struct *t = ctx->task;
	struct process_record r = {};
	struct mm_struct *mm;
	struct file *f;

	if (!t || t->pid != t->tgid)
		return 0;
	mm = t->mm;
	if (!mm)
		return 0; // a kernel thread
	fill_header(&r.h, t, PROCESS_SEEN);
	r.h.len = sizeof(r);
	fill_process(&r, t);
	f = mm->exe_file;
	if (f)
		fill_executable(&r, f);
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}
