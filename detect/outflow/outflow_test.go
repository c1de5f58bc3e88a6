package outflow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"picket/event"
)

var (
	start   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	outside = netip.MustParseAddrPort("203.0.113.66:443")
	server1 = &event.Workload{ID: "w1", Kind: event.Inference, Engine: "vllm", Name: "m", Root: event.Key{PID: 10, Start: 1}}
	model   = &event.Model{Path: "/models/m", Name: "m", Workload: "w1"}
)

// played is what processes of one container do, told as the sensor and the agent tell it.
type played struct {
	t    *testing.T
	w    *Watch
	now  time.Time
	said []string
	left []string
	sum  map[string]uint64 // by process and file, as the kernel counts
}

func play(t *testing.T, o Options) *played {
	return &played{t: t, w: New(o), now: start, sum: map[string]uint64{}}
}

func process(pid uint32, exe string, parent *event.Process, w *event.Workload) *event.Process {
	p := &event.Process{PID: pid, StartBoot: 1, Exe: exe, UID: exe, Parent: parent, Workload: w, Container: &event.Container{ID: "c1"}}
	p.Seal()
	return p
}

func (y *played) io(p *event.Process, path string, ino uint64, m *event.Model, read, written uint64) {
	key := p.Exe + path
	y.sum[key+"r"] += read
	y.sum[key+"w"] += written
	e := &event.Event{Kind: event.FileIO, Time: y.now, Process: p, File: event.File{Path: path, Dev: 1, Ino: ino, Size: 500 * mb, Model: m}}
	e.File.BytesRead, e.File.BytesWritten = y.sum[key+"r"], y.sum[key+"w"]
	y.take(y.w.See(e))
}

func (y *played) send(p *event.Process, to netip.AddrPort, n uint64) {
	y.take(y.w.Sent(y.now, p, to, n))
}

func (y *played) call(p *event.Process, to netip.AddrPort) {
	y.take(y.w.See(&event.Event{Kind: event.NetConnect, Time: y.now, Process: p, Net: event.Net{Remote: to}}))
}

func (y *played) take(list []*event.Event) {
	for _, e := range list {
		y.said = append(y.said, e.Deviation.What+" by "+e.Process.Exe)
		y.left = append(y.left, fmt.Sprintf("%d MB to %s", e.Deviation.Sent.N/mb, e.Deviation.Value))
		if e.ID() == "" || e.Describe() == "" {
			y.t.Error(e)
		}
	}
}

func (y *played) want(want string) {
	y.t.Helper()
	if got := strings.Join(y.said, "; "); got != want {
		y.t.Errorf("said %q, want %q", got, want)
	}
}

const mb = 1_000_000

