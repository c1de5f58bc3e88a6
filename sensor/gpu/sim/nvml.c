/*
 * A library with the names of NVIDIA's, for hosts without a GPU: it tells what a script says. The
 * script lies beside the library under its name with .txt behind, and is read again whenever somebody
 * asks how many GPUs there are. Lines are
 *
 *   driver 570.86.15
 *   gpu uuid=GPU-1 name=Sim_80GB pci=0000:3b:00.0 util=97 used=MIB total=MIB power=MILLIWATTS limit=MILLIWATTS
 *       sm=MHZ mem=MHZ temp=CELSIUS ecc=N corrected=N retired=N pcie=KIB mig=0|1 appclock=MHZ compute=0|1|2|3
 *       persistence=0|1 eccmode=0|1 eccpending=0|1 accounting=0|1          (all on one line; what is left out is not supported)
 *   proc gpu=0 pid=1234 used=MIB util=95 type=compute|graphics|mps gi=1 ci=0
 *   fail nvmlDeviceGetPowerUsage 15        that function returns this error
 *   hang nvmlDeviceGetUtilizationRates 60  it takes so many seconds
 *   crash nvmlDeviceGetUtilizationRates    it dereferences a null pointer
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { SUCCESS, UNINITIALIZED, INVALID, UNSUPPORTED, NOT_FOUND = 6, SMALL = 7 };
enum { GPUS = 8, PROCS = 1024, RULES = 32, UNKNOWN = -1 };

struct gpu {
	char uuid[80], name[64], pci[32];
	long long util, used, total, power, limit, sm, mem, temp, ecc, corrected, retired, pcie, mig, appclock, compute, persistence, eccmode, eccpending, accounting;
};
struct proc {
	int gpu, type; /* 0 compute, 1 graphics, 2 mps */
	unsigned pid, gi, ci;
	long long used, util;
};
struct rule {
	char what[8], function[64];
	int n;
};

static struct gpu gpus[GPUS];
static struct proc procs[PROCS];
static struct rule rules[RULES];
static int ngpus, nprocs, nrules;
static char driver[80];

static const char *word(const char *line, const char *key)
{
	static char value[128];
	size_t n = strlen(key);
	for (const char *at = line; (at = strstr(at, key)); at += n)
		if (at > line && at[-1] == ' ' && at[n] == '=') {
			sscanf(at + n + 1, "%127s", value);
			return value;
		}
	return NULL;
}

static long long number(const char *line, const char *key, long long otherwise)
{
	const char *v = word(line, key);
	return v ? strtoll(v, NULL, 0) : otherwise;
}

static void text(char *to, size_t size, const char *line, const char *key)
{
	const char *v = word(line, key);
	snprintf(to, size, "%s", v ? v : "");
	for (; *to; to++)
		if (*to == '_')
			*to = ' ';
}

static void line(const char *l)
{
	if (!strncmp(l, "driver ", 7)) {
		sscanf(l + 7, "%79s", driver);
	} else if (!strncmp(l, "gpu ", 4) && ngpus < GPUS) {
		struct gpu *g = &gpus[ngpus++];
		text(g->uuid, sizeof g->uuid, l, "uuid");
		text(g->name, sizeof g->name, l, "name");
		text(g->pci, sizeof g->pci, l, "pci");
		struct { const char *key; long long *to; } all[] = {
			{"util", &g->util}, {"used", &g->used}, {"total", &g->total}, {"power", &g->power}, {"limit", &g->limit}, {"sm", &g->sm},
			{"mem", &g->mem}, {"temp", &g->temp}, {"ecc", &g->ecc}, {"retired", &g->retired}, {"pcie", &g->pcie}, {"mig", &g->mig},
			{"corrected", &g->corrected}, {"appclock", &g->appclock}, {"compute", &g->compute}, {"persistence", &g->persistence},
			{"eccmode", &g->eccmode}, {"eccpending", &g->eccpending}, {"accounting", &g->accounting},
		};
		for (size_t i = 0; i < sizeof all / sizeof *all; i++)
			*all[i].to = number(l, all[i].key, UNKNOWN);
	} else if (!strncmp(l, "proc ", 5) && nprocs < PROCS) {
		struct proc *p = &procs[nprocs++];
		const char *type = word(l, "type");
		p->type = !type || !strcmp(type, "compute") ? 0 : !strcmp(type, "graphics") ? 1 : 2;
		p->gpu = number(l, "gpu", 0);
		p->pid = number(l, "pid", 0);
		p->used = number(l, "used", UNKNOWN);
		p->util = number(l, "util", UNKNOWN);
		p->gi = number(l, "gi", 0xffffffff);
		p->ci = number(l, "ci", 0xffffffff);
	} else if (nrules < RULES) {
		struct rule *r = &rules[nrules];
		if (sscanf(l, "%7s %63s %d", r->what, r->function, &r->n) >= 2)
			nrules++;
	}
}

