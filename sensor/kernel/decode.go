package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"path"
	"strings"
	"unsafe"

	"picket/event"
)

// Flags of a record's header.
const (
	flagTruncated = 1 << iota
	flagMemfd
	flagScript
	flagNoNewPrivs
	flagCreated
	flagDeleted
	flagInitiated
	flagByDescriptor = 1 << 10
)

var (
	errShort  = errors.New("record is shorter than its kind")
	errLength = errors.New("record states lengths beyond its end")
	errKind   = errors.New("record is of no known kind")
)

const (
	headerSize  = int(unsafe.Sizeof(typedHeader{}))
	processSize = int(unsafe.Sizeof(typedProcessRecord{}))
	fileSize    = int(unsafe.Sizeof(typedFileRecord{}))
	netSize     = int(unsafe.Sizeof(typedNetRecord{}))
)

// decoder turns records into events. It reuses one event, and one process for all kinds but
// ProcessStart.
type decoder struct {
	clock    clock
	users    users
	cgroups  cgroups
	e        event.Event
	p        event.Process
	comms    map[[16]int8]string
	lastComm [16]int8
	lastName string
	exe      string // of the process, where a call says it
	names    names
	texts    *texts

	hostSpaces map[uint32]bool
	own        own
}

func newDecoder(host string) decoder {
	d := decoder{cgroups: newCgroups(), comms: map[[16]int8]string{}, texts: newTexts(), hostSpaces: hostSpaces()}
	d.e.Host = host
	d.clock.refresh(bootNow())
	return d
}

func (d *decoder) close() { d.cgroups.close() }

// recordTime returns the boot time of a record.
func recordTime(raw []byte) (uint64, bool) {
	if len(raw) < headerSize {
		return 0, false
	}
	return binary.NativeEndian.Uint64(raw), true
}

// record returns raw as the C structure that it starts with, which is raw itself where it stands at
// a place fit for it: so does what was read from a ring.
func record[T any](raw []byte) (*T, error) {
	size := int(unsafe.Sizeof(*new(T)))
	if len(raw) < size {
		return nil, errShort
	}
	at := unsafe.Pointer(unsafe.SliceData(raw))
	if uintptr(at)%unsafe.Alignof(*new(T)) == 0 {
		return (*T)(at), nil
	}
	r := new(T)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(r)), size), raw)
	return r, nil
}

// decode reads one record. The event is valid until the next call.
func (d *decoder) decode(raw []byte) (*event.Event, error) {
	h, err := record[typedHeader](raw)
	if err != nil {
		return nil, err
	}
	kind := event.Kind(h.Kind)
	d.exe = ""
	d.e = event.Event{Kind: kind, Time: d.clock.wall(h.Time), Host: d.e.Host, Truncated: h.Flags&flagTruncated != 0}
	switch {
	case kind == event.ProcessStart || kind == event.ProcessSeen:
		p, err := d.process(raw)
		if err != nil {
			return nil, err
		}
		d.e.Process = p
		return &d.e, nil
	case kind == event.ProcessFork || kind == event.ProcessExit:
	case kind >= event.FileRead && kind <= event.FileChmod || kind >= event.FileLink && kind <= event.FileIO:
		err = d.file(raw)
	case kind >= event.NetConnect && kind <= event.NetSend:
		err = d.net(raw)
	case kind == event.DeviceOpen:
		err = d.device(raw)
	case kind == event.DeviceControl || kind == event.ProcessCapability:
		err = d.tally(raw)
	case kind >= event.ProcessSignal && kind <= event.CgroupCreate:
		err = d.call(raw)
	case kind == event.NetReceive:
		if err = d.net(raw); err == nil {
			d.e.Net.BytesIn, d.e.Net.BytesOut = d.e.Net.BytesOut, 0
		}
	case kind == event.NetBind:
		err = d.net(raw)
	case kind == event.NetUnix:
		err = d.unix(raw)
	case kind == event.NetDNS:
		err = d.dns(raw, h)
	case kind == event.NetTLS:
		err = d.tls(raw)
	default:
		err = errKind
	}
	if err != nil {
		return nil, err
	}
	d.p = event.Process{Exe: d.exe}
	d.identity(&d.p, h)
	if kind == event.ProcessExit {
		d.p.ExitCode, d.p.ExitSignal = h.Result>>8&0xff, h.Result&0x7f
		d.p.CoreDumped = h.Result&0x80 != 0
	} else if h.Result < 0 {
		d.e.Errno = -h.Result
	}
	d.e.Process = &d.p
	return &d.e, nil
}

func (d *decoder) identity(p *event.Process, h *typedHeader) {
	p.PID, p.TID, p.PPID = h.Tgid, h.Tid, h.Ppid
	p.StartBoot, p.PStart, p.CgroupID = h.Start, h.ParentStart, h.Cgroup
	p.Start = d.clock.wall(h.Start)
	p.Comm = d.comm(&h.Comm)
}

// comm returns a short name, the same string for the same name. Most often it is the last one's.
func (d *decoder) comm(c *[16]int8) string {
	if *c == d.lastComm {
		return d.lastName
	}
	s, ok := d.comms[*c]
	if !ok {
		s = d.newComm(c)
	}
	d.lastComm, d.lastName = *c, s
	return s
}

func (d *decoder) newComm(c *[16]int8) string {
	if len(d.comms) >= 4096 {
		clear(d.comms)
	}
	s := text(c[:])
	d.comms[*c] = s
	return s
}

func text(c []int8) string {
	var b strings.Builder
	for _, x := range c {
		if x == 0 {
			break
		}
		b.WriteByte(byte(x))
	}
	return b.String()
}

