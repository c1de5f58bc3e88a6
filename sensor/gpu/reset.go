package gpu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// What a GPU is not reset for.
var (
	// ErrHeld says that processes hold the GPU.
	ErrHeld = errors.New("processes hold it")
	// ErrNoReset says that this host has no way to reset it.
	ErrNoReset = errors.New("there is no way to reset it")
)

const (
	resetTime   = 35 * time.Second // that a reset may take
	resetOutput = 8 << 10          // of what the tool says
	maxHolders  = 64
	nvidiaMajor = 195 // of the kernel's list of devices, as the next
	drmMajor    = 226
)

// tools are where packages of the driver put NVIDIA's tool.
var tools = []string{"/usr/bin/nvidia-smi", "/usr/local/bin/nvidia-smi", "/usr/local/nvidia/bin/nvidia-smi", "/opt/bin/nvidia-smi"}

// seen is a GPU as it was last told. One that needs a reset may be told of no more.
type seen struct {
	event.GPUDevice
	at time.Time
}

// see keeps what was told. The caller holds mu.
func (s *Sensor) see(all []event.GPUDevice, at time.Time) {
	for _, d := range all {
		if _, known := s.known[d.UUID]; known || len(s.known) < maxDevices {
			s.known[d.UUID] = seen{d, at}
		}
	}
}

// Device returns a GPU as it was last told, when that was, and whether it is told of still.
func (s *Sensor) Device(uuid string) (d event.GPUDevice, at time.Time, answers, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, known := s.known[uuid]
	return k.GPUDevice, k.at, known && time.Since(k.at) <= s.patience(), known
}

// UUIDs names the GPUs that were told of.
func (s *Sensor) UUIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.known))
}

// Rest ends the reader of NVIDIA's library, which holds the GPUs open, and keeps it from being started
// until wake is called.
func (s *Sensor) Rest(ctx context.Context) (wake func(), err error) {
	s.mu.Lock()
	if s.resting != nil {
		s.mu.Unlock()
		return nil, errors.New("the reader of NVIDIA GPUs rests already")
	}
	awake := make(chan struct{})
	s.resting = awake
	ended, stop := s.reader, s.stop
	s.mu.Unlock()
	wake = func() {
		s.mu.Lock()
		s.resting = nil
		s.mu.Unlock()
		close(awake)
	}
	if ended != nil {
		stop()
		select {
		case <-ended:
		case <-ctx.Done():
			wake()
			return nil, fmt.Errorf("the reader of NVIDIA GPUs does not let go of them: %w", ctx.Err())
		}
	}
	s.mu.Lock()
	s.nvidia, s.heard = event.GPUReading{}, time.Time{} // what was told is of before
	s.mu.Unlock()
	return wake, nil
}

// begin waits while the reader rests. The context that it returns ends when it is to rest.
func (s *Sensor) begin(ctx context.Context) (run context.Context, end func()) {
	for ctx.Err() == nil {
		s.mu.Lock()
		awake := s.resting
		if awake == nil {
			ended := make(chan struct{})
			run, s.stop = context.WithCancel(ctx)
			stop := s.stop
			s.reader = ended
			s.mu.Unlock()
			return run, func() {
				s.mu.Lock()
				s.reader = nil
				s.mu.Unlock()
				stop()
				close(ended)
			}
		}
		s.mu.Unlock()
		select {
		case <-awake:
		case <-ctx.Done():
		}
	}
	return ctx, func() {}
}

// Holder is a process that holds a GPU.
type Holder struct {
	PID  uint32
	Name string
	How  string // the driver's word (compute, graphics, mps), or the device file that it has open
}

// Holders are the processes that hold a GPU: those that its driver names, as long as it tells of the GPU
// or they are there, and those that have its device file open. Picket's own reader, which lets go of it
// for a reset, is left out.
func (s *Sensor) Holders(d *event.GPUDevice) (out []Holder) {
	_, _, answers, _ := s.Device(d.UUID)
	for _, u := range d.Uses {
		name, there := line(filepath.Join("/proc", strconv.FormatUint(uint64(u.PID), 10), "comm"))
		if (answers || there) && len(out) < maxHolders {
			out = append(out, Holder{u.PID, cmp.Or(plain(name), "?"), u.Type})
		}
	}
	for _, h := range s.openBy(d) {
		if len(out) < maxHolders && !slices.ContainsFunc(out, func(o Holder) bool { return o.PID == h.PID }) {
			out = append(out, h)
		}
	}
	return out
}

