package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"

	"picket/detect"
	"picket/detect/drift"
	"picket/detect/novel"
	"picket/event"
	"picket/ingest"
	"picket/inventory"
	"picket/respond/action"
	"picket/sensor/kernel"
	"picket/stream"
	"picket/workload"
)

const (
	heartbeatEvery = 10 * time.Second
	advanceEvery   = time.Second
	agentProcesses = 4 << 10 // remembered after their end; those that run come on top
	agentGC        = 20      // percent by which the heap grows before it is swept: the agent shares its host with your jobs
	trimEvery      = time.Minute
)

// agent is the agent role: sensor → workload → detect → stream.
type agent struct {
	cfg     *Config
	log     *slog.Logger
	reg     *prometheus.Registry
	started time.Time
	boot    string

	sensor  *kernel.Sensor
	guard   guard
	final   func() bool // nobody comes after this agent
	unkept  error       // why the sensor ends with this process
	tracker *workload.Tracker
	engine  *detect.Engine
	stream  *stream.Agent

	models    *inventory.Scanner
	policies  *policies
	acts      *acts
	local     *local // nil: the agent does nothing by itself
	unarmed   error  // why it does not, though it should
	gpus      *gpus
	habits    habits
	asking    *asking
	requests  *ingest.Reader
	audits    *audits       // nil where no audit log is taken by webhook
	asker     *ingest.Asker // nil where services are not asked
	novel     *novel.Watch
	drift     *drift.Watch
	protected []string // model directories of policies that the sensor looks at
	probes    *probes
	recorder  *recorder
	turn      chan struct{} // whose holder alone touches workload, detect and recorder
	asks      asks
	lines     []byte // record being written, reused
	rules     ruleState
	asked     kernel.Demand // of the sensor
	alive     *os.File      // tells the next agent until when this one saw all
	last      time.Time     // of the newest event since the last tick
	mute      bool          // the alive file could not be written, and that was said
	saved     time.Time     // when half-seen sequences were last kept
	trimmed   time.Time     // when pages of the program were last given back
}

// RunAgent runs the agent role until ctx ends.
func RunAgent(ctx context.Context, cfg *Config, log *slog.Logger, reload <-chan os.Signal) error {
	if os.Geteuid() != 0 {
		return &Error{Err: errors.New("the agent needs root: it loads eBPF programs"), Hint: "run it with sudo", Code: ExitHost}
	}
	debug.SetGCPercent(agentGC)
	a := &agent{final: func() bool { return interrupted(ctx) }, cfg: cfg, log: log, reg: prometheus.NewRegistry(), started: time.Now(), boot: bootID(), recorder: newRecorder(), turn: make(chan struct{}, 1)}
	undo := &cleanup{log: log}
	defer undo.run()
	if err := a.open(undo); err != nil {
		return err
	}
	return a.run(ctx, reload)
}

// open builds the stages from the end of the way to its start, so that each finds the next ready.
func (a *agent) open(undo *cleanup) error {
	if err := makeDir(a.cfg.dir("agent"), 0); err != nil {
		return err
	}
	release, err := lock(a.cfg.dir("agent"), "agent")
	if err != nil {
		return err
	}
	undo.add("lock", func() error { release(); return nil })

	bundle := a.cfg.Stream.Bundle
	if bundle == "" {
		bundle = filepath.Join(a.cfg.dir("agent"), "bundle.json")
	}
	b, err := stream.ReadBundle(bundle)
	if err != nil {
		return &Error{Err: err, Hint: "make one on the server with: picket server enrol " + a.cfg.Host, Code: ExitConfig}
	}
	a.stream, err = stream.NewAgent(b, stream.AgentOptions{
		Log: a.log.With("component", "stream"), Registerer: a.reg,
		Dir: filepath.Join(a.cfg.dir("agent"), "spool"), SpoolBytes: int64(a.cfg.Stream.Spool), Held: func(n int) { a.kept(-n) }, Kept: a.kept,
	})
	if err != nil {
		return err
	}
	undo.add("stream", a.stream.Close)

	if err := a.openDetect(); err != nil {
		return err
	}
	a.tracker = workload.New(workload.Options{
		Log: a.log.With("component", "workload"), Registerer: a.reg, Host: a.cfg.Host, BootID: a.boot,
		Config: workload.Config{Models: a.cfg.Workload.Models, Datasets: a.cfg.Workload.Datasets},
		Watch:  a.watch, Unwatch: a.unwatch, Processes: agentProcesses, Redact: kernel.Redact,
	})
	if err := a.openModels(); err != nil {
		return err
	}
	a.policies = newPolicies(a.cfg, a.log.With("component", "policy"))
	a.policies.scanner = a.models
	undo.add("policies", a.policies.close)
	a.policies.reload(context.Background())
	a.gpus = newGPUs(a.cfg, a.log.With("component", "gpu"), a.reg)
	a.acts = openActs(a.cfg, a.log.With("component", "action"), a.policies.needed, a.recorded, a.tellAct, action.NewResetGPU(gpuHost{a.gpus}))
	undo.add("acts", a.acts.close)
	a.openLocal(undo)
	a.openHabits()
	a.openNovel()
	a.asking = newAsking(a.log.With("component", "ingest"), a.reg)
	a.openProbes()
	undo.add("probes", a.probes.close)
	a.asked = a.demand()
	if err := a.openSensor(); err != nil {
		return &Error{Err: err, Code: ExitHost}
	}
	undo.add("sensor", a.endSensor)
	undo.add("alive file", func() error {
		if a.alive == nil {
			return nil
		}
		return a.alive.Close()
	})
	debug.FreeOSMemory()
	trim()
	for _, dir := range append(a.cfg.Workload.Models, a.cfg.Workload.Datasets...) {
		a.watch(dir)
	}
	a.witnessLasting()
	return nil
}

