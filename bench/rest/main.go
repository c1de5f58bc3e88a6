// Rest measures what Picket costs while nothing happens, and what its agent keeps in memory under load.
//
//	go build -o bin/rest ./bench/rest && bin/rest -picket bin/picket -minutes 10
//
// It prints the CPU of each program over an idle minute in percent of a core, and the resident
// memory of the agent during a load of execs, opens and connects.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"time"

	"picket/bench/rig"
)

func main() {
	log.SetFlags(0)
	picket := flag.String("picket", "bin/picket", "the picket executable")
	idle := flag.Duration("idle", time.Minute, "how long to measure idle CPU")
	minutes := flag.Float64("minutes", 10, "how long to load the agent")
	flag.Parse()
	if err := run(*picket, *idle, time.Duration(*minutes*float64(time.Minute))); err != nil {
		log.Fatal("rest: ", err)
	}
}

func run(picket string, idle, load time.Duration) (err error) {
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
	time.Sleep(10 * time.Second) // start-up is not rest
	if err := rest(pids, idle); err != nil {
		return err
	}
	return memory(pids["agent"], load)
}

func rest(pids map[string]int, idle time.Duration) error {
	before, err := rig.CPUs(pids)
	if err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(idle)
	after, err := rig.CPUs(pids)
	if err != nil {
		return err
	}
	took, all := time.Since(began), time.Duration(0)
	for _, role := range []string{"run", "agent", "server", "store"} {
		used := after[role] - before[role]
		all += used
		now, _, err := rig.Memory(pids[role])
		if err != nil {
			return err
		}
		fmt.Printf("idle %-7s %6.2f %% of a core, %4d MB\n", role, 100*used.Seconds()/took.Seconds(), now>>20)
	}
	fmt.Printf("idle all     %6.2f %% of a core (limit 1)\n", 100*all.Seconds()/took.Seconds())
	return nil
}

// memory loads the host and prints the agent's memory twelve times.
func memory(agent int, load time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), load)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // the process ends
	counts := make(chan [3]int, 1)
	go func() { counts <- busy(ctx, l) }()
	step := time.NewTicker(max(load/12, time.Second))
	defer step.Stop()
	began := time.Now()
	for ctx.Err() == nil {
		select {
		case <-step.C:
		case <-ctx.Done():
		}
		now, peak, err := rig.Memory(agent)
		if err != nil {
			return err
		}
		fmt.Printf("load %6.0f s  agent %5.1f MB, peak %5.1f MB (limit 64)\n", time.Since(began).Seconds(), float64(now)/(1<<20), float64(peak)/(1<<20))
	}
	n := <-counts
	fmt.Printf("load was %d execs, %d opens, %d connects\n", n[0], n[1], n[2])
	return nil
}

// busy runs execs, opens and connects, one after the other, and counts them.
func busy(ctx context.Context, l net.Listener) (n [3]int) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // only the connect matters
		}
	}()
	for ctx.Err() == nil {
		if exec.Command("/bin/true", fmt.Sprint("load-", n[0])).Run() == nil {
			n[0]++
		}
		for range 100 {
			if f, err := os.Open("/etc/passwd"); err == nil {
				_ = f.Close() // read only
				n[1]++
			}
		}
		for range 4 {
			if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
				_ = c.Close() // only the connect matters
				n[2]++
			}
		}
	}
	return n
}
