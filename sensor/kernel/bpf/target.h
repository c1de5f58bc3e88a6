// The process that a call is aimed at: by its number as the caller knows it, or by a descriptor.
#ifndef TARGET_H
#define TARGET_H

#include "syscall.h"

#define NSFS_MAGIC 0x6e736673
#define PIDFS_MAGIC 0x50494446
#define ANON_INODE_MAGIC 0x09041934
#define CLONE_NEWNS 0x20000

#define XA_BITS 6
#define XA_LEVELS 4 // 24 bits: more than the kernel gives out

// find_pid walks the tree of numbers of the caller's namespace, as the kernel does.
static __always_inline struct pid *find_pid(struct task_struct *t, u32 nr) {
	struct pid *own = BPF_CORE_READ(t, thread_pid);
	u32 level = BPF_CORE_READ(own, level) & 31, i, shift = 0;
	struct pid_namespace *ns;
	struct upid up = {};
	void *e;

	bpf_probe_read_kernel(&up, sizeof(up), (void *)own + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	ns = up.ns;
	e = BPF_CORE_READ(ns, idr.idr_rt.xa_head);
	for (i = 0; i < XA_LEVELS; i++) {
		void *node = e - 2;

		if (((u64)e & 3) != 2) // no inner node: what was looked for
			break;
		shift = BPF_CORE_READ((struct xa_node *)node, shift) & 31;
		if (!i && nr >> (shift + XA_BITS))
			return 0; // beyond the last
		bpf_probe_read_kernel(&e, sizeof(e), node + bpf_core_field_offset(struct xa_node, slots) + ((nr >> shift) & 63) * sizeof(e));
	}
	if (!i && nr) // a tree of one entry
		return 0;
	return (u64)e & 3 ? 0 : e;
}

static __always_inline void *task_of(struct pid *pid) {
	struct hlist_node *first;

	if (!pid)
		return 0;
	first = BPF_CORE_READ(pid, tasks[0].first);
	return first ? (void *)first - bpf_core_field_offset(struct task_struct, pid_links) : 0;
}

// pid_of_file returns what a descriptor for a process stands for.
static __always_inline struct pid *pid_of_file(struct file *f) {
	struct inode *i;
	u64 magic;

	if (!f)
		return 0;
	i = BPF_CORE_READ(f, f_inode);
	magic = BPF_CORE_READ(i, i_sb, s_magic);
	if (magic == PIDFS_MAGIC)
		return BPF_CORE_READ(i, i_private);
	return magic == ANON_INODE_MAGIC ? BPF_CORE_READ(f, private_data) : 0;
}

#endif
