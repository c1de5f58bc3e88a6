package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
)

// witness hears by fanotify of changes in watched directories. It is no eBPF program, and what the
// programs miss it does not: a write through a descriptor that was open before, a name that another
// thread rewrote, a record that found its ring full. A change that the programs told of it keeps to
// itself.
type witness struct {
	s   *Sensor
	f   *os.File
	fd  int // of f
	mu  sync.Mutex
	dir map[string]string // by file system and handle: the directory's path
	// told is what the programs told of, and when: the present and the past few thousand.
	told [2]map[deed]uint64
	wait []testimony
}

// deed is a change as both see it. Paths differ where mount namespaces do, and names do not.
type deed struct {
	pid  uint32
	sort deedSort
	name string
}

type deedSort uint8

const (
	deedNone deedSort = iota
	deedMake
	deedWrite
	deedDelete
	deedRename
	deedAttribute
)

// testimony is a change that waits for the programs to tell of it.
type testimony struct {
	deed
	kind      event.Kind
	path, old string
	time      uint64 // since boot
}

const (
	// witnessWait is how long after a change the programs may tell of it.
	witnessWait = 500 * time.Millisecond
	// witnessMemory is how long before one they may have. A write is told of when the file is
	// opened and heard of when it is closed, so of writes everything counts.
	witnessMemory = 2 * time.Second
	witnessDeeds  = 4096
	witnessMask   = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_RENAME | unix.FAN_CLOSE_WRITE | unix.FAN_ATTRIB | unix.FAN_EVENT_ON_CHILD | unix.FAN_ONDIR
)

// witnessRemark stands on an event that only fanotify saw.
const witnessRemark = "seen by fanotify alone"

func openFanotify() (int, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY)
	if err != nil {
		return 0, fmt.Errorf("listen to fanotify (Linux 5.17 or newer): %w", err)
	}
	return fd, nil
}

// secondWitness is the row of Probe.
func secondWitness() event.Capability {
	c := event.Capability{Name: "second-witness", OK: true, Detail: "fanotify: changes in watched directories that the programs miss"}
	fd, err := openFanotify()
	if err != nil {
		c.OK, c.Detail = false, err.Error()
		return c
	}
	_ = unix.Close(fd)
	return c
}

func newWitness(s *Sensor) (*witness, error) {
	fd, err := openFanotify()
	if err != nil {
		return nil, err
	}
	w := &witness{s: s, f: os.NewFile(uintptr(fd), "fanotify"), fd: fd, dir: map[string]string{}}
	w.told[0] = map[deed]uint64{}
	go w.loop()
	return w, nil
}

// add listens to what changes in a directory.
func (w *witness) add(name string, f *os.File) error {
	key, err := handleOf(f)
	if err != nil {
		return err
	}
	if err := unix.FanotifyMark(w.fd, unix.FAN_MARK_ADD, witnessMask, int(f.Fd()), ""); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dir[key] = name
	return nil
}

// remove ends add for the directories that keep does not want.
func (w *witness) remove(keep func(dir string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, dir := range w.dir {
		if keep(dir) {
			continue
		}
		delete(w.dir, key) // what the mark still says is of no known directory
		if f, err := openIn(dir, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			_ = unix.FanotifyMark(w.fd, unix.FAN_MARK_REMOVE, witnessMask, int(f.Fd()), "")
			_ = f.Close()
		}
	}
}

// handleOf names a directory as fanotify does: by its file system and its handle there.
func handleOf(f *os.File) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return "", err
	}
	h, _, err := unix.NameToHandleAt(int(f.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return "", err
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(fs.Fsid.Val[0]))
	b = binary.NativeEndian.AppendUint32(b, uint32(fs.Fsid.Val[1]))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Size()))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Type()))
	return string(append(b, h.Bytes()...)), nil
}

// loop takes what fanotify says. It ends when f is closed.
func (w *witness) loop() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= metadataSize; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < metadataSize || size > len(b) {
				break
			}
			w.take(b[:size], bootNow())
			b = b[size:]
		}
	}
}

// told by the kernel in this order: length, version, reserved, length of this, mask, descriptor, pid.
const metadataSize = 24

