package node

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"picket/event"
	"picket/inventory"
	"picket/sensor/enforce"
)

const maxForeseen = 4096 // files below one directory that are looked at when a workload comes under a policy

// mayLoad says of a model file that a workload opens what is known of its signature, and has found out
// what is not. It is asked while the workload waits: it takes the scanner's own locks alone.
func (p *policies) mayLoad(o enforce.Opening, s *enforce.Signed) enforce.Judgment {
	if p.scanner == nil || !inventory.Judged(o.Path, true) {
		return enforce.Judgment{Known: true, Allowed: true}
	}
	v := inventory.Version{Dev: o.Dev, Ino: o.Ino, Size: o.Size, MTime: o.Modified, CTime: o.Changed}
	is, known := p.scanner.Known(v)
	if !known && p.scanner.Failed(v) { // else a file that cannot be judged would be one that may be loaded
		return enforce.Judgment{Known: true, Artifact: event.Artifact{Use: event.UseRead, Verdict: "failed", Refusal: "it ended what was to judge it"}}
	}
	if !known {
		p.scanner.See(inventory.Sighting{Process: &event.Process{PID: o.PID}, Path: o.Path, Dev: o.Dev, Ino: o.Ino, Use: inventory.Asked})
		return enforce.Judgment{}
	}
	a := is.Artifact
	a.Use = event.UseRead
	return enforce.Judgment{Known: true, Allowed: a.Signature == event.Signed && signedBy(a.Signer, s.By), Artifact: a}
}

// foresee has the files judged that a workload may load by a policy, so that what they are is known
// before it opens them. p.mu is held.
func (p *policies) foresee(to placed) {
	r, pid := p.applied[to.name], pidOf(to.root)
	if p.scanner == nil || pid == 0 || !r.Enforce || r.Signed == nil {
		return
	}
	p.foreseen.Go(func() {
		root, err := os.OpenRoot(to.root) // no link leads out of it
		if err != nil {
			return // the process is gone
		}
		defer root.Close() //nolint:errcheck // nothing was written
		for _, dir := range r.Signed.Places() {
			p.foreseeDir(root, dir, pid)
		}
	})
}

func (p *policies) foreseeDir(root *os.Root, dir string, pid uint32) {
	files := 0
	_ = fs.WalkDir(root.FS(), strings.Trim(path.Clean(dir), "/"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !inventory.Judged("/"+name, true) {
			return nil // what cannot be read now is judged when it is opened
		}
		if files++; files > maxForeseen {
			return fs.SkipAll
		}
		p.scanner.See(inventory.Sighting{Process: &event.Process{PID: pid}, Path: "/" + name, Use: inventory.Foreseen})
		return nil
	})
}

// pidOf is the process whose root directory a path below /proc is, 0 for another path.
func pidOf(root string) uint32 {
	number, ok := strings.CutPrefix(strings.TrimSuffix(root, "/root"), "/proc/")
	pid, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil {
		return 0
	}
	return uint32(pid)
}
