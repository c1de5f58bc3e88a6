package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network is a network namespace in which every address is local: an attack uses real addresses,
// and nothing can leave. It lives as long as a process or this handle holds it; it has no name.
type network struct {
	ns   netns.NsHandle
	done chan struct{} // closed by close
	gone chan struct{} // closed when the holding thread has ended
}

// newNetwork makes the namespace, then calls start on a thread inside it that lives until close:
// a child that start begins may ask to be killed with that thread.
func newNetwork(start func() error) (*network, error) {
	n := &network{ns: netns.None(), done: make(chan struct{}), gone: make(chan struct{})}
	ready := make(chan error)
	onThread(func() {
		defer close(n.gone)
		err := n.enter()
		if err == nil {
			err = start()
		}
		ready <- err
		if err == nil {
			<-n.done
		}
	})
	if err := <-ready; err != nil {
		<-n.gone
		if n.ns.IsOpen() {
			_ = n.ns.Close() // the first error is the one to tell
		}
		return nil, err
	}
	return n, nil
}

// onThread runs f on a thread of its own, which ends with f: what f does to its namespaces touches
// nothing else. The process's first thread does not end, and what it is in is what the process
// seems to be in, so it is left out.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with its goroutine
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread() // another thread: this one is taken
			close(taken)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
}

// enter puts the calling thread into a new namespace and makes every address local there.
func (n *network) enter() error {
	ns, err := netns.New()
	if err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	n.ns = ns
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Type: rtnLocal, Table: rtTableLocal, Scope: netlink.SCOPE_HOST}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("make every address local: %w", err)
	}
	return nil
}

const (
	rtnLocal     = 2   // RTN_LOCAL
	rtTableLocal = 255 // RT_TABLE_LOCAL
)

// path names the namespace for another process of this host.
func (n *network) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.ns)) }

// dial connects to addr inside the namespace, from the given address.
func (n *network) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	out := make(chan result, 1)
	onThread(func() {
		if err := netns.Set(n.ns); err != nil {
			out <- result{nil, fmt.Errorf("enter the sandbox network: %w", err)}
			return
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.DialContext(ctx, "tcp4", addr)
		out <- result{conn, err}
	})
	r := <-out
	return r.conn, r.err
}

func (n *network) close() error {
	close(n.done)
	<-n.gone
	if err := n.ns.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("release the sandbox network: %w", err)
	}
	return nil
}
