// Signals that one process sends another. What was refused is told of by the exit of kill(2) and kin.
#include "call.h"

#define SIGCHLD 17

SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task) {
	struct task_struct *t = bpf_get_current_task_btf();
	u32 target = BPF_CORE_READ(task, tgid);
	struct settings *s = config();
	struct call_buffer *b;
	int code = 0;

	if (sig == SIGCHLD || target == t->tgid || !s || t->tgid == s->self)
		return 0;
	if ((u64)info == 1)
		return 0; // from the kernel itself
	if (info)
		code = BPF_CORE_READ(info, si_code);
	if (code != 0 && code != -1 && code != -6) // kill, sigqueue, tgkill
		return 0;
	if (!on_duty(s, AT_SIGNAL))
		return 0;
	b = call_begin(PROCESS_SIGNAL);
	if (!b)
		return 0;
	b->r.spec = NO_SPEC;
	b->r.arg[0] = sig;
	b->r.arg[1] = code;
	call_target(b, task);
	// Who ends the agent may be gone when the next one reads this, and be known to nobody.
	if (target == s->self && t->mm)
		b->r.path_len = call_path(b, R2(t, struct task_struct, mm, exe_file));
	call_end(b);
	return 0;
}
