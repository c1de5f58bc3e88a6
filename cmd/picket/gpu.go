package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"picket/api"
	"picket/api/client"
	"picket/event"
)

type gpuCmd struct {
	outputFlag
	serverFlags
	Watch bool   `short:"w" help:"Show them again every few seconds, until Ctrl-C."`
	Host  string `help:"Only of this host."`
}

const gpuEvery = 5 * time.Second

func (c *gpuCmd) Run(a *app) error {
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	for {
		if err := c.show(a, cl); err != nil || !c.Watch {
			return err
		}
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-time.After(gpuEvery):
		}
	}
}

func (c *gpuCmd) show(a *app, cl *client.Client) error {
	all, err := cl.GPUs(a.ctx)
	if err != nil {
		return err
	}
	gpus := make([]api.HostGPU, 0, len(all))
	for _, g := range all {
		if c.Host == "" || c.Host == g.Host {
			gpus = append(gpus, g)
		}
	}
	if c.json() {
		return a.printJSON(gpus)
	}
	if _, tty := a.terminal(); tty && c.Watch {
		a.printf("\x1b[H\x1b[2J")
	}
	if len(gpus) == 0 {
		return c.explain(a, cl)
	}
	var rows [][]string
	for i := range gpus {
		rows = append(rows, gpuRows(&gpus[i])...)
	}
	a.table([]string{"HOST", "GPU", "UTIL", "MEMORY", "POWER", "TEMP", "WORKLOAD", "PROCESS", "MINING", "ID"}, rows)
	return nil
}

// gpuRows is a row for the GPU and one for each process on it.
func gpuRows(g *api.HostGPU) [][]string {
	host := g.Host
	if g.Status != api.AgentOK {
		host += " (" + string(g.Status) + ")"
	}
	memory := mebibytes(g.MemoryUsed)
	if g.MemoryTotal.Known {
		memory += " of " + mebibytes(g.MemoryTotal)
	}
	rows := [][]string{{host, fmt.Sprintf("%d %s", g.Index, g.Name), measured(g.Util, 1, "%"), memory, measured(g.Power, 1000, "W"), measured(g.Temperature, 1, "°C"), "", "", "", g.UUID}}
	for _, u := range g.Users {
		process := u.Process + "[" + strconv.FormatUint(uint64(u.PID), 10) + "]"
		if u.MIG != "" {
			process += " on " + u.MIG
		}
		rows = append(rows, []string{"", "", measured(u.Util, 1, "%"), mebibytes(u.Memory), "", "", cmp.Or(u.Workload, "-"), process, measured(u.Mining, 1, ""), ""})
	}
	return rows
}

func measured(m event.Measure, unit int64, name string) string {
	if !m.Known {
		return "?"
	}
	return strings.TrimSpace(strconv.FormatInt(m.N/unit, 10) + " " + name)
}

func mebibytes(m event.Measure) string { return measured(m, 1<<20, "MiB") }

// explain says why there is no GPU.
func (c *gpuCmd) explain(a *app, cl *client.Client) error {
	agents, err := cl.Fleet(a.ctx)
	if err != nil {
		return err
	}
	a.printf("No GPU is seen.\n")
	for _, agent := range agents {
		if agent.Heartbeat == nil || c.Host != "" && c.Host != agent.Host {
			continue
		}
		for _, k := range agent.Heartbeat.Capabilities {
			if k.Name == "gpu" || strings.HasPrefix(k.Name, "gpu-") && k.Name != "gpu-faults" {
				a.printf("%s: %s: %s\n", printable(agent.Host, false), k.Name, printable(k.Detail, false))
			}
		}
	}
	return nil
}
