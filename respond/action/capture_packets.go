package action

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	packetsTime  = 500 * time.Millisecond // that packets are waited for, at least
	maxPackets   = 4096                   // of one network namespace
	maxNetworks  = 4
	maxHeader    = 40 + 60 // of IPv6 and TCP
	cookedHeader = 20      // LINKTYPE_LINUX_SLL2
	linkCooked   = 276
	magicNanosec = 0xa1b23c4d
	protocolTCP  = 6
	protocolUDP  = 17
)

// tap hears the packets of a network namespace.
type tap struct {
	fd   *os.File
	ns   uint64
	mu   sync.Mutex // of what follows
	pcap []byte
	n    int
}

// listen begins to collect the headers of packets in the networks of processes, apart from the host's. What
// it returns ends that, and puts them into the archive.
func (g *gathering) listen(lives []*life) (end func()) {
	var host unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &host); err != nil {
		g.a.lacks("packets", err)
		return func() {}
	}
	var taps []*tap
	seen, began := map[uint64]bool{host.Ino: true}, time.Now()
	for _, l := range lives {
		st, err := boxed(g, func() (st unix.Stat_t, err error) { return st, unix.Fstatat(int(l.dir.Fd()), "ns/net", &st, 0) })
		if err != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		if len(taps) == maxNetworks {
			g.a.lacks("packets", fmt.Sprintf("those of more than %d networks", maxNetworks))
			break
		}
		t, err := boxed(g, func() (*tap, error) { return tapOf(l, st.Ino) })
		if err != nil {
			g.a.lacks("packets", err)
			continue
		}
		go t.hear()
		taps = append(taps, t)
	}
	return func() {
		if len(taps) == 0 {
			return
		}
		select {
		case <-time.After(time.Until(began.Add(packetsTime))):
		case <-g.ctx.Done():
		}
		for _, t := range taps {
			_ = t.fd.Close() // which ends hear
			t.mu.Lock()
			name := path.Join("packets", strconv.FormatUint(t.ns, 10)+".pcap")
			if t.n == maxPackets {
				g.a.lacks(name, fmt.Sprintf("packets after the first %d", maxPackets))
			}
			g.a.add(name, t.pcap)
			t.mu.Unlock()
		}
	}
}

// tapOf opens a socket in the network namespace of a process that hears all its packets.
func tapOf(l *life, ns uint64) (*tap, error) {
	in, err := l.open("ns/net")
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only a handle
	type opened struct {
		fd  int
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is in another network, and ends with this function
		if err := unix.Setns(int(in.Fd()), unix.CLONE_NEWNET); err != nil {
			ch <- opened{err: fmt.Errorf("enter the network: %w", err)}
			return
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		ch <- opened{fd, err}
	}()
	o := <-ch
	if o.err != nil {
		return nil, o.err
	}
	t := &tap{fd: os.NewFile(uintptr(o.fd), "packets"), ns: ns}
	for _, x := range []uint32{magicNanosec, 4<<16 | 2, 0, 0, cookedHeader + maxHeader, linkCooked} {
		t.pcap = binary.LittleEndian.AppendUint32(t.pcap, x)
	}
	return t, nil
}

// bigEndian is a number of 16 bits as the network has it.
func bigEndian(n uint16) uint16 { return n<<8 | n>>8 }

// hear takes packets until the tap is closed, or there are enough.
func (t *tap) hear() {
	raw, err := t.fd.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, maxHeader)
	for more := true; more; {
		var size int
		var from unix.Sockaddr
		err := raw.Read(func(fd uintptr) bool {
			var err error
			size, from, err = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			return !errors.Is(err, unix.EAGAIN)
		})
		at, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			return
		}
		t.mu.Lock()
		t.take(at, buf[:min(max(size, 0), len(buf))], size, time.Now())
		t.n++
		more = t.n < maxPackets
		t.mu.Unlock()
	}
}

// take writes a packet down, without what it carries. The form is that of pcap with times in nanoseconds
// and headers of LINKTYPE_LINUX_SLL2.
func (t *tap) take(at *unix.SockaddrLinklayer, packet []byte, size int, now time.Time) {
	protocol := bigEndian(at.Protocol)
	packet = packet[:headers(protocol, packet)]
	le := binary.LittleEndian
	t.pcap = le.AppendUint32(t.pcap, uint32(now.Unix())) //nolint:gosec // until 2106
	t.pcap = le.AppendUint32(t.pcap, uint32(now.Nanosecond()))
	t.pcap = le.AppendUint32(t.pcap, uint32(cookedHeader+len(packet)))
	t.pcap = le.AppendUint32(t.pcap, uint32(cookedHeader+max(size, 0))) //nolint:gosec // of one packet
	be := binary.BigEndian
	t.pcap = be.AppendUint16(t.pcap, protocol)
	t.pcap = be.AppendUint16(t.pcap, 0)
	t.pcap = be.AppendUint32(t.pcap, uint32(at.Ifindex)) //nolint:gosec // of an interface
	t.pcap = be.AppendUint16(t.pcap, at.Hatype)
	t.pcap = append(t.pcap, at.Pkttype, min(at.Halen, 8))
	t.pcap = append(t.pcap, at.Addr[:8]...)
	t.pcap = append(t.pcap, packet...)
}

// headers is how much of a packet is headers: those of IP, and of TCP and UDP where they come next.
func headers(protocol uint16, b []byte) int {
	var n int
	var next byte
	switch {
	case protocol == unix.ETH_P_IP && len(b) >= 20:
		n, next = int(b[0]&15)*4, b[9]
		if be := binary.BigEndian.Uint16(b[6:]); be&0x1fff != 0 { // a later piece of a packet has no others
			next = 0
		}
	case protocol == unix.ETH_P_IPV6 && len(b) >= 40:
		n, next = 40, b[6]
	case protocol == unix.ETH_P_ARP:
		n = 28
	default:
		n = 0 // nothing of what is not known
	}
	switch {
	case next == protocolTCP && len(b) >= n+13:
		n += int(b[n+12]>>4) * 4
	case next == protocolUDP:
		n += 8
	}
	return min(n, len(b))
}
