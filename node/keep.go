package node

import (
	"context"
	"slices"
	"syscall"

	"picket/event"
	"picket/sensor/kernel"
)

// interrupted reports whether it was Ctrl-C that ended ctx: then everything ends. Who manages
// services sends SIGTERM, and may start another agent in a moment.
func interrupted(ctx context.Context) bool {
	err := context.Cause(ctx)
	return err != nil && err.Error() == syscall.SIGINT.String()+" signal received"
}

// openSensor opens the sensor where it outlives this process, so that what happens while the agent
// is started anew is told of by the next. Where that cannot be it ends with the process, and the
// heartbeat says why.
func (a *agent) openSensor() error {
	o := kernel.Options{Log: a.log.With("component", "sensor"), Registerer: a.reg, Host: a.cfg.Host, Demand: a.asked}
	o.Pins, a.unkept = kernel.PinDir(a.cfg.Data)
	var err error
	if a.unkept == nil {
		if a.sensor, err = kernel.Open(o); err == nil {
			return nil
		}
		a.unkept, o.Pins = err, ""
	}
	if a.sensor, err = kernel.Open(o); err != nil {
		return err
	}
	a.log.Warn("the sensor ends with this agent: what happens while it is started anew will not be seen", "error", a.unkept)
	return nil
}

// endSensor takes the sensor out of the kernel where this is the end of all, and leaves it to the
// next agent otherwise. Where none comes the programs go quiet.
func (a *agent) endSensor() error {
	if a.final() {
		return a.sensor.Close()
	}
	return a.sensor.Leave()
}

// kept notes that n events that were sent are safe.
func (a *agent) kept(n int) {
	if a.sensor != nil {
		a.sensor.Hold(-n)
	}
}

// capabilities are those of the sensor, and whether it outlives the agent.
func (a *agent) capabilities() []event.Capability {
	row := event.Capability{Name: "restart", OK: true, Detail: "the sensor goes on while the agent is started anew"}
	if a.unkept != nil {
		row.OK, row.Detail = false, "what happens while the agent is started anew is not seen: "+a.unkept.Error()
	}
	own := []event.Capability{row, a.ingestCapability()}
	if a.audits != nil {
		own = append(own, a.audits.capability())
	}
	if len(a.cfg.Respond.Local.Rules) > 0 {
		own = append(own, a.localCapability())
	}
	return slices.Concat(a.sensor.Capabilities(), a.gpus.sensor.Capabilities(), a.probes.capabilities(), own)
}
