// Cuda measures what a probe costs a call of libcuda, by how the function begins: a library that does
// nothing stands in for the real one, and the quickest of many rounds counts.
//
//	go run ./bench/cuda
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"picket/event"
	"picket/sensor/cuda"
)

// builds are the ways in which functions come to begin with each class of instruction.
var builds = []struct{ class, flags string }{
	{"nop", "-O2 -fcf-protection=none -fpatchable-function-entry=5"},
	{"push", "-O0 -fcf-protection=none"},
	{"single-step", "-O2 -fcf-protection=none"},
}

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("cuda: ", err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "picket-bench-cuda-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system's temporary directory is tidied anyway
	caller := filepath.Join(dir, "caller")
	if err := build("-O2", "-o", caller, "sensor/cuda/testdata/caller.c", "-ldl"); err != nil {
		return err
	}
	for _, b := range builds {
		library := filepath.Join(dir, b.class, "libcuda.so.1")
		if err := os.Mkdir(filepath.Dir(library), 0o700); err != nil {
			return err
		}
		if err := build(append(strings.Fields(b.flags), "-shared", "-fPIC", "-o", library, "sensor/cuda/testdata/libcuda.c")...); err != nil {
			return err
		}
		bare, with, other, err := measure(caller, library)
		if err != nil {
			return err
		}
		fmt.Printf("%-12s %6.0f ns a call that is counted (limit 600 ns, but for single-step), %.1f ns without probes, %.1f ns for a function beside it\n", b.class, with-bare, bare, other)
	}
	return floor()
}

func build(args ...string) error {
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cc: %w: %s", err, out)
	}
	return nil
}

// measure times a call without probes and with, and one that has none beside it.
func measure(caller, library string) (bare, with, other float64, err error) {
	cmd := exec.Command(caller, library)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	answers := bufio.NewScanner(out)
	if bare, err = ask(in, answers, "cuMemcpyDtoH_v2"); err != nil {
		return 0, 0, 0, err
	}
	s, err := cuda.Open(cuda.Options{Driver: []string{library}})
	if err != nil {
		return 0, 0, 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(*event.Event) {}) }()
	for len(s.Held()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if with, err = ask(in, answers, "cuMemcpyDtoH_v2"); err == nil {
		other, err = ask(in, answers, "cuMemcpyHtoD_v2")
	}
	cancel()
	return bare, with, other, errors.Join(err, <-done, s.Close())
}

func ask(in io.Writer, answers *bufio.Scanner, name string) (float64, error) {
	if _, err := fmt.Fprintln(in, "time", name); err != nil {
		return 0, err
	}
	if !answers.Scan() {
		return 0, fmt.Errorf("the caller ended: %w", answers.Err())
	}
	n, err := strconv.ParseFloat(answers.Text(), 64)
	return n / 1000, err
}
