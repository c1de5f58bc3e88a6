package event

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatProbesSawSurvivesARoundTrip(t *testing.T) {
	proc := &Process{PID: 7, Exe: "/usr/bin/python3"}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for want, e := range map[string]*Event{
		"python3[7] copied 3 MiB from the GPU in ten minutes, 60 % of what it holds there": {
			Kind: CUDACall, CUDA: &CUDA{Call: CUDACopies, Calls: 4, Bytes: 3 << 20, Moved: 5, Allocated: 6, Memory: Measured(5 << 20), Share: Measured(60)},
		},
		"python3[7] loaded GPU code (ptx) by cuModuleLoadData": {
			Kind: CUDACall, CUDA: &CUDA{Call: "cuModuleLoadData", Library: "/l", Module: CUDAModule{Format: "ptx", Size: 9, Digest: "ab", New: true, Late: true}},
		},
		"python3[7] called cuIpcOpenMemHandle for memory of process 8": {
			Kind: CUDACall, CUDA: &CUDA{Call: "cuIpcOpenMemHandle", Peer: CUDAPeer{PID: 8, Foreign: true}},
		},
		"python3[7] uses a libcuda that is not the driver's: /tmp/libcuda.so.1": {
			Kind: CUDACall, CUDA: &CUDA{Call: CUDALibrary, Library: "/tmp/libcuda.so.1", Private: true},
		},
		"python3[7] did pickle.find_class in Python: posix.system": {
			Kind: PythonAudit, Python: &Python{Event: "pickle.find_class", Argument: "posix.system"},
		},
		"python3[7] did exec in Python, 3 times": {Kind: PythonAudit, Count: 3, Python: &Python{Event: "exec"}},
	} {
		e.Process, e.Time, e.Host = proc, at, "h"
		back, err := ParseRecord(e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.CUDA, back.CUDA); d != "" {
			t.Errorf("%s: %s", want, d)
		}
		if d := cmp.Diff(e.Python, back.Python); d != "" {
			t.Errorf("%s: %s", want, d)
		}
		if d := cmp.Diff(want, e.Describe()); d != "" {
			t.Error(d)
		}
		bare := &Event{Kind: e.Kind, Process: proc, Time: at, Host: "h"}
		if e.ID() == bare.ID() {
			t.Errorf("%s has the id of an event without its object", want)
		}
	}
	if row := string((&Event{Kind: PythonAudit, Time: at, Python: &Python{Event: "x", Argument: "\x1b[1m<b>"}}).AppendRecord(nil)); strings.ContainsAny(row, "\x1b<") {
		t.Errorf("an argument is not escaped: %s", row)
	}
}
