// What happens too often to be told of one by one: control of devices, use of capabilities. Each is
// counted by process and object in a map that Go empties every few seconds.
#include "device.h"

enum { TALLY_PATH = 64 };

struct tally_key {
	u64 start;
	u32 tgid;
	u32 what; // the device, or the capability
	s32 result;
	u32 kind;
};

struct tally {
	struct header h; // of the first
	u64 count;
	u64 last; // command of a device
	u32 what;
	u32 mode;
	u32 path_len, pad;
	char path[TALLY_PATH]; // of the device, cut at its start
};

// Where there is no room, what is not counted is.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tally_key);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tally);
} tally_scratch SEC(".maps");

static __always_inline void tally_key_of(struct tally_key *key, struct task_struct *t, u32 kind, u32 what, s32 result) {
	key->start = t->group_leader->start_boottime;
	key->tgid = t->tgid;
	key->what = what;
	key->result = result;
	key->kind = kind;
}

// tally counts, and reports whether it could: a new entry is the caller's to make.
static __always_inline bool tally(struct tally_key *key, u64 last) {
	struct tally *old = bpf_map_lookup_elem(&tallies, key);

	if (!old)
		return false;
	__sync_fetch_and_add(&old->count, 1);
	old->last = last;
	return true;
}

static __always_inline struct tally *tally_new(struct task_struct *t, struct tally_key *key, u64 last) {
	u32 zero = 0;
	struct tally *n = bpf_map_lookup_elem(&tally_scratch, &zero);

	if (!n)
		return 0;
	fill_header(&n->h, t, key->kind);
	n->h.result = key->result;
	n->count = 1;
	n->last = last;
	n->what = key->what;
	n->mode = n->path_len = 0;
	return n;
}

static __always_inline void tally_keep(struct tally_key *key, struct tally *n) {
	if (bpf_map_update_elem(&tallies, key, n, BPF_NOEXIST) && !tally(key, n->last))
		drop(key->kind);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_control, struct pt_regs *regs, long ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct tally_key key = {};
	struct path_buffer *w;
	struct tally *n;
	struct inode *i;
	struct file *f;
	u64 arg[4];
	u32 mode, len;

	call_args(regs, is_compat(t), arg);
	f = file_of(t, arg[0]);
	if (!f)
		return 0;
	i = R1(f, struct file, f_inode);
	mode = R1(i, struct inode, i_mode);
	if ((mode & S_IFMT) != S_IFCHR && (mode & S_IFMT) != S_IFBLK)
		return 0;
	key.what = R1(i, struct inode, i_rdev);
	if (is_everyday(mode, key.what))
		return 0;
	tally_key_of(&key, t, DEVICE_CONTROL, key.what, ret < 0 ? ret : 0);
	if (tally(&key, arg[1]) || !(n = tally_new(t, &key, arg[1])))
		return 0;
	n->mode = mode;
	w = path_of(place_of(f));
	if (w && w->state == WALK_ROOT) {
		len = PATH_MAX - 1 - (w->off & (PATH_MAX - 1));
		if (len > TALLY_PATH)
			len = TALLY_PATH;
		n->path_len = len;
		bpf_probe_read_kernel(n->path, len & (2 * TALLY_PATH - 1) ? len : 1, &w->b[(PATH_MAX - 1 - len) & (PATH_MAX - 1)]);
	}
	tally_keep(&key, n);
	return 0;
}

// From 6.13 on.
SEC("tp_btf/cap_capable")
int BPF_PROG(on_capable, const struct cred *cred, struct user_namespace *target, const struct user_namespace *own, int cap, int ret) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct settings *s = config();
	struct tally_key key = {};
	struct tally *n;

	if (!s || t->tgid == s->self || !t->mm || !on_duty(s, AT_CAPABLE))
		return 0;
	tally_key_of(&key, t, PROCESS_CAPABILITY, cap, ret);
	if (!tally(&key, 0) && (n = tally_new(t, &key, 0)))
		tally_keep(&key, n);
	return 0;
}
