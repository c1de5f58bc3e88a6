package enforce

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"picket/event"
)

// hold is how old a violation is before it is told: the start of its process comes over another
// ring and is to be told first.
const hold = 30 * time.Millisecond

// Run calls handle for each violation until ctx ends. Two calls of it may be under way at a time.
func (e *Enforcer) Run(ctx context.Context, handle func(*event.Event)) error {
	defer context.AfterFunc(ctx, func() { _ = e.ring.Flush() })() // a deadline would wait for the read
	var gates sync.WaitGroup
	defer gates.Wait()
	gates.Go(func() {
		for {
			select {
			case ev := <-e.denials:
				handle(ev)
			case <-ctx.Done():
				return
			}
		}
	})
	var rec ringbuf.Record
	for {
		err := e.ring.ReadInto(&rec)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ringbuf.ErrFlushed) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the violations' ring: %w", err)
		}
		ev, err := e.decode(rec.RawSample)
		if err != nil {
			e.log.Warn("a violation could not be read", "error", err)
			continue
		}
		if ev == nil {
			continue
		}
		if young := hold - time.Since(ev.Time); young > 0 {
			time.Sleep(min(young, hold))
		}
		handle(ev)
	}
}

var (
	errShort = errors.New("the record is shorter than a violation")
	errRung  = errors.New("the record is of no known rung")
)

// rungs are the hooks by number, with the part of a policy that each enforces.
var rungs = [...]struct{ name, rule string }{
	1: {"cgroup/connect4", event.RuleEgress}, 2: {"cgroup/connect6", event.RuleEgress},
	3: {"cgroup/sendmsg4", event.RuleEgress}, 4: {"cgroup/sendmsg6", event.RuleEgress},
	5: {"cgroup/sock_create", event.RuleEgress}, 6: {"sched_process_exec", event.RuleExec},
	7: {"cgroup/dev", event.RuleDevice}, 8: {"cgroup/sysctl", event.RuleSysctl}, 9: {"bprm_check_security", event.RuleExec},
	10: {"file_open", event.RuleModels}, 11: {"inode_create", event.RuleModels}, 12: {"inode_mkdir", event.RuleModels},
	13: {"inode_mknod", event.RuleModels}, 14: {"inode_symlink", event.RuleModels}, 15: {"inode_link", event.RuleModels},
	16: {"inode_unlink", event.RuleModels}, 17: {"inode_rmdir", event.RuleModels}, 18: {"inode_rename", event.RuleModels},
	19: {"inode_setattr", event.RuleModels}, 20: {"inode_setxattr", event.RuleModels}, 21: {"inode_set_acl", event.RuleModels},
	22: {"task_kill", event.RuleSignal}, mounted: {sealedBy, event.RuleModels},
}

// mounted is a read-only mount, which says nothing itself: the end of a call does.
const mounted = 23

var actions = [...]string{event.ActionSeen, event.ActionDenied, event.ActionKilled}

// decode reads a violation. It returns none for what was no business of a policy.
func (e *Enforcer) decode(raw []byte) (*event.Event, error) {
	var v bpfViolation
	if len(raw) < int(unsafe.Sizeof(v)) {
		return nil, errShort
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), raw)
	if int(v.Rung) >= len(rungs) || v.Rung == 0 || int(v.Action) >= len(actions) {
		return nil, errRung
	}
	e.mu.Lock()
	name := e.names[v.Slot]
	e.mu.Unlock()
	offset := time.Now().UnixNano() - int64(bootNow())
	wall := func(boot uint64) time.Time { return time.Unix(0, offset+int64(boot)) }
	rung := rungs[v.Rung]
	ev := &event.Event{
		Kind: event.PolicyViolation, Time: wall(v.Time), Host: e.host, Count: v.Count,
		Policy: &event.Policy{Name: name, Rule: rung.rule, Action: actions[v.Action], Rung: rung.name},
		Process: &event.Process{
			PID: v.Tgid, TID: v.Tid, PPID: v.Ppid, StartBoot: v.Start, PStart: v.ParentStart, Start: wall(v.Start),
			CgroupID: v.Cgroup, Comm: text(v.Comm[:]), LoginUID: ^uint32(0),
		},
	}
	switch rung.rule {
	case event.RuleEgress:
		ev.Net = event.Net{Remote: remote(&v), Protocol: protocol(v.Protocol), Initiated: true}
	case event.RuleExec:
		ev.File = event.File{Path: text(v.Path[:]), Ino: v.Ino, Dev: uint64(v.Dev)}
	case event.RuleDevice:
		kind := "char"
		if v.Protocol == 1 {
			kind = "block"
		}
		ev.File.Path = fmt.Sprintf("/dev/%s/%d:%d", kind, v.Major, v.Minor)
	case event.RuleSysctl:
		ev.File.Path = "/proc/sys/" + text(v.Path[:])
	case event.RuleModels:
		if v.Rung != mounted {
			ev.File.Path = e.below(&v)
			break
		}
		var ours bool
		if ev.File.Path, ours = e.refused(&v); !ours {
			return nil, nil
		}
		e.refusals.Add(uint64(v.Count))
	case event.RuleSignal:
		ev.Policy.Name = "protect"
		ev.Call = &event.Call{Request: unix.SignalName(unix.Signal(v.Minor)), Target: &event.Process{PID: v.Major, Comm: text(v.Path[:])}}
	}
	return ev, nil
}

func remote(v *bpfViolation) netip.AddrPort {
	port := v.Port<<8 | v.Port>>8
	switch {
	case v.Rung == 5:
		return netip.AddrPort{} // a socket that was not made has no other end
	case v.Family == 4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v.Addr[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(v.Addr), port)
}

func protocol(n uint8) string {
	switch n {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 1, 58:
		return "icmp"
	}
	return fmt.Sprintf("ip/%d", n)
}

func text(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}

// Counts returns how often each hook saw, denied or killed, whatever was told of it: "cgroup/connect4
// denied".
func (e *Enforcer) Counts() map[string]uint64 {
	out := map[string]uint64{}
	for i := 1; i < len(rungs); i++ {
		for a, action := range actions {
			n := e.count(uint32(i*4 + a))
			if i == mounted && n > 0 {
				n = e.refusals.Load() // the kernel's count is of all read-only mounts
			}
			if n > 0 {
				out[rungs[i].name+" "+action] = n
			}
		}
	}
	if n := e.refusedOpens.Load(); n > 0 {
		out[gatedBy+" "+event.ActionDenied] = n
	}
	return out
}

func (e *Enforcer) count(i uint32) (n uint64) {
	var per []uint64
	_ = e.maps["counts"].Lookup(i, &per) // it is an array
	for _, x := range per {
		n += x
	}
	return n
}
