// What Python interpreters say of themselves (audit events, PEP 578). Runs where the interpreter
// raises them: at its static probe, else at the function that C code calls; on 5.15 and later. Texts
// of arguments are read where the object's type is the interpreter's own str, bytes or tuple.
#include "../../uprobe/bpf/probe.h"

#define NAME 24
#define TEXT 128
#define ITEMS 24 // of a tuple
#define BYTES 32 // content of a bytes object
#define COMPACT_ASCII 0x60
#define NO_REGISTER 0xffff
#define REPEAT_NS 1000000000ULL

// A place in an interpreter, by the cookie. The types are told by how far they lie from the probe.
struct place {
	s64 str, bytes, tuple;
	u16 event, format; // where registers are kept; no format: args[0] is a tuple
	u16 args[2];
	u32 text, pad; // where the content of a str begins; 0 where that is not known
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, struct place);
} places SEC(".maps");

struct wanted {
	u32 event, limit; // told of a process in a second, at most
	u32 first, second; // arguments that are read; second 0: one only
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, char[NAME]);
	__type(value, struct wanted);
} names SEC(".maps");

struct audit {
	struct caller who;
	u32 event;
	u16 len[2];
	char text[2][TEXT];
};

struct rate_key {
	u32 tgid, event;
	u64 text; // 0: of all texts
};

struct rate {
	u64 until;
	u32 n, pad;
};

// What was told of less than a second ago is counted, and told with the next one.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct rate_key);
	__type(value, struct rate);
} rates SEC(".maps");

struct audit *unused_audit __attribute__((unused));
struct place *unused_place __attribute__((unused));
struct wanted *unused_wanted __attribute__((unused));

struct object {
	u64 references, type, size, hash;
	u32 state, pad;
};

static __always_inline u64 word(void *ctx, u16 at) {
	u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), ctx + at);
	return v;
}

// read_text reads a str or bytes, or the first of a tuple.
static __always_inline u32 read_text(struct place *p, u64 ip, u64 at, char *text) {
	struct object o = {};
	u64 content;
	u32 n;

	if (bpf_probe_read_user(&o, sizeof(o), (void *)at))
		return 0;
	if (o.type == ip + p->tuple) {
		if (!o.size || bpf_probe_read_user(&at, sizeof(at), (void *)at + ITEMS) || bpf_probe_read_user(&o, sizeof(o), (void *)at))
			return 0;
	}
	if (o.type == ip + p->str && p->text && (o.state & COMPACT_ASCII) == COMPACT_ASCII)
		content = at + p->text;
	else if (o.type == ip + p->bytes)
		content = at + BYTES;
	else
		return 0;
	n = o.size < TEXT - 1 ? o.size : TEXT - 1;
	asm volatile("" : "+r"(n));
	n &= TEXT - 1;
	return bpf_probe_read_user(text, n, (void *)content) ? 0 : n;
}

// argument returns the object that is one of the arguments, 0 where it is none.
static __always_inline u64 argument(void *ctx, struct place *p, u64 ip, u64 format, u32 n) {
	struct object o = {};
	u64 tuple, at = 0;

	if (n > 1)
		return 0;
	if (p->format == NO_REGISTER) {
		tuple = word(ctx, p->args[0]);
	} else {
		u64 objects = (format & 0xff) == '(' ? format >> 8 : format; // a letter in each byte

		if ((objects & 0xff) != 'O' || (n && (objects >> 8 & 0xff) != 'O'))
			return 0;
		tuple = word(ctx, p->args[0]);
		if (format >> 8 & 0xff || bpf_probe_read_user(&o, sizeof(o), (void *)tuple) || o.type != ip + p->tuple)
			return word(ctx, n ? p->args[1] : p->args[0]);
	}
	if (bpf_probe_read_user(&o, sizeof(o), (void *)tuple) || o.type != ip + p->tuple || o.size <= n)
		return 0;
	bpf_probe_read_user(&at, sizeof(at), (void *)tuple + ITEMS + 8 * n);
	return at;
}

// often reports whether as many of these were told of in this second as are; count is how many went
// before this one untold.
static __always_inline bool often(struct rate_key *key, u32 limit, u32 *count) {
	u64 now = bpf_ktime_get_boot_ns();
	struct rate fresh = {.until = now + REPEAT_NS, .n = 1}, *old = bpf_map_lookup_elem(&rates, key);
	u32 n;

	if (!old) {
		bpf_map_update_elem(&rates, key, &fresh, BPF_ANY);
		return false;
	}
	if (now >= old->until) {
		old->until = now + REPEAT_NS;
		n = __sync_lock_test_and_set(&old->n, 1);
		if (n > limit)
			*count += n - limit;
		return false;
	}
	return __sync_fetch_and_add(&old->n, 1) >= limit;
}

static __always_inline u64 hash_of(char *text) {
	u64 h = 14695981039346656037ULL;

	for (u32 i = 0; i < TEXT / 8; i++)
		h = (h ^ ((u64 *)text)[i]) * 1099511628211ULL;
	return h | 1;
}

SEC("uprobe.multi")
int on_audit(struct registers *ctx) {
	u32 cookie = bpf_get_attach_cookie(ctx), count = 0;
	struct rate_key key = {};
	char name[NAME] = {};
	u64 format = 0;
	struct wanted *w;
	struct place *p;
	struct audit *a;
	u64 ip = PLACE(ctx);

	p = bpf_map_lookup_elem(&places, &cookie);
	if (!p || bpf_probe_read_user_str(name, NAME, (void *)word(ctx, p->event)) <= 1)
		return 0;
	w = bpf_map_lookup_elem(&names, name);
	if (!w)
		return 0;
	a = bpf_ringbuf_reserve(&records, sizeof(*a), 0);
	if (!a) {
		lose(RING);
		return 0;
	}
	__builtin_memset(a, 0, sizeof(*a));
	if (p->format != NO_REGISTER)
		bpf_probe_read_user_str(&format, sizeof(format), (void *)word(ctx, p->format));
	a->event = w->event;
	a->len[0] = read_text(p, ip, argument(ctx, p, ip, format, w->first), a->text[0]);
	if (w->second)
		a->len[1] = read_text(p, ip, argument(ctx, p, ip, format, w->second), a->text[1]);
	key.tgid = bpf_get_current_pid_tgid() >> 32;
	key.event = w->event;
	key.text = hash_of(a->text[0]) ^ (hash_of(a->text[1]) << 1);
	if (often(&key, 1, &count))
		goto untold;
	key.text = 0;
	if (often(&key, w->limit, &count)) {
		lose(TABLE);
		goto untold;
	}
	fill_caller(&a->who);
	a->who.count += count;
	// Those that are discarded wake nobody, and who is not woken by one is not by the next either.
	bpf_ringbuf_submit(a, BPF_RB_FORCE_WAKEUP);
	return 0;
untold:
	bpf_ringbuf_discard(a, BPF_RB_NO_WAKEUP);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
