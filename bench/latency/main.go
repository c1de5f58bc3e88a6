// Latency measures the time from an event in the kernel to its finding on the API's stream.
//
//	go build -o bin/latency ./bench/latency && bin/latency -picket bin/picket
//
// A rule matches programs started with a certain argument. The load runs such programs and connects
// to loopback at an even pace until -rate events a second are reached, of which -findings are
// findings (-findings equal to -rate: all are). The latency ends when a client has read the finding.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"picket/api/client"
	"picket/bench/rig"
	"picket/event"
)

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	rate := flag.Int("rate", 1000, "events a second")
	findings := flag.Int("findings", 50, "findings a second among them")
	last := flag.Duration("for", 30*time.Second, "how long")
	flag.Parse()
	if err := run(*picket, *rate, *findings, *last); err != nil {
		log.Fatal("latency: ", err)
	}
}

func run(picket string, rate, findings int, last time.Duration) (err error) {
	dir, err := rig.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temp directory
	threats, err := rig.Canary(dir)
	if err != nil {
		return err
	}
	p, err := rig.Start(picket, "detect: {threats: ["+threats+"], noisy: 1000000}\n") // each event of the one rule is timed
	if err != nil {
		return err
	}
	defer func() {
		if e := p.Stop(); err == nil {
			err = e
		}
	}()
	c, err := p.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen latencies
	go func() {
		if err := c.Stream(ctx, client.StreamOptions{}, seen.take); ctx.Err() == nil {
			log.Print("latency: the stream ended: ", err)
		}
	}()
	time.Sleep(5 * time.Second) // start-up is not what is measured
	sent, events, took, err := load(rate, findings, last)
	if err != nil {
		return err
	}
	late := rig.Until(20*time.Second, "all findings", func() (bool, error) { return seen.count() >= sent, nil })
	if late != nil {
		log.Print("latency: ", late)
	}
	return seen.print(sent, float64(events)/took.Seconds())
}

// latencies collects findings by the command line that they are about, which no two programs of the
// load share.
type latencies struct {
	mu    sync.Mutex
	seen  map[string]time.Duration
	twice int // findings about a program that had one
}

func (l *latencies) take(m client.Message) error {
	now := time.Now()
	var f event.Finding
	if m.Event != "finding" || json.Unmarshal(m.Data, &f) != nil || f.Rule.Name != "canary" || len(f.Processes) == 0 || !strings.HasPrefix(f.Processes[0].Cmdline, "/bin/true canary-") {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]time.Duration{}
	}
	program := f.Processes[0].Cmdline
	if _, again := l.seen[program]; again {
		l.twice++
		log.Printf("latency: twice: %s at %s, %s", program, f.Time.Format(time.RFC3339Nano), f.ID)
		return nil
	}
	l.seen[program] = now.Sub(f.Time)
	return nil
}

func (l *latencies) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

func (l *latencies) print(sent int, rate float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for _, d := range l.seen {
		all = append(all, d)
	}
	if len(all) == 0 {
		return fmt.Errorf("none of %d findings came", sent)
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1000 }
	fmt.Printf("%.0f events/s, %d findings, %d lost, %d twice\np50 %.1f ms (limit 20), p90 %.1f ms, p99 %.1f ms (limit 100), max %.1f ms\n",
		rate, sent, sent-len(all), l.twice, at(0.5), at(0.9), at(0.99), at(1))
	return nil
}

// load runs programs and connects at an even pace. A program is two events, its start and its end;
// a connect is two, as this process is also the one that accepts.
func load(rate, findings int, last time.Duration) (sent, events int, took time.Duration, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, 0, err
	}
	defer l.Close() //nolint:errcheck // the process ends
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // only the connect matters
		}
	}()
	began := time.Now()
	for due := 0; time.Since(began) < last; events += 2 {
		if wait := time.Until(began.Add(time.Duration(events) * time.Second / time.Duration(rate))); wait > 0 {
			time.Sleep(wait)
		}
		if due = events * findings / rate; sent <= due {
			arg := fmt.Sprintf("canary-%d-%d", sent, time.Now().UnixNano())
			if err := exec.Command("/bin/true", arg).Run(); err != nil {
				return sent, events, 0, err
			}
			sent++
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return sent, events, 0, err
		}
		_ = c.Close() // only the connect matters
	}
	return sent, events, time.Since(began), nil
}
