// Ingest measures how many events a second reach the store from an agent's stream, and that none is lost.
//
//	go build -o bin/ingest ./bench/ingest && bin/ingest -picket bin/picket
//
// A second agent, of a host named bench, publishes -n records as fast as the server acknowledges
// them. The clock runs from the first one until all can be queried.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"picket/api/client"
	"picket/bench/rig"
	"picket/event"
	"picket/stream"
)

const (
	host   = "bench"
	ahead  = 4 << 20 // bytes on their way: less than the agent's queue, so that it drops nothing
	atOnce = 100     // records handed to the agent together
)

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	n := flag.Int("n", 600_000, "events")
	wait := flag.Duration("wait", 65*time.Second, "pause before: in its first minute the server looks each row up for repeats")
	flag.Parse()
	if err := run(*picket, *n, *wait); err != nil {
		log.Fatal("ingest: ", err)
	}
}

func run(picket string, n int, wait time.Duration) (err error) {
	p, err := rig.Start(picket, "")
	if err != nil {
		return err
	}
	defer func() {
		if e := p.Stop(); err == nil {
			err = e
		}
	}()
	pids, err := p.PIDs()
	if err != nil {
		return err
	}
	c, err := p.Client()
	if err != nil {
		return err
	}
	a, err := join(picket, p)
	if err != nil {
		return err
	}
	defer a.Close() //nolint:errcheck // all was acknowledged
	if err := rig.Until(10*time.Second, "connecting", func() (bool, error) { return a.Connected(), nil }); err != nil {
		return err
	}
	time.Sleep(wait)
	before, err := rig.CPUs(pids)
	if err != nil {
		return err
	}
	began := time.Now()
	publish(a, n)
	if err := rig.Until(5*time.Minute, "acknowledgements", func() (bool, error) {
		e, _ := a.Pending()
		return e == 0, nil
	}); err != nil {
		return err
	}
	acked := time.Since(began)
	stored := 0
	err = rig.Until(time.Minute, "all events in the store", func() (_ bool, err error) {
		stored, err = count(c, "count()")
		return stored >= n, err
	})
	took := time.Since(began)
	distinct, err2 := count(c, "count_uniq(event.id)")
	fmt.Printf("%.0f events/s (limit 20000): %d in %.1f s, acknowledged after %.1f s; %d stored, %d distinct\n",
		float64(n)/took.Seconds(), n, took.Seconds(), acked.Seconds(), stored, distinct)
	if err := errors.Join(err, err2, costs(pids, before)); err != nil {
		return err
	}
	if stored != n || distinct != n {
		return fmt.Errorf("want exactly %d events in the store", n)
	}
	return nil
}

// join enrols the second agent, as an operator does.
func join(picket string, p *rig.Picket) (*stream.Agent, error) {
	text, err := exec.Command(picket, "--config", filepath.Join(p.Dir, "picket.yaml"), "server", "enrol", host).Output()
	if err != nil {
		return nil, fmt.Errorf("enrolling: %w", err)
	}
	b, err := stream.ParseBundle(text)
	if err != nil {
		return nil, err
	}
	return stream.NewAgent(b, stream.AgentOptions{Dir: filepath.Join(p.Dir, "spool")})
}

// publish hands n events to the agent, never more ahead than it can keep.
func publish(a *stream.Agent, n int) {
	began, lines := time.Now(), []byte(nil)
	for i := range n {
		lines = append(record(i, began).AppendRecord(lines), '\n')
		if (i+1)%atOnce != 0 && i+1 != n {
			continue
		}
		a.PublishEvents(lines, (i%atOnce)+1)
		lines = lines[:0]
		for e, _ := a.Pending(); e > ahead; e, _ = a.Pending() {
			time.Sleep(time.Millisecond)
		}
	}
}

var programs = []string{"python3", "bash", "curl", "vllm", "nvidia-smi", "sh", "node", "git", "tar", "sshd"}

// record makes the event number i: starts, ends and connects of 5,000 processes in 40 containers.
func record(i int, began time.Time) *event.Event {
	name, pid := programs[i%len(programs)], uint32(1000+i%5000)
	top := &event.Process{UID: "top", PID: 1, Comm: "containerd-shim", Exe: "/usr/bin/containerd-shim"}
	p := &event.Process{
		UID: event.HashID(host, strconv.Itoa(i/3)), PID: pid, TID: pid, PPID: 1, StartBoot: uint64(i/3+1) * 1000, Start: began,
		Comm: name, Exe: "/usr/bin/" + name, Invoked: name, CWD: "/srv/app", User: "app", Cred: event.Cred{UID: 1000, GID: 1000, EUID: 1000, EGID: 1000},
		Args: []string{name, "--job", strconv.Itoa(i)}, Cmdline: name + " --job " + strconv.Itoa(i), CgroupID: uint64(i % 40), Parent: top,
		Container: &event.Container{ID: event.HashID("container", strconv.Itoa(i%40)), Runtime: "containerd"},
	}
	p.Seal()
	e := &event.Event{Time: began.Add(time.Duration(i) * time.Microsecond), Host: host, Process: p}
	switch i % 3 {
	case 0:
		e.Kind = event.ProcessStart
	case 1:
		e.Kind = event.NetConnect
		e.Net = event.Net{
			Local:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 40)}), uint16(30000+i%20000)),
			Remote:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 443),
			Protocol: "tcp", Initiated: true,
		}
	default:
		e.Kind = event.ProcessExit
	}
	return e
}

// count asks the store for one number about the events of the second agent.
func count(c *client.Client, what string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := c.Events(ctx, client.EventFilter{Query: "host:" + host + " | stats " + what + " n", Start: "1h"})
	if err != nil || len(list.Items) == 0 {
		return 0, err
	}
	var row struct {
		N string `json:"n"`
	}
	if err := json.Unmarshal(list.Items[0], &row); err != nil {
		return 0, err
	}
	return strconv.Atoi(row.N)
}

// costs prints what each program used.
func costs(pids map[string]int, before map[string]time.Duration) error {
	after, err := rig.CPUs(pids)
	if err != nil {
		return err
	}
	for _, role := range []string{"agent", "server", "store"} {
		now, peak, err := rig.Memory(pids[role])
		if err != nil {
			return err
		}
		fmt.Printf("%-7s %6.2f s CPU, %4d MB, peak %4d MB\n", role, (after[role] - before[role]).Seconds(), now>>20, peak>>20)
	}
	return nil
}
