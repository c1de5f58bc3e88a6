package enforce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Parts of the kernel's sock_diag protocol that x/sys lacks.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	attrCgroup       = 21 // INET_DIAG_CGROUP_ID
	requestLen       = 56 // struct inet_diag_req_v2
	messageLen       = 72 // struct inet_diag_msg
)

// connected are the states in which a socket has another end and can be closed: ESTABLISHED, SYN_SENT,
// SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING.
const connected = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// sockID is what the kernel knows a socket by, as it wrote it: struct inet_diag_sockid.
type sockID [48]byte

// diag asks the kernel for sockets of one network namespace.
type diag struct {
	fd  int
	seq uint32
}

func newDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("ask for sockets: %w", err)
	}
	tv := unix.NsecToTimeval(settle.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for sockets: %w", err), unix.Close(fd))
	}
	return &diag{fd: fd}, nil
}

func (d *diag) close() { _ = unix.Close(d.fd) }

var protocols = map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}

// list returns the sockets of the namespace that have another end.
func (d *diag) list() ([]Connection, error) {
	var out []Connection
	for number, name := range protocols {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			err := d.ask(sockDiagByFamily, unix.NLM_F_DUMP, request(family, number, connected, sockID{}), func(b []byte) {
				if c, ok := connectionOf(b); ok {
					c.Protocol = name
					out = append(out, c)
				}
			})
			if errors.Is(err, unix.ENOENT) { // then there may be some, and nobody would know
				return nil, fmt.Errorf("list %s sockets: the kernel has no %s_diag: modprobe %s_diag", name, name, name)
			}
			if err != nil {
				return nil, fmt.Errorf("list %s sockets: %w", name, err)
			}
		}
	}
	return out, nil
}

// destroy closes a connection at both ends.
func (d *diag) destroy(c Connection) error {
	number, family := uint8(unix.IPPROTO_TCP), uint8(unix.AF_INET)
	if c.Protocol == "udp" {
		number = unix.IPPROTO_UDP
	}
	if !c.Local.Addr().Is4() {
		family = unix.AF_INET6
	}
	err := d.ask(sockDestroy, unix.NLM_F_ACK, request(family, number, 1<<c.state, c.id), func([]byte) {})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return errors.New("this kernel cannot close connections: it was built without CONFIG_INET_DIAG_DESTROY")
	}
	return err
}

func request(family, protocol uint8, states uint32, id sockID) []byte {
	b := make([]byte, 8, requestLen)
	b[0], b[1] = family, protocol
	binary.NativeEndian.PutUint32(b[4:], states)
	return append(b, id[:]...)
}

// ask sends a request and hands over each answer, until the kernel says that it was the last.
func (d *diag) ask(kind, flags uint16, body []byte, each func([]byte)) error {
	d.seq++
	msg := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(msg, uint32(cap(msg)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(msg[8:], d.seq)
	if err := unix.Sendto(d.fd, append(msg, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for start := time.Now(); time.Since(start) < settle; {
		n, _, err := unix.Recvfrom(d.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if done, err := d.messages(buf[:n], each); done || err != nil {
			return err
		}
	}
	return os.ErrDeadlineExceeded
}

var errNetlink = errors.New("the kernel's answer is not understood")

// messages takes one datagram apart. It reports whether its answer is complete.
func (d *diag) messages(b []byte, each func([]byte)) (bool, error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false, errNetlink
		}
		body := b[unix.SizeofNlMsghdr:size]
		mine := binary.NativeEndian.Uint32(b[8:]) == d.seq // not of a request that was given up
		switch kind := binary.NativeEndian.Uint16(b[4:]); {
		case !mine:
		case kind == unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errNetlink
			}
			if n := int32(binary.NativeEndian.Uint32(body)); n != 0 {
				return false, unix.Errno(-n)
			}
			return true, nil
		case kind == unix.NLMSG_DONE:
			return true, nil
		default:
			each(body)
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}

// connectionOf reads a struct inet_diag_msg and the cgroup behind it.
func connectionOf(b []byte) (c Connection, ok bool) {
	if len(b) < messageLen {
		return c, false
	}
	c.state = b[1]
	copy(c.id[:], b[4:52])
	c.inode = binary.NativeEndian.Uint32(b[68:])
	local, remote := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	if b[0] == unix.AF_INET {
		local, remote = netip.AddrFrom4([4]byte(b[8:12])), netip.AddrFrom4([4]byte(b[24:28]))
	}
	c.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))
	c.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))
	for b = b[messageLen:]; len(b) >= 4; {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			break
		}
		if kind == attrCgroup && size >= 12 {
			c.cgroup = binary.NativeEndian.Uint64(b[4:])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return c, c.Remote.Port() != 0
}
