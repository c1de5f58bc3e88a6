package enforce

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"picket/event"
)

// A feature is a part of a policy, with the ways to enforce it, the best first.
type feature struct {
	name   string
	rungs  []rung
	lost   string
	wanted func(*Rules) bool
}

// A rung is programs that enforce a part together. Of an entry with alternatives the first that
// loads is used; an empty one stands for none, where the kernel does not have the hook.
type rung struct {
	name     string // of its hook, as events have it
	does     string
	lsm      bool
	programs [][]string
}

func each(programs ...string) (out [][]string) {
	for _, p := range programs {
		out = append(out, []string{p})
	}
	return out
}

var features = []feature{
	{
		"enforce-egress",
		[]rung{{"cgroup/connect", "cgroup/connect, cgroup/sendmsg, cgroup/sock_create: a call gets EPERM", false, each("on_connect4", "on_connect6", "on_sendmsg4", "on_sendmsg6", "on_socket")}},
		"connections that a policy forbids cannot be stopped",
		func(r *Rules) bool { return r.Egress != nil },
	},
	{
		"enforce-exec",
		[]rung{
			{"bprm_check_security", "bprm_check_security (LSM): running a program gets EPERM", true, each("on_check", "on_opened")},
			{"sched_process_exec", "sched_process_exec: a program is killed before its first instruction; in containers fanotify refuses it before that", false, each("on_exec", "on_opened")},
		},
		"programs that a policy forbids cannot be stopped",
		func(r *Rules) bool { return r.Exec != nil },
	},
	{
		"enforce-device",
		[]rung{{"cgroup/dev", "cgroup/dev: opening gets EPERM; what is open stays open", false, each("on_device")}},
		"devices that a policy forbids cannot be kept shut",
		func(r *Rules) bool { return r.Devices != nil },
	},
	{
		"enforce-sysctl",
		[]rung{{"cgroup/sysctl", "cgroup/sysctl: writing gets EPERM", false, each("on_sysctl")}},
		"settings of the kernel cannot be protected",
		func(r *Rules) bool { return r.Sysctl },
	},
	{
		"enforce-isolation",
		[]rung{{"cgroup_skb", "cgroup_skb: no packet of a cgroup passes", false, each("on_packet_out", "on_packet_in")}},
		"a workload cannot be cut off from the network",
		func(*Rules) bool { return false }, // it is no part of a policy
	},
	{
		"enforce-models",
		[]rung{{"file_open", "file_open, inode_create, inode_rename… (LSM): changing a model directory gets EPERM", true, append(
			each("on_open", "on_create", "on_mkdir", "on_mknod", "on_symlink", "on_unlink", "on_rmdir", "on_link", "on_rename", "on_setxattr", "on_removexattr", "on_opened"),
			[]string{"on_setattr_mapped", "on_setattr"}, []string{"on_set_acl", ""}, []string{"on_remove_acl", ""},
		)}, {sealedBy, "mount_setattr: a read-only mount in a container, in which changing gets EROFS; workloads with the host's mounts are refused", false, each("on_refused", "on_opened")}},
		"writing in a model directory is seen and not stopped",
		func(r *Rules) bool { return r.Enforce && len(r.Models) > 0 },
	},
	{
		"enforce-private",
		[]rung{{gatedBy, "fanotify: who is not of the workload gets EPERM when it opens a file", false, nil}},
		"files of a private model directory are opened by others",
		func(r *Rules) bool { return r.Enforce && len(r.Private) > 0 },
	},
	{
		"enforce-signed",
		[]rung{{gatedBy, "fanotify: a workload gets EPERM when it opens a model file that is not signed as its policy wants", false, nil}},
		"model files that are not signed are told of and loaded",
		func(r *Rules) bool { return r.Enforce && r.Signed != nil },
	},
	{
		"enforce-protect",
		[]rung{{"task_kill", "task_kill (LSM): a signal to Picket gets EPERM", true, each("on_kill")}},
		"signals to Picket are told and not stopped",
		func(*Rules) bool { return false },
	},
}

