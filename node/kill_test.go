package node_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/api/client"
)

// kills is how often each program is killed. PICKET_KILLS changes it.
func kills(t *testing.T) int {
	n := 3
	if s := os.Getenv("PICKET_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("PICKET_KILLS=%q: want a number", s)
		}
	}
	return n
}

// A program that was killed comes back, and nothing that was found is lost or shown twice.
func TestKills(t *testing.T) {
	p := newProgram(t)
	p.start()
	n := kills(t)
	for _, role := range []string{"server", "store", "agent"} {
		t.Run(role, func(t *testing.T) {
			every := 50 * time.Millisecond
			if role == "agent" {
				every = 2 * time.Millisecond // so that there is something in its hands
			}
			c := newCanaries(t, p, role, every)
			var took []time.Duration
			for range n {
				pause := 2 * time.Second
				if n > 4 {
					pause = 5500 * time.Millisecond // past the time in which the supervisor slows down
				}
				time.Sleep(pause)
				took = append(took, killOnce(t, p, c, role))
			}
			time.Sleep(time.Second)
			if role == "agent" {
				c.lost = gaps(t, p, n)
			}
			c.check(t)
			slices.Sort(took)
			t.Logf("%s: %d kills; restarted within %v (median), %v (longest)", role, n, took[len(took)/2], took[len(took)-1])
			if longest := took[len(took)-1]; longest > 2*time.Second {
				t.Errorf("a restart took %v, want 2 s at most", longest)
			}
		})
	}
}

// killOnce kills a role and waits until it works again. It returns how long its process was away.
func killOnce(t *testing.T, p *program, c *canaries, role string) time.Duration {
	t.Helper()
	old, at := p.pid(role), time.Now()
	if old == 0 {
		t.Fatalf("%s does not run", role)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.until(10*time.Second, role+" is started again", func() bool { pid := p.pid(role); return pid != 0 && pid != old })
	away := time.Since(at)
	p.until(time.Minute, role+" works again", func() bool {
		switch role {
		case "server":
			_, err := p.client.Session(t.Context())
			return err == nil
		case "store":
			_, err := p.client.Events(t.Context(), client.EventFilter{Query: "*", Start: "1m", Limit: 1})
			return err == nil
		}
		return p.watchedSince(at)
	})
	return away
}

var gapWords = regexp.MustCompile(`did not run from (\S+ \S+) UTC to (\S+ \S+) UTC: its sensor went on, and \d+ KiB of what it saw are told of now; (\d+) events at most were with the agent that ended and are lost, and (\d+) had no room`)

// gaps waits for the agents' word on the times in which none ran, and returns how many events they lost.
func gaps(t *testing.T, p *program, want int) (lost int) {
	t.Helper()
	found := 0
	p.until(20*time.Second, "the gaps are stored", func() bool {
		list, err := p.client.Events(t.Context(), client.EventFilter{Query: `event.kind:="sensor.health" "the agent did not run"`, Start: "1h", Limit: 100})
		found, lost = len(list.Items), 0
		for _, row := range list.Items {
			m := gapWords.FindSubmatch(row)
			if m == nil {
				t.Fatalf("no words on a gap in %s", row)
			}
			from, err1 := time.Parse(time.DateTime, string(m[1]))
			to, err2 := time.Parse(time.DateTime, string(m[2]))
			had, err3 := strconv.Atoi(string(m[3]))
			dropped, err4 := strconv.Atoi(string(m[4]))
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			if d := to.Sub(from); d <= 0 || d > time.Minute { // beside other tests the agent may have been behind
				t.Errorf("a gap of %v is declared", d)
			}
			lost += had + dropped
		}
		return err == nil && found >= want
	})
	if found != want {
		t.Errorf("%d gaps are declared, want %d", found, want)
	}
	return lost
}

// When the supervisor is killed its children end with it, and the next start finds all that was kept.
func TestKillOfTheSupervisor(t *testing.T) {
	p := newProgram(t)
	p.start()
	c := newCanaries(t, p, "run", 50*time.Millisecond)
	time.Sleep(2 * time.Second)
	at := time.Now()
	if err, _ := p.stop(syscall.SIGKILL); err == nil {
		t.Error("it was not killed")
	}
	p.until(10*time.Second, "the children end", func() bool { return len(p.running()) == 0 })
	t.Logf("children ended %v after the supervisor was killed", time.Since(at))
	p.start()
	time.Sleep(time.Second)
	c.lost = gaps(t, p, 1)
	c.check(t)
	if s := string(p.log()); strings.Contains(s, "panic:") {
		t.Error("the log holds a panic")
	}
}
