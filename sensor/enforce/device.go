package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Majors of GPUs that the kernel's list of devices fixes, and minors that NVIDIA's driver does.
const (
	majorNVIDIA   = 195
	majorDRM      = 226
	minorNVIDIA   = 255 // /dev/nvidiactl
	nvidiaAtMost  = 254 // minors of GPUs lie below
	nvidiaDrivers = "/proc/driver/nvidia"
)

// DevicesOf returns the devices that entries stand for: paths, a star in the last part, and GPUs.
//
//	gpu            all of NVIDIA, AMD and Intel
//	gpu:0          NVIDIA's /dev/nvidia0, with what each program on one of its GPUs opens
//	gpu:GPU-8f4e…  the same by UUID, whatever number it has after a restart
//	gpu:0/gi1      an instance of a GPU that MIG divides: the GPU, and the right to that instance
//	gpu:0/gi1/ci0  the same with a compute instance
//
// missing are the GPUs that are not there now: nothing is allowed by them.
func DevicesOf(entries []string) (devices []Device, missing []string) {
	return devicesOf(entries, nvidiaDrivers)
}

func devicesOf(entries []string, drivers string) (devices []Device, missing []string) {
	out := slices.Clone(ordinary)
	for _, entry := range entries {
		of, one := strings.CutPrefix(entry, "gpu:")
		switch {
		case one:
			found, ok := gpuOf(of, drivers)
			if !ok {
				missing = append(missing, entry)
			}
			out = append(out, found...)
		case entry == "gpu":
			out = append(out, Device{Major: majorNVIDIA, Minor: AnyMinor}, Device{Major: majorDRM, Minor: AnyMinor})
			for _, name := range []string{"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/kfd"} {
				out = append(out, nodes(name)...)
			}
		default:
			out = append(out, nodes(entry)...)
		}
	}
	return out, missing
}

// nodes returns the devices that a path leads to.
func nodes(pattern string) (out []Device) {
	for _, file := range glob(pattern) {
		var st unix.Stat_t
		if unix.Stat(file, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR && st.Mode&unix.S_IFMT != unix.S_IFBLK {
			continue
		}
		out = append(out, Device{Block: st.Mode&unix.S_IFMT == unix.S_IFBLK, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)})
	}
	return out
}

// gpuOf returns the devices of one NVIDIA GPU, and of an instance of it: those that its programs
// share with others, its own, and the capabilities that stand for the instance.
func gpuOf(of, drivers string) ([]Device, bool) {
	which, instance, parted := strings.Cut(of, "/")
	minor, err := strconv.ParseUint(which, 10, 32)
	if err != nil {
		var ok bool
		if minor, ok = minorOf(which, drivers); !ok {
			return nil, false
		}
	}
	if minor >= nvidiaAtMost {
		return nil, false
	}
	out := append([]Device{
		{Major: majorNVIDIA, Minor: minorNVIDIA},
		{Major: majorNVIDIA, Minor: uint32(minor)},
	}, nodes("/dev/nvidia-uvm*")...)
	if !parted {
		return out, true
	}
	major, ok := majorOf("nvidia-caps")
	if !ok {
		return nil, false
	}
	for dir := instance; dir != "."; dir = filepath.Dir(dir) {
		n, ok := capability(filepath.Join(drivers, "capabilities", fmt.Sprintf("gpu%d", minor), "mig", dir, "access"))
		if !ok {
			return nil, false
		}
		out = append(out, Device{Major: major, Minor: n})
	}
	return out, true
}

// minorOf finds the GPU with a UUID in what NVIDIA's driver says of each.
func minorOf(uuid, drivers string) (minor uint64, ok bool) {
	for _, file := range glob(drivers + "/gpus/*/information") {
		b, err := os.ReadFile(file)
		if err != nil || !strings.EqualFold(field(b, "GPU UUID"), uuid) {
			continue
		}
		minor, err = strconv.ParseUint(field(b, "Device Minor"), 10, 32)
		return minor, err == nil
	}
	return 0, false
}

// capability returns the minor of the device that stands for one of the driver's capabilities.
func capability(file string) (minor uint32, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(field(b, "DeviceFileMinor"), 10, 20)
	return uint32(n), err == nil
}

// field reads a value behind a name and a colon.
func field(b []byte, name string) string {
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// majorOf looks a driver of character devices up in /proc/devices.
func majorOf(driver string) (major uint32, ok bool) {
	b, err := os.ReadFile("/proc/devices")
	if err != nil {
		return 0, false
	}
	chars, _, _ := strings.Cut(string(b), "Block devices:")
	for line := range strings.Lines(chars) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == driver {
			n, err := strconv.ParseUint(f[0], 10, 12)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

// ordinary are the devices that every program may need: null, zero, full, random, urandom, tty,
// ptmx, and pseudo terminals.
var ordinary = []Device{
	{Major: 1, Minor: 3},
	{Major: 1, Minor: 5},
	{Major: 1, Minor: 7},
	{Major: 1, Minor: 8},
	{Major: 1, Minor: 9},
	{Major: 5, Minor: 0},
	{Major: 5, Minor: 2},
	{Major: 136, Minor: AnyMinor},
}
