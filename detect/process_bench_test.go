package detect

import (
	"net/netip"
	"testing"
	"time"

	"picket/bench/public"
	"picket/event"
	"picket/sigma"
)

// BenchmarkProcess is what the agent's rules and the public ones for Linux cost an event of ordinary
// work that none of them fires on.
func BenchmarkProcess(b *testing.B) {
	var rules []*sigma.Rule
	for _, f := range public.Rules(b) {
		read, _ := sigma.Parse(f.Name, f.Data)
		for _, r := range read.Rules {
			if _, err := sigma.Compile([]*sigma.Rule{r}, nil); err == nil && r.Logsource.Product == "linux" {
				rules = append(rules, r)
			}
		}
	}
	engine, err := New(Options{Threats: append(shipped(b), Threat{Name: "public", Collection: sigma.Collection{Rules: rules}})})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	parent := &event.Process{PID: 100, UID: "p1", Start: at, Exe: "/usr/bin/bash", Invoked: "/bin/bash", Comm: "bash", Cmdline: "bash run.sh", CWD: "/srv", User: "svc"}
	process := &event.Process{
		PID: 101, UID: "p2", Start: at, Parent: parent, Exe: "/usr/lib/gcc/cc1plus", Invoked: "/usr/bin/cc1plus", Comm: "cc1plus",
		Cmdline: "cc1plus -quiet -I include main.cpp -o main.s", CWD: "/srv", User: "svc", CgroupPath: "/system.slice/build.service",
	}
	parent.Seal()
	process.Seal()
	for name, e := range map[string]*event.Event{
		"exec":    {Kind: event.ProcessStart, Time: at, Host: "h1", Process: process},
		"write":   {Kind: event.FileWrite, Time: at, Host: "h1", Process: process, File: event.File{Path: "/srv/build/main.s"}},
		"connect": {Kind: event.NetConnect, Time: at, Host: "h1", Process: process, Net: event.Net{Protocol: "tcp", Remote: netip.MustParseAddrPort("10.1.2.3:443"), Initiated: true}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found := engine.Process(e); len(found) > 0 {
					b.Fatal(found)
				}
			}
		})
	}
}
