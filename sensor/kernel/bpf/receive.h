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
	struct net_record r = {};

	if (ret <= 0 || flags & MSG_PEEK || !s || t->tgid == s->self || !(s->kinds & 1ULL << NET_RECEIVE) || !on_duty(s, AT_RECEIVE))
		return 0;
	if (!fill_socket(&r, sk) || !r.remote_port || !flow_grew(&received, &r, t, ret))
		return 0;
	fill_header(&r.h, t, NET_RECEIVE);
	send(&priority, 0, &r.h, sizeof(r));
	return 0;
}