static void script(void)
{
	Dl_info self;
	char name[4096], l[1024];
	ngpus = nprocs = nrules = 0;
	if (!dladdr((void *)script, &self))
		return;
	snprintf(name, sizeof name, "%s.txt", self.dli_fname);
	FILE *f = fopen(name, "r");
	if (!f)
		return;
	while (fgets(l, sizeof l, f))
		line(l);
	fclose(f);
}

/* trouble does what the script says that a function does beside its work. */
static int trouble(const char *function)
{
	for (int i = 0; i < nrules; i++) {
		if (strcmp(rules[i].function, function))
			continue;
		switch (*rules[i].what) {
		case 'f':
			return rules[i].n;
		case 'h':
			sleep(rules[i].n);
			break;
		case 'c':
			*(volatile int *)0 = 1;
		}
	}
	return SUCCESS;
}

#define ASK                                    \
	do {                                   \
		int wrong = trouble(__func__); \
		if (wrong)                     \
			return wrong;          \
	} while (0)

/* A handle is the number of the GPU and 1. */
static struct gpu *of(void *device)
{
	size_t i = (size_t)device - 1;
	return i < (size_t)ngpus ? &gpus[i] : NULL;
}

#define DEVICE                               \
	ASK;                                 \
	struct gpu *g = of(device);          \
	if (!g)                              \
	return INVALID

#define TELL(to, value)                      \
	do {                                 \
		if ((value) == UNKNOWN)      \
			return UNSUPPORTED;  \
		*(to) = (value);             \
		return SUCCESS;              \
	} while (0)

EXPORT int nvmlInit_v2(void)
{
	script();
	ASK;
	return SUCCESS;
}

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
	ASK;
	snprintf(version, length, "%s", driver);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
	script();
	ASK;
	*count = ngpus;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	ASK;
	if (index >= (unsigned)ngpus)
		return INVALID;
	*device = (void *)(size_t)(index + 1);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length)
{
	DEVICE;
	snprintf(uuid, length, "%s", g->uuid);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetName(void *device, char *name, unsigned length)
{
	DEVICE;
	snprintf(name, length, "%s", g->name);
	return SUCCESS;
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char bus_id[32];
};

EXPORT int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci)
{
	DEVICE;
	memset(pci, 0, sizeof *pci);
	snprintf(pci->bus_id, sizeof pci->bus_id, "%s", g->pci);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetUtilizationRates(void *device, unsigned u[2])
{
	DEVICE;
	u[1] = 0;
	TELL(&u[0], g->util);
}

struct memory {
	unsigned long long total, free, used;
};

EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory *m)
{
	DEVICE;
	if (g->total == UNKNOWN || g->used == UNKNOWN)
		return UNSUPPORTED;
	m->total = (unsigned long long)g->total << 20;
	m->used = (unsigned long long)g->used << 20;
	m->free = m->total - m->used;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetPowerUsage(void *device, unsigned *power)
{
	DEVICE;
	TELL(power, g->power);
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *limit)
{
	DEVICE;
	TELL(limit, g->limit);
}

EXPORT int nvmlDeviceGetClockInfo(void *device, int type, unsigned *clock)
{
	DEVICE;
	if (type == 2)
		TELL(clock, g->mem);
	TELL(clock, g->sm);
}

EXPORT int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *temp)
{
	(void)sensor;
	DEVICE;
	TELL(temp, g->temp);
}

