package mining

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"picket/event"
	"picket/threats"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// played is a load of a GPU, second by second.
type played struct {
	util   func(second int) int64
	memory func(second int) int64 // MiB
	power  func(second int) int64 // percent of the limit
	bus    int64                  // bytes a second
	tensor int64
}

func flat(n int64) func(int) int64 { return func(int) int64 { return n } }

// play runs a load for ten minutes, looked at every five seconds, and returns the highest score and
// its reasons, and the last use.
func play(w *Watch, p *event.Process, l played) (most int64, why string, last event.GPUUse) {
	most = -1
	for s := 0; s <= 600; s += 5 {
		g := event.GPU{
			UUID: "GPU-1", Power: event.Measured(7000 * l.power(s)), PowerLimit: event.Measured(700_000), PCIe: event.Measured(l.bus),
			Tensor: event.Measured(l.tensor), MemoryTotal: event.Measured(80 << 30),
		}
		u := event.GPUUse{PID: p.PID, Util: event.Measured(l.util(s)), Memory: event.Measured(l.memory(s) << 20)}
		w.Sample(start.Add(time.Duration(s)*time.Second), p, &g, &u)
		if u.Mining.Known && u.Mining.N > most {
			most, why = u.Mining.N, u.Reasons
		}
		last = u
	}
	return most, why, last
}

func connect(w *Watch, p *event.Process, to string) {
	w.See(&event.Event{Kind: event.NetConnect, Process: p, Net: event.Net{Remote: netip.MustParseAddrPort(to)}})
}

func process(exe string, w *event.Workload) *event.Process {
	p := &event.Process{PID: 4711, StartBoot: 99, Exe: exe, Workload: w}
	if w != nil {
		w.Root = p.Key()
	}
	p.Seal()
	return p
}

// miner is the load of a miner: a steady one, all the time.
var miner = played{util: func(s int) int64 { return 98 + int64(s)%2 }, memory: flat(5000), power: flat(94), bus: 1_000_000, tensor: 0}

func TestMinersAreFound(t *testing.T) {
	for name, tt := range map[string]struct {
		exe string
		to  string
	}{
		"at a pool's port":                  {"/usr/local/bin/trainer", "203.0.113.67:3333"},
		"brought in, at a usual port":       {"/tmp/.x/python3", "203.0.113.67:443"},
		"brought in, without a connection":  {"/dev/shm/x", ""},
		"whose pool was reached through v6": {"/usr/bin/x", "[2001:db8::1]:14444"},
	} {
		w, p := New(), process(tt.exe, nil)
		if tt.to != "" {
			connect(w, p, tt.to)
		}
		if got, why, last := play(w, p, miner); got < Suspicious || !strings.Contains(why, "steady load") || last.Busy != 10*time.Minute {
			t.Errorf("%s: %d: %s, busy for %v", name, got, why, last.Busy)
		}
	}
}

func TestWorkIsNotTakenForMining(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	training := &event.Workload{ID: "t", Kind: event.Training, Engine: "torchrun"}
	serving := &event.Workload{ID: "s", Kind: event.Inference, Engine: "vllm"}
	steps := func(s int) int64 { // each step ends with an exchange
		if s%10 == 0 {
			return 60
		}
		return 99
	}
	for name, tt := range map[string]struct {
		p    *event.Process
		load played
		to   string
	}{
		"training by steps":   {process("/usr/bin/python3", training), played{steps, flat(60_000), flat(90), 900_000_000, 45}, "203.0.113.9:443"},
		"training that saves": {process("/usr/bin/python3", training), played{func(s int) int64 { return map[bool]int64{true: 0, false: 99}[s%300 < 40] }, flat(60_000), flat(90), 2e9, 45}, ""},
		"a job that no engine started, all of whose data lies on the GPU": {
			process("/usr/bin/python3", nil), played{flat(99), flat(4000), flat(95), 1000, 0}, "203.0.113.9:443",
		},
		"serving with gaps":              {process("/usr/bin/python3", serving), played{func(int) int64 { return rnd.Int64N(101) }, flat(70_000), flat(60), 5e7, 30}, ""},
		"serving without pause":          {process("/usr/bin/python3", serving), played{flat(100), flat(70_000), flat(97), 1e6, 30}, "203.0.113.9:443"},
		"serving nobody":                 {process("/usr/bin/python3", serving), played{flat(0), flat(70_000), flat(10), 0, 0}, ""},
		"a stress test":                  {process("/usr/bin/gpu-burn", nil), played{flat(100), flat(70_000), flat(99), 1000, 90}, ""},
		"a game, at a port of its maker": {process("/opt/game", nil), played{func(int) int64 { return 60 + rnd.Int64N(41) }, flat(4000), flat(70), 1e8, 0}, "203.0.113.9:3333"},
	} {
		w := New()
		if tt.to != "" {
			connect(w, tt.p, tt.to)
		}
		if got, why, _ := play(w, tt.p, tt.load); got >= Suspicious {
			t.Errorf("%s: %d: %s", name, got, why)
		}
	}
}

