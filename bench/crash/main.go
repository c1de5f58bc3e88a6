// Crash kills the server that runs playbooks, and the agent that acts for it, and looks whether anything
// was done twice, lost, or left without a word. Both are programs of their own: a real engine on a real
// SQLite file, and a real executor of acts with its journal, whose acts write lines that are counted. They
// are killed at each call that writes to the disk, which strace finds, and at random.
//
//	go run ./bench/crash -n 500
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	if played() {
		return
	}
	n := flag.Int("n", 500, "how often something is killed")
	dir := flag.String("dir", os.TempDir(), "where the journals lie")
	seed := flag.Uint64("seed", 1, "of what is random")
	flag.Parse()
	began := time.Now()
	t, err := kill(*dir, *n, *seed, log.Printf)
	if err != nil {
		log.Fatal("crash: ", err)
	}
	fmt.Printf("%d killed in %s: %s\n", t.killed(), time.Since(began).Round(time.Second), t)
}

// played reports whether this is a program that is to be killed, and has been it.
func played() bool {
	role, dir := os.Getenv("PICKET_CRASH_ROLE"), os.Getenv("PICKET_CRASH_DIR")
	var err error
	switch role {
	case "":
		return false
	case "engine":
		err = engine(dir)
	case "agent":
		err = agent(dir)
	}
	if err != nil {
		log.Fatal(role, ": ", err)
	}
	return true
}
