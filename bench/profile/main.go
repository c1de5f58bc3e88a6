// Profile measures what learning costs: the memory of 200 profiles that are full, with their statistics, and
// the time of an event, of one that is about no workload, and of a minute's end.
//
//	go run ./bench/profile
package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"
	"runtime"
	"time"

	"picket/detect/outflow"
	"picket/detect/profile"
	"picket/event"
)

func main() {
	log.SetFlags(0)
	workloads := flag.Int("workloads", 200, "how many")
	events := flag.Int("events", 2_000_000, "events to time")
	flag.Parse()
	before := heap()
	w := profile.New(profile.Options{Host: "h"})
	w.Mapped = true
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var roots []*event.Process
	for n := range *workloads {
		roots = append(roots, fill(w, n, now))
	}
	for range 3 * 60 { // the rings of the statistics
		now = now.Add(time.Minute)
		for _, p := range roots {
			w.Sent(p, peer, 1000)
		}
		w.Advance(now)
	}
	fmt.Printf("%d profiles, full: %.1f MB\n", len(w.List()), float64(heap()-before)/1e6)
	b, err := w.Snapshot()
	if err != nil {
		log.Fatal("profile: ", err)
	}
	fmt.Printf("written down: %.1f MB\n", float64(len(b))/1e6)
	none := &event.Event{Kind: event.FileRead, Time: now, Process: &event.Process{PID: 1}}
	start := &event.Event{Kind: event.ProcessStart, Time: now, Process: &event.Process{PID: 5, Exe: "/usr/bin/tool-7", Parent: roots[0], Workload: roots[0].Workload}}
	connect := &event.Event{Kind: event.NetConnect, Time: now, Process: roots[0], Net: event.Net{Remote: peer}}
	for _, one := range []struct {
		name string
		e    *event.Event
	}{{"an event of no workload", none}, {"a program that is usual", start}, {"a connection that is usual", connect}} {
		fmt.Printf("%s: %d ns\n", one.name, each(*events, func() { w.See(one.e) }))
	}
	fmt.Printf("the end of a minute: %.2f ms\n", float64(each(10, func() { now = now.Add(time.Minute); w.Advance(now) }))/1e6)
	volume(*events, now)
	runtime.KeepAlive(w)
}

var peer = netip.MustParseAddrPort("198.51.100.7:443")

// fill makes a workload that has done as many different things as a profile holds.
func fill(w *profile.Watch, n int, now time.Time) *event.Process {
	pid := uint32(n*1000 + 10)
	work := &event.Workload{ID: fmt.Sprint("w", n), Kind: event.Inference, Engine: "vllm", Name: fmt.Sprint("model-", n), Root: event.Key{PID: pid, Start: 1}}
	root := &event.Process{PID: pid, StartBoot: 1, Exe: "/usr/bin/python3.12", Workload: work}
	w.See(&event.Event{Kind: event.ProcessStart, Time: now, Process: root})
	for i := range 300 {
		for _, e := range []*event.Event{
			{Kind: event.ProcessStart, Process: &event.Process{PID: pid + 1, Exe: fmt.Sprint("/usr/bin/tool-", i), Parent: root, Workload: work}},
			{Kind: event.NetConnect, Process: root, Net: event.Net{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 443)}},
			{Kind: event.FileRead, Process: root, File: event.File{Model: &event.Model{Path: fmt.Sprint("/models/m", i)}}},
			{Kind: event.FileMap, Process: root, File: event.File{Path: fmt.Sprint("/opt/venv/lib/python3.12/site-packages/torch/lib/lib", i, ".so"), FileChange: event.FileChange{Access: event.AccessExec}}},
			{Kind: event.DeviceOpen, Process: root, File: event.File{Path: fmt.Sprint("/dev/nvidia", i)}},
			{Kind: event.GPUSample, Process: root, GPU: &event.GPUReport{GPU: event.GPU{Name: fmt.Sprint("GPU ", i)}, Use: &event.GPUUse{Util: event.Measured(50), Memory: event.Measured(1 << 30)}}},
		} {
			e.Time = now
			w.See(e)
		}
	}
	return root
}

// volume fills what sets reads against what is sent, and times a look.
func volume(events int, now time.Time) {
	before := heap()
	w := outflow.New(outflow.Options{})
	model := &event.Model{Path: "/models/m"}
	var last *event.Event
	for n := range 512 {
		p := &event.Process{PID: uint32(n + 1), StartBoot: 1, UID: fmt.Sprint(n), Container: &event.Container{ID: fmt.Sprint("c", n)}}
		for i := range uint64(32) {
			last = &event.Event{Kind: event.FileIO, Time: now, Process: p, File: event.File{Path: "/models/m/x", Ino: i, Model: model, FileChange: event.FileChange{BytesRead: 1 << 20}}}
			w.See(last)
			w.Sent(now, p, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 443), 1000)
		}
	}
	fmt.Printf("volume, 512 containers with 32 files and peers each: %.1f MB\n", float64(heap()-before)/1e6)
	fmt.Printf("volume, bytes of a file: %d ns\n", each(events, func() { w.See(last) }))
	fmt.Printf("volume, bytes that were sent: %d ns\n", each(events, func() { w.Sent(now, last.Process, peer, 10) }))
	runtime.KeepAlive(w)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func each(n int, do func()) int64 {
	began := time.Now()
	for range n {
		do()
	}
	return time.Since(began).Nanoseconds() / int64(n)
}