func (a *agent) watch(dir string) {
	if a.sensor == nil {
		return // configured directories: watched once the sensor is there
	}
	if err := a.sensor.WatchDir(dir); err != nil {
		a.log.Warn("reads of a directory cannot be watched", "dir", dir, "error", err)
	}
}

func (a *agent) unwatch(dir string) {
	if err := a.sensor.UnwatchDir(dir); err != nil {
		a.log.Debug("a directory was not watched any more", "dir", dir, "error", err)
	}
}

// demand says which kinds of event are needed: those that rules read, and those that travel, but for
// hellos of TLS, which travel where a rule is about them.
func (a *agent) demand() kernel.Demand {
	kinds := a.engine.Demand()
	once := !kinds[event.FileMap] // who is not a rule asks for libraries by workload, or by file
	for k := range event.Kinds {
		if travels(&event.Event{Kind: k}) && k != event.NetTLS || k == event.ProcessFork || k == event.FileRead {
			kinds[k] = true
		}
	}
	a.habits.wants(kinds)
	a.probes.kinds(kinds)
	models := a.policies.models()
	if len(models) > 0 {
		for _, k := range []event.Kind{event.FileCreate, event.FileWrite, event.FileRename, event.FileDelete, event.FileChmod} {
			kinds[k] = true
		}
	}
	d := kernel.Demand{Kinds: kinds, Paths: a.engine.Places().Paths, Sockets: a.engine.Sockets(), MapOnce: once}
	if len(d.Paths) > 0 { // what becomes of models travels, whatever the rules are
		d.Paths = slices.Concat(d.Paths, models, a.cfg.Workload.Models, a.cfg.Workload.Datasets)
	}
	return d
}

// travels reports whether an event goes to the store for its own sake. The others stay in the
// flight recorder and go when a finding needs them.
func travels(e *event.Event) bool {
	switch e.Kind {
	case event.ProcessStart, event.ProcessSeen, event.ProcessExit, event.NetConnect, event.NetListen, event.NetAccept, event.NetSend, event.NetDNS, event.NetTLS,
		event.SensorHealth, event.PolicyViolation, event.GPUSample, event.GPUFault, event.ModelSeen,
		event.ServiceRequest, event.ServiceMetrics, event.PrincipalHour, event.ProfileDeviation, event.CUDACall,
		event.KubernetesAudit, event.ModelDrift:
		return true
	case event.PythonAudit: // each program imports and runs its modules
		return e.Python == nil || e.Python.Event != "import" && e.Python.Event != "exec"
	}
	return e.File.Model != nil && e.Kind != event.FileIO // which comes every two seconds while a model is read
}

func (a *agent) run(ctx context.Context, reload <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	acted, err := a.startActs(ctx)
	if err != nil {
		cancel()
		return err
	}
	defer func() { cancel(); <-acted }()
	events := a.turn // one goroutine owns workload and detect: events and ticks reach them in turn
	received, err := a.startReceivers(ctx, events)
	if err != nil {
		cancel()
		return err
	}
	a.declareGap(time.Now()) // the sensor is attached: what happens from here on is seen
	events <- struct{}{}
	sensed := make(chan error, 1)
	go func() {
		sensed <- a.sensor.Run(ctx, func(e *event.Event) {
			<-events
			a.last = e.Time
			a.handle(e)
			events <- struct{}{}
		})
	}()
	parts := []<-chan struct{}{ // each closes when it has ended
		received, a.startPolicies(ctx, events), a.startModels(ctx), a.startInventory(ctx),
		a.startGPUs(ctx, events), a.startIngest(ctx, events), a.startProbes(ctx, events),
	}
	beat, tick := time.NewTicker(heartbeatEvery), time.NewTicker(advanceEvery)
	defer beat.Stop()
	defer tick.Stop()
	ask, done := make(chan struct{}, 1), make(chan reloaded)
	changed := watchRules(ctx, a.cfg, a.log)
	go a.reloading(ctx, a.rules.mistakes, ask, done)
	a.guard.limits = limits()
	a.heartbeat()
	defer a.keepProfiles()
	defer a.keepNovel()
	defer a.keepSequences() // all that hands events on has ended then
	defer func() {
		cancel()
		for _, ended := range parts {
			<-ended
		}
	}()
	for {
		select {
		case err := <-sensed:
			if err == nil {
				return nil
			}
			return fmt.Errorf("sensor: %w", err)
		case <-reload:
			signalOnce(ask)
		case <-changed:
			a.askIfChanged(ask)
		case r := <-done:
			a.finishReload(r)
		case now := <-tick.C:
			<-events
			a.advance(now)
			events <- struct{}{}
			a.followPolicies()
			a.followHabits()
		case <-beat.C:
			if changed == nil {
				a.askIfChanged(ask)
			}
			a.beat(events)
		case <-ctx.Done():
			return <-sensed
		}
	}
}