func TestTheftIsToldBeforeAFifthHasLeft(t *testing.T) {
	shell := process(20, "/bin/sh", nil, server1)
	tar, gzip, curl := process(21, "/bin/tar", shell, server1), process(22, "/bin/gzip", shell, server1), process(23, "/usr/bin/curl", shell, server1)
	t.Run("a pipeline", func(t *testing.T) {
		y := play(t, Options{})
		for n := range 20 { // 5 MB each second
			y.now = y.now.Add(time.Second)
			y.io(tar, "/models/m/model.safetensors", 7, model, 5*mb, 0)
			y.send(curl, outside, 46*mb/10)
			if len(y.said) > 0 && n < 10 {
				t.Fatalf("told after %d s", n)
			}
		}
		y.want("weights-left by /usr/bin/curl")
	})
	t.Run("a copy, sent in parts by many an hour later", func(t *testing.T) {
		y := play(t, Options{})
		y.io(tar, "/models/m/model.safetensors", 7, model, 500*mb, 0)
		y.io(gzip, "/tmp/x.gz", 8, nil, 0, 450*mb) // beside the reader
		y.want("weights-staged by /bin/gzip")
		y.now = y.now.Add(time.Hour)
		for pid := range uint32(5) {
			y.send(process(100+pid, "/usr/bin/curl", shell, server1), outside, 20*mb)
		}
		y.want("weights-staged by /bin/gzip; weights-left by /usr/bin/curl")
	})
	t.Run("a copy, sent from another container", func(t *testing.T) {
		y := play(t, Options{})
		y.io(tar, "/models/m/model.safetensors", 7, model, 500*mb, 0)
		y.io(tar, "/share/x.tar", 8, nil, 0, 500*mb)
		other := process(40, "/usr/bin/rclone", nil, nil)
		other.Container = &event.Container{ID: "c2"}
		y.io(other, "/share/x.tar", 8, nil, 100*mb, 0)
		y.send(other, outside, 90*mb)
		y.want("weights-staged by /bin/tar; weights-left by /usr/bin/rclone")
	})
	t.Run("drop by drop", func(t *testing.T) {
		y := play(t, Options{})
		for range 200 {
			y.now = y.now.Add(5 * time.Minute)
			y.io(tar, "/models/m/model.safetensors", 7, model, mb/2, 0)
			y.send(curl, outside, mb/2)
		}
		y.want("weights-drip by /usr/bin/curl")
	})
	t.Run("by the server itself, to whom it does not send", func(t *testing.T) {
		root := process(10, "/usr/bin/python3", nil, server1)
		y := play(t, Options{Usual: func(_ *event.Process, to netip.AddrPort) (bool, bool) { return to != outside, true }})
		y.io(root, "/models/m/model.safetensors", 7, model, 500*mb, 0)
		y.send(root, outside, 400*mb) // who asked for it
		y.call(root, netip.MustParseAddrPort("198.51.100.7:443"))
		y.send(root, netip.MustParseAddrPort("198.51.100.7:443"), 400*mb)
		y.want("")
		y.call(root, outside)
		y.send(root, outside, 60*mb)
		y.want("weights-left by /usr/bin/python3")
	})
}

