package enforce

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The keeper at hand thaws what it is told to when its input ends, is replaced by the next, and one that
// somebody killed meanwhile is left out.
func TestTheKeeperAtHand(t *testing.T) {
	c := &Cgroups{keepers: map[string]*keeper{}}
	c.Ready()
	file := t.TempDir() + "/a file $(x) 'of' \"a\" cgroup"
	for round := range 3 {
		if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
			t.Fatal(err)
		}
		if round == 1 { // somebody ends the one at hand
			k := <-c.spare
			if err := k.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for range 5000 { // its end is not ours to wait for, and its pipe breaks with it
				if _, err := k.in.Write(nil); err != nil {
					break
				}
				if b, err := os.ReadFile("/proc/" + strconv.Itoa(k.cmd.Process.Pid) + "/stat"); err == nil && strings.Contains(string(b), ") Z ") {
					break
				}
				time.Sleep(time.Millisecond)
			}
			c.spare <- k
		}
		k, err := c.keeper(file)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(file); string(b) != "1" {
			t.Fatalf("round %d: it thaws before it is to: %q", round, b)
		}
		k.end()
		c.refill() // as Freeze does when it is done
		if b, _ := os.ReadFile(file); strings.TrimSpace(string(b)) != "0" {
			t.Errorf("round %d: it is not thawed: %q", round, b)
		}
	}
	spare := <-c.spare
	c.spare <- spare
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if spare.cmd.ProcessState == nil {
		t.Error("the one at hand stays")
	}
}
