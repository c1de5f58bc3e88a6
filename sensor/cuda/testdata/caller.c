// Calls the functions of a libcuda: caller LIBRARY, then a line on standard input for each thing to do,
// which is answered by a line.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long devptr;
typedef struct {
	char reserved[64];
} ipc_handle;

static void *library;

static void *function(const char *name)
{
	void *f = dlsym(library, name);

	if (!f) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return f;
}

// copy calls one of the copying functions again and again.
static void copy(const char *name, long times, size_t n)
{
	int (*f)(void *, devptr, size_t, void *) = function(name);

	for (long i = 0; i < times; i++)
		f(0, 1, n, 0);
}

// best returns how many nanoseconds a call takes in the quickest of many rounds, in thousandths.
static long best(const char *name)
{
	int (*f)(void *, devptr, size_t, void *) = function(name);
	long least = 1L << 60;

	for (int round = 0; round < 2000; round++) {
		struct timespec a, b;
		long took;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < 100; i++)
			f(0, 1, 1, 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		took = (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
		least = took < least ? took : least;
	}
	return least * 10;
}

int main(int argc, char **argv)
{
	char line[4096], word[256], kind[64];
	long page = sysconf(_SC_PAGESIZE);
	long times, n;

	setvbuf(stdout, 0, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!library && !(library = dlopen(argv[1], RTLD_NOW))) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		if (sscanf(line, "copy %255s %ld %ld", word, &times, &n) == 3) {
			copy(word, times, n);
		} else if (sscanf(line, "time %255s", word) == 1) {
			printf("%ld\n", best(word));
			continue;
		} else if (sscanf(line, "alloc %ld", &n) == 1) {
			((int (*)(devptr *, size_t))function("cuMemAlloc_v2"))(0, n);
		} else if (sscanf(line, "module %63s", kind) == 1) {
			// At the end of what is mapped, so that who reads on gets nothing.
			char *end = (char *)mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 3 * page, *image;

			munmap(end, page);
			if (!strcmp(kind, "ptx")) {
				image = end - 64;
				strcpy(image, ".version 8.0\n.target sm_90\n");
			} else if (!strcmp(kind, "fat")) {
				image = end - 8192;
				memset(image, 'x', 8192);
				memcpy(image, "\x50\xed\x55\xba\x01\x00\x10\x00\xf0\x1f\x00\x00\x00\x00\x00\x00", 16);
			} else if (!strcmp(kind, "liar")) { // says that it is larger than what is mapped
				image = end - 32;
				memcpy(image, "\x50\xed\x55\xba\x01\x00\x10\x00\xf0\x1f\x00\x00\x00\x00\x00\x00", 16);
			} else if (!strcmp(kind, "none")) {
				image = (char *)16;
			} else {
				((int (*)(void **, const char *))function("cuModuleLoad"))(0, kind);
				puts("done");
				continue;
			}
			((int (*)(void **, const void *))function("cuModuleLoadData"))(0, image);
		} else if (!strncmp(line, "export", 6)) {
			ipc_handle h;

			((int (*)(ipc_handle *, devptr))function("cuIpcGetMemHandle"))(&h, 1);
			((int (*)(ipc_handle *, devptr))function("cuIpcGetMemHandle"))(&h, 0); // fails
			for (int i = 0; i < 64; i++)
				printf("%02x", (unsigned char)h.reserved[i]);
			puts("");
			continue;
		} else if (sscanf(line, "open %255s", word) == 1) {
			ipc_handle h;
			unsigned byte;

			for (int i = 0; i < 64; i++) {
				sscanf(word + 2 * i, "%2x", &byte);
				h.reserved[i] = byte;
			}
			if (((int (*)(devptr *, ipc_handle, unsigned))function("cuIpcOpenMemHandle_v2"))(0, h, 0))
				return 1;
		}
		puts("done");
	}
	return 0;
}
