// Encrypted connections that processes begin. What a process sends first on a connection is copied
// where it looks like the hello of TLS: Go reads the name of the server in it. A proxy, a mail
// server or a database is spoken with in the clear before, so a hello may come a little later.
#include "bytes.h"

#define HELLO_WITHIN 4096
#define HELLO_LEAST 6
#define TLS_HANDSHAKE 22
#define TLS_MAJOR 3
#define CLIENT_HELLO 1

// just_begun reports whether a socket of TCP has sent little before the last send, of ret bytes.
static __always_inline bool just_begun(struct sock *sk, u32 ret) {
	u16 protocol = R1(sk, struct sock, sk_protocol);
	u64 sent;

	if (protocol != 6)
		return protocol == 262; // MPTCP, of which this is not known: each send is looked at
	sent = R1(sk, struct tcp_sock, bytes_acked);
	sent += (u32)(R1(sk, struct tcp_sock, write_seq) - R1(sk, struct tcp_sock, snd_una));
	return sent <= (u64)ret + HELLO_WITHIN;
}

// starts_as_hello looks at the first byte of a call's first buffer.
static __always_inline bool starts_as_hello(int how, u64 *arg) {
	u64 at = arg[1];
	u8 first = 0;

	if (!how)
		return false;
	if (how >= BY_MESSAGE && bpf_probe_read_user(&at, sizeof(at), (void *)at + __builtin_offsetof(struct message, iov)))
		return false;
	if (how >= BY_BUFFERS && bpf_probe_read_user(&at, sizeof(at), (void *)at))
		return false;
	return !bpf_probe_read_user(&first, 1, (void *)at) && first == TLS_HANDSHAKE;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_tls, struct sock *sk, int ret, int flags) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct bytes_buffer *b;
	struct pt_regs *regs;
	u64 arg[4];
	int how;

	if (ret < HELLO_LEAST || !s || t->tgid == s->self || !(s->kinds & 1ULL << NET_TLS) || !just_begun(sk, ret))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(t);
	call_args(regs, false, arg);
	how = how_passed(t, regs);
	if (!starts_as_hello(how, arg) || !on_duty(s, AT_TLS) || !(b = bytes_begin(NET_TLS)))
		return 0;
	take(b, how, arg, ret, 0);
	__builtin_memset(&b->r.n, 0, sizeof(b->r.n));
	if (b->unread || (b->r.len >= HELLO_LEAST && b->data[1] == TLS_MAJOR && b->data[5] == CLIENT_HELLO && fill_socket(&b->r.n, sk)))
		tell_bytes(b, t, &volume, 1, NET_TLS, F_INITIATED); // a ring that may be filled by hellos as by files
	b->busy = 0;
	return 0;
}