func TestOrdinaryWorkIsNotTheft(t *testing.T) {
	root := process(10, "/usr/bin/python3", nil, server1)
	shell := process(20, "/bin/sh", nil, nil)
	for name, do := range map[string]func(*played){
		"a server that loads its model and answers": func(y *played) {
			y.io(root, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.call(root, outside)
			y.send(root, outside, 300*mb)
		},
		"a swap of models by the server itself": func(y *played) {
			for ino := range uint64(5) {
				y.io(root, "/models/m/v.safetensors", ino+1, model, 500*mb, 0)
			}
			y.send(root, outside, 300*mb)
		},
		"a shipper of logs beside the server": func(y *played) {
			y.io(root, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.send(process(30, "/bin/fluent-bit", nil, nil), outside, 500*mb)
		},
		"a pull of an image": func(y *played) {
			y.io(process(31, "/usr/bin/containerd", nil, nil), "/var/lib/layer", 9, nil, 900*mb, 900*mb)
			y.send(process(31, "/usr/bin/containerd", nil, nil), outside, mb)
		},
		"a checksum of a model": func(y *played) {
			y.io(process(32, "/usr/bin/sha256sum", shell, nil), "/models/m/model.safetensors", 7, model, 500*mb, 0)
		},
		"one who read a little and sends a lot": func(y *played) {
			p := process(33, "/usr/bin/rsync", shell, nil)
			y.io(p, "/models/m/config.bin", 7, model, 2*mb, 0)
			y.send(p, outside, 900*mb)
		},
		"a copy that stays": func(y *played) {
			p := process(34, "/bin/cp", shell, nil)
			y.io(p, "/models/m/lora.bin", 7, model, 30*mb, 0)
			y.io(p, "/backup/lora.bin", 8, nil, 0, 30*mb)
		},
		"another file with the number of a copy that is gone": func(y *played) {
			p := process(37, "/bin/cp", shell, nil)
			y.io(p, "/models/m/lora.bin", 7, model, 40*mb, 0)
			y.io(p, "/backup/lora.bin", 8, nil, 0, 40*mb)
			curl := process(38, "/usr/bin/curl", nil, nil)
			curl.Container = &event.Container{ID: "c2"}
			y.io(curl, "/tmp/layer", 8, nil, 0, 500*mb)
			y.io(curl, "/tmp/layer", 8, nil, 500*mb, 0)
			y.send(curl, outside, 500*mb)
		},
		"services of one host, of which one reads a model": func(y *played) {
			service := func(pid uint32, exe string, parent *event.Process) *event.Process {
				p := process(pid, exe, parent, nil)
				p.Container = &event.Container{ID: exe}
				return p
			}
			first, shim := process(1, "/sbin/init", nil, nil), process(90, "/usr/bin/shim", nil, nil)
			y.io(service(91, "/usr/bin/backup", first), "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.io(service(92, "/usr/bin/scan", shim), "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.now = y.now.Add(beside + time.Second)
			y.io(service(93, "/usr/bin/journald", first), "/var/log/journal", 70, nil, 0, 500*mb)
			y.io(service(94, "/usr/bin/postgres", shim), "/var/lib/table", 71, nil, 0, 500*mb)
			for i, file := range []string{"/var/log/journal", "/var/lib/table"} {
				ship := service(95, "/usr/bin/ship", nil)
				y.io(ship, file, uint64(70+i), nil, 500*mb, 0)
				y.send(ship, outside, 500*mb)
			}
		},
		"what stays on the machine": func(y *played) {
			p := process(35, "/usr/bin/curl", shell, nil)
			y.io(p, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.send(p, netip.MustParseAddrPort("127.0.0.1:8080"), 500*mb)
			y.send(p, netip.MustParseAddrPort("[::1]:8080"), 500*mb)
		},
		"the same, two days apart": func(y *played) {
			p := process(36, "/usr/bin/curl", shell, nil)
			y.io(p, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.now = y.now.Add(48 * time.Hour)
			y.send(p, outside, 500*mb)
		},
	} {
		t.Run(name, func(t *testing.T) {
			y := play(t, Options{})
			do(y)
			y.want("")
		})
	}
}

func TestAPeerThatIsUsualIsNotCounted(t *testing.T) {
	y := play(t, Options{Usual: func(*event.Process, netip.AddrPort) (bool, bool) { return true, true }})
	aws := process(30, "/usr/bin/aws", nil, server1)
	y.io(aws, "/models/m/model.safetensors", 7, model, 500*mb, 0)
	y.send(aws, outside, 500*mb)
	y.want("")
}

func at(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, n}), 443)
}

func TestEachDestinationThatTookATellingShareIsTold(t *testing.T) {
	curl := process(23, "/usr/bin/curl", nil, nil)
	for name, c := range map[string]struct {
		do   func(*played)
		want string
	}{
		"two at the same time": {func(y *played) {
			for range 10 {
				y.io(curl, "/models/m/model.safetensors", 7, model, 12*mb, 0)
				y.send(curl, at(1), 6*mb)
				y.send(curl, at(2), 6*mb)
			}
		}, "30 MB to 203.0.113.1:443; 24 MB to 203.0.113.2:443"}, // the next at four times as much
		"three, of which each gets what was read once": {func(y *played) {
			for range 10 {
				y.io(curl, "/models/m/model.safetensors", 7, model, 10*mb, 0)
				for to := range byte(3) {
					y.send(curl, at(to+1), 10*mb)
				}
			}
		}, "50 MB to 203.0.113.1:443; 40 MB to 203.0.113.2:443; 40 MB to 203.0.113.3:443"},
		"one behind a flood of other data": {func(y *played) {
			y.io(curl, "/models/m/model.safetensors", 7, model, 100*mb, 0)
			y.send(curl, at(2), 900*mb)
			y.send(curl, at(1), 90*mb)
		}, "90 MB to 203.0.113.1:443"},
		"one after the other": {func(y *played) {
			y.io(curl, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			y.send(curl, at(1), 60*mb)
			y.send(curl, at(2), 20*mb)
			y.send(curl, at(2), 40*mb)
		}, "60 MB to 203.0.113.1:443; 60 MB to 203.0.113.2:443"},
		"a few drops to each of ten": {func(y *played) {
			y.io(curl, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			for i := range 20 {
				y.send(curl, at(byte(i%10)), 4*mb)
			}
		}, "52 MB to 203.0.113.0:443, 203.0.113.1:443, 203.0.113.2:443, 203.0.113.3:443, 6 others"},
		"more than are told apart": {func(y *played) {
			y.io(curl, "/models/m/model.safetensors", 7, model, 500*mb, 0)
			for i := range 100 {
				y.send(curl, at(byte(i)), mb)
			}
		}, "50 MB to 203.0.113.0:443, 203.0.113.1:443, 203.0.113.2:443, 203.0.113.3:443, many others"},
		"again on another day, at once": {func(y *played) {
			for range 2 {
				y.io(curl, "/models/m/model.safetensors", 7, model, 100*mb, 0)
				y.send(curl, at(1), 40*mb)
				y.send(curl, at(1), 20*mb)
				y.now = y.now.Add(48 * time.Hour)
			}
		}, "60 MB to 203.0.113.1:443; 60 MB to 203.0.113.1:443"},
	} {
		t.Run(name, func(t *testing.T) {
			y := play(t, Options{})
			c.do(y)
			if got := strings.Join(y.left, "; "); got != c.want {
				t.Errorf("told %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestItIsToldAgainOnlyWhereMuchMoreLeft(t *testing.T) {
	y := play(t, Options{})
	curl := process(23, "/usr/bin/curl", nil, nil)
	for range 100 {
		y.now = y.now.Add(time.Second)
		y.io(curl, "/models/m/model.safetensors", 7, model, 10*mb, 0)
		y.send(curl, outside, 10*mb)
	}
	y.want("weights-left by /usr/bin/curl; weights-left by /usr/bin/curl; weights-left by /usr/bin/curl") // 50, 200, 800 MB
}

func TestMemoryIsBoundedWhateverProcessesDo(t *testing.T) {
	w := New(Options{})
	for i := range uint64(40_000) {
		p := &event.Process{PID: uint32(i + 1), StartBoot: 1, UID: "u", Parent: &event.Process{PID: uint32(i + 100_000)}, Container: &event.Container{ID: string(rune(i%20_000 + 0x4e00))}}
		e := &event.Event{Kind: event.FileIO, Time: start, Process: p, File: event.File{Path: "/models/m/x", Ino: i, Model: model, FileChange: event.FileChange{BytesRead: 1}}}
		w.See(e)
		e = &event.Event{Kind: event.FileIO, Time: start, Process: p, File: event.File{Path: "/tmp/x", Ino: i + 1<<32, FileChange: event.FileChange{BytesWritten: 1}}}
		w.See(e)
		w.Sent(start, p, netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), 1), 1)
	}
	if len(w.scopes) > maxScopes || len(w.procs) > maxProcs || len(w.copies) > maxCopies || w.files > maxFiles || w.Dropped() == 0 {
		t.Errorf("%d scopes, %d processes, %d copies, %d files, %d dropped", len(w.scopes), len(w.procs), len(w.copies), w.files, w.Dropped())
	}
	one := &event.Process{PID: 7, StartBoot: 7}
	for i := range uint64(3 * maxFiles) {
		w.See(&event.Event{Kind: event.FileIO, Time: start, Process: one, File: event.File{Path: "/models/m/x", Ino: i, Model: model, FileChange: event.FileChange{BytesRead: 1}}})
	}
	if n := len(w.procs[one.Key()].files); w.files > maxFiles || n > maxFiles {
		t.Errorf("%d files, %d of one process", w.files, n)
	}
	for _, s := range w.scopes {
		if len(s.stranger.peers) > maxPeers || len(s.own.peers) > maxPeers {
			t.Errorf("%d and %d peers", len(s.stranger.peers), len(s.own.peers))
		}
	}
	w.Advance(start.Add(2 * keepAll))
	w.Advance(start.Add(2 * keepAll))
	if len(w.scopes)+len(w.procs)+len(w.copies)+len(w.kin) > 0 || w.files != 0 {
		t.Errorf("%d scopes, %d processes, %d copies, %d parents are kept", len(w.scopes), len(w.procs), len(w.copies), len(w.kin))
	}
}
