// A libcuda that does nothing, with the functions of the real one that are looked at.
#include <stddef.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long devptr;
typedef struct {
	char reserved[64];
} ipc_handle;

int cuMemcpyDtoH_v2(void *dst, devptr src, size_t n) { return 0; }
int cuMemcpyDtoHAsync_v2_ptsz(void *dst, devptr src, size_t n, void *stream) { return 0; }
int cuMemcpyHtoD_v2(devptr dst, const void *src, size_t n) { return 0; }
int cuMemcpy(devptr dst, devptr src, size_t n) { return 0; }
int cuMemAlloc_v2(devptr *p, size_t n) { return 0; }
int cuModuleLoadData(void **module, const void *image) { return 0; }
int cuModuleLoad(void **module, const char *name) { return 0; }

int cuIpcGetMemHandle(ipc_handle *handle, devptr p)
{
	pid_t pid = getpid();

	memset(handle, 'h', sizeof(*handle));
	memcpy(handle, &pid, sizeof(pid));
	return p ? 0 : 1;
}

int cuIpcOpenMemHandle_v2(devptr *p, ipc_handle handle, unsigned flags) { return handle.reserved[63] != 'h'; }
