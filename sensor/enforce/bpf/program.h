// Which programs the processes of a cgroup may run.
#ifndef PROGRAM_H
#define PROGRAM_H

#include "enforce.h"

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

#endif