// parts cuts what follows a record into pieces of the stated lengths.
func parts(rest []byte, lengths ...int) ([][]byte, error) {
	out := make([][]byte, len(lengths))
	for i, n := range lengths {
		if n < 0 || n > len(rest) {
			return nil, errLength
		}
		out[i], rest = rest[:n], rest[n:]
	}
	return out, nil
}

func (d *decoder) process(raw []byte) (*event.Process, error) {
	r, err := record[typedProcessRecord](raw)
	if err != nil {
		return nil, err
	}
	data, err := parts(raw[processSize:], int(r.ExeLen), int(r.CwdLen), int(r.InvokedLen), int(r.EnvLen), int(r.ArgsLen))
	if err != nil {
		return nil, err
	}
	p := &event.Process{
		NSPID: r.NsPid, LoginUID: r.Loginuid, SessionID: r.Session, Seccomp: r.Seccomp,
		ExeDev: uint64(r.ExeDev), ExeIno: r.ExeIno, Layer: event.Layer(r.Layer),
		Memfd: r.H.Flags&flagMemfd != 0, Script: r.H.Flags&flagScript != 0, FDExec: r.H.Flags&flagByDescriptor != 0, NoNewPrivs: r.H.Flags&flagNoNewPrivs != 0,
		TTY: text(r.Tty[:]), Exe: d.texts.of(data[0]), CWD: d.texts.of(data[1]), Invoked: d.texts.of(data[2]),
		Cred: event.Cred{
			UID: r.Uid, GID: r.Gid, EUID: r.Euid, EGID: r.Egid, SUID: r.Suid, SGID: r.Sgid, FSUID: r.Fsuid, FSGID: r.Fsgid,
			CapEff: r.CapEff, CapPerm: r.CapPerm, CapInh: r.CapInh, CapBnd: r.CapBnd, CapAmb: r.CapAmb,
		},
		NS: event.Namespaces{PID: r.NsPidInum, Mnt: r.NsMnt, Net: r.NsNet, UTS: r.NsUts, IPC: r.NsIpc, Cgroup: r.NsCgroup, User: r.NsUser},
	}
	d.identity(p, &r.H)
	p.TID = p.PID
	p.User = d.users.name(p.Cred.UID)
	p.CgroupPath = d.cgroups.path(p.CgroupID, p.PID)
	p.Preload = strings.Join(split(data[3]), " ")
	setArgs(p, split(data[4]))
	return p, nil
}

// setArgs gives a process its arguments with secrets masked.
func setArgs(p *event.Process, args []string) {
	p.Args = redact(args)
	p.Cmdline = strings.Join(p.Args, " ")
}

// split cuts a block of strings that end with NUL.
func split(block []byte) []string {
	s := strings.TrimSuffix(string(block), "\x00")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x00")
}

func (d *decoder) file(raw []byte) error {
	r, err := record[typedFileRecord](raw)
	if err != nil {
		return err
	}
	data, err := parts(raw[fileSize:], int(r.DirLen), int(r.PathLen), int(r.OldDirLen), int(r.OldLen))
	if err != nil {
		return err
	}
	d.e.File = event.File{
		Path: d.join(data[0], data[1]), Old: d.join(data[2], data[3]), Dev: uint64(r.Dev), Device: uint64(r.Rdev), Ino: r.Ino, Size: r.Size, Mode: r.Mode,
		Layer: event.Layer(min(r.Layer, uint32(event.LayerUpper))), Created: r.H.Flags&flagCreated != 0, Deleted: r.H.Flags&flagDeleted != 0,
	}
	if d.e.Kind >= event.FileLink {
		fileChange(&d.e, r, data)
	}
	return nil
}

// join is join of what mostly was told of before.
func (d *decoder) join(dir, name []byte) string {
	if len(dir) == 0 {
		return d.texts.path(name)
	}
	return join(dir, name)
}

// join makes a path absolute that a program passed.
func join(dir, name []byte) string {
	switch {
	case len(name) == 0:
		return ""
	case len(dir) > 0:
		return path.Clean(string(dir) + "/" + string(name))
	}
	return path.Clean(string(name))
}

func (d *decoder) net(raw []byte) error {
	r, err := record[typedNetRecord](raw)
	if err != nil {
		return err
	}
	d.e.Net = event.Net{
		Local: endpoint(r.Family, &r.Local, r.LocalPort), Remote: endpoint(r.Family, &r.Remote, r.RemotePort),
		Protocol: "tcp", Initiated: r.H.Flags&flagInitiated != 0, BytesOut: r.Bytes,
	}
	d.e.Count = r.Count
	if r.Protocol == 17 {
		d.e.Net.Protocol = "udp"
	}
	if d.e.Kind == event.NetConnect || d.e.Kind == event.NetTLS {
		d.e.Net.Hostname = d.names.of(d.e.Net.Remote.Addr())
	}
	if d.e.Kind == event.NetListen || d.e.Kind == event.NetBind {
		d.e.Net.Remote = netip.AddrPort{}
	}
	return nil
}

// endpoint reads an address; one of IPv4 in the clothes of IPv6 comes out as IPv4.
func endpoint(family uint16, a *[16]uint8, port uint16) netip.AddrPort {
	var ip netip.Addr
	if family == 2 {
		ip = netip.AddrFrom4([4]byte(a[:4]))
	} else {
		ip = netip.AddrFrom16(*a).Unmap()
	}
	return netip.AddrPortFrom(ip, port<<8|port>>8)
}
