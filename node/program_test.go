package node_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picket/api/client"
	"picket/event"
	"picket/inventory"
	"picket/node"
	"picket/sensor/kernel"
)

var built string // the directory of the program that build made

// The tests of these files drive the real program. PICKET_BIN names one that is built already.
var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("PICKET_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	dir, err := os.MkdirTemp("", "picket-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	bin := filepath.Join(dir, "picket")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "picket/cmd/picket")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, os.Chmod(dir, 0o755) // for those tests that start it without privilege
})

func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"scan", "--worker"}) { // of a scanner under test
		if err := inventory.Work(os.NewFile(3, "parent"), os.Stdout, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // the system's temporary directory is tidied anyway
	}
	os.Exit(code)
}

// needRoot skips a test that needs the kernel's eyes.
func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: it starts the whole program")
	}
	if os.Geteuid() == 0 {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "root") {
		t.Fatal("needs root")
	}
	t.Skip("needs root: it starts picket run")
}

func binary(t *testing.T) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// openDir makes a directory that every user can pass through, as server and store must.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "picket-test-") //nolint:usetesting // t.TempDir lies below a directory that is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// program is a running picket run with its own data, ports, threats and model directory.
type program struct {
	t       *testing.T
	bin     string
	dir     string
	cfg     *node.Config
	client  *client.Client
	cmd     *exec.Cmd
	ended   chan error
	logFile string
}

// mark is in the commands that the tests run, and in no one else's on this host.
var mark = fmt.Sprintf("canary-%d-", os.Getpid())

// canaryRule finds the commands that the tests run.
const canaryRule = `title: Canary
id: 7f0c2b9e-53a1-4c61-9d1e-2a1f4c0e9b77
name: canary
status: test
description: A command that a test runs.
author: Picket
date: 2026-11-24
logsource:
    product: linux
    category: process_creation
detection:
    selection:
        CommandLine|contains: MARK
    condition: selection
level: medium
`

// newProgram lays out a program's directory, without starting it.
func newProgram(t *testing.T) *program {
	t.Helper()
	needRoot(t)
	p := &program{t: t, bin: binary(t), dir: openDir(t)}
	p.logFile = filepath.Join(p.dir, "log")
	write(t, filepath.Join(p.dir, "threats/canary/README.md"), "# Canary\n\nCommands that a test runs.\n")
	write(t, filepath.Join(p.dir, "threats/canary/canary.yml"), strings.ReplaceAll(canaryRule, "MARK", mark))
	write(t, filepath.Join(p.dir, "models/m/config.json"), "{}")
	p.configure(freePort(t), freePort(t))
	return p
}

func (p *program) configFile() string { return filepath.Join(p.dir, "picket.yaml") }

func (p *program) configure(api, stream string) {
	p.t.Helper()
	write(p.t, p.configFile(), fmt.Sprintf("data: %[1]s/data\napi: {listen: %[2]q}\nstream: {listen: %[3]q}\ndetect: {threats: [%[1]s/threats], noisy: 1000000}\nworkload: {models: [%[1]s/models]}\n", p.dir, api, stream))
	cfg, err := node.Load(p.configFile())
	if err == nil {
		err = cfg.Complete()
	}
	if err == nil {
		p.cfg = cfg
		p.client, err = client.New("unix://"+node.SocketPath(cfg), "")
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// start starts picket run and waits until this host is watched.
func (p *program) start() {
	p.t.Helper()
	began := time.Now()
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd, ended := exec.Command(p.bin, "--config", p.configFile(), "run"), make(chan error, 1)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ended = cmd, ended
	go func() { ended <- cmd.Wait(); close(ended) }()
	p.t.Cleanup(func() {
		p.stop(syscall.SIGINT)
		if err := os.RemoveAll(p.pins()); err != nil { // of an end without Ctrl-C
			p.t.Error(err)
		}
	})
	p.until(2*time.Minute, "the agent watches", func() bool { return p.watchedSince(began) })
}

// pins is where the program's sensor is kept.
func (p *program) pins() string {
	p.t.Helper()
	dir, err := kernel.PinDir(p.cfg.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// stop ends the program and returns how, and how long that took.
func (p *program) stop(sig syscall.Signal) (error, time.Duration) { //nolint:staticcheck // how it ended is the result, no failure of stop
	began := time.Now()
	_ = p.cmd.Process.Signal(sig) // ended already is as good
	select {
	case err := <-p.ended:
		return err, time.Since(began)
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("it did not end within 30 s of %v", sig), time.Since(began)
	}
}

// watchedSince reports whether an agent that started after since has said so.
func (p *program) watchedSince(since time.Time) bool {
	b := p.heartbeat()
	return b != nil && b.Started.After(since)
}

func (p *program) heartbeat() *event.Heartbeat {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	agents, err := p.client.Fleet(ctx)
	if err != nil || len(agents) == 0 {
		return nil
	}
	return agents[0].Heartbeat
}

// until waits for cond.
func (p *program) until(limit time.Duration, what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %v: %s; the log ends:\n%s", limit, what, p.logTail(15))
		}
	}
}

func (p *program) log() []byte {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *program) logTail(n int) string {
	all := bytes.Split(p.log(), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-n):], []byte("\n")))
}

// pid returns the process id of a role, or 0 while it does not run.
func (p *program) pid(role string) int {
	s, err := node.ReadStatus(p.cfg)
	if err != nil {
		return 0
	}
	return s.Children[role].PID
}

// picket runs another command of the program and returns what it wrote.
func (p *program) picket(args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.bin, append([]string{"--config", p.configFile()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Errorf("picket %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

// findings lists all findings of a rule.
func (p *program) findings(rule string) (all []event.Finding, err error) {
	f := client.FindingFilter{Rule: rule, Limit: 500}
	for {
		page, err := p.client.Findings(p.t.Context(), f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if f.Before = page.Next; f.Before == "" {
			return all, nil
		}
	}
}

// running tells which processes hold the program's data directory in their arguments.
func (p *program) running() (pids []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is sound
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil && bytes.Contains(b, []byte(p.dir+"/")) {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

// textLines splits a text into its lines.
func textLines(b []byte) (out [][]byte) {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		out = append(out, bytes.Clone(s.Bytes()))
	}
	return out
}
