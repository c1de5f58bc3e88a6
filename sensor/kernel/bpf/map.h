// Files that are mapped to be run, and watched ones that are mapped to be written: neither needs a
// read or a write.
#ifndef MAP_H
#define MAP_H

#include "change.h"
#include "io.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct vm_area_struct {
	struct file *vm_file;
};

#pragma clang attribute pop

#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1 // also in MAP_SHARED_VALIDATE
#define MAP_ANONYMOUS 0x20
#define MAP_DENYWRITE 0x800 // means nothing, and is how the loader marks its libraries

struct mapped_key {
	u64 cgroup, ino;
	u32 dev, prot;
};

// Until when the same file, mapped by whatever else in the control group, is counted only. A shell that
// runs commands maps the same libraries all day.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct mapped_key);
	__type(value, u64);
} mapped SEC(".maps");

static __always_inline bool told_already(struct task_struct *t, struct file *f, u32 prot) {
	struct inode *i = R1(f, struct file, f_inode);
	struct mapped_key key = {.cgroup = cgroup_of(t), .ino = R1(i, struct inode, i_ino), .dev = R2(i, struct inode, i_sb, s_dev), .prot = prot & 7};
	u64 now = bpf_ktime_get_boot_ns(), until = now + REPEAT_NS, *old = bpf_map_lookup_elem(&mapped, &key);

	if (old && now < *old) {
		count(&collapsed, FILE_MAP);
		return true;
	}
	bpf_map_update_elem(&mapped, &key, &until, BPF_ANY);
	return false;
}

static __always_inline void tell_map(struct task_struct *t, struct file *f, u32 prot) {
	struct settings *s = config();
	struct file_buffer *b;

	if (s && s->map_once && prot & PROT_EXEC && told_already(t, f, prot))
		return;
	b = file_begin(FILE_MAP);
	if (!b)
		return;
	put_file(b, f);
	b->r.how = prot & 7;
	file_end(b, (b->r.mode & S_IFMT) == S_IFREG);
}

// mmap(address, length, prot, flags, file)
SEC("tp_btf/sys_exit")
int BPF_PROG(on_map, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct io_total *total;
	struct file *f;
	struct call c;
	u32 prot;

	call_of(&c, t, regs);
	prot = c.arg[2];
	if ((c.arg[3] & MAP_ANONYMOUS) || (ret < 0 && ret >= -4095) || !s)
		return 0;
	if ((s->kinds & 1ull << FILE_IO) && !(prot & PROT_EXEC) && !(c.arg[3] & MAP_DENYWRITE)) {
		f = file_of(t, (s32)fifth_arg(regs, is_compat(t)));
		total = f ? io_open(s, t, f) : 0;
		if (total)
			total->mapped = 0;
	}
	if (!(prot & (PROT_EXEC | PROT_WRITE)) || !(s->kinds & 1ull << FILE_MAP))
		return 0;
	if (!(prot & PROT_EXEC) && (!(c.arg[3] & MAP_SHARED) || !s->watching))
		return 0;
	f = file_of(t, (s32)fifth_arg(regs, is_compat(t)));
	if (f && (prot & PROT_EXEC || is_watched(f, R1(f, struct file, f_inode))))
		tell_map(t, f, prot);
	return 0;
}

static long take_file(struct task_struct *t, struct vm_area_struct *area, struct file **f) {
	*f = area->vm_file;
	return 0;
}

// mprotect(address, length, prot), which makes a mapping of a file executable after the fact.
// Memory without a file is left out: compilers that run make it executable all the time.
SEC("tp_btf/sys_exit")
int BPF_PROG(on_protect, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct file *f = 0;
	struct call c;

	call_of(&c, t, regs);
	if (ret || !(c.arg[2] & PROT_EXEC))
		return 0;
	bpf_find_vma(t, c.arg[0], take_file, &f, 0);
	if (f)
		tell_map(t, f, c.arg[2]);
	return 0;
}

#endif