func (w *witness) take(b []byte, now uint64) {
	mask, pid := binary.NativeEndian.Uint64(b[8:]), binary.NativeEndian.Uint32(b[20:])
	if mask&unix.FAN_Q_OVERFLOW != 0 {
		w.s.counts.overflow.Add(1)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at, old := w.places(b[min(int(binary.NativeEndian.Uint16(b[6:])), len(b)):])
	if at == "" || int(pid) <= 0 {
		return
	}
	for _, t := range testimonies(mask) {
		t.pid, t.name, t.path, t.old, t.time = pid, path.Base(at), at, old, now
		w.wait = append(w.wait, t)
	}
	if r := w.s.wake.Load(); r != nil && len(w.wait) > 0 {
		r.now()
	}
}

// places reads the paths that a record carries: where the file is, and where it was.
func (w *witness) places(b []byte) (at, old string) {
	for len(b) >= 4 {
		kind, size := b[0], int(binary.NativeEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			break
		}
		name := w.place(b[4:size])
		switch kind {
		case unix.FAN_EVENT_INFO_TYPE_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			at = name
		case unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
			old = name
		}
		b = b[size:]
	}
	if at == "" { // out of the watched directories
		at = old
	}
	return at, old
}

func (w *witness) place(b []byte) string {
	if len(b) < 16 {
		return ""
	}
	end := 16 + int(binary.NativeEndian.Uint32(b[8:]))
	if end < 16 || end > len(b) {
		return ""
	}
	dir, ok := w.dir[string(b[:end])]
	name, _, _ := strings.Cut(string(b[end:]), "\x00")
	if !ok || name == "" || name == "." {
		return ""
	}
	return filepath.Join(dir, name)
}

// testimonies are the changes in a mask: fanotify puts several of one file into one record.
func testimonies(mask uint64) (out []testimony) {
	add := func(bit uint64, sort deedSort, k event.Kind) {
		if mask&bit != 0 {
			out = append(out, testimony{deed: deed{sort: sort}, kind: k})
		}
	}
	made := event.FileCreate
	if mask&unix.FAN_ONDIR != 0 {
		made = event.FileMkdir
	}
	add(unix.FAN_CREATE, deedMake, made)
	add(unix.FAN_CLOSE_WRITE, deedWrite, event.FileWrite)
	add(unix.FAN_DELETE, deedDelete, event.FileDelete)
	add(unix.FAN_RENAME, deedRename, event.FileRename)
	add(unix.FAN_ATTRIB, deedAttribute, event.FileAttr)
	return out
}

// sortsOf are the deeds that an event of the programs accounts for.
func sortsOf(k event.Kind) []deedSort {
	switch k {
	case event.FileCreate:
		return []deedSort{deedMake, deedWrite}
	case event.FileLink, event.FileMkdir:
		return []deedSort{deedMake}
	case event.FileWrite:
		return []deedSort{deedWrite, deedAttribute} // an open that cuts changes attributes
	case event.FileTruncate, event.FileChmod, event.FileChown, event.FileAttr:
		return []deedSort{deedAttribute}
	case event.FileDelete:
		return []deedSort{deedDelete}
	case event.FileRename:
		return []deedSort{deedRename}
	}
	return nil
}

// note remembers what the programs told of.
func (w *witness) note(e *event.Event, boot uint64) {
	sorts := sortsOf(e.Kind)
	if len(sorts) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dir) == 0 {
		return
	}
	if len(w.told[0]) > witnessDeeds {
		w.told = [2]map[deed]uint64{{}, w.told[0]}
	}
	for _, sort := range sorts {
		w.told[0][deed{e.Process.PID, sort, path.Base(e.File.Path)}] = boot
	}
}

// waiting reports whether a change is not yet decided on.
func (w *witness) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wait) > 0
}

// tell hands on the changes that the programs had time to tell of and did not.
func (w *witness) tell(now uint64, handle func(*event.Event)) {
	w.mu.Lock()
	n := 0
	var left []testimony
	for n < len(w.wait) && w.wait[n].time+uint64(witnessWait) <= now {
		if t := w.wait[n]; !w.knows(&t) {
			left = append(left, t)
		}
		n++
	}
	w.wait = append(w.wait[:0], w.wait[n:]...)
	w.mu.Unlock()
	for i := range left {
		if e := w.s.witnessed(&left[i]); e != nil {
			w.s.counts.received[e.Kind].Add(1)
			handle(e)
		}
	}
}

func (w *witness) knows(t *testimony) bool {
	for _, told := range w.told {
		if at, ok := told[t.deed]; ok && (t.sort == deedWrite || at+uint64(witnessMemory) >= t.time) {
			return true
		}
	}
	return false
}

// witnessed makes an event of a change, or nil where nobody wants it.
func (s *Sensor) witnessed(t *testimony) *event.Event {
	s.mu.Lock()
	wanted := s.settings.Kinds&(1<<t.kind) != 0 && t.pid != s.settings.Self
	s.mu.Unlock()
	inside := t.path
	if _, rest, ok := inRoot(t.path); ok {
		inside = rest
	}
	if !wanted || (t.kind == event.FileCreate || t.kind == event.FileWrite) && !s.below(inside) {
		return nil
	}
	e := &event.Event{
		Kind: t.kind, Time: s.decoder.clock.wall(t.time), Host: s.host, Message: witnessRemark,
		Process: &event.Process{PID: t.pid, TID: t.pid}, // the start stays open: who has the pid now
	}
	f := &e.File
	f.Path, f.Deleted, f.Created = inside, t.kind == event.FileDelete, t.kind == event.FileCreate
	if t.kind == event.FileRename {
		f.Old = t.old
		if _, rest, ok := inRoot(t.old); ok {
			f.Old = rest
		}
	}
	if st, err := statIn(t.path); err == nil && !f.Deleted {
		f.Ino, f.Dev, f.Size, f.Mode = st.Ino, kernelDev(st.Dev), st.Size, st.Mode
	}
	return e
}

// below reports whether creation and writing of a path are wanted.
func (s *Sensor) below(name string) bool {
	wanted := s.prefixes.Load()
	if wanted == nil || len(*wanted) == 0 {
		return true
	}
	for _, p := range *wanted {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func (w *witness) close() error {
	if err := w.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
