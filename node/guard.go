package node

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
	"picket/sensor/kernel"
)

// stoodStill is how late a tick must be before it is said: a busy host delays one for a second or two.
const stoodStill = 5 * time.Second

// tamperedMost is how much of what Check found is said by name.
const tamperedMost = 8

// guard looks whether somebody hinders this agent. What it finds is an event that rules judge.
type guard struct {
	limits map[string]limit // by file: the tightest of the control group and those above
	gone   bool             // that the executable was removed is said
	ticked time.Time        // of the last tick
	busy   map[string]int   // while events are lost: how many each process made, by words on it
}

// limit is what a control group allows, and which one does.
type limit struct {
	most  float64 // less is tighter
	text  string
	group string
}

// tell sends a word on the agent itself, and findings that rules make of it.
func (a *agent) tell(now time.Time, message string) {
	a.log.Warn("a word on the agent itself", "said", message)
	e := &event.Event{Kind: event.SensorHealth, Time: now, Host: a.cfg.Host, Message: message}
	for _, f := range a.engine.Process(e) {
		a.publish(&f)
	}
	a.send(e)
}

// watchSelf tells what was found of the sensor, and how what this process is given changed, each ten
// seconds.
func (a *agent) watchSelf(now time.Time, found []string, is map[string]limit) {
	if len(found) > 0 {
		said := strings.Join(found[:min(len(found), tamperedMost)], "; ")
		if more := len(found) - tamperedMost; more > 0 {
			said += fmt.Sprintf("; and %d more", more)
		}
		a.tell(now, "the sensor was tampered with: "+said)
	}
	g := &a.guard
	for _, file := range slices.Sorted(maps.Keys(is)) {
		was, known := g.limits[file]
		if l := is[file]; known && l.most < was.most {
			a.tell(now, fmt.Sprintf("the agent is hindered: %s of %s is %q now, it was %q", file, l.group, l.text, was.text))
		}
	}
	g.limits = is
	if exe, err := os.Readlink("/proc/self/exe"); err == nil && strings.HasSuffix(exe, " (deleted)") && !g.gone {
		g.gone = true
		a.tell(now, fmt.Sprintf("the agent is hindered: its program %q was removed; what lies there runs at the next start", strings.TrimSuffix(exe, " (deleted)")))
	}
}

// noteTick says where the last tick was long ago: the process was stopped, frozen or starved. Time in
// which the host slept does not count.
func (a *agent) noteTick(now time.Time) {
	last := a.guard.ticked
	a.guard.ticked = now
	if late := now.Sub(last) - advanceEvery; !last.IsZero() && late > stoodStill {
		a.tell(now, fmt.Sprintf("the agent is hindered: it stood still for %v", late.Round(time.Second)))
	}
}

// busyMost bounds what is counted of a flood.
const busyMost = 4096

// countBusy counts who makes the events while some are lost.
func (g *guard) countBusy(e *event.Event) {
	if g.busy == nil || e.Process == nil {
		return
	}
	who := fmt.Sprintf("%q (%d)", e.Process.Exe, e.Process.PID)
	if _, known := g.busy[who]; known || len(g.busy) < busyMost {
		g.busy[who]++
	}
}

// tellLost says what the sensor had to drop since the last tick, and from the second tick on who
// made most of what it did see.
func (a *agent) tellLost(now time.Time) {
	drops, told := a.sensor.Dropped(), a.sensor.Told()
	if drops <= told {
		a.guard.busy = nil
		return
	}
	a.sensor.Tell(drops)
	message := fmt.Sprintf("the sensor lost %d events in the last second: what it did not see in that time is not known", drops-told)
	if len(a.guard.busy) > 0 {
		most := slices.MaxFunc(slices.Sorted(maps.Keys(a.guard.busy)), func(x, y string) int { return cmp.Compare(a.guard.busy[x], a.guard.busy[y]) })
		message += fmt.Sprintf("; of what it saw, most was by %s: %d events", most, a.guard.busy[most])
	}
	a.guard.busy = map[string]int{}
	a.tell(now, message)
}

// limits reads what this process is allowed by its control groups, of both versions.
func limits() map[string]limit {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	out, unified := map[string]limit{}, kernel.CgroupRoot()
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, files := unified, []string{"cpu.max", "memory.high", "memory.max", "pids.max"}
		if parts[1] != "" {
			root, files = filepath.Join("/sys/fs/cgroup", parts[1]), []string{"cpu.cfs_quota_us", "memory.limit_in_bytes", "pids.max"}
		}
		for group := filepath.Clean("/" + parts[2]); root != ""; group = filepath.Dir(group) {
			for _, file := range files {
				tighten(out, file, root, group)
			}
			if group == "/" {
				break
			}
		}
	}
	return out
}

// tighten takes in the limit of one group.
func tighten(all map[string]limit, file, root, group string) {
	b, err := os.ReadFile(filepath.Join(root, group, file))
	if err != nil {
		return // of no such kind, or at the root
	}
	text := strings.TrimSpace(string(b))
	l := limit{most: amount(text), text: text, group: group}
	if was, ok := all[file]; !ok || l.most < was.most {
		all[file] = l
	}
}

// amount reads a limit: a number, a number of each so many, max; a quota of -1 is none.
func amount(text string) float64 {
	first, per, parted := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil || n < 0 {
		return math.Inf(1)
	}
	if d, err := strconv.ParseFloat(per, 64); parted && err == nil && d > 0 {
		n /= d
	}
	return n
}
