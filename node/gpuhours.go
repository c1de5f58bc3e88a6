package node

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"picket/detect/device"
)

const hoursEvery = time.Hour // how often the hours in which GPUs work are kept

// openDevices makes what follows GPUs, with the hours in which they worked before.
func openDevices(cfg *Config, log *slog.Logger) *device.Watch {
	w := device.New(cfg.Host)
	recall(log, hoursFile(cfg), "hours of GPUs", w.Restore)
	return w
}

// keepGPUHours writes down in which hours GPUs worked, where a GPU was seen.
func (a *agent) keepGPUHours(now time.Time) {
	g := a.gpus
	if since := now.Sub(g.kept); since >= 0 && since < hoursEvery {
		return
	}
	first := g.kept.IsZero()
	if g.kept = now; first { // a directory that nobody made: there is nothing to keep yet
		return
	}
	remember(a.log, hoursFile(a.cfg), "hours of GPUs", g.device.Snapshot)
}

func hoursFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "gpu-hours.json") }

// wholeHost reports whether this process sees the processes of the whole host: its namespace of processes
// is the first one.
var wholeHost = sync.OnceValue(func() bool {
	const first = "pid:[4026531836]" // PROC_PID_INIT_INO of linux/proc_ns.h
	to, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && to == first
})

// shown reports whether the host shows a process. Where that cannot be told it does.
func shown(pid uint32) bool {
	if !wholeHost() {
		return true
	}
	_, err := os.Stat("/proc/" + strconv.FormatUint(uint64(pid), 10))
	return !errors.Is(err, fs.ErrNotExist)
}
