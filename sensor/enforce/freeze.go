package enforce

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// settle is how long an act may take until its effect shows.
const settle = 5 * time.Second

// Freeze stops each process of a cgroup, and of those below, where it stands; what it held stays
// held. A cgroup that we froze stays so; one that somebody else froze is refused, as to thaw it
// would not be ours. A second process thaws it when this one ends, by whatever means.
func (c *Cgroups) Freeze(cgroup string) error {
	dir, err := c.target(cgroup)
	if err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	c.freezing.Lock()
	defer c.freezing.Unlock()
	defer c.refill() // after all else: what is to be frozen would feel that a program starts
	if c.keepers[cgroup] == nil {
		if was, err := os.ReadFile(dir + "/cgroup.freeze"); err != nil {
			return fmt.Errorf("freeze: %w: it takes Linux 5.2 and a cgroup below the root", err)
		} else if strings.TrimSpace(string(was)) == "1" {
			return fmt.Errorf("freeze: cgroup %s is frozen already, and not by Picket", cgroup)
		}
		k, err := c.keeper(dir + "/cgroup.freeze")
		if err != nil {
			return fmt.Errorf("freeze %s: nothing would thaw it if Picket died: %w", cgroup, err)
		}
		c.keepers[cgroup] = k
	}
	if err := writeExisting(dir+"/cgroup.freeze", "1"); err != nil {
		return fmt.Errorf("freeze: %w", errors.Join(err, c.thaw(cgroup)))
	}
	for start, pause := time.Now(), 100*time.Microsecond; time.Since(start) < settle; pause = min(2*pause, 5*time.Millisecond) {
		time.Sleep(pause)
		if is, err := c.Frozen(cgroup); is {
			return nil
		} else if err != nil {
			return errors.Join(err, c.thaw(cgroup))
		}
	}
	err = fmt.Errorf("freeze: cgroup %s goes on: a process in it waits for a device and did not stop", cgroup)
	return errors.Join(err, c.thaw(cgroup))
}

// Thaw lets a cgroup that we froze go on. It reports whether we had frozen it.
func (c *Cgroups) Thaw(cgroup string) (bool, error) {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	if c.keepers[cgroup] == nil {
		return false, nil
	}
	return true, c.thaw(cgroup)
}

func (c *Cgroups) thaw(cgroup string) error {
	c.keepers[cgroup].end()
	delete(c.keepers, cgroup)
	return c.ThawLeft(cgroup)
}

// ThawLeft thaws a cgroup that an earlier run froze. One that is gone is as good as thawed.
func (c *Cgroups) ThawLeft(cgroup string) error {
	err := writeExisting(c.root+cgroup+"/cgroup.freeze", "0")
	if err != nil && !vanished(err) {
		return fmt.Errorf("thaw: %w", err)
	}
	return nil
}

// Frozen reports whether all of a cgroup stands still.
func (c *Cgroups) Frozen(cgroup string) (bool, error) { return c.happens(cgroup, "frozen 1") }

// happens reports whether a cgroup's events say so.
func (c *Cgroups) happens(cgroup, what string) (bool, error) {
	b, err := os.ReadFile(c.root + cgroup + "/cgroup.events")
	if err != nil {
		return false, fmt.Errorf("look at the cgroup: %w", err)
	}
	return strings.Contains(string(b), what+"\n"), nil
}

// thawAll thaws what we froze, and lets the keeper go that waits for the next.
func (c *Cgroups) thawAll() error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	var all []error
	for cgroup := range c.keepers {
		all = append(all, c.thaw(cgroup))
	}
	c.ready = false
	if c.spare != nil {
		if k := <-c.spare; k != nil {
			k.end()
		}
		c.spare = nil
	}
	return errors.Join(all...)
}

// Ready has a keeper at hand from now on: to start a program takes longer than all else of a freeze.
func (c *Cgroups) Ready() {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	c.ready = true
	c.refill()
}

// refill starts the keeper of the next freeze, where one is to be at hand and none is.
func (c *Cgroups) refill() {
	if !c.ready || c.spare != nil {
		return
	}
	spare := make(chan *keeper, 1)
	c.spare = spare
	go func() {
		k, err := newKeeper()
		if err != nil {
			k = nil // the next freeze tries anew, and says why
		}
		spare <- k
	}()
}

// keeper has the one at hand, or a new one, see to a file of a cgroup.
func (c *Cgroups) keeper(file string) (*keeper, error) {
	if c.spare != nil {
		k := <-c.spare
		c.spare = nil
		if k != nil {
			if err := k.keep(file); err == nil {
				return k, nil
			}
			k.end() // somebody killed it
		}
	}
	k, err := newKeeper()
	if err == nil {
		err = k.keep(file)
	}
	return k, err
}

// keeper is a process that thaws a cgroup when the other end of its standard input closes, as it
// does when we end. It needs nothing but a shell, and stays when a terminal or systemd says stop.
type keeper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func newKeeper() (*keeper, error) {
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM INT HUP; echo; IFS= read -r f || exit; read _; echo 0 >"$f"`, "picket-keeper")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k := &keeper{cmd, in}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it is ready
		k.end()
		return nil, fmt.Errorf("its keeper did not start: %w", err)
	}
	return k, nil
}

// keep names the file that it thaws by. From then on the name is in its input, whatever becomes of us.
func (k *keeper) keep(file string) error {
	_, err := io.WriteString(k.in, file+"\n")
	return err
}

// end lets the keeper thaw and go.
func (k *keeper) end() {
	_ = k.in.Close()
	_ = k.cmd.Wait() // a cgroup that is gone makes it fail
}
