// Package nvml reads NVIDIA GPUs through the driver's own library.
//
// A program that imports it is linked dynamically: one program alone does, picket-gpu, which Picket
// starts without privilege, so that foreign code runs neither in the agent nor as root.
//
// The names of functions, the layout of structures and the numbers of errors are those of NVIDIA's
// nvml.h, https://docs.nvidia.com/deploy/nvml-api/.
package nvml

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Results of the library.
const (
	success          = 0
	errInvalid       = 2
	errUnsupported   = 3
	errPermission    = 4
	errNotFound      = 6
	errSmall         = 7
	errNotLoaded     = 9
	errFunctionsLack = 13
)

var words = map[int32]string{
	1: "the library is not initialised", errInvalid: "invalid argument", errUnsupported: "not supported", errPermission: "no permission",
	errNotFound: "not found", errSmall: "insufficient size", errNotLoaded: "the NVIDIA driver is not loaded", 12: "a library is missing",
	errFunctionsLack: "the driver has no such function", 15: "the GPU is lost", 16: "the GPU needs a reset", 17: "the operating system does not allow it",
	18: "driver and library are of different versions", 20: "out of memory",
}

type result int32

func (r result) Error() string {
	if w := words[int32(r)]; w != "" {
		return w
	}
	return fmt.Sprintf("error %d", int32(r))
}

// Structures of nvml.h.
type (
	pciInfo struct {
		_     [16]byte
		_     [5]uint32
		busID [32]byte
	}
	utilization struct{ gpu, _ uint32 }
	memoryInfo  struct{ total, _, used uint64 }
	processInfo struct {
		pid    uint32
		used   uint64
		gi, ci uint32
	}
	processSample struct {
		pid         uint32
		stamp       uint64
		sm, _, _, _ uint32
	}
)

type device uintptr

// functions are those of the library. One that the driver lacks is nil.
type functions struct {
	init          func() result
	driverVersion func(*byte, uint32) result
	count         func(*uint32) result
	handle        func(uint32, *device) result
	uuid          func(device, *byte, uint32) result
	name          func(device, *byte, uint32) result
	pci           func(device, *pciInfo) result
	utilization   func(device, *utilization) result
	memory        func(device, *memoryInfo) result
	power         func(device, *uint32) result
	powerLimit    func(device, *uint32) result
	clock         func(device, int32, *uint32) result
	temperature   func(device, int32, *uint32) result
	ecc           func(device, int32, int32, *uint64) result
	retired       func(device, int32, *uint32, *uint64) result
	remapped      func(device, *uint32, *uint32, *uint32, *uint32) result
	pcie          func(device, int32, *uint32) result
	mig           func(device, *uint32, *uint32) result
	eccMode       func(device, *uint32, *uint32) result
	computeMode   func(device, *uint32) result
	persistence   func(device, *uint32) result
	accounting    func(device, *uint32) result
	clockLimit    func(device, int32, *uint32) result
	compute       func(device, *uint32, *processInfo) result
	graphics      func(device, *uint32, *processInfo) result
	mps           func(device, *uint32, *processInfo) result
	samples       func(device, *processSample, *uint32, uint64) result
}

// Where the driver's packages put the library.
var usual = []string{"libnvidia-ml.so.1", "/usr/lib64/libnvidia-ml.so.1", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1"}

// load opens the library and looks its functions up.
func load(path string) (*functions, error) {
	paths := usual
	if path != "" {
		paths = []string{path}
	}
	var handle uintptr
	var first error
	for _, p := range paths {
		var err error
		if handle, err = purego.Dlopen(p, purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			break
		}
		if first == nil {
			first = err
		}
	}
	if handle == 0 {
		return nil, fmt.Errorf("NVIDIA's library: %w", first)
	}
	f := &functions{}
	for name, to := range map[string]any{
		"nvmlInit_v2": &f.init, "nvmlSystemGetDriverVersion": &f.driverVersion, "nvmlDeviceGetCount_v2": &f.count, "nvmlDeviceGetHandleByIndex_v2": &f.handle,
		"nvmlDeviceGetUUID": &f.uuid, "nvmlDeviceGetName": &f.name, "nvmlDeviceGetPciInfo_v3": &f.pci, "nvmlDeviceGetUtilizationRates": &f.utilization,
		"nvmlDeviceGetMemoryInfo": &f.memory, "nvmlDeviceGetPowerUsage": &f.power, "nvmlDeviceGetEnforcedPowerLimit": &f.powerLimit,
		"nvmlDeviceGetClockInfo": &f.clock, "nvmlDeviceGetTemperature": &f.temperature, "nvmlDeviceGetTotalEccErrors": &f.ecc,
		"nvmlDeviceGetRetiredPages": &f.retired, "nvmlDeviceGetRemappedRows": &f.remapped, "nvmlDeviceGetPcieThroughput": &f.pcie,
		"nvmlDeviceGetEccMode": &f.eccMode, "nvmlDeviceGetComputeMode": &f.computeMode, "nvmlDeviceGetPersistenceMode": &f.persistence,
		"nvmlDeviceGetAccountingMode": &f.accounting, "nvmlDeviceGetApplicationsClock": &f.clockLimit,
		"nvmlDeviceGetMigMode": &f.mig, "nvmlDeviceGetComputeRunningProcesses_v3": &f.compute, "nvmlDeviceGetGraphicsRunningProcesses_v3": &f.graphics,
		"nvmlDeviceGetMPSComputeRunningProcesses_v3": &f.mps, "nvmlDeviceGetProcessUtilization": &f.samples,
	} {
		if at, err := purego.Dlsym(handle, name); err == nil {
			purego.RegisterFunc(to, at)
		}
	}
	if f.init == nil || f.count == nil || f.handle == nil {
		return nil, fmt.Errorf("%s has not the functions of NVIDIA's library: nvmlInit_v2, nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2", paths[0])
	}
	return f, nil
}

// words of a C buffer.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

var _ [24]byte = [unsafe.Sizeof(processInfo{})]byte{} // what the driver writes
