package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"picket/sensor/cuda"
	"picket/sensor/uprobe"
)

const pairs = 11 // rounds of the two programs, one after the other; the median counts

// floor measures where the time of a probe goes: what a program that does nothing costs at the same
// places, what the kernel says that ours runs for, and what a system call takes here.
func floor() error {
	together := uprobe.Together()
	spec := &ebpf.ProgramSpec{Type: ebpf.Kprobe, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}}
	if together {
		spec.AttachType = ebpf.AttachTraceUprobeMulti
	}
	empty, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	defer empty.Close() //nolint:errcheck // it ends with this program
	var nothing, counted, more [3][]float64
	var sites [3]string
	for range pairs {
		bare, err := uprobe.Measure(empty, 0, together)
		if err != nil {
			return err
		}
		ours, err := cuda.Measure()
		if err != nil {
			return err
		}
		for i := range bare {
			nothing[i], counted[i], more[i] = append(nothing[i], bare[i].Nanoseconds), append(counted[i], ours[i].Nanoseconds), append(more[i], ours[i].Nanoseconds-bare[i].Nanoseconds)
			sites[i] = fmt.Sprintf("%s: %s", ours[i].Class, ours[i].Site)
		}
	}
	for i := range sites {
		fmt.Printf("%-40s %6.0f ns with a program that does nothing, %6.0f ns with ours, %5.0f ns more (medians of %d pairs)\n", sites[i], median(nothing[i]), median(counted[i]), median(more[i]), pairs)
	}
	runs, took, err := cuda.RunTime()
	if err != nil {
		return err
	}
	fmt.Printf("%-40s %6.0f ns a run, of %d\n", "our program by the kernel's own clock", float64(took.Nanoseconds())/float64(max(runs, 1)), runs)
	fmt.Printf("%-40s %6.0f ns\n", "a system call", syscalls())
	return nil
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// syscalls is what a system call that does next to nothing takes, in the quickest of many rounds.
func syscalls() float64 {
	best := time.Hour
	for range 200 {
		began := time.Now()
		for range 1000 {
			_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
		best = min(best, time.Since(began))
	}
	return float64(best.Nanoseconds()) / 1000
}
