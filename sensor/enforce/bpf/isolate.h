// Cgroups that are cut off: none of their packets passes, either way.
#include "enforce.h"

// By the id of a cgroup, until when, 0 for ever. It holds for the cgroups below too.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} isolated SEC(".maps");

// The cgroup is that of the socket: packets come in where no process is at work.
static __always_inline int pass(struct __sk_buff *skb) {
	u64 id, *until;

	for (int level = 1; level <= LEVELS; level++) {
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!id)
			break;
		until = bpf_map_lookup_elem(&isolated, &id);
		if (until && (!*until || bpf_ktime_get_boot_ns() < *until))
			return 0;
	}
	return 1;
}

SEC("cgroup_skb/egress")
int on_packet_out(struct __sk_buff *skb) { return pass(skb); }

SEC("cgroup_skb/ingress")
int on_packet_in(struct __sk_buff *skb) { return pass(skb); }
