// Package helper holds picket-gpu, the program that reads NVIDIA's library, inside picket: picket
// itself is linked statically and cannot load one.
package helper

import (
	"embed"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

//go:embed all:built
var built embed.FS // all: takes .gitignore too, so the pattern matches in a fresh clone

// ErrAbsent says that picket was built without the program.
var ErrAbsent = errors.New("this picket was built without its reader of NVIDIA GPUs: make build puts it in")

// Open returns the program as an open file without a name, to be run by its descriptor.
func Open() (*os.File, error) {
	b, err := built.ReadFile("built/picket-gpu")
	if err != nil {
		return nil, ErrAbsent
	}
	fd, err := unix.MemfdCreate("picket-gpu", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making the reader of NVIDIA GPUs: %w", err)
	}
	f := os.NewFile(uintptr(fd), "picket-gpu")
	if _, err = f.Write(b); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		_ = f.Close() // the error says more
		return nil, fmt.Errorf("making the reader of NVIDIA GPUs: %w", err)
	}
	return f, nil
}
