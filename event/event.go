// Package event names what Picket talks about: events, findings, incidents, the entities they
// share, and the catalogue of fields that rules, queries and the store use for them.
//
// It holds data and its text forms only. What an event means is decided above it.
package event

import (
	"crypto/sha256"
	"encoding/binary"
	hexenc "encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kind says what happened.
type Kind uint8

// The kinds of events. ProcessSeen stands for a process that ran before the agent did. The BPF
// programs know them by number: those of one area stand together, with room behind them.
const (
	KindNone Kind = iota
	ProcessStart
	ProcessSeen
	ProcessFork
	ProcessExit
	FileRead
	FileCreate
	FileWrite
	FileRename
	FileDelete
	FileChmod
	NetConnect
	NetListen
	NetAccept
	NetSend
	SensorHealth

	NetDNS     Kind = 25 // a name that was asked for, or the answer
	NetReceive Kind = 27
	NetBind    Kind = 28 // a port was asked for by its number
	NetUnix    Kind = 29 // a socket of the host was connected to
	NetTLS     Kind = 30 // an encrypted connection was begun
)

// Files that are reached or changed in other ways than by an open.
const (
	FileLink     Kind = iota + 16 // a hard or a symbolic link was made
	FileMkdir                     // a directory was made
	FileTruncate                  // a file was cut, or holes were made in it
	FileChown
	FileAttr // an extended attribute was set or removed
	FileMap  // a file was mapped to be run, or a watched one to be written
	FileIO   // so many bytes were read or written so far
)

// What processes ask of the kernel to get at other processes, at the host or at more rights.
const (
	ProcessSignal     Kind = 32 // a signal for another process
	ProcessTrace      Kind = 33 // another process's memory, registers or files
	ProcessCred       Kind = 34 // other user or group ids, or capabilities
	ProcessNamespace  Kind = 35 // another namespace or root directory
	HostMount         Kind = 36
	HostModule        Kind = 37 // a kernel module
	HostBPF           Kind = 38
	HostKernel        Kind = 39 // a call that few programs have a reason to make; Call.Name says which
	HostSysctl        Kind = 40
	DeviceOpen        Kind = 41
	DeviceControl     Kind = 42
	CgroupCreate      Kind = 43
	ProcessCapability Kind = 44 // a capability that was used
)

// PolicyViolation says that a policy forbids what a process did or tried.
const PolicyViolation Kind = 48

// ActionDone says that Picket itself acted on the host, by a playbook's or a person's word, and how
// that came out or ended.
const ActionDone Kind = 49

// What becomes of the host's GPUs.
const (
	GPUSample Kind = 50 // how busy a GPU is, or what a process takes of it
	GPUFault  Kind = 51 // a driver said that something is wrong
)

// ModelSeen says what a model file is that a process wrote, or read for the first time: its digest,
// its signature and what loading it would do.
const ModelSeen Kind = 52

// What AI services are asked, and say of themselves.
const (
	ServiceRequest Kind = 53 // a request to an AI service
	ServiceMetrics Kind = 54 // what a service says of its load
)

// PrincipalHour says what one who asks AI services did within an hour, and what that looks like.
const PrincipalHour Kind = 58

// What is seen inside of programs, where that was asked for.
const (
	CUDACall    Kind = 55 // a process used libcuda
	PythonAudit Kind = 56 // a Python interpreter told of what it does
)

// ProfileDeviation says that a workload, or who reads its model, does what it is not wont to do.
const ProfileDeviation Kind = 57

// KubernetesAudit is a request to the API server of a cluster, out of its audit log.
const KubernetesAudit Kind = 61

// ModelDrift says that a model's answers are not as they were.
const ModelDrift Kind = 62

// MaxKinds bounds the numbers of kinds: the sensor asks for them by a bit each.
const MaxKinds = 64

// Accepts reports whether an event of the kind is of the end that is connected to.
func (k Kind) Accepts() bool { return k == NetAccept || k == NetListen || k == NetBind }

var kindNames = [MaxKinds]string{
	ProcessStart: "process.start", ProcessSeen: "process.seen", ProcessFork: "process.fork", ProcessExit: "process.exit",
	FileRead: "file.read", FileCreate: "file.create", FileWrite: "file.write", FileRename: "file.rename",
	FileDelete: "file.delete", FileChmod: "file.chmod", NetConnect: "net.connect", NetListen: "net.listen",
	NetAccept: "net.accept", NetSend: "net.send", NetDNS: "net.dns", NetReceive: "net.receive", NetBind: "net.bind", NetUnix: "net.unix", NetTLS: "net.tls", SensorHealth: "sensor.health",
	FileLink: "file.link", FileMkdir: "file.mkdir", FileTruncate: "file.truncate", FileChown: "file.chown",
	FileAttr: "file.attribute", FileMap: "file.map", FileIO: "file.io",

	ProcessSignal: "process.signal", ProcessTrace: "process.trace", ProcessNamespace: "process.namespace",
	HostMount: "host.mount", HostModule: "host.module", HostBPF: "host.bpf", HostKernel: "host.kernel",
	ProcessCred: "process.credentials", HostSysctl: "host.sysctl", DeviceOpen: "device.open", CgroupCreate: "cgroup.create",
	DeviceControl: "device.control", ProcessCapability: "process.capability",

	PolicyViolation: "policy.violation", ModelSeen: "model.seen",
	ActionDone: "action",

	GPUSample: "gpu.sample", GPUFault: "gpu.error",

	PrincipalHour: "principal.hour",

	ServiceRequest: "request", ServiceMetrics: "service.metrics",

	CUDACall: "cuda", PythonAudit: "python.audit",
	ProfileDeviation: "profile.deviation",

	KubernetesAudit: "kubernetes.audit", ModelDrift: "model.drift",
}

// Kinds calls yield with each kind there is, in the order of their numbers.
func Kinds(yield func(Kind) bool) {
	for k := KindNone + 1; k < MaxKinds; k++ {
		if kindNames[k] != "" && !yield(k) {
			return
		}
	}
}

// String returns the kind's name, such as "process.start".
func (k Kind) String() string {
	if k < MaxKinds {
		return kindNames[k]
	}
	return ""
}

// ParseKind is the reverse of String. It reports false for a name it does not know.
func ParseKind(s string) (Kind, bool) {
	if s == "" {
		return KindNone, false
	}
	i := slices.Index(kindNames[:], s)
	return Kind(max(i, 0)), i > 0
}

// Class returns the part of the kind's name before the dot: process, file, net, host, device,
// cgroup, policy, action, gpu, model, request, service, principal, cuda, python, profile, kubernetes
// or sensor.
// The store sorts events by host and class.
func (k Kind) Class() string {
	class, _, _ := strings.Cut(k.String(), ".")
	return class
}

// Event is one thing that happened on a host.
//
// A sensor reuses its Event: a receiver that keeps one past its call keeps e.Clone().
// Process is never nil behind workload.Stamp; before it, only PID, TID, Start and CgroupID are
// sure to be set for kinds other than ProcessStart and ProcessSeen.
type Event struct {
	Kind    Kind
	Time    time.Time // when the kernel saw it
	Host    string
	Process *Process
	File    File
	Net     Net
	// Call is what the process asked of the kernel, of kinds from ProcessSignal on; nil for others.
	// It is not changed once it is handed out, but for its Target by workload.Stamp.
	Call   *Call
	Policy *Policy    // PolicyViolation; nil for the others
	Action *Action    // ActionDone; nil for the others
	GPU    *GPUReport // GPUSample and GPUFault; nil for the others
	// Artifact is what the model file is, of ModelSeen and of a PolicyViolation about it; nil for the others.
	Artifact *Artifact
	Request  *Request // ServiceRequest, and who it is of PrincipalHour; nil for the others
	Service  *Service // ServiceMetrics; nil for the others
	// Principal is what one did in an hour, of PrincipalHour; nil for the others.
	Principal *Principal
	CUDA      *CUDA   // CUDACall; nil for the others
	Python    *Python // PythonAudit; nil for the others
	// Deviation is what is unusual, of a ProfileDeviation; nil for the others.
	Deviation *Deviation
	// Kubernetes is what a cluster was asked, of a KubernetesAudit; nil for the others.
	Kubernetes *Kubernetes
	Drift      *Drift // ModelDrift, whose Request says of which model; nil for the others
	// Errno is the negated return value of a call that failed, 0 for one that worked.
	Errno int32
	// Count is how many events this one stands for, itself included; 0 means 1. A process that
	// connects to the same address again and again is told of once a second, with the count.
	Count uint32
	// Truncated is set where a path, argument list or value was cut to fit its record.
	Truncated bool
	// Message is the text of a SensorHealth event; of others a remark, such as the findings it led to.
	Message string
	// Extra holds fields outside the catalogue that came with a foreign event, by name.
	Extra map[string]string

	root, member, child, stranger answer // set where the event was recorded elsewhere
	installer                     string // likewise
}

// File is the object of a file event. Paths are absolute in the mount namespace of the process
// and resolved by the kernel, not as the program spelled them.
type File struct {
	Path    string
	Old     string // FileRename: the path before; FileLink: what the link leads to
	Dev     uint64 // kernel encoding: major<<20 | minor
	Device  uint64 // of a device itself: which it is, in the same encoding
	Ino     uint64
	Size    int64
	Mode    uint32
	Layer   Layer
	Created bool // the open made the file
	Deleted bool // the file had no name left
	FileChange
	// Model is set where the path lies in a known model or dataset directory.
	Model *Model
}

// FileChange is what the kinds from FileChown on say of a file besides.
type FileChange struct {
	Owner, Group uint32 // FileChown: the new ones, NoOwner where one stays
	// Attribute is the name of an extended attribute that was set, or removed.
	Attribute string
	Removed   bool
	Access    Access // FileMap: what the mapping allows
	// BytesRead and BytesWritten are what the process has read and written of the file so far.
	BytesRead, BytesWritten uint64
}

// NoOwner stands for a user or group that a FileChown left as it was.
const NoOwner = ^uint32(0)

// Net is the object of a network event, seen from the process: Local is our end.
type Net struct {
	Local     netip.AddrPort
	Remote    netip.AddrPort
	Protocol  string // tcp, udp or unix
	Initiated bool   // the process connected, rather than accepted
	BytesOut  uint64 // NetSend: bytes sent so far by this process to Remote
	BytesIn   uint64 // NetReceive: bytes received so far by this process from Remote
	Hostname  string // NetConnect, NetTLS: the name that Remote's address was last given as an answer for
	DNS       *DNS   // NetDNS
	Unix      *Unix  // NetUnix
	TLS       *TLS   // NetTLS
}

// DNS is a question for a name, or the answer to one.
type DNS struct {
	Name    string // asked for, without the dot at its end
	Type    string // of record: A, AAAA, TXT, or TYPE65280
	Answer  bool
	Status  uint8  // Answer: 0 is no error, 3 no such name
	Results string // Answer: addresses and names, each with a semicolon behind it
}

// Layer says where in an overlay file system a file lies.
type Layer uint8

// LayerUpper marks a file written since the container started: drift.
const (
	LayerNone Layer = iota
	LayerLower
	LayerUpper
)

// String returns lower, upper or "".
func (l Layer) String() string { return [...]string{"", "lower", "upper"}[min(l, LayerUpper)] }

// Clone returns a copy that stays valid. The Process is shared: it is not changed once stamped.
func (e *Event) Clone() *Event {
	c := *e
	return &c
}

// ID returns the event's identity: 32 hex digits derived from host, kind, time, process and
// object, so the same event always has the same id.
func (e *Event) ID() string {
	h := sha256.New()
	var num [8]byte
	n := func(v uint64) {
		binary.LittleEndian.PutUint64(num[:], v)
		h.Write(num[:])
	}
	s := func(v string) {
		n(uint64(len(v)))
		h.Write([]byte(v))
	}
	s(e.Host)
	n(uint64(e.Kind))
	n(uint64(e.Time.UnixNano()))
	if p := e.Process; p != nil {
		n(uint64(p.PID)<<32 | uint64(p.TID))
		n(p.StartBoot)
		s(p.Exe)
	}
	s(e.File.Path)
	s(e.File.Old)
	n(e.File.Ino)
	remote, _ := e.Net.Remote.MarshalBinary()
	h.Write(remote)
	local, _ := e.Net.Local.MarshalBinary()
	h.Write(local)
	n(e.Net.BytesOut)
	if e.Kind >= FileLink && e.Kind <= FileIO { // kinds before them keep the ids that they had
		n(uint64(e.File.Owner)<<32 | uint64(e.File.Group))
		n(e.File.BytesRead)
		n(e.File.BytesWritten)
		s(e.File.Attribute)
	}
	if e.Call != nil {
		s(e.Call.text())
	}
	if e.Net.BytesIn > 0 {
		n(e.Net.BytesIn)
	}
	if d := e.Net.DNS; d != nil {
		s(d.Name)
		s(d.Type)
		s(d.Results)
	}
	if u := e.Net.Unix; u != nil {
		s(u.Path)
		s(u.Type)
		n(u.Ino)
	}
	if t := e.Net.TLS; t != nil {
		s(t.ServerName)
		s(t.ALPN)
	}
	if e.Kind == SensorHealth {
		s(e.Message)
	}
	e.told(s)
	for _, name := range e.extraNames() {
		s(name)
		s(e.Extra[name])
	}
	return hexenc.EncodeToString(h.Sum(nil)[:16])
}

// told gives what decisions, devices, models, services and programs told of to the hash of the event.
func (e *Event) told(s func(string)) {
	if e.Policy != nil {
		s(e.Policy.Name)
		s(e.Policy.Rule)
		s(e.Policy.Action)
	}
	if e.Action != nil {
		s(e.Action.ID)
		s(e.Action.State)
	}
	if e.GPU != nil {
		s(e.GPU.text())
	}
	if a := e.Artifact; a != nil {
		s(a.Use)
		s(a.Digest)
		s(a.Verdict)
		s(a.Signature)
	}
	if e.Request != nil {
		s(e.Request.text())
	}
	if e.Service != nil {
		s(e.Service.Address)
		s(e.Service.Model)
	}
	if e.Principal != nil {
		s(e.Principal.text())
	}
	if seen := e.probed(); seen != "" {
		s(seen)
	}
	if e.Deviation != nil {
		s(e.Deviation.text())
	}
	if e.Drift != nil {
		s(e.Drift.text())
	}
	if e.Kubernetes != nil {
		s(e.Kubernetes.text())
	}
}

// HashID derives an id of 32 hex digits from parts; equal parts give equal ids.
func HashID(parts ...string) string {
	h := sha256.New()
	var num [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(num[:], uint64(len(p)))
		h.Write(num[:])
		h.Write([]byte(p))
	}
	return hexenc.EncodeToString(h.Sum(nil)[:16])
}