EXPORT int nvmlDeviceGetTotalEccErrors(void *device, int error, int counter, unsigned long long *n)
{
	(void)counter;
	DEVICE;
	if (!error)
		TELL(n, g->corrected);
	TELL(n, g->ecc);
}

EXPORT int nvmlDeviceGetEccMode(void *device, unsigned *current, unsigned *pending)
{
	DEVICE;
	if (g->eccmode == UNKNOWN)
		return UNSUPPORTED;
	*current = g->eccmode;
	*pending = g->eccpending == UNKNOWN ? g->eccmode : g->eccpending;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetComputeMode(void *device, unsigned *mode)
{
	DEVICE;
	TELL(mode, g->compute);
}

EXPORT int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode)
{
	DEVICE;
	TELL(mode, g->persistence);
}

EXPORT int nvmlDeviceGetAccountingMode(void *device, unsigned *mode)
{
	DEVICE;
	TELL(mode, g->accounting);
}

EXPORT int nvmlDeviceGetApplicationsClock(void *device, int type, unsigned *clock)
{
	(void)type;
	DEVICE;
	TELL(clock, g->appclock);
}

EXPORT int nvmlDeviceGetRetiredPages(void *device, int cause, unsigned *n, unsigned long long *addresses)
{
	(void)addresses;
	DEVICE;
	if (g->retired == UNKNOWN)
		return UNSUPPORTED;
	*n = cause ? g->retired : 0;
	return *n ? SMALL : SUCCESS;
}

EXPORT int nvmlDeviceGetRemappedRows(void *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed)
{
	(void)corrected, (void)uncorrected, (void)pending, (void)failed;
	DEVICE;
	return UNSUPPORTED;
}

EXPORT int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kib)
{
	DEVICE;
	if (g->pcie == UNKNOWN)
		return UNSUPPORTED;
	*kib = counter ? g->pcie / 2 : g->pcie - g->pcie / 2;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending)
{
	DEVICE;
	if (g->mig == UNKNOWN)
		return UNSUPPORTED;
	*current = *pending = g->mig;
	return SUCCESS;
}

struct info {
	unsigned pid;
	unsigned long long used;
	unsigned gi, ci;
};

static int running(void *device, int type, unsigned *n, struct info *to)
{
	unsigned found = 0;
	for (int i = 0; i < nprocs; i++) {
		struct proc *p = &procs[i];
		if (p->gpu + 1 != (int)(size_t)device || p->type != type)
			continue;
		if (found < *n)
			to[found] = (struct info){p->pid, p->used == UNKNOWN ? ~0ull : (unsigned long long)p->used << 20, p->gi, p->ci};
		found++;
	}
	int fits = found <= *n;
	*n = found;
	return fits ? SUCCESS : SMALL;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct info *to)
{
	ASK;
	return running(device, 0, n, to);
}

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *n, struct info *to)
{
	ASK;
	return running(device, 1, n, to);
}

EXPORT int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *n, struct info *to)
{
	ASK;
	return running(device, 2, n, to);
}

struct sample {
	unsigned pid;
	unsigned long long stamp;
	unsigned sm, memory, encoder, decoder;
};

EXPORT int nvmlDeviceGetProcessUtilization(void *device, struct sample *to, unsigned *n, unsigned long long since)
{
	ASK;
	struct timespec now;
	unsigned found = 0;
	clock_gettime(CLOCK_REALTIME, &now);
	unsigned long long stamp = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
	for (int i = 0; i < nprocs && stamp > since; i++) {
		struct proc *p = &procs[i];
		if (p->gpu + 1 != (int)(size_t)device || p->util == UNKNOWN)
			continue;
		if (to && found < *n)
			to[found] = (struct sample){p->pid, stamp, p->util, 0, 0, 0};
		found++;
	}
	int fits = to && found <= *n;
	*n = found;
	return !found ? NOT_FOUND : fits ? SUCCESS : SMALL;
}
