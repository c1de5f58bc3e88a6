// Package action is what Picket can do to the world in answer to an attack: one file for each act,
// which plans, does, checks and takes back. Who decides that it shall be done is package respond, or
// a person; that it is done once, on the very thing that was meant, and ends when its time is over,
// is seen to here, where no playbook can pass it by.
package action

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Kind names an act. It is the word in playbooks, on the command line and in the API.
type Kind string

// The acts of an agent on its own host, and those of a server.
const (
	Freeze     Kind = "freeze"     // all processes of a cgroup or lineage stand still
	Kill       Kind = "kill"       // a process, a lineage or a cgroup ends
	Isolate    Kind = "isolate"    // no packet passes to or from a cgroup
	Cut        Kind = "cut"        // live connections are reset
	Capture    Kind = "capture"    // evidence is put into a sealed archive
	Quarantine Kind = "quarantine" // a file is taken out of the way and can be put back
	Notify     Kind = "notify"     // people are told
	Ticket     Kind = "ticket"     // a case is opened elsewhere
)

// Class is how much harm an act can do. Policies, budgets and signatures of playbooks go by it.
type Class string

// The classes, by the harm that they can do.
const (
	Observe     Class = "observe"     // changes nothing that runs
	Reversible  Class = "reversible"  // taken back by Undo, and by itself when its time is over
	Destructive Class = "destructive" // cannot be taken back
)

// Target pins what is acted on, so that another process with the same number, or another file by
// the same name, is never hit: a pin that does not hold any more gives Gone. A process, a cgroup, a
// container, a file or an object is set; Host says where, and is empty for what a server does itself.
type Target struct {
	Host      string      `json:"host" required:"false"`
	Process   *ProcessPin `json:"process,omitempty"`
	Lineage   bool        `json:"lineage,omitempty"`   // with Process: it and all its descendants
	Cgroup    string      `json:"cgroup,omitempty"`    // path below the mount of cgroup v2, from /
	CgroupID  uint64      `json:"cgroup_id,omitempty"` // the directory's inode; 0: not pinned yet
	Container string      `json:"container,omitempty"` // id, whole
	File      *FilePin    `json:"file,omitempty"`
	Object    *ObjectPin  `json:"object,omitempty"`
	Address   string      `json:"address,omitempty"` // address or network, with Cut
}

// ProcessPin is one life of a process: the same, whatever program it makes itself by exec.
type ProcessPin struct {
	BootID string `json:"boot_id" required:"false"`
	PID    int    `json:"pid"`
	Start  uint64 `json:"start" required:"false"` // field 22 of /proc/PID/stat: clock ticks since boot
	Exe    string `json:"exe,omitempty"`          // that it runs
	Was    string `json:"was,omitempty"`          // that it ran when it was found, where that is another
}

// Ticks is a time since boot in nanoseconds as ProcessPin.Start has it. The kernel tells programs of a
// hundred ticks a second, whatever its own are.
func Ticks(ns uint64) uint64 { return ns / 10_000_000 }

// Program is the path of a program, also of one whose file was deleted since: that makes it no other.
func Program(exe string) string { return strings.TrimSuffix(exe, " (deleted)") }

// runs says what the process runs, and what it ran, "" where that is not known.
func (p *ProcessPin) runs() string {
	switch {
	case p.Was != "":
		return fmt.Sprintf(" (runs %s now; ran %s when it was found)", p.Exe, p.Was)
	case p.Exe != "":
		return " (" + p.Exe + ")"
	}
	return ""
}

