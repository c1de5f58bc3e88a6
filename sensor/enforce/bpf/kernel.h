// Which devices are opened and which settings of the kernel are written.
#include "enforce.h"

struct bpf_cgroup_dev_ctx {
	__u32 access_type; // access << 16 | type
	__u32 major;
	__u32 minor;
};

#define ANY_MINOR 0xffffffff

struct device_key {
	u32 slot, type, major, minor;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct device_key);
	__type(value, u32);
} devices SEC(".maps");

SEC("cgroup/dev")
int on_device(struct bpf_cgroup_dev_ctx *c) {
	u32 type = c->access_type & 0xffff, major = c->major, minor = c->minor, count;
	struct device_key key = {.type = type, .major = major, .minor = minor};
	struct repeat_key again = {.rung = DEVICE};
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0;
	bool enforce;

	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_DEVICE) || exempt())
		return 1;
	key.slot = b->slot;
	if (bpf_map_lookup_elem(&devices, &key))
		return 1;
	key.minor = ANY_MINOR;
	if (bpf_map_lookup_elem(&devices, &key))
		return 1;
	enforce = b->flags & B_ENFORCE;
	again.tgid = bpf_get_current_pid_tgid() >> 32;
	again.slot = b->slot;
	__builtin_memcpy(again.addr, &major, 4);
	__builtin_memcpy(again.addr + 4, &minor, 4);
	if (often(&again, &count)) {
		add(&counts, DEVICE * 4 + (enforce ? DENIED : SEEN));
		return !enforce;
	}
	v = begin(b, DEVICE, enforce ? DENIED : SEEN);
	if (v) {
		v->count = count;
		v->major = major;
		v->minor = minor;
		v->access = c->access_type >> 16;
		v->protocol = type;
		bpf_ringbuf_submit(v, 0);
	}
	return !enforce;
}

SEC("cgroup/sysctl")
int on_sysctl(struct bpf_sysctl *c) {
	struct violation *v;
	struct binding *b;
	u64 cgroup = 0;
	bool enforce;

	if (!c->write)
		return 1;
	b = binding_of(&cgroup);
	if (!b || !(b->flags & B_SYSCTL) || exempt())
		return 1;
	enforce = b->flags & B_ENFORCE;
	v = begin(b, SYSCTL, enforce ? DENIED : SEEN);
	if (v) {
		bpf_sysctl_get_name(c, v->path, PATH_LEN, 0);
		bpf_ringbuf_submit(v, 0);
	}
	return !enforce;
}