// openBy looks through the descriptors of all processes for the device files of a GPU.
func (s *Sensor) openBy(d *event.GPUDevice) (out []Holder) {
	is := s.deviceFile(d)
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, dir := range dirs {
		pid, err := strconv.ParseUint(filepath.Base(dir), 10, 22)
		f, openErr := os.Open(dir + "/fd")
		if err != nil || openErr != nil || ownReader(dir) {
			continue
		}
		names, _ := f.Readdirnames(maxFDs) // who holds more is looked at in part
		_ = f.Close()                      // it was only read
		for _, fd := range names {
			var st unix.Stat_t
			if unix.Stat(dir+"/fd/"+fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && is(unix.Major(st.Rdev), unix.Minor(st.Rdev)) {
				to, _ := os.Readlink(dir + "/fd/" + fd) // it is closed by now
				name, _ := line(dir + "/comm")
				out = append(out, Holder{uint32(pid), cmp.Or(plain(name), "?"), plain(to)})
				break
			}
		}
	}
	return out
}

// deviceFile tells the device files of a GPU by their numbers. Where the driver does not say which number
// NVIDIA's GPU has, those of all of them count.
func (s *Sensor) deviceFile(d *event.GPUDevice) func(major, minor uint32) bool {
	if d.Source != "nvml" {
		return func(major, minor uint32) bool {
			at, err := filepath.EvalSymlinks(filepath.Join(s.opt.Root, fmt.Sprintf("/sys/dev/char/%d:%d/device", major, minor)))
			return major == drmMajor && err == nil && filepath.Base(at) == d.PCI
		}
	}
	number := int64(-1)
	about, _ := file(filepath.Join(s.opt.Root, "/proc/driver/nvidia/gpus", d.PCI, "information"))
	for l := range strings.Lines(about) {
		if n, ok := strings.CutPrefix(l, "Device Minor:"); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(n), 10, 16); err == nil {
				number = n
			}
		}
	}
	const control = 254 // nvidia-modeset, and nvidiactl after it: of no GPU
	return func(major, minor uint32) bool {
		return major == nvidiaMajor && (int64(minor) == number || number < 0 && minor < control)
	}
}

// ownReader reports whether a process is the reader that this program started.
func ownReader(dir string) bool {
	exe, err := os.Readlink(dir + "/exe")
	stat, ok := file(dir + "/stat")
	rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	return err == nil && ok && exe == "/memfd:picket-gpu (deleted)" && len(rest) > 1 && rest[1] == strconv.Itoa(os.Getpid())
}

// Resets says by what a GPU would be reset. ErrNoReset says that nothing can.
func (s *Sensor) Resets(d *event.GPU) (by string, err error) {
	switch {
	case d.Source == "nvml":
		return s.tool()
	case d.Driver == "amdgpu":
		return s.recoverFile(d)
	}
	return "", fmt.Errorf("%w: driver %s has none that Picket knows", ErrNoReset, d.Driver)
}

// tool finds NVIDIA's tool: by its whole path, where nobody but root puts anything.
func (s *Sensor) tool() (string, error) {
	paths := tools
	if s.opt.Tool != "" {
		paths = []string{s.opt.Tool}
	}
	for _, p := range paths {
		to, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		if err := roots(to); err != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrNoReset, p, err)
		}
		return to, nil
	}
	return "", fmt.Errorf("%w: NVIDIA's tool nvidia-smi is none of %s", ErrNoReset, strings.Join(paths, ", "))
}

// roots says why a program may be another's than root's: it, or a directory on its way.
func roots(path string) error {
	for at := path; ; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return err
		}
		sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0 // others replace nothing of root's there
		switch {
		case st.Uid != 0:
			return fmt.Errorf("%s is not root's", at)
		case st.Mode&0o022 != 0 && !sticky:
			return fmt.Errorf("others than root may write to %s", at)
		case at == path && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o100 == 0):
			return fmt.Errorf("%s is no program", at)
		}
		if at == "/" {
			return nil
		}
	}
}

