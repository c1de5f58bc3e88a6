// All programs in one object, so that they share their maps. Go loads those that are wanted, each
// on its own: a kernel that refuses one still runs the rest.
#include "process.h"
#include "file.h"
#include "net.h"
#include "uring.h"
#include "map.h"
#include "io.h"
#include "call.h"
#include "signal.h"
#include "device.h"
#include "host.h"
#include "tally.h"
#include "dns.h"
#include "tls.h"
#include "netcgroup.h"
#include "unix.h"
#include "receive.h"

char LICENSE[] SEC("license") = "GPL";
