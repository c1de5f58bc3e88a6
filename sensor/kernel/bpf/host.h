// What changes on the host without a system call of its own: settings below /proc/sys, control groups.
#include "call.h"

// A program of this type decides too: 1 lets the write go on.
SEC("cgroup/sysctl")
int on_sysctl(struct bpf_sysctl *ctx) {
	struct settings *s = config();
	struct call_buffer *b;
	long n;

	if (!ctx->write || !s || !(s->kinds & 1ull << HOST_SYSCTL) || !on_duty(s, AT_SYSCTL))
		return 1;
	b = call_begin(HOST_SYSCTL);
	if (!b)
		return 1;
	b->r.spec = NO_SPEC;
	n = bpf_sysctl_get_name(ctx, b->data, CALL_TEXT, 0);
	if (n > 0)
		b->r.text_len[0] = b->end = n & (CALL_TEXT - 1);
	n = bpf_sysctl_get_new_value(ctx, &b->data[b->end & (CALL_TEXT - 1)], CALL_TEXT);
	if (n > 0) {
		b->r.text_len[1] = n & (CALL_TEXT - 1);
		b->end += n & (CALL_TEXT - 1);
	}
	call_end(b);
	return 1;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_cgroup, struct cgroup *group, const char *path) {
	struct call_buffer *b = on_duty(config(), AT_MKDIR) ? call_begin(CGROUP_CREATE) : 0;
	long n;

	if (!b)
		return 0;
	b->r.spec = NO_SPEC;
	b->r.arg[0] = R2(group, struct cgroup, kn, id);
	n = bpf_probe_read_kernel_str(b->data, CALL_TEXT, path);
	if (n > 1)
		b->r.text_len[0] = b->end = n - 1;
	call_end(b);
	return 0;
}
