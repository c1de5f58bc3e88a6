// What processes do through NVIDIA's libcuda: bytes that are copied and asked for are counted, loads
// of code and memory that is shared are told of. Runs at functions of the library (uprobes), on 5.15
// and later; Go puts them there and says by the cookie which argument is which.
#include "../../uprobe/bpf/probe.h"

#define DATA 128
#define HANDLE 64 // bytes of a handle that memory is shared by
#define WRAPPER 0x466243b1 // a structure of the compiler's that points to a fat binary

// cookie: what to do | argument << 8 | name << 16 | file << 32
enum { TO_HOST = 1, COPY, ALLOC, MODULE, MODULE_FILE, EXPORT, OPEN, PLAIN };

struct total_key {
	u64 start;
	u32 tgid, what;
};

struct total {
	u64 calls, bytes;
};

// By processor, so that threads do not wait for each other. Go adds up, and takes ended ones out.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct total_key);
	__type(value, struct total);
} totals SEC(".maps");

struct call {
	struct caller who;
	u64 address; // of a module
	u32 name, len; // len: how much of data could be read
	u32 what, file;
	u8 data[DATA];
};

struct call *unused_call __attribute__((unused));
struct total *unused_total __attribute__((unused));

// Where a thread's call will have put its handle.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} exports SEC(".maps");

static __always_inline u64 argument(struct registers *ctx, u32 n) {
	u64 a1 = FIRST(ctx), a2 = SECOND(ctx), a3 = THIRD(ctx), a4 = FOURTH(ctx);

	asm volatile("" : "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4)); // else the compiler picks a register by address
	return n == 1 ? a1 : n == 2 ? a2 : n == 3 ? a3 : a4;
}

SEC("uprobe.multi")
int on_count(struct registers *ctx) {
	u64 cookie = bpf_get_attach_cookie(ctx);
	struct total_key key = {.start = start_of(), .tgid = bpf_get_current_pid_tgid() >> 32, .what = cookie & 0xff};
	struct total none = {}, *t = bpf_map_lookup_elem(&totals, &key);
	u64 bytes = argument(ctx, cookie >> 8 & 0xff);

	if (!t) {
		bpf_map_update_elem(&totals, &key, &none, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&totals, &key);
	}
	if (!t) {
		lose(TABLE);
		return 0;
	}
	// Another thread may be given the processor in between.
	__sync_fetch_and_add(&t->calls, 1);
	__sync_fetch_and_add(&t->bytes, bytes);
	return 0;
}

static __always_inline void tell(u64 cookie, u64 at) {
	struct call *c = bpf_ringbuf_reserve(&records, sizeof(*c), 0);
	u32 what = cookie & 0xff;
	long n;

	if (!c) {
		lose(RING);
		return;
	}
	__builtin_memset(c, 0, sizeof(*c));
	fill_caller(&c->who);
	c->what = what;
	c->name = cookie >> 16 & 0xffff;
	c->file = cookie >> 32;
	c->address = at;
	if (what == MODULE) {
		if (!bpf_probe_read_user(c->data, 24, (void *)at) && *(u32 *)c->data == WRAPPER)
			c->address = at = *(u64 *)(c->data + 8);
		c->len = bpf_probe_read_user(c->data, HANDLE, (void *)at) ? 0 : HANDLE;
		if (!c->len) // what lies at the end of what is mapped is shorter
			c->len = bpf_probe_read_user(c->data, 16, (void *)at) ? 0 : 16;
	} else if (what == MODULE_FILE) {
		n = bpf_probe_read_user_str(c->data, DATA, (void *)at);
		c->len = n > 0 ? n - 1 : 0;
	} else if (what == EXPORT || what == OPEN) {
		c->len = bpf_probe_read_user(c->data, HANDLE, (void *)at) ? 0 : HANDLE;
	}
	bpf_ringbuf_submit(c, 0);
}

SEC("uprobe.multi")
int on_call(struct registers *ctx) {
	u64 cookie = bpf_get_attach_cookie(ctx), id = bpf_get_current_pid_tgid(), at = argument(ctx, cookie >> 8 & 0xff);

	switch (cookie & 0xff) {
	case EXPORT: // known when it returns
		bpf_map_update_elem(&exports, &id, &at, BPF_ANY);
		return 0;
	case OPEN: // of 64 bytes by value: x86 has them on the stack, above where to return to
#if defined(__TARGET_ARCH_x86)
		at = ctx->sp + 8;
#endif
		break;
	}
	tell(cookie, at);
	return 0;
}

SEC("uprobe.multi")
int on_exported(struct registers *ctx) {
	u64 id = bpf_get_current_pid_tgid(), at, *kept = bpf_map_lookup_elem(&exports, &id);

	if (!kept)
		return 0;
	at = *kept;
	bpf_map_delete_elem(&exports, &id);
	if (!(u32)RESULT(ctx))
		tell(bpf_get_attach_cookie(ctx), at);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
