// Gpu measures what it costs to look at GPUs: the CPU of picket-gpu for each look, with a library that
// stands in for NVIDIA's and tells of eight GPUs with four processes each.
//
//	go run ./bench/gpu -for 60s
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	long := flag.Duration("for", time.Minute, "how long to measure")
	every := flag.Duration("every", 5*time.Second, "how often to look")
	flag.Parse()
	if err := run(*long, *every); err != nil {
		log.Fatal("gpu: ", err)
	}
}

func run(long, every time.Duration) error {
	dir, err := os.MkdirTemp("", "picket-bench-gpu-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system's temporary directory is tidied anyway
	reader, library := filepath.Join(dir, "picket-gpu"), filepath.Join(dir, "libnvidia-ml.so")
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", reader, "picket/cmd/picket-gpu"},
		{"cc", "-shared", "-fPIC", "-O1", "-o", library, "sensor/gpu/sim/nvml.c"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	if err := os.WriteFile(library+".txt", script(), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(reader, "-library", library, "-every", every.String())
	cmd.Env = []string{"GOMAXPROCS=1"} // as the agent starts it
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for range 3 { // start-up is not rest
		lines.Scan()
	}
	before, looks := cpu(cmd.Process.Pid), 0
	for end := time.Now().Add(long); time.Now().Before(end) && lines.Scan(); looks++ {
	}
	spent := cpu(cmd.Process.Pid) - before
	if looks == 0 {
		return fmt.Errorf("it did not look: %w", lines.Err())
	}
	fmt.Printf("%d looks, %.3f ms of CPU each (limit 2 ms), %s resident\n", looks, spent.Seconds()*1000/float64(looks), resident(cmd.Process.Pid))
	return nil
}

func script() []byte {
	var b bytes.Buffer
	b.WriteString("driver 570.1\n")
	for g := range 8 {
		fmt.Fprintf(&b, "gpu uuid=GPU-%d name=Sim_80GB pci=0000:3%[1]d:00.0 util=97 used=5000 total=81920 power=600000 limit=700000 sm=1980 mem=2619 temp=70 ecc=0 retired=0 pcie=1000 mig=0\n", g)
		for p := range 4 {
			fmt.Fprintf(&b, "proc gpu=%d pid=%d used=1000 util=24\n", g, 1000+10*g+p)
		}
	}
	return b.Bytes()
}

// cpu adds up what the threads of a process have run.
func cpu(pid int) (sum time.Duration) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is right
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil {
			n, _ := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64) // the kernel writes a number
			sum += time.Duration(n)
		}
	}
	return sum
}

func resident(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: nothing is said
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
