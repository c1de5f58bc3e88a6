// Model directories as the kernel knows them.
#ifndef TREE_H
#define TREE_H

#include "enforce.h"

#define DEPTH 96 // of directories; what lies deeper counts as inside

struct tree_key {
	u64 cgroup, ino;
	u32 dev, pad;
};

// Model directories, and files in them that have other names too, by the cgroup that is bound.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tree_key);
	__type(value, u32);
} trees SEC(".maps");

#endif
