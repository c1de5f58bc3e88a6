/*
 * A program that uses an NVIDIA GPU by the driver's own library, which it opens: for checks on a machine
 * that has one. Nothing but the driver is needed. It takes the GPU, holds memory on it, says
 *
 *   ready LIBRARY          where the library was found
 *
 * and does a line of its input at a time:
 *
 *   copy TIMES BYTES       copies so often from the GPU: says "copied BYTES" of all together
 *   fault                  has the GPU write to an address that is none, by which the driver tells of an Xid
 *                          and ends this program's work; says "fault ERROR"
 *
 * The functions and structures are those of NVIDIA's driver API, https://docs.nvidia.com/cuda/cuda-driver-api/.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long devptr;

static void *library;

static void *function(const char *name)
{
	void *f = dlsym(library, name);
	if (!f) {
		printf("libcuda has no %s\n", name);
		exit(1);
	}
	return f;
}

static void must(int error, const char *what)
{
	if (error) {
		printf("%s: error %d\n", what, error);
		exit(1);
	}
}

static const char kernel[] = ".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry f()\n{\n.reg .u64 p;\n.reg .u32 v;\n"
			     "mov.u64 p, 64;\nmov.u32 v, 1;\nst.global.u32 [p], v;\nret;\n}\n";

int main(int argc, char **argv)
{
	char line[128];
	int device, times;
	void *context, *module, *run;
	devptr memory;
	size_t bytes, held = argc > 1 ? strtoull(argv[1], NULL, 0) << 20 : 256 << 20;
	struct link_map *at;

	setvbuf(stdout, NULL, _IOLBF, 0);
	library = dlopen("libcuda.so.1", RTLD_NOW);
	if (!library || dlinfo(library, RTLD_DI_LINKMAP, &at)) {
		printf("libcuda.so.1: %s\n", dlerror());
		return 1;
	}
	must(((int (*)(unsigned))function("cuInit"))(0), "cuInit");
	must(((int (*)(int *, int))function("cuDeviceGet"))(&device, 0), "cuDeviceGet");
	must(((int (*)(void **, int))function("cuDevicePrimaryCtxRetain"))(&context, device), "cuDevicePrimaryCtxRetain");
	must(((int (*)(void *))function("cuCtxSetCurrent"))(context), "cuCtxSetCurrent");
	must(((int (*)(devptr *, size_t))function("cuMemAlloc_v2"))(&memory, held), "cuMemAlloc_v2");
	int (*copy)(void *, devptr, size_t) = function("cuMemcpyDtoH_v2");
	int (*wait)(void) = function("cuCtxSynchronize");
	printf("ready %s\n", at->l_name);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "copy %d %zu", &times, &bytes) == 2 && bytes <= held) {
			char *to = malloc(bytes);
			if (!to)
				return 1;
			for (int i = 0; i < times; i++)
				must(copy(to, memory, bytes), "cuMemcpyDtoH_v2");
			free(to);
			printf("copied %zu\n", bytes * times);
		} else if (!strncmp(line, "fault", 5)) {
			must(((int (*)(void **, const void *))function("cuModuleLoadData"))(&module, kernel), "cuModuleLoadData");
			must(((int (*)(void **, void *, const char *))function("cuModuleGetFunction"))(&run, module, "f"), "cuModuleGetFunction");
			must(((int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))function("cuLaunchKernel"))
			     (run, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), "cuLaunchKernel");
			printf("fault %d\n", wait());
		} else {
			printf("what?\n");
		}
	}
	return 0;
}