func TestTheScoreSaysWhatItIsMadeOf(t *testing.T) {
	w, p := New(), process("/tmp/x", nil)
	connect(w, p, "203.0.113.67:3333")
	got, why, _ := play(w, p, miner)
	want := "pool (connected to 203.0.113.67:3333) +30; brought in (below /tmp/) +20; steady load (hardly ever below 98 %, deviation 0.5, for 5m0s) +30; " +
		"not of an AI workload (x) +15; small flat memory (5000 MiB of 81920 MiB) +10; flat high power (94 % of the limit) +10; quiet bus (1.0 MB/s) +10; " +
		"tensor cores idle (less than 1 %) +10; no data (it read no model and no data set that is known) +10; one peer (of the Internet only 203.0.113.67) +10"
	if got != 100 || why != want {
		t.Errorf("%d: %s", got, why)
	}
	w = New()
	if _, why, _ := play(w, process("/usr/bin/x", nil), miner); !strings.HasSuffix(why, "no more than 60, as only the load speaks for it") {
		t.Error(why)
	}
}

func TestWhatIsNotKnownDoesNotCount(t *testing.T) {
	w, p := New(), process("/tmp/x", nil)
	for s := 0; s <= 600; s += 5 {
		u := event.GPUUse{PID: p.PID}
		w.Sample(start.Add(time.Duration(s)*time.Second), p, &event.GPU{UUID: "GPU-1"}, &u)
		if u.Mining.Known || u.Busy != 0 || u.Idle != 0 {
			t.Fatalf("%+v", u)
		}
	}
}

func TestMemoryThatIsHeldForNothingIsTimed(t *testing.T) {
	_, _, last := play(New(), process("/usr/bin/x", nil), played{flat(0), flat(70_000), flat(10), 0, 0})
	if last.Idle != 10*time.Minute || last.Busy != 0 {
		t.Errorf("%+v", last)
	}
	_, _, last = play(New(), process("/usr/bin/x", nil), played{func(s int) int64 { return map[bool]int64{true: 7}[s == 500] }, flat(70_000), flat(10), 0, 0})
	if last.Idle != 95*time.Second {
		t.Errorf("it computed 100 s ago: %v", last.Idle)
	}
}

func TestMemoryIsBoundedWhateverProcessesDo(t *testing.T) {
	w := New()
	for i := range uint32(20_000) {
		p := &event.Process{PID: i + 1, StartBoot: 1}
		connect(w, p, "203.0.113.67:3333")
		w.Sample(start, p, &event.GPU{UUID: "GPU-1"}, &event.GPUUse{PID: i + 1, Util: event.Measured(1)})
	}
	if len(w.users) > maxUsers || len(w.habits) > maxHabits || w.Dropped() == 0 {
		t.Errorf("%d users, %d habits, %d dropped", len(w.users), len(w.habits), w.Dropped())
	}
	w.Advance(start.Add(2 * forgetUser))
	if len(w.users)+len(w.on) > 0 {
		t.Errorf("%d users are kept", len(w.users))
	}
	connect(w, process("/usr/bin/x", nil), "10.0.0.1:3333")
	if h := w.habits[event.Key{PID: 4711, Start: 99}]; h != nil {
		t.Errorf("a private address was taken for a pool: %+v", h)
	}
}

func TestThePortsAreThoseOfTheRule(t *testing.T) {
	rule, err := threats.FS.ReadFile("mine-on-the-node/pool_reached.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(rule), "DestinationPort:\n")
	list, _, _ = strings.Cut(list, "    own:")
	var mine strings.Builder
	for _, p := range Ports {
		mine.WriteString("            - " + netip.AddrPortFrom(netip.IPv4Unspecified(), p).String()[len("0.0.0.0:"):] + "\n")
	}
	if list != mine.String() {
		t.Errorf("the rule has\n%s, the score\n%s", list, mine.String())
	}
}
