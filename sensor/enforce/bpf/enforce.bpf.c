// All programs in one object, so that they share their maps. Go loads those that a policy needs.
#include "egress.h"
#include "exec.h"
#include "isolate.h"
#include "kernel.h"
#include "refused.h"

char LICENSE[] SEC("license") = "GPL";
