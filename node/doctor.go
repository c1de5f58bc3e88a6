package node

import (
	"fmt"
	"os"
	"os/exec"
	"slices"

	"picket/detect"
	"picket/policy"
	"picket/sensor/enforce"
	"picket/sensor/kernel"
)

// Check is one line of picket doctor.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Fatal  bool   `json:"fatal"` // picket run cannot work without it
	Detail string `json:"detail"`
	// Costs are what the programs behind it take on this host, where they ran when they were tried.
	Costs []kernel.Cost `json:"costs,omitempty"`
}

// Doctor checks the host: privilege, data directory, ports, and each thing a sensor wants of the
// kernel, and what that costs: each program is attached for a moment. It changes nothing.
func Doctor(cfg *Config) []Check {
	var out []Check
	add := func(name string, err error, fatal bool, fine string) {
		c := Check{Name: name, OK: err == nil, Detail: fine}
		if err != nil {
			c.Fatal, c.Detail = fatal, err.Error()
		}
		out = append(out, c)
	}
	var err error
	if os.Geteuid() != 0 {
		err = fmt.Errorf("not root: the agent cannot load eBPF programs; use sudo")
	}
	add("privilege", err, true, "root")
	add("data", dataDir(cfg.Data), true, cfg.Data+" can be written")
	if s, err := ReadStatus(cfg); err == nil && alive(s.PID) {
		add("picket", nil, false, fmt.Sprintf("runs (pid %d): its ports are in use, as they should be", s.PID))
	} else {
		add("api.listen", portFree("api.listen", cfg.API.Listen), true, cfg.API.Listen+" is free")
		add("stream.listen", portFree("stream.listen", cfg.Stream.Listen), true, cfg.Stream.Listen+" is free")
	}
	costs, err := kernel.Measure()
	of := func(feature string) []kernel.Cost {
		return slices.DeleteFunc(slices.Clone(costs), func(m kernel.Cost) bool { return m.Feature != feature })
	}
	if err == nil {
		out = append(out, Check{Name: kernel.SystemCalls, OK: true, Detail: "the exit of each system call of the host, asked for or not", Costs: of(kernel.SystemCalls)})
	} else if os.Geteuid() == 0 {
		add("cost", err, false, "")
	}
	for _, c := range kernel.Probe() {
		k := Check{Name: c.Name, OK: c.OK, Detail: c.Detail}
		k.Costs = of(c.Name)
		k.Fatal = !c.OK && (c.Name == "btf" || c.Name == "exec")
		out = append(out, k)
	}
	for _, dir := range kernel.Quiet() {
		out = append(out, Check{Name: "sensor-left", Detail: "an agent ended and did not come back: its programs are in the kernel still, quiet, and cost each system call. Start it again, or take them out: rm -r " + dir})
	}
	for _, c := range enforce.Probe() {
		out = append(out, Check{Name: c.Name, OK: c.OK, Detail: c.Detail})
	}
	out = append(out, gpuChecks(cfg)...)
	out = append(out, ingestChecks(cfg)...)
	out = append(out, probeChecks(cfg)...)
	out = append(out, ruleChecks(cfg)...)
	out = append(out, policyCheck(cfg))
	_, err = exec.LookPath("runc")
	if err != nil {
		err = fmt.Errorf("runc is not installed: picket lab cannot start its container; apt install runc busybox-static")
	}
	add("lab", err, false, "runc is there: picket lab can start its container")
	return out
}

// ruleChecks says what becomes of the rules, and where they make the sensor look.
func ruleChecks(cfg *Config) []Check {
	read := readRules(cfg)
	rules := Check{Name: "rules", OK: read.err == nil, Detail: detect.OverviewOf(read.threats, read.err).String()}
	if !rules.OK {
		rules.Detail += "; picket rule list names them"
	}
	places := Check{Name: "places"}
	e, err := detect.New(detect.Options{Threats: read.threats})
	if err != nil {
		places.Detail = err.Error()
		return []Check{rules, places}
	}
	places.OK, places.Detail = true, e.Places().String()
	return []Check{rules, places}
}

// policyCheck says whether the policies are in order.
func policyCheck(cfg *Config) Check {
	list, err := policy.Load(cfg.Policy.Files...)
	enforced := 0
	for _, p := range list {
		if p.Mode == policy.Enforce {
			enforced++
		}
	}
	c := Check{Name: "policies", OK: err == nil, Detail: fmt.Sprintf("%d, of which %d are enforced", len(list), enforced)}
	if !c.OK {
		c.Detail += fmt.Sprintf("; %d mistakes, and no policy is taken over: picket policy check names them", len(Unjoin(err)))
	}
	return c
}

func dataDir(dir string) error {
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil // picket run makes it
	}
	return checkWritable(dir)
}

func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return pid > 0 && err == nil
}
