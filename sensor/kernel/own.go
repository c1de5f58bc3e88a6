package kernel

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picket/event"
)

// object is a map, program or link of the kernel's BPF.
type object struct {
	what string // map, program or link
	id   uint32
}

func (o object) String() string { return fmt.Sprint(o.what, " ", o.id) }

// own are the objects of this process, also those of others than the sensor. They are looked for when
// somebody asks, once a second at most.
type own struct {
	all  map[object]bool
	next uint64 // boot time of the next look
}

func (o *own) has(x object) bool {
	if now := bootNow(); now >= o.next {
		o.all, o.next = objects("self"), now+uint64(time.Second)
	}
	return o.all[x]
}

// maxLookedAt bounds the descriptors of another process that are looked at: it may have any number.
const maxLookedAt = 16 << 10

// objects lists what a process has descriptors of. Of one that ended it is nothing.
func objects(pid string) map[object]bool {
	all := map[object]bool{}
	dir := filepath.Join("/proc", pid, "fd")
	f, err := os.Open(dir)
	if err != nil {
		return all
	}
	defer f.Close()                       //nolint:errcheck // it was only read
	fds, _ := f.Readdirnames(maxLookedAt) // as many as can be read
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd)); err != nil || !strings.HasPrefix(to, "anon_inode:bpf") {
			continue
		}
		if x, ok := objectOf(pid, fd); ok {
			all[x] = true
		}
	}
	return all
}

// objectOf says what a descriptor is of. That of a link names its program as well: the link counts.
func objectOf(pid, fd string) (x object, ok bool) {
	info, err := os.ReadFile(filepath.Join("/proc", pid, "fdinfo", fd))
	if err != nil {
		return x, false
	}
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		for what, name := range map[string]string{"map_id": "map", "prog_id": "program", "link_id": "link"} {
			if key != what || ok && x.what == "link" {
				continue
			}
			if n, err := fmt.Sscan(value, &x.id); n == 1 && err == nil {
				x.what, ok = name, true
			}
		}
	}
	return x, ok
}

// ofBPF says which object a call of bpf(2) was about, and whether it is one of Picket's. An object that
// was got by its pin is looked for among the caller's descriptors, which it may have closed again.
func (o *own) ofBPF(c *event.Call, r *reported, caller uint32, failed bool) {
	first := binary.NativeEndian.Uint32(r.memory[:])
	var x object
	switch c.Request {
	case "BPF_PROG_GET_FD_BY_ID":
		x = object{"program", first}
	case "BPF_MAP_GET_FD_BY_ID":
		x = object{"map", first}
	case "BPF_LINK_GET_FD_BY_ID":
		x = object{"link", first}
	case "BPF_LINK_UPDATE", "BPF_LINK_DETACH":
		var ok bool
		if x, ok = objectOf(fmt.Sprint(caller), fmt.Sprint(first)); !ok {
			return
		}
	case "BPF_OBJ_GET":
		if failed {
			return // nothing was got
		}
		for held := range objects(fmt.Sprint(caller)) {
			if o.has(held) {
				x = held
			}
		}
		if x.id == 0 {
			return
		}
	default:
		return
	}
	if c.Object = x.String(); o.has(x) {
		c.Object += ofPicket
	}
}

// ofPicket marks Picket's own objects, for rules.
const ofPicket = " of Picket"
