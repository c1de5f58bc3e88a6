// Package early keeps libraries from writing to standard error before main has begun.
//
// The event store's metrics library logs a line while it is initialised on hosts without cgroup v2
// pressure files, and so in every command. Go initialises packages that are ready in the order of
// their import paths; this one is a module of its own because its path must sort before that
// library's. Main undoes it with Done.
package early

import (
	"io"
	"log"
	"os"
)

func init() { log.SetOutput(io.Discard) }

// Done lets the standard logger write to standard error again.
func Done() { log.SetOutput(os.Stderr) }
