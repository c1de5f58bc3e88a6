// Package lab plays attacks against Picket, for real and without harm: it starts a container that
// poses as an inference server, in a network where every address is local, has it attacked the way
// an attack.yml says, verifies that the attack worked, and waits for Picket to say what it saw.
//
// It uses Picket as a person would: through the API. Nothing here reaches into a detection.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// Reader is what a lab asks of Picket: what it has found and joined since a time.
type Reader interface {
	Findings(ctx context.Context, since time.Time) ([]event.Finding, error)
	Incidents(ctx context.Context, since time.Time) ([]event.Incident, error)
}

// Policies are what the Picket of this host holds containers to.
type Policies interface {
	// Bind has the container of that name held to a policy, and waits until it is. What it returns ends that.
	Bind(ctx context.Context, container, policy string) (end func() error, err error)
}

// Profiles are what the Picket of this host has learned of workloads.
type Profiles interface {
	// Freeze has the profile of the workload in the container of that name judge from now on, by what it has
	// learned until now, and waits until it does. What it returns has the profile forgotten.
	Freeze(ctx context.Context, container string) (end func() error, err error)
}

// Options say how to play a scenario. Scenario is required; the zero value of the rest will do.
type Options struct {
	Scenario *Scenario
	Binary   string        // picket executable that plays server, internet and miner; "" is the running one
	Out      io.Writer     // progress for a person; nil for none
	Log      *slog.Logger  // nil for none
	Picket   Reader        // asked for findings and incidents; nil plays the attack without asking
	Traces   Traces        // where Picket takes traces: needed where the scenario sends any
	Policies Policies      // needed where the scenario's sandbox has a policy
	Profiles Profiles      // needed where it has a profile and Picket is asked
	Patience time.Duration // how long to wait for findings and incident; 0 is 30 s
	Seed     uint64        // same seed, same names and bytes; 0 picks one
	Keep     bool          // leave the container running until ctx ends
}

// Attack plays a scenario once, in a sandbox of its own that is gone when it returns, even when
// ctx ends early. The error says why the scenario could not be played; whether Picket saw what
// it must is in the report (see Report.Err).
func Attack(ctx context.Context, opts Options) (Report, error) {
	host, err := opts.complete()
	if err != nil {
		return Report{}, err
	}
	r := &run{Options: opts, facts: map[string]string{}}
	r.report = Report{
		Scenario: opts.Scenario.ID, Threat: opts.Scenario.threat, Title: opts.Scenario.Title,
		Seed: opts.Seed,
	}
	if err := watched(ctx, opts.Picket, opts.Patience); err != nil {
		return r.report, err
	}
	r.report.Started = time.Now().UTC()
	sweep(host.runc, opts.Log)
	began := time.Now()
	if r.box, err = start(ctx, &opts, host); err != nil {
		return r.report, err
	}
	r.report.Container = r.box.id
	r.say("sandbox", "%s: %s, with %s", r.box.id, strings.Join(r.box.pose.args, " "), modelDir, since(began))

	if err = r.bind(ctx); err == nil {
		err = r.freeze(ctx)
	}
	if err == nil {
		err = r.play(ctx)
	}
	if err == nil && opts.Keep {
		r.say("keep", "the container stays until Ctrl-C; look around with: runc --root %s exec -t %s sh", r.box.state(), r.box.id)
		<-ctx.Done()
	}
	err = errors.Join(err, r.box.stop())
	r.report.Leftovers = r.box.leftovers()
	r.report.Seconds = time.Since(began).Seconds()
	if err != nil {
		return r.report, err
	}
	r.verdict()
	return r.report, nil
}

// hostParts are the programs of the host that a sandbox is made of.
type hostParts struct{ runc, busybox string }

// complete sets defaults and checks that the host can run a sandbox.
func (o *Options) complete() (hostParts, error) {
	var host hostParts
	if o.Scenario == nil {
		return host, errors.New("no scenario to play")
	}
	if o.Scenario.Sandbox.Policy != "" && o.Policies == nil {
		return host, errors.New("this attack plays against a policy: it needs a Picket on this host that holds the container to it")
	}
	if o.Scenario.Sandbox.Profile != "" && o.Picket != nil && o.Profiles == nil {
		return host, errors.New("this attack plays against a profile: it needs a Picket on this host that learned it")
	}
	if o.Picket != nil && o.Traces.Address == "" && slices.Contains(o.Scenario.Needs.Features, "traces") {
		return host, errNoTraces
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	for o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	if os.Geteuid() != 0 {
		return host, errors.New("a lab starts a real container and needs root: run it with sudo")
	}
	var err error
	if host.runc, err = exec.LookPath("runc"); err != nil {
		return host, errors.New("runc is missing: install it (Debian, Ubuntu: apt-get install runc)")
	}
	if host.busybox, err = exec.LookPath("busybox"); err != nil {
		return host, errors.New("busybox is missing: install the static one (Debian, Ubuntu: apt-get install busybox-static)")
	}
	if ok, err := static(host.busybox); err != nil || !ok {
		return host, fmt.Errorf("%s needs libraries of the host and cannot run in the sandbox: apt-get install busybox-static replaces it", host.busybox)
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return host, fmt.Errorf("find the running executable: %w", err)
		}
	}
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return host, fmt.Errorf("find the executable: %w", err)
	}
	ok, err := static(o.Binary)
	if err != nil {
		return host, fmt.Errorf("read the executable %s: %w", o.Binary, err)
	}
	if !ok {
		return host, fmt.Errorf("%s needs libraries of the host and cannot run in the sandbox: build it with CGO_ENABLED=0 (make build does)", o.Binary)
	}
	return host, nil
}

