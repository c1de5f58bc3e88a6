package event

import (
	"strings"
	"time"
)

// Key names a process on one host for one boot. A pid alone is reused.
type Key struct {
	PID   uint32 `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // start_boottime: nanoseconds since boot
}

// Process is one program image that ran: an exec makes a new Process under the same Key.
// Behind workload.Stamp it is shared and not changed, but for Exit.
type Process struct {
	UID       string // identity: derived from host, boot, pid, start and executable
	PID, TID  uint32
	NSPID     uint32 // pid inside its innermost pid namespace
	PPID      uint32
	StartBoot uint64 // start_boottime in ns; with PID the Key
	Boot      string // id of the boot that StartBoot counts from, where it is known
	PStart    uint64 // StartBoot of the parent
	Start     time.Time
	Comm      string
	Exe       string   // executable, resolved by the kernel
	Invoked   string   // what was passed to execve; differs from Exe for links and scripts
	Args      []string // redacted argument list
	Cmdline   string   // Args joined by one space
	CWD       string
	TTY       string

	Cred      Cred
	User      string // name of Cred.UID, where it could be resolved
	LoginUID  uint32
	SessionID uint32

	NS         Namespaces
	CgroupID   uint64
	CgroupPath string

	ExeDev, ExeIno uint64
	Layer          Layer // overlay layer of the executable; LayerUpper is drift
	Memfd          bool  // the executable never had a name on disk
	Script         bool  // Invoked is a script, Exe its interpreter
	FDExec         bool  // started by a descriptor, as fexecve does, and not by a path
	NoNewPrivs     bool
	Seccomp        uint32
	Preload        string // LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH of the new image, as NAME=value

	Parent    *Process // nil at the top or where it was never seen
	Container *Container
	Workload  *Workload

	// Set by ProcessExit.
	ExitCode   int32
	ExitSignal int32
	CoreDumped bool // its memory was written to a file, or to the program that takes such

	// What Images, Command, AncestorNames and OfInstaller return, once sealed.
	sealed    bool
	installer *Process
	images    []string
	command   string
	ancestors []string
	caps      *capSets
}

// Cred holds the credentials of a process.
type Cred struct {
	UID, GID, EUID, EGID, SUID, SGID, FSUID, FSGID uint32
	// Capability sets as bit masks, bit n for capability number n.
	CapEff, CapPerm, CapInh, CapBnd, CapAmb uint64
}

// Namespaces holds the inode numbers of a process's namespaces.
type Namespaces struct {
	PID, Mnt, Net, UTS, IPC, Cgroup, User uint32
}

// Key returns the process's identity on its host.
func (p *Process) Key() Key { return Key{p.PID, p.StartBoot} }

// Name returns the last part of the executable's path, and where that is unknown comm. Of an
// executable that is many programs in one (busybox) it is the one that its arguments choose.
func (p *Process) Name() string {
	i := strings.LastIndexByte(p.Exe, '/')
	switch name := p.Exe[i+1:]; {
	case i < 0 || name == "":
		return p.Comm
	case (name == "busybox" || name == "toybox") && len(p.Args) > 0:
		return strings.TrimPrefix(p.Args[0][strings.LastIndexByte(p.Args[0], '/')+1:], "-")
	default:
		return name
	}
}

// Images returns the paths under which the executable is known: as resolved and as invoked.
// A rule's Image matches either, because rule authors write the link (/usr/bin/python3), the
// kernel the target (/usr/bin/python3.11).
func (p *Process) Images() []string {
	if p.images != nil {
		return p.images
	}
	return p.imageList()
}

// Seal computes what Images, Command, AncestorNames and OfInstaller return and the names of capabilities, once,
// so that reading a process allocates nothing. Its ancestors must be in place.
func (p *Process) Seal() {
	p.images, p.command, p.ancestors, p.caps = p.imageList(), p.joinCommand(), p.listAncestors(), nil
	p.caps = p.capSets()
	p.installer, p.sealed = p.findInstaller(), true
}

func (p *Process) imageList() []string {
	switch {
	case p.Exe == "" && p.Invoked == "":
		return nil
	case p.Invoked == "" || p.Invoked == p.Exe:
		return []string{p.Exe}
	case p.Exe == "":
		return []string{p.Invoked}
	}
	return []string{p.Exe, p.Invoked}
}

const maxAncestors = 64

// Ancestors calls yield for the parent, its parent and so on, nearest first, at most 64.
func (p *Process) Ancestors(yield func(*Process) bool) {
	for a, n := p.Parent, 0; a != nil && n < maxAncestors; a, n = a.Parent, n+1 {
		if !yield(a) {
			return
		}
	}
}

// Member reports whether p is its workload's recognised root or one of the root's own workers:
// forked from it, or started from the same executable, with no other program in between.
func (p *Process) Member() bool {
	if p.Workload == nil || p.Workload.Root == (Key{}) {
		return false
	}
	if p.Key() == p.Workload.Root {
		return true
	}
	for a, n := p.Parent, 0; a != nil && n < maxAncestors && a.Exe == p.Exe; a, n = a.Parent, n+1 {
		if a.Key() == p.Workload.Root {
			return true
		}
	}
	return false
}

// Container is the container that a process runs in.
type Container struct {
	ID      string `json:"id"`                // as the runtime names it: 64 hex digits, or the name given to runc
	Runtime string `json:"runtime,omitempty"` // runc, containerd, cri-o, docker, podman
	PodUID  string `json:"pod_uid,omitempty"` // Kubernetes pod, with dashes; "" outside Kubernetes
	Cgroup  string `json:"cgroup,omitempty"`  // cgroup path
}

// WorkloadKind is what sort of AI work a workload does.
type WorkloadKind string

// The kinds of workload.
const (
	Inference WorkloadKind = "inference"
	Training  WorkloadKind = "training"
	Notebook  WorkloadKind = "notebook"
	Agent     WorkloadKind = "agent"
)

// Workload is an AI server or job: the process that was recognised and all below it.
type Workload struct {
	ID     string       `json:"id"` // derived from host, container or process, and engine
	Kind   WorkloadKind `json:"kind"`
	Engine string       `json:"engine"`          // vllm, triton, tgi, ollama, llama.cpp, sglang, ray, torchserve, jupyter, torchrun, deepspeed, accelerate
	Name   string       `json:"name"`            // what people would call it: model or job name, else the engine
	Model  string       `json:"model,omitempty"` // model path or name from its arguments
	Root   Key          `json:"root"`            // the recognised process
}

// Model is a model or dataset directory and who it belongs to.
type Model struct {
	Path     string `json:"path"` // directory, or file for a single-file model
	Name     string `json:"name"`
	Format   string `json:"format,omitempty"` // safetensors, gguf, …; of the file in question
	Dataset  bool   `json:"dataset,omitempty"`
	Workload string `json:"workload,omitempty"` // ID of the workload that opened it first, "" if configured
}
