package kernel

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// SystemCalls is the Feature of what runs on the way out of each system call of the host, routed or
// not, as soon as some are asked for.
const SystemCalls = "system-calls"

// Cost is what one program of the sensor takes on this host.
type Cost struct {
	Feature     string  `json:"feature"` // the row of Probe that speaks of it
	Program     string  `json:"program"`
	Runs        uint64  `json:"runs"`
	Nanoseconds float64 `json:"nanoseconds"` // a run on average, the kernel's own clock included: some 60 ns
}

// act is something harmless that makes a program behind the exit of system calls run.
type act struct {
	feature string
	calls   int // of each do, that the feature's programs are run for
	do      func(*stage) error
}

var acts = []act{
	{"file-open", 1, (*stage).read},
	{"file-change", 3, (*stage).change},
	{"connect", 1, (*stage).connect},
	{"bind", 2, (*stage).listen},
	{"accept", 1, (*stage).connect},
}

const (
	actTimes  = 400 // each act is done
	execTimes = 30
)

// Measure attaches programs for a moment, does harmless things that make them run, and returns what
// the kernel counted, in the order of Probe: of programs of their own, and of those behind the exit
// of system calls together, for each feature that there is an act for. It takes some seconds, and
// writes to a directory of its own that it removes.
func Measure() ([]Cost, error) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, fmt.Errorf("ask the kernel to time programs: %w", err)
	}
	defer stats.Close() //nolint:errcheck // the kernel stops counting when we end, at the latest
	st, err := newStage()
	if err != nil {
		return nil, fmt.Errorf("measure what the programs take: %w", err)
	}
	defer st.close()
	own, err := st.ownPrograms()
	if err != nil {
		return nil, fmt.Errorf("measure what the programs take: %w", err)
	}
	idle, err := st.dispatch(act{"", 1, (*stage).read}, event.NetListen)
	if err != nil {
		return nil, fmt.Errorf("measure what the programs take: %w", err)
	}
	idle.Feature, idle.Nanoseconds = SystemCalls, idle.Nanoseconds/float64(max(idle.Runs, 1))
	out := []Cost{idle}
	for _, f := range features {
		for _, p := range f.parts {
			if c, ok := own[p.program]; ok && p.handler == 0 {
				c.Feature = f.name
				out = append(out, c)
			}
		}
		for _, a := range acts {
			if a.feature != f.name {
				continue
			}
			c, err := st.dispatch(a, kindsOf(f)...)
			if err != nil {
				return nil, fmt.Errorf("measure what %s takes: %w", f.name, err)
			}
			calls := uint64(a.calls * actTimes)
			above := c.Nanoseconds - float64(c.Runs)*idle.Nanoseconds // what is more than calls that nobody asked for
			out = append(out, Cost{Feature: f.name, Program: f.parts[0].program, Runs: calls, Nanoseconds: max(0, above)/float64(calls) + idle.Nanoseconds})
		}
	}
	return out, nil
}

func kindsOf(f feature) (out []event.Kind) {
	for _, p := range f.parts {
		out = append(out, p.kinds...)
	}
	return out
}

// stage is where acts are done.
type stage struct {
	dir    string
	server net.Listener
}

func newStage() (*stage, error) {
	dir, err := os.MkdirTemp("", "picket-cost-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	if s.server, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
		err = os.WriteFile(filepath.Join(dir, "read"), []byte("x"), 0o600)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) close() {
	if s.server != nil {
		_ = s.server.Close()
	}
	_ = os.RemoveAll(s.dir) // in the system's directory for such
}

// open attaches what makes some kinds, with this process not left out.
func (s *stage) open(kinds ...event.Kind) (*Sensor, error) {
	d := Demand{Kinds: map[event.Kind]bool{}}
	for _, k := range kinds {
		d.Kinds[k] = true
	}
	sensor, err := Open(Options{SelfPID: 1<<31 - 1, Demand: d})
	if err != nil {
		return nil, err
	}
	if err := sensor.WatchDir(s.dir); err != nil {
		_ = sensor.Close()
		return nil, err
	}
	return sensor, nil
}

// ownPrograms measures the programs that are attached by themselves.
func (s *stage) ownPrograms() (map[string]Cost, error) {
	var kinds []event.Kind
	for _, f := range features {
		for _, p := range f.parts {
			if p.handler == 0 {
				kinds = append(kinds, p.kinds...)
			}
		}
	}
	sensor, err := s.open(kinds...)
	if err != nil {
		return nil, err
	}
	defer sensor.Close() //nolint:errcheck // it was for a moment
	for range execTimes {
		_ = exec.Command("/bin/true").Run() // a fork at least, where there is no such program
		if err := s.connect(); err != nil {
			return nil, err
		}
	}
	out := map[string]Cost{}
	for i, p := range sensor.programs {
		st, err := p.Stats()
		if err != nil {
			return nil, err
		}
		if st.RunCount > 0 {
			out[sensor.names[i]] = Cost{Program: sensor.names[i], Runs: st.RunCount, Nanoseconds: float64(st.Runtime.Nanoseconds()) / float64(st.RunCount)}
		}
	}
	return out, nil
}

// dispatch returns how often the program at the exit of system calls ran while an act was done, and
// for how long in all: what it jumps to is counted as its own.
func (s *stage) dispatch(a act, kinds ...event.Kind) (Cost, error) {
	sensor, err := s.open(kinds...)
	if err != nil {
		return Cost{}, err
	}
	defer sensor.Close() //nolint:errcheck // it was for a moment
	i := slices.Index(sensor.names, "dispatch")
	if i < 0 {
		return Cost{}, nil
	}
	before, err := sensor.programs[i].Stats()
	if err != nil {
		return Cost{}, err
	}
	for range actTimes {
		if err := a.do(s); err != nil {
			return Cost{}, err
		}
	}
	after, err := sensor.programs[i].Stats()
	if err != nil {
		return Cost{}, err
	}
	return Cost{Program: "dispatch", Runs: after.RunCount - before.RunCount, Nanoseconds: float64((after.Runtime - before.Runtime).Nanoseconds())}, nil
}

func (s *stage) read() error {
	f, err := os.Open(filepath.Join(s.dir, "read"))
	if err != nil {
		return err
	}
	return f.Close()
}

// change makes a file and changes it three times.
func (s *stage) change() error {
	name, other := filepath.Join(s.dir, "a"), filepath.Join(s.dir, "b")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o640); err != nil {
		return err
	}
	if err := os.Rename(name, other); err != nil {
		return err
	}
	return os.Remove(other)
}

// connect opens a connection, and sends and takes as much as is looked at for a hello of TLS.
func (s *stage) connect() error {
	out, err := net.Dial("tcp", s.server.Addr().String())
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // read to its end
	in, err := s.server.Accept()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read to its end
	if _, err := out.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		return err
	}
	_, err = in.Read(make([]byte, 16))
	return err
}

func (s *stage) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return l.Close()
}
