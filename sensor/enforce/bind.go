package enforce

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Apply gives a policy its rules. Cgroups that are bound to it follow at once: the new sets are
// complete before the first look-up finds them.
func (e *Enforcer) Apply(name string, r Rules) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.policies[name]
	p := &policy{rules: r}
	e.slot++
	p.slot = e.slot
	if err := e.fill(p); err != nil {
		e.empty(p)
		return fmt.Errorf("policy %s: %w", name, err)
	}
	e.policies[name], e.names[p.slot] = p, name
	all := []error{e.follow()}
	for id, b := range e.bound {
		if b.name == name {
			all = append(all, e.point(id, b))
		}
	}
	if old != nil {
		e.empty(old)
	}
	return errors.Join(append(all, e.reserve())...)
}

// fill writes the sets of a policy under its slot, which nothing looks up yet.
func (e *Enforcer) fill(p *policy) error {
	if eg := p.rules.Egress; eg != nil {
		for _, x := range eg.Prefixes {
			key, val, err := peerOf(p.slot, x)
			if err != nil {
				return err
			}
			if err := e.maps["peers"].Put(&key, &val); err != nil {
				return fmt.Errorf("keep network %s: %w", x.Prefix, err)
			}
			p.peers = append(p.peers, key)
		}
	}
	for _, d := range p.rules.Devices {
		key := bpfDeviceKey{Slot: p.slot, Type: 2, Major: d.Major, Minor: d.Minor}
		if d.Block {
			key.Type = 1
		}
		if err := e.maps["devices"].Put(&key, uint32(1)); err != nil {
			return fmt.Errorf("keep device %d:%d: %w", d.Major, d.Minor, err)
		}
		p.devs = append(p.devs, key)
	}
	return nil
}

// peerOf writes a network as the kernel's table has it.
func peerOf(slot uint32, x Prefix) (key bpfPeerKey, val bpfPeer, err error) {
	if len(x.Ports) > len(val.Port) {
		return key, val, fmt.Errorf("%s has %d ports, and at most %d are kept", x.Prefix, len(x.Ports), len(val.Port))
	}
	key.Slot, key.Family = slot, 6
	a := x.Addr().AsSlice()
	if x.Addr().Is4() {
		key.Family = 4
	}
	copy(key.Addr[:], a)
	key.Bits = uint32(32 + 8 + x.Bits())
	if x.Allow {
		val.Allow = 1
	}
	val.Ports = uint8(len(x.Ports))
	for i, p := range x.Ports {
		val.Port[i] = p<<8 | p>>8
	}
	return key, val, nil
}

// empty removes the sets of a policy that nothing looks up any more.
func (e *Enforcer) empty(p *policy) {
	for _, k := range p.peers {
		_ = e.maps["peers"].Delete(&k) // it is there, or as good as gone
	}
	for _, k := range p.devs {
		_ = e.maps["devices"].Delete(&k)
	}
	p.peers, p.devs = nil, nil
}

// Bind puts a cgroup, and those below it, under a policy that was applied. A cgroup that is bound
// already changes over.
func (e *Enforcer) Bind(t Target, name string) error {
	id, err := e.ID(t.Cgroup)
	if err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	if err := e.protects(t.Cgroup); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.policies[name] == nil {
		return fmt.Errorf("policy %s was not applied", name)
	}
	dir, err := openRoot(t.Root, e.root+t.Cgroup)
	if err != nil {
		return fmt.Errorf("policy %s: look for programs: %w", name, err)
	}
	b := &binding{target: t, name: name, dir: dir}
	if old := e.bound[id]; old != nil {
		b.programs, b.scripts, b.trees, b.sealed, b.mounts = old.programs, old.scripts, old.trees, old.sealed, old.mounts
		_ = unix.Close(old.dir)
	}
	e.bound[id] = b
	if err := e.follow(); err != nil {
		e.release(id)
		return fmt.Errorf("policy %s: %w", name, err)
	}
	if err := errors.Join(e.point(id, b), e.reserve()); err != nil {
		e.release(id)
		return errors.Join(fmt.Errorf("policy %s: %w", name, err), e.reserve())
	}
	return nil
}

// point makes the kernel's table say what a cgroup is bound to.
func (e *Enforcer) point(id uint64, b *binding) error {
	p := e.policies[b.name]
	if err := e.admit(id, b, p.rules.Exec); err != nil {
		return err
	}
	if err := e.keep(id, b, p.rules.kept()); err != nil {
		return err
	}
	if err := e.gateSigned(id, b); err != nil {
		return err
	}
	v := bpfBinding{Slot: p.slot, Flags: p.rules.flags()}
	if !p.rules.Until.IsZero() {
		v.Until = uint64(max(1, int64(bootNow()+time.Until(p.rules.Until))))
	}
	if err := e.maps["bound"].Put(id, &v); err != nil {
		return fmt.Errorf("bind cgroup %s: %w", b.target.Cgroup, err)
	}
	return nil
}

