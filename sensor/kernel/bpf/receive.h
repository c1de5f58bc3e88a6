// How much a process receives from where.
#include "syscall.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct flow);
} received SEC(".maps");

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sk, int ret, int flags) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct flow fresh = {.next = FIRST_REPORT}, *f;
	struct flow_key key = {};
	struct net_record r = {};
	u64 sum, next;

	if (ret <= 0 || flags & MSG_PEEK || !s || t->tgid == s->self || !(s->kinds & 1ULL << NET_RECEIVE))
		return 0;
	if (!fill_socket(&r, sk) || !r.remote_port)
		return 0;
	key.tgid = t->tgid;
	key.start = t->group_leader->start_boottime;
	key.port = r.remote_port;
	key.family = r.family;
	__builtin_memcpy(key.remote, r.remote, 16);
	f = bpf_map_lookup_elem(&received, &key);
	if (!f) {
		bpf_map_update_elem(&received, &key, &fresh, BPF_NOEXIST);
		f = bpf_map_lookup_elem(&received, &key);
		if (!f)
			return 0;
	}
	sum = __sync_fetch_and_add(&f->bytes, ret) + ret;
	next = f->next;
	if (sum < next || __sync_val_compare_and_swap(&f->next, next, sum * 4) != next)
		return 0;
	fill_header(&r.h, t, NET_RECEIVE);
	r.bytes = sum;
	send(&priority, 0, &r.h, sizeof(r));
	return 0;
}
