// Package policy reads what a workload is allowed to do: which programs it runs, where it sends to,
// which devices it opens, which model directories it leaves as they are.
//
// It knows the format, which workload a policy selects, and the sets that follow from it. It knows
// nothing of how a kernel enforces them.
package policy

import (
	"net/netip"
	"time"
)

// Mode says what becomes of an act that a policy does not allow.
type Mode string

// The modes. Observe tells and lets happen.
const (
	Observe Mode = "observe"
	Enforce Mode = "enforce"
)

// Bounds of what is read: the kernel keeps the sets of all policies in memory of its own.
const (
	MaxPolicies = 256
	MaxPrefixes = 4096 // of one policy, names included
	MaxExec     = 1024
	MaxDevices  = 128
	MaxPorts    = 8 // that one address or network is allowed with, beside all
	maxFile     = 4 << 20
)

// Policy is one file of policy.files.
type Policy struct {
	Name    string
	File    string
	Line    int
	Select  Select
	Mode    Mode
	Exec    *Exec   // nil: any program may run
	Egress  *Egress // nil: any address may be sent to
	Devices *Devices
	Models  *Models
	Sysctl  string    // "deny": no setting of the kernel is written; "" leaves them alone
	Expires time.Time // the end of the last day, UTC; zero for never
}

// Select says which workloads a policy is for. What is given must all fit; of a list any one.
type Select struct {
	Container []string // patterns of a container's id or name
	Cgroup    []string // patterns of a cgroup's path: * is within a part, a last /** all below
	Workload  []string // inference, training, notebook or agent
	Engine    []string // vllm, ollama…
	Exe       []string // patterns of the path of the workload's executable
}

// Exec lists the programs that may run, by path in the workload's own file system. A script is
// listed itself; an interpreter that is listed may run anything.
type Exec struct{ Allow []string }

// Egress lists where connections and datagrams may go. What no entry covers is denied, unless
// there is no allow list. Of two entries that cover an address the longer prefix counts.
type Egress struct {
	Allow, Deny []Peer
	Open        bool // no allow list: what is not denied is allowed
}

// Peer is a network, or a name that stands for addresses, with a port or, for 0, all ports.
type Peer struct {
	Prefix netip.Prefix
	Name   string
	Port   uint16
	line   int
	col    int
}

// Devices lists the device files that may be opened, beside those that every program needs.
type Devices struct{ Allow []string }

// Models says of model directories that nobody may write in them, or that nobody but the workload
// may open what lies in them, and which model files may be loaded.
type Models struct {
	Paths    []string
	ReadOnly bool
	Private  bool
	Signed   bool     // each that is loaded, below Paths where there are any, must be signed by who is trusted
	By       []string // with Signed: identities of keyless signatures, of which one must have signed; none: anybody who is trusted
	Hold     bool     // with Signed and Enforce: who opens one that is not judged yet waits for that; else it is opened, and told of after
}

// Over reports whether the policy has expired at a time.
func (p *Policy) Over(at time.Time) bool { return !p.Expires.IsZero() && !at.Before(p.Expires) }