// keep keeps model directories as they are, by the rung that was found.
func (e *Enforcer) keep(id uint64, b *binding, paths []string) error {
	r := e.climbed["enforce-models"]
	switch {
	case len(paths) == 0:
		return errors.Join(e.plant(id, b, nil), e.seal(b, nil))
	case r != nil && r.name == sealedBy:
		return errors.Join(e.plant(id, b, paths), e.seal(b, paths)) // by the trees it is told what the mount refused
	}
	return e.plant(id, b, paths)
}

// kept are the directories that the kernel keeps as they are. Where a policy observes, the sensor
// tells what changes in them.
func (r *Rules) kept() []string {
	if r.Enforce {
		return r.Models
	}
	return nil
}

func (r *Rules) flags() uint32 {
	var f uint32
	for flag, on := range map[uint32]bool{
		flagEnforce: r.Enforce, flagEgress: r.Egress != nil, flagOpen: r.Egress != nil && r.Egress.Open,
		flagExec: r.Exec != nil, flagDevice: r.Devices != nil, flagSysctl: r.Sysctl, flagModels: len(r.Models) > 0,
	} {
		if on {
			f |= flag
		}
	}
	return f
}

// admit writes which programs the processes of a cgroup may run. What may run before and after may
// run throughout.
func (e *Enforcer) admit(id uint64, b *binding, paths []string) error {
	programs, scripts := map[bpfProgramKey]uint32{}, map[bpfScriptKey]bool{}
	if paths != nil {
		var err error
		if programs, scripts, err = e.resolve(id, b.dir, paths); err != nil {
			return err
		}
	}
	for k, use := range programs {
		if err := e.maps["programs"].Put(&k, use); err != nil {
			return fmt.Errorf("allow a program: %w", err)
		}
	}
	for k := range scripts {
		if err := e.maps["scripts"].Put(&k, uint32(1)); err != nil {
			return fmt.Errorf("allow a script: %w", err)
		}
	}
	for k := range b.programs {
		if _, ok := programs[k]; !ok {
			_ = e.maps["programs"].Delete(&k)
		}
	}
	for k := range b.scripts {
		if !scripts[k] {
			_ = e.maps["scripts"].Delete(&k)
		}
	}
	b.programs, b.scripts = programs, scripts
	return e.gateExec(id, b, paths)
}

// Refresh looks again where the paths of allowed programs and of models lead, as an update may have
// replaced one.
func (e *Enforcer) Refresh() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []error
	for id, b := range e.bound {
		p := e.policies[b.name]
		if p.rules.Exec != nil {
			all = append(all, e.admit(id, b, p.rules.Exec))
		}
		all = append(all, e.keep(id, b, p.rules.kept()), e.gateSigned(id, b))
	}
	return errors.Join(append(all, e.reserve())...)
}

// Release lets go of a cgroup: all is allowed again. It reports whether the cgroup was bound.
func (e *Enforcer) Release(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bound[id] == nil {
		return false
	}
	e.release(id)
	if err := errors.Join(e.follow(), e.reserve()); err != nil {
		e.log.Warn("a program could not be detached", "error", err)
	}
	return true
}

func (e *Enforcer) release(id uint64) {
	b := e.bound[id]
	delete(e.bound, id)
	if err := e.maps["bound"].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		e.log.Error("a cgroup could not be released", "cgroup", b.target.Cgroup, "error", err)
	}
	_ = errors.Join(e.admit(id, b, nil), ungate(e.signedGates, id)) // they only let go
	if err := e.keep(id, b, nil); err != nil {
		e.log.Error("a model directory stays read-only", "cgroup", b.target.Cgroup, "error", err)
	}
	_ = unix.Close(b.dir)
}

// Remove lets go of all cgroups under a policy and forgets it.
func (e *Enforcer) Remove(name string) {
	for id, n := range e.Bound() {
		if n == name {
			e.Release(id)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.policies[name]; p != nil {
		e.empty(p)
		delete(e.policies, name)
	}
}

// Bound returns which cgroups are bound to which policies.
func (e *Enforcer) Bound() map[uint64]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[uint64]string{}
	for id, b := range e.bound {
		out[id] = b.name
	}
	return out
}

// Rungs returns by which hook each part that is in use is enforced.
func (e *Enforcer) Rungs() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]string{}
	for feature, r := range e.climbed {
		out[strings.TrimPrefix(feature, "enforce-")] = r.name
	}
	return out
}

// Programs returns the names of the programs that are attached now, sorted.
func (e *Enforcer) Programs() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.attached))
}