// run is one scenario being played.
type run struct {
	Options
	box    *sandbox
	facts  map[string]string
	report Report
	asked  bool // Picket answered at least once
}

// say prints one line of progress: a word, what of it, and how long it took where that is given last.
func (r *run) say(word, format string, args ...any) {
	took := ""
	if n := len(args); n > 0 {
		if d, ok := args[n-1].(elapsed); ok {
			took, args = fmt.Sprintf("%6.2f s", time.Duration(d).Seconds()), args[:n-1]
		}
	}
	line := fmt.Sprintf("%-9s %-70s %s", word, printable(fmt.Sprintf(format, args...)), took)
	_, _ = fmt.Fprintln(r.Out, strings.TrimRight(line, " ")) // progress is not worth failing for
}

// elapsed is a duration that say sets in its own column.
type elapsed time.Duration

func since(t time.Time) elapsed { return elapsed(time.Since(t)) }

// printable keeps what an attacked container printed from steering the terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}

// bind has Picket hold the container to the scenario's policy until the sandbox is stopped.
func (r *run) bind(ctx context.Context) error {
	if r.Scenario.Sandbox.Policy == "" {
		return nil
	}
	began := time.Now()
	end, err := r.Policies.Bind(ctx, r.box.id, expand(r.Scenario.Sandbox.Policy, map[string]string{
		"container": r.box.id, "tomorrow": began.AddDate(0, 0, 1).Format(time.DateOnly),
	}))
	if err != nil {
		return fmt.Errorf("hold the container to the policy: %w", err)
	}
	r.box.push("policy", end)
	r.say("policy", "Picket holds the container to the attack's policy", since(began))
	return nil
}

// freeze has the server judged by what it did until now, until the sandbox is stopped.
func (r *run) freeze(ctx context.Context) error {
	if r.Scenario.Sandbox.Profile == "" || r.Profiles == nil {
		return nil
	}
	began := time.Now()
	end, err := r.Profiles.Freeze(ctx, r.box.id)
	if err != nil {
		return fmt.Errorf("freeze the profile of the server: %w", err)
	}
	r.box.push("profile", end)
	r.say("profile", "Picket judges the server by what it did until now", since(began))
	return nil
}

// play runs the steps, verifies the effects and waits for what Picket says.
func (r *run) play(ctx context.Context) error {
	seeds := rand.New(rand.NewPCG(r.Seed, 0))
	for _, name := range seedNames { // every one, so that listing another does not change the rest
		if v := seedValue(name, seeds); slices.Contains(r.Scenario.Seeded, name) {
			r.facts[name] = v
		}
	}
	r.facts["container"] = r.box.id
	if err := r.steps(ctx, r.Scenario.Steps); err != nil {
		return err
	}
	done := time.Now()
	if err := r.effects(ctx); err != nil {
		return err
	}
	if r.Picket != nil {
		if err := r.await(ctx, done); err != nil {
			return err
		}
	}
	return r.steps(ctx, r.Scenario.Cleanup)
}

// steps has the server run each command in turn.
func (r *run) steps(ctx context.Context, steps []Step) error {
	for i, st := range steps {
		limit, err := st.timeout()
		if err != nil {
			return fmt.Errorf("step %s: %w", st.ID, err)
		}
		began := time.Now()
		stepCtx, cancel := context.WithTimeout(ctx, limit)
		out, err := r.box.exec(stepCtx, expand(st.Run, r.facts))
		cancel()
		result := StepResult{
			ID: st.ID, Run: expand(st.Run, r.facts), Status: out.Status, Started: began.UTC(), Seconds: time.Since(began).Seconds(),
			Stdout: clip(out.Stdout), Stderr: clip(out.Stderr),
		}
		r.report.Steps = append(r.report.Steps, result)
		if err != nil {
			return fmt.Errorf("step %s: %w", st.ID, err)
		}
		r.say(fmt.Sprintf("step %d/%d", i+1, len(steps)), "%s", st.words(result.Run), since(began))
		if out.Status != 0 && !st.Fails {
			return fmt.Errorf("step %s ended with status %d: %s", st.ID, out.Status, strings.TrimSpace(clip(out.Stderr+out.Stdout)))
		}
		for name := range st.Facts {
			r.facts[name] = strings.TrimSpace(out.Stdout)
		}
	}
	return nil
}

// words is what a step is for, or else the command that it came to.
func (st Step) words(command string) string {
	if st.Title != "" {
		return st.ID + ": " + st.Title
	}
	text := st.ID + ": " + strings.Join(strings.Fields(command), " ")
	if len(text) > 70 {
		text = text[:67] + "..."
	}
	return text
}

func clip(s string) string {
	const most = 4096
	if len(s) > most {
		return s[:most] + " …cut"
	}
	return s
}