// beat looks after the agent itself, and tells the server that it lives.
func (a *agent) beat(events chan struct{}) {
	found, is := a.sensor.Check(), limits() // which takes a while, beside events
	<-events
	a.watchSelf(time.Now(), found, is)
	events <- struct{}{}
	a.heartbeat()
	if now := time.Now(); now.Sub(a.trimmed) > trimEvery {
		a.trimmed = now
		trim()
	}
}

// handle takes one event the whole way: whose is it, what does it mean, who must hear of it.
func (a *agent) handle(e *event.Event) {
	a.tracker.Stamp(e)
	a.probes.meet(e)
	a.guard.countBusy(e)
	a.sight(e)
	a.judge(e)
}

// judge takes an event on whose process is known.
func (a *agent) judge(e *event.Event) {
	if e.Kind != event.ProcessExit && e.Kind != event.ProcessFork {
		a.policies.meet(e.Process)
	}
	if v := a.policies.breach(e); v != nil {
		defer a.judge(v)
	}
	a.gpus.watch.See(e)
	a.novel.See(e)
	for _, d := range a.habits.see(e) {
		defer a.judge(d)
	}
	for _, d := range a.drift.See(e) {
		d.Host = a.cfg.Host
		defer a.judge(d)
	}
	for _, hour := range a.asking.watch.See(e) {
		hour.Host = a.cfg.Host
		defer a.judge(hour)
	}
	findings := a.engine.Process(e)
	for i := range findings {
		a.publish(&findings[i])
	}
	switch {
	case len(findings) > 0:
		a.recorder.take(e, a.send)
		e.Message = remark(findings)
		a.send(e)
		a.recorder.sent.add(e)
	case !a.asks.first(e): // told of a moment ago
	case travels(e):
		a.send(e)
		a.recorder.sent.add(e)
	case e.Kind == event.FileMap && e.Process != nil && e.Process.Workload == nil:
		// Each program that starts maps a dozen libraries: they would push everything else out.
	case e.Kind.Class() == "file":
		a.recorder.kept.add(e)
	}
}

// remark names the findings that an event led to, so that a hunt for their words finds the event.
func remark(findings []event.Finding) string {
	var titles []string
	for _, f := range findings {
		titles = append(titles, f.Rule.Title)
	}
	return "finding: " + strings.ToLower(strings.Join(titles, "; ")) // a query's words mind their case
}

func (a *agent) publish(f *event.Finding) {
	if err := a.stream.PublishFinding(*f); err != nil {
		a.log.Error("a finding could not be kept", "rule", f.Rule.Name, "finding", f.ID, "error", err)
	}
	if a.local != nil {
		a.local.see(*f)
	}
}

func (a *agent) send(e *event.Event) {
	a.lines = append(e.AppendRecord(a.lines[:0]), '\n')
	a.stream.PublishEvents(a.lines, 1)
}

// advance tells the stages that time went on where nothing happened.
func (a *agent) advance(now time.Time) {
	a.noteTick(now)
	for _, f := range a.engine.Advance(now) {
		a.publish(&f)
	}
	a.tellNotices(now)
	a.tracker.Advance(now)
	a.gpus.watch.Advance(now)
	a.advanceHabits(now)
	for _, e := range a.asking.watch.Advance(now) {
		e.Host = a.cfg.Host
		a.handle(e)
	}
	if err := a.sensor.Look(); err != nil {
		a.log.Warn("the sensor cannot be told that the agent listens", "error", err)
	}
	a.tellLost(now)
	a.saveSequences(now)
	a.saveAlive(now)
}

func (a *agent) heartbeat() {
	var metrics bytes.Buffer
	families, err := a.reg.Gather()
	if err != nil {
		a.log.Warn("metrics", "error", err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&metrics, f); err != nil {
			a.log.Warn("metrics", "family", f.GetName(), "error", err)
		}
	}
	a.stream.Heartbeat(event.Heartbeat{
		Host: a.cfg.Host, Time: time.Now(), Version: Version, Kernel: kernelRelease(), Boot: a.boot, Started: a.started,
		Capabilities: a.capabilities(), GPUs: a.gpus.states(), Rules: a.rules.overview.Loaded, RuleErrors: a.rules.errors, RulesWrong: a.rules.overview.Wrong, RulesResting: a.rules.overview.Inactive,
		Workloads: a.tracker.Workloads(), Models: a.tracker.Models(), Metrics: metrics.String(), Runs: a.local.waiting(),
	})
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Unjoin splits a joined error into its parts.
func Unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
