package cuda

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

const (
	maxModule  = 32 << 20 // that is read to digest it
	maxPTX     = 4 << 20
	budget     = 128 << 20 // that is read of modules in ten seconds
	budgetTime = 10 * time.Second
	warmUp     = 10 * time.Minute
	maxModules = 16 << 10 // that are remembered
	share      = 4        // the part of both that one process, or executable, may use up
	maxCallers = 8 << 10
	maxReads   = 4 // of processes' memory that are under way
	patience   = 2 * time.Second
	fatbin     = 0xba55ed50
)

// modules knows which code was loaded.
type modules struct {
	known  map[[16]byte]bool    // executable and digest
	first  map[caller]time.Time // module of a process
	left   int64                // of the budget
	took   map[uint32]int64     // of it, by process
	of     map[string]int       // modules that are remembered, by executable
	until  time.Time
	missed atomic.Uint64
	reads  chan struct{} // a place for each read of memory that is under way
	wait   time.Duration // for one of them
}

func newModules() modules {
	return modules{known: map[[16]byte]bool{}, first: map[caller]time.Time{}, took: map[uint32]int64{}, of: map[string]int{}, reads: make(chan struct{}, maxReads), wait: patience}
}

// look says what lies at an address of a process: of which format, how large, with which digest. It is
// read a moment after the call, and never past what is mapped.
func (m *modules) look(who caller, now time.Time, address uint64, head []byte) event.CUDAModule {
	out := event.CUDAModule{}
	out.Format, out.Size = formatOf(head)
	if now.After(m.until) {
		m.left, m.until = budget, now.Add(budgetTime)
		clear(m.took)
	}
	most := uint64(maxModule)
	if out.Format == "ptx" {
		most = maxPTX
	} else if out.Size == 0 || out.Size > most {
		most = 0
	} else {
		most = out.Size
	}
	if most > 0 && m.left > 0 && m.took[who.tgid] < budget/share {
		digest, size, ok := m.digest(func() (string, uint64, bool) { return digestOf(who.tgid, address, most, out.Format == "ptx") })
		m.left -= int64(size)
		m.took[who.tgid] += int64(size)
		if ok {
			out.Digest, out.Size = digest, size
		}
	}
	if out.Digest == "" {
		m.missed.Add(1)
	}
	m.seen(who, now, &out, out.Digest)
	return out
}

// digest reads memory of a process, and waits for it a moment: what is mapped there may be a file of a
// program that never answers (FUSE), and then the read does not end before that program.
func (m *modules) digest(read func() (string, uint64, bool)) (string, uint64, bool) {
	select {
	case m.reads <- struct{}{}:
	default: // all of them wait
		return "", 0, false
	}
	type result struct {
		digest string
		size   uint64
		ok     bool
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-m.reads }()
		var r result
		r.digest, r.size, r.ok = read()
		done <- r
	}()
	slow := time.NewTimer(m.wait)
	defer slow.Stop()
	select {
	case r := <-done:
		return r.digest, r.size, r.ok
	case <-slow.C:
		return "", 0, false
	}
}

// seen says whether the code is new to the executable, and whether the process is past its start.
func (m *modules) seen(who caller, now time.Time, out *event.CUDAModule, digest string) {
	if len(m.first) >= maxCallers {
		for c := range m.first {
			if !running(c.tgid) {
				delete(m.first, c)
			}
		}
	}
	if first, ok := m.first[who]; ok {
		out.Late = now.Sub(first) >= warmUp
	} else if len(m.first) < maxCallers {
		m.first[who] = now
	}
	if digest == "" {
		return
	}
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", who.tgid)) // "" of one that has ended
	sum := sha256.Sum256([]byte(exe + "\x00" + digest))
	key := [16]byte(sum[:16])
	switch {
	case m.known[key]:
	case len(m.known) < maxModules && m.of[exe] < maxModules/share:
		m.known[key] = true
		m.of[exe]++
		out.New = true
	default: // nothing is called new that may have been forgotten
		m.missed.Add(1)
	}
}

// formatOf tells code by its first bytes, and how large it says it is.
func formatOf(head []byte) (format string, size uint64) {
	switch {
	case len(head) >= 16 && binary.LittleEndian.Uint32(head) == fatbin:
		more := binary.LittleEndian.Uint64(head[8:])
		return "fatbin", min(more, 1<<40) + uint64(binary.LittleEndian.Uint16(head[6:]))
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return "elf", elfSize(head)
	case len(head) > 0 && isText(head):
		return "ptx", 0
	}
	return "unknown", 0
}

// elfSize is where the tables of an ELF file end: a cubin has its sections' last.
func elfSize(head []byte) uint64 {
	var h elf.Header64
	if err := binary.Read(bytes.NewReader(head), binary.LittleEndian, &h); err != nil || elf.Class(h.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return 0
	}
	return max(min(h.Shoff, 1<<40)+uint64(h.Shentsize)*uint64(h.Shnum), min(h.Phoff, 1<<40)+uint64(h.Phentsize)*uint64(h.Phnum))
}

// isText reports whether the bytes up to the first zero are text, as assembly for GPUs is.
func isText(b []byte) bool {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return len(b) > 0
}

// digestOf reads a process's memory: so many bytes, or a text up to its zero and no more than that.
func digestOf(pid uint32, address, most uint64, isText bool) (digest string, size uint64, ok bool) {
	h := sha256.New()
	buf := make([]byte, min(most, 256<<10))
	for size < most {
		want := min(most-size, uint64(len(buf)))
		n := readMemory(pid, address+size, buf[:want])
		if i := bytes.IndexByte(buf[:n], 0); isText && i >= 0 {
			h.Write(buf[:i])
			return hex.EncodeToString(h.Sum(nil)), size + uint64(i), true
		}
		h.Write(buf[:n])
		if size += uint64(n); uint64(n) < want {
			return "", size, false
		}
	}
	return hex.EncodeToString(h.Sum(nil)), size, !isText
}

// readMemory reads what is mapped at an address, and returns how much that was. It asks page by page:
// of a part that is not mapped whole the kernel gives nothing.
func readMemory(pid uint32, address uint64, into []byte) int {
	const page = 4096
	local := []unix.Iovec{{Base: &into[0]}}
	local[0].SetLen(len(into))
	var parts []unix.RemoteIovec
	for at, end := address, address+uint64(len(into)); at < end; {
		next := min(at&^(page-1)+page, end)
		parts = append(parts, unix.RemoteIovec{Base: uintptr(at), Len: int(next - at)})
		at = next
	}
	n, err := unix.ProcessVMReadv(int(pid), local, parts, 0)
	if err != nil {
		return 0
	}
	return n
}