// recoverFile is the file by which amdgpu resets a GPU when it is read,
// https://docs.kernel.org/gpu/amdgpu/debugfs.html.
func (s *Sensor) recoverFile(d *event.GPU) (string, error) {
	var looked []string
	for _, name := range []string{d.PCI, strconv.Itoa(d.Index)} {
		p := filepath.Join(s.opt.Root, "/sys/kernel/debug/dri", name, "amdgpu_gpu_recover")
		if _, err := os.Stat(p); err == nil && name != "" {
			return p, nil
		}
		looked = append(looked, p)
	}
	return "", fmt.Errorf("%w: amdgpu's file for that is none of %s: is debugfs mounted?", ErrNoReset, strings.Join(looked, ", "))
}

// Reset resets a GPU that no process holds. Begun says whether anything was done to it; said are the
// first words of who did. What takes too long fails with context.DeadlineExceeded, and may go on.
func (s *Sensor) Reset(ctx context.Context, uuid string) (said string, begun bool, err error) {
	s.resets.Lock()
	defer s.resets.Unlock()
	d, _, _, known := s.Device(uuid)
	if !known {
		return "", false, fmt.Errorf("GPU %s was never told of", uuid)
	}
	by, err := s.Resets(&d.GPU)
	if err == nil {
		err = heldBy(s.Holders(&d))
	}
	if err != nil {
		return "", false, err
	}
	reset := func(ctx context.Context) (string, error) { return readRecover(ctx, by) }
	if d.Source == "nvml" {
		rest, cancel := context.WithTimeout(ctx, s.patience())
		wake, err := s.Rest(rest)
		cancel()
		if err != nil {
			return "", false, err
		}
		defer wake()
		reset = func(ctx context.Context) (string, error) { return runTool(ctx, by, "--gpu-reset", "-i", uuid) }
	}
	if err := heldBy(s.openBy(&d)); err != nil { // who came meanwhile; who comes later the driver refuses the reset for
		return "", false, err
	}
	type answer struct {
		said string
		err  error
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.resetTime)
	defer cancel()
	done := make(chan answer, 1)
	go func() { // what hangs in the driver is not waited for
		said, err := reset(ctx)
		done <- answer{said, err}
	}()
	var a answer
	select {
	case a = <-done:
	case <-time.After(s.opt.resetTime + 2*time.Second): // the tool is ended by then
	}
	if err := ctx.Err(); err != nil {
		return a.said, true, fmt.Errorf("it took longer than %s: %w", s.opt.resetTime, err)
	}
	return a.said, true, a.err
}

func heldBy(all []Holder) error {
	if len(all) == 0 {
		return nil
	}
	var words []string
	for _, h := range all {
		words = append(words, fmt.Sprintf("%d %s (%s)", h.PID, h.Name, h.How))
	}
	return fmt.Errorf("%w: %s", ErrHeld, strings.Join(words, ", "))
}

// runTool runs a program of root's with nothing of this one's: no variables, no files, no terminal.
func runTool(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it started
	var out firstWords
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// firstWords keeps the beginning of what is written to it. Both streams of a command write in turn.
type firstWords struct{ b bytes.Buffer }

// Write implements io.Writer.
func (w *firstWords) Write(p []byte) (int, error) {
	w.b.Write(p[:min(len(p), resetOutput-w.b.Len())])
	return len(p), nil
}

func (w *firstWords) String() string { return strings.TrimSpace(w.b.String()) }

// readRecover has amdgpu reset a GPU. The file says 0 when it is done, else the driver's error.
func readRecover(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()                                                          //nolint:errcheck // it was only read
	defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Now()) })() // a file of the kernel has none
	b, err := io.ReadAll(io.LimitReader(f, 128))
	said := strings.TrimSpace(string(b))
	if n, ok := strings.CutPrefix(said, "gpu recover"); ok { // as older kernels put it
		said = strings.TrimSpace(n)
	}
	if err == nil && said != "0" && said != "" {
		err = fmt.Errorf("amdgpu says %q", plain(said))
	}
	return said, err
}
