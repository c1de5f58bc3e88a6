package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if played() {
		return
	}
	os.Exit(m.Run())
}

// A small part of what the benchmark does: nothing is done twice, and nothing is lost.
func TestRunsOutliveWhatIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it starts some dozens of programs")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "strace") {
			t.Fatal(err)
		}
		t.Skip("needs strace, to end programs at the calls that write: ", err)
	}
	said, err := kill(t.TempDir(), 25, 7, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if said.killed() < 25 || len(said.places) < 10 {
		t.Errorf("only %s", said)
	}
	t.Log(said)
}