// load loads one program alone, so that one which fails does not fail the rest.
func (e *Enforcer) load(name string) (*ebpf.Program, error) {
	spec := e.spec
	if spec.Programs[name] == nil {
		spec = e.lsm
	}
	only := spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{name: only.Programs[name]}
	shared := map[string]*ebpf.Map{}
	for m := range spec.Maps {
		if !strings.HasPrefix(m, ".") { // data of the object's own
			shared[m] = e.maps[m]
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{MapReplacements: shared, Cache: e.types})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// attach puts one program to work.
func (e *Enforcer) attach(name string) error {
	if _, ok := e.attached[name]; ok || name == "on_opened" {
		return nil
	}
	prog, err := e.programs[name], error(nil)
	if prog == nil {
		if prog, err = e.load(name); err != nil {
			return err
		}
		e.programs[name] = prog // kept: to load it takes longer than to attach it
	}
	var l link.Link
	switch typ := prog.Type(); typ {
	case ebpf.LSM:
		l, err = link.AttachLSM(link.LSMOptions{Program: prog})
	case ebpf.Tracing:
		l, err = link.AttachTracing(link.TracingOptions{Program: prog})
	default:
		l, err = link.AttachCgroup(link.CgroupOptions{Path: e.root, Attach: e.spec.Programs[name].AttachType, Program: prog})
	}
	if err != nil {
		return err
	}
	e.attached[name] = l
	return nil
}

func (e *Enforcer) detach(name string) error {
	l := e.attached[name]
	delete(e.attached, name)
	return l.Close()
}

// follow attaches what the bound policies need and detaches what none needs any more.
func (e *Enforcer) follow() error {
	e.types = btf.NewCache() // the kernel's types are many: they are read once for all, and not kept
	defer func() { e.types = nil }()
	var all []error
	for _, f := range features {
		needed := f.name == "enforce-isolation" && len(e.isolated) > 0 || f.name == "enforce-protect" && e.guarding
		for _, b := range e.bound {
			needed = needed || f.wanted(&e.policies[b.name].rules)
		}
		_, on := e.climbed[f.name]
		switch {
		case needed && !on:
			if err := e.climb(f); err != nil {
				all = append(all, err)
			}
		case !needed && on:
			all = append(all, e.descend(f.name))
		}
	}
	return errors.Join(all...)
}

// climb attaches the first rung of a feature that this kernel takes whole.
func (e *Enforcer) climb(f feature) error {
	r, _, err := e.try(f, e.attach)
	if err != nil {
		return err
	}
	e.climbed[f.name] = r
	return nil
}

func (e *Enforcer) descend(feature string) error {
	r := e.climbed[feature]
	delete(e.climbed, feature)
	return e.drop(r)
}

// drop detaches the programs of a rung that are attached.
func (e *Enforcer) drop(r *rung) error {
	var all []error
	for _, name := range slices.Concat(r.programs...) {
		if _, ok := e.attached[name]; ok {
			all = append(all, e.detach(name))
		}
	}
	return errors.Join(all...)
}

// try does something with the programs of a feature's rungs until it works for all of one. It says
// why it was not a better one.
func (e *Enforcer) try(f feature, do func(program string) error) (*rung, []string, error) {
	var why []string
	for i := range f.rungs {
		r := &f.rungs[i]
		err := e.tryRung(r, do)
		if err == nil {
			return r, why, nil
		}
		if err := e.drop(r); err != nil {
			e.log.Warn("a program could not be detached", "error", err)
		}
		why = append(why, fmt.Sprintf("%s: %s", r.name, cause(err)))
	}
	return nil, nil, fmt.Errorf("%s: %s", f.lost, strings.Join(why, "; "))
}

func (e *Enforcer) tryRung(r *rung, do func(program string) error) error {
	if r.lsm {
		if err := e.listens(); err != nil {
			return err
		}
	}
	if r.name == sealedBy {
		if err := trySeal(); err != nil {
			return err
		}
	}
	if r.name == gatedBy {
		return tryGate()
	}
	for _, names := range r.programs {
		var err error
		for _, name := range names {
			if name == "" && errors.Is(err, ebpf.ErrNotSupported) {
				err = nil
				break
			}
			if name == "" {
				break
			}
			if err = do(name); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errDeaf is for kernels that take LSM programs and do not call them.
var errDeaf = errors.New("BPF is not among the kernel's security modules: boot with bpf in lsm=")

// tryLSM reports whether LSM programs load here and are called.
func (e *Enforcer) tryLSM() error {
	if err := e.attach("on_alive"); err != nil {
		return fmt.Errorf("LSM programs are refused: %w", cause(err))
	}
	defer e.detach("on_alive") //nolint:errcheck // it does nothing while it stays
	f, err := os.Open("/")
	if err != nil {
		return err
	}
	_ = f.Close() // nothing was written
	if e.count(0) == 0 {
		return errDeaf
	}
	return nil
}

// cause is the reason for which the kernel refused a program, without its long tale.
func cause(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return errors.New("this kernel does not have it")
	}
	if errors.Is(err, unix.EPERM) {
		return unix.EPERM // what is said beside it, of memory, is a guess
	}
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok && v.Cause != nil {
		return v.Cause
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}

// Probe says what of a policy this kernel can enforce and how, one row a part. It leaves nothing
// attached.
func Probe() []event.Capability {
	rows := make([]event.Capability, len(features))
	e, err := Open(Options{})
	if err == nil {
		defer e.Close() //nolint:errcheck // nothing was kept
		e.types = btf.NewCache()
	}
	for i, f := range features {
		rows[i] = event.Capability{Name: f.name}
		if err != nil {
			rows[i].Detail = f.lost + ": " + err.Error()
			continue
		}
		r, why, err := e.try(f, func(name string) error {
			prog, err := e.load(name)
			if err != nil {
				return err
			}
			return prog.Close()
		})
		if err != nil {
			rows[i].Detail = err.Error()
			continue
		}
		rows[i].OK, rows[i].Detail = true, strings.Join(append([]string{r.does}, why...), "; not by ")
	}
	return rows
}

// Lacks says what of a policy's rules this kernel cannot enforce, "" where it can all.
func Lacks(rows []event.Capability, r Rules) string {
	var out []string
	for _, f := range features {
		i := slices.IndexFunc(rows, func(c event.Capability) bool { return c.Name == f.name })
		if f.wanted(&r) && (i < 0 || !rows[i].OK) {
			why := f.lost
			if i >= 0 {
				why = rows[i].Detail
			}
			out = append(out, why)
		}
	}
	return strings.Join(out, "; ")
}

// Means says by what each part of a policy's rules is enforced, of those that can be.
func Means(rows []event.Capability, r Rules) []string {
	var out []string
	for _, f := range features {
		i := slices.IndexFunc(rows, func(c event.Capability) bool { return c.Name == f.name })
		if f.wanted(&r) && i >= 0 && rows[i].OK {
			out = append(out, strings.TrimPrefix(f.name, "enforce-")+" by "+rows[i].Detail)
		}
	}
	return out
}
