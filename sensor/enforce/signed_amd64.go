package enforce

import "golang.org/x/sys/unix"

// openFlags are the calls that open a file, to which of their arguments is the flags.
var openFlags = map[int64]int{unix.SYS_OPEN: 1, unix.SYS_OPENAT: 2}
