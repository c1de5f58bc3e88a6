// Devices that are opened, and the memory of other processes as a file. The handler of open passes
// both on.
#ifndef DEVICE_H
#define DEVICE_H

#include "call.h"

#define MINOR_BITS 20

// is_everyday reports whether programs open a device all the time: null and its kin, random numbers,
// terminals.
static __always_inline bool is_everyday(u32 mode, u32 rdev) {
	u32 major = rdev >> MINOR_BITS, minor = rdev & ((1 << MINOR_BITS) - 1);

	if ((mode & S_IFMT) != S_IFCHR)
		return false;
	if (major == 1)
		return minor != 1 && minor != 2 && minor != 4 && minor != 11; // mem, kmem, port, kmsg
	return major == 4 || major == 5 || (major >= 136 && major <= 143);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_device, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file *f = ret < 0 ? 0 : file_of(t, ret);
	struct file_buffer *b;
	struct inode *i;
	u32 rdev;

	if (!f)
		return 0;
	i = R1(f, struct file, f_inode);
	rdev = R1(i, struct inode, i_rdev);
	if (is_everyday(R1(i, struct inode, i_mode), rdev) || !(b = file_begin(DEVICE_OPEN)))
		return 0;
	fill_inode(&b->r, i);
	b->r.rdev = rdev;
	b->r.size = R1(f, struct file, f_mode); // a device has none of its own
	b->r.path_len = put_path(b, place_of(f));
	file_end(b, true);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_memory, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file *f = ret < 0 ? 0 : file_of(t, ret);
	struct call_buffer *b;
	void *i, *task;

	if (!f)
		return 0;
	i = BPF_CORE_READ(f, f_inode);
	task = task_of(BPF_CORE_READ((struct proc_inode *)(i - bpf_core_field_offset(struct proc_inode, vfs_inode)), pid));
	if (task && BPF_CORE_READ((struct task_struct *)task, tgid) == t->tgid)
		return 0; // its own
	b = call_begin(PROCESS_TRACE);
	if (!b)
		return 0;
	b->r.spec = NO_SPEC;
	b->r.arg[0] = BPF_CORE_READ(f, f_mode);
	call_target(b, task);
	b->r.path_len = call_path(b, f);
	call_end(b);
	return 0;
}

#endif