// FilePin is one file, by inode and, where it was read, by content.
type FilePin struct {
	Path   string `json:"path"`
	Dev    uint64 `json:"dev,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // lower-case hex
}

// ObjectPin is one life of a thing that an orchestrator keeps.
type ObjectPin struct {
	Of        string `json:"of"`                  // kubernetes, slurm or host
	Kind      string `json:"kind"`                // pod, node, deployment, job, gpu…
	Namespace string `json:"namespace,omitempty"` // of Kubernetes
	Name      string `json:"name,omitempty"`
	Container string `json:"container,omitempty"` // id of a container of the pod, where its name is not known
	UID       string `json:"uid,omitempty"`       // "": not pinned yet
}

// String names the object for people.
func (o *ObjectPin) String() string {
	switch {
	case o.Name == "":
		return o.Kind + " of container " + o.Container
	case o.Namespace != "":
		return o.Kind + " " + o.Namespace + "/" + o.Name
	case o.Of == "slurm":
		return "Slurm " + o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Name
}

// same reports whether an object that was asked for is the one that was pinned.
func (o *ObjectPin) same(asked *ObjectPin) bool {
	if o == nil || asked == nil {
		return o == asked
	}
	return o.Of == asked.Of && o.Kind == asked.Kind &&
		(asked.Name == "" && o.Container == asked.Container || o.Name == asked.Name && o.Namespace == asked.Namespace) &&
		(asked.UID == "" || asked.UID == o.UID)
}

// Request asks for an act. The same ID is done once, however often it is asked for.
type Request struct {
	ID       string            `json:"id"`
	Run      string            `json:"run,omitempty"`   // of a playbook; empty: asked for by hand
	Step     string            `json:"step,omitempty"`  // of the run
	Fence    uint64            `json:"fence,omitempty"` // of the run's holder: lower ones than were seen are refused
	Kind     Kind              `json:"kind"`
	Class    Class             `json:"class,omitempty"` // that was approved: one that by then does more harm is refused; "": whatever it does
	Target   Target            `json:"target"`
	Params   map[string]string `json:"params,omitempty"`
	TTL      time.Duration     `json:"ttl,omitempty"` // ns; a reversible act is taken back after it
	By       string            `json:"by"`            // user, policy:NAME or agent:HOST
	Reason   string            `json:"reason,omitempty"`
	Incident string            `json:"incident,omitempty"`
}

// graver reports whether an act of a class would end what nobody approved the end of.
func (r *Request) graver(c Class) bool {
	return c == Destructive && r.Class != "" && r.Class != Destructive
}

// Plan says what an act would do, before it is done.
type Plan struct {
	Target  Target   `json:"target"` // pinned
	Class   Class    `json:"class"`
	Effects []string `json:"effects"`        // sentences for people: what will happen
	Hits    []string `json:"hits"`           // each process or file that it would reach: "1234 python3 train.py"
	Undo    string   `json:"undo"`           // how it is taken back; empty: it cannot
	Held    string   `json:"held,omitempty"` // who has the same held already
}

// State is how an act came out.
type State string

// How an act can come out.
const (
	Done    State = "done"
	Undone  State = "undone"
	Refused State = "refused" // protected, over budget, stopped, or an old fence: nothing was done
	Gone    State = "gone"    // the pin does not hold any more: nothing was done
	Failed  State = "failed"  // nothing of it holds
	Unknown State = "unknown" // begun, and no one can say whether it holds: a person looks
)

// Result is how an act came out, kept under its request's ID.
type Result struct {
	ID       string     `json:"id"`
	State    State      `json:"state"`
	Detail   string     `json:"detail"` // one sentence
	At       time.Time  `json:"at"`
	Until    time.Time  `json:"until,omitzero"` // when it is taken back by itself
	Output   string     `json:"output,omitempty"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence is a file that an act kept.
type Evidence struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Action is one kind of act. Plan changes nothing. Do is called at most once for a request that has
// no outcome yet. Verify looks at the world and says whether the effect holds now. Undo takes back
// what Do did, and does nothing where nothing holds; it is not called for destructive acts.
type Action interface {
	Kind() Kind
	Class() Class
	Plan(ctx context.Context, r *Request) (*Plan, error)
	Do(ctx context.Context, r *Request) (*Result, error)
	Verify(ctx context.Context, r *Request) (holds bool, detail string, err error)
	Undo(ctx context.Context, r *Request) (*Result, error)
}

// Executor carries requests out, on this host or on the one that the target names: the engine and
// the command line know no more of agents than this.
type Executor interface {
	Plan(ctx context.Context, r *Request) (*Plan, error)
	Do(ctx context.Context, r *Request) (*Result, error)
	Verify(ctx context.Context, r *Request) (holds bool, detail string, err error)
	Undo(ctx context.Context, r *Request) (*Result, error)
}
