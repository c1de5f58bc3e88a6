package enforce

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Filter says which connections are meant. Its zero value means all.
type Filter struct {
	Peer netip.Prefix // of the other end
	Port uint16       // of the other end
}

func (f Filter) fits(c Connection) bool {
	peer := netip.AddrPortFrom(c.Remote.Addr().Unmap(), c.Remote.Port())
	return (!f.Peer.IsValid() || f.Peer.Contains(peer.Addr())) && (f.Port == 0 || f.Port == peer.Port())
}

// Connection is one that a cgroup has open.
type Connection struct {
	Protocol string         `json:"protocol"` // tcp or udp
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote"`

	id     sockID
	inode  uint32
	cgroup uint64
	state  uint8
}

// Connections returns the TCP connections and connected UDP sockets of a cgroup and of those below
// it: the sockets that were made in it, and those that its processes have open. Sockets that listen
// are left out, and datagrams without a connection.
func (c *Cgroups) Connections(cgroup string, f Filter) ([]Connection, error) {
	return c.eachConnection(cgroup, f, func(*diag, Connection) error { return nil })
}

// Cut closes the connections that Connections returns, and returns them: both ends get an error, and
// what was underway is lost. It goes through the kernel's socket diagnosis (SOCK_DESTROY).
func (c *Cgroups) Cut(cgroup string, f Filter) ([]Connection, error) {
	return c.eachConnection(cgroup, f, (*diag).destroy)
}

func (c *Cgroups) eachConnection(cgroup string, f Filter, do func(*diag, Connection) error) ([]Connection, error) {
	if _, err := c.target(cgroup); err != nil {
		return nil, fmt.Errorf("connections: %w", err)
	}
	own, spaces, err := c.sockets(cgroup)
	if err != nil {
		return nil, fmt.Errorf("connections of cgroup %s: %w", cgroup, err)
	}
	out := []Connection{}
	var all []error
	for _, ns := range spaces {
		all = append(all, within(ns, func(d *diag) error {
			list, err := d.list()
			if err != nil {
				return err
			}
			for _, s := range list {
				if !own.have(s) || !f.fits(s) {
					continue
				}
				if err := do(d, s); err != nil && !errors.Is(err, unix.ENOENT) { // it closed as its other end did
					return fmt.Errorf("%s %s: %w", s.Protocol, s.Remote, err)
				}
				out = append(out, s)
			}
			return nil
		}))
	}
	if err := errors.Join(all...); err != nil {
		return out, fmt.Errorf("connections of cgroup %s: %w", cgroup, err)
	}
	return out, nil
}

// owned is what tells the sockets of a cgroup from others: where they were made, and who has them.
type owned struct {
	cgroups map[uint64]bool
	inodes  map[uint32]bool
}

func (o owned) have(c Connection) bool { return o.cgroups[c.cgroup] || o.inodes[c.inode] }

// sockets finds what belongs to a cgroup, and one process in each network namespace that it uses.
func (c *Cgroups) sockets(cgroup string) (owned, []string, error) {
	o := owned{map[uint64]bool{}, map[uint32]bool{}}
	err := c.walk(cgroup, func(dir string) error {
		id, err := c.ID(dir)
		o.cgroups[id] = err == nil
		return err
	})
	if err != nil {
		return o, nil, err
	}
	list, err := c.processes(cgroup)
	spaces := map[string]string{}
	for _, p := range list {
		dir := fmt.Sprintf("/proc/%d", p.PID)
		if ns, err := os.Readlink(dir + "/ns/net"); err == nil {
			spaces[ns] = dir + "/ns/net"
		}
		fds, _ := os.ReadDir(dir + "/fd") // of one that ended
		for _, fd := range fds {
			to, _ := os.Readlink(dir + "/fd/" + fd.Name())
			n, ok := strings.CutPrefix(to, "socket:[")
			if ino, err := strconv.ParseUint(strings.TrimSuffix(n, "]"), 10, 32); ok && err == nil {
				o.inodes[uint32(ino)] = true
			}
		}
	}
	return o, slices.Sorted(maps.Values(spaces)), err
}

// within calls f with a socket into the kernel that belongs to another network namespace. Only the
// making of the socket happens there.
func within(ns string, f func(*diag) error) error {
	d, err := openDiag(ns)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the process ended
	}
	if err != nil {
		return err
	}
	defer d.close()
	return f(d)
}

func openDiag(ns string) (*diag, error) {
	there, err := os.Open(ns)
	if err != nil {
		return nil, err
	}
	defer there.Close() //nolint:errcheck // nothing was written
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close() //nolint:errcheck // nothing was written
	type opened struct {
		d   *diag
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- opened{nil, fmt.Errorf("enter its network: %w", err)}
			return
		}
		d, err := newDiag()
		if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread ends with this function
		}
		done <- opened{d, err}
	}()
	o := <-done
	return o.d, o.err
}
