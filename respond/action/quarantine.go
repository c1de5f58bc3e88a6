package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// QuarantineOptions say where files are put away.
type QuarantineOptions struct {
	// Dirs are directories of root's alone. A file goes into the first that lies on its file system;
	// where none does it is copied into the first. They are made where they are missing.
	Dirs []string
	// Protected are paths, beside the system's own, that nothing is taken from.
	Protected []string
	// Inside names a process of a container, by whose eyes the path of a file in it is read. Without
	// it a file in a container is named by one of its processes.
	Inside func(container string) (*ProcessPin, error)
}

// quarantine takes a file, or a directory of a model's shards, out of the way.
//
// It is renamed into a directory that only root enters, in one step, and nobody but root may open
// it: also not by another name that it has. Only then is it looked at: if it is not the pinned one
// it goes back. On another file system it is renamed aside, copied, read back, and then removed.
// What has it open keeps it. The manifest beside the content says what it was and where.
type quarantine struct {
	o QuarantineOptions
}

// NewQuarantine returns the act of putting files away.
func NewQuarantine(o QuarantineOptions) (Action, error) {
	if len(o.Dirs) == 0 {
		return nil, errors.New("quarantine wants a directory to put files into")
	}
	for _, dir := range o.Dirs {
		if err := ownDir(dir); err != nil {
			return nil, fmt.Errorf("quarantine: %w", err)
		}
	}
	return &quarantine{o}, nil
}

// ownDir makes a directory that only its owner, who runs Picket, can enter.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner := dressOf(st).UID; !st.IsDir() || owner != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of user %d: name another", dir, os.Geteuid())
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others may enter %s: run chmod 0700 on it", dir)
	}
	return nil
}

func (*quarantine) Kind() Kind   { return Quarantine }
func (*quarantine) Class() Class { return Reversible }

// Plan says what would be taken, and who has it open.
func (q *quarantine) Plan(_ context.Context, r *Request) (*Plan, error) {
	p, st, err := q.find(r)
	if err != nil {
		return nil, err
	}
	defer p.close()
	what := "file"
	if isDir(st) {
		what = "directory, with all below it,"
	}
	plan := &Plan{Target: r.Target, Class: Reversible, Undo: "it is put back with its owner, mode, attributes and times; refused where something else stands there by then"}
	file := *r.Target.File
	file.Dev, file.Inode = st.Dev, st.Ino
	plan.Target.File = &file
	plan.Effects = []string{fmt.Sprintf("the %s %s is moved to %s, where only root reads it", what, p, q.o.Dirs[0])}
	if st.Nlink > 1 && !isDir(st) {
		plan.Effects = append(plan.Effects, fmt.Sprintf("%d other names lead to it: they stay, and only root can open them", st.Nlink-1))
	}
	users, more := openedBy(st.Dev, st.Ino)
	plan.Hits = users
	if len(users) > 0 {
		plan.Effects = append(plan.Effects, "the processes listed have it open and keep it until they end")
	}
	if more {
		plan.Effects = append(plan.Effects, "not all processes could be looked at for whether they have it open")
	}
	return plan, nil
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// find opens the target's place and refuses what is not to be taken.
func (q *quarantine) find(r *Request) (*place, *unix.Stat_t, error) {
	p, err := q.open(&r.Target)
	if err != nil {
		return nil, nil, err
	}
	st, err := q.check(p, r)
	if err != nil {
		p.close()
		return nil, nil, err
	}
	return p, st, nil
}

// open opens the target's place, and gives up where a file system of the workload's own, on the way
// there, does not answer.
func (q *quarantine) open(t *Target) (*place, error) {
	if t.File == nil {
		return nil, fmt.Errorf("%w: quarantine wants a file", ErrInvalid)
	}
	type answer struct {
		p   *place
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		p, err := q.openNow(t)
		if err == nil {
			_, _ = p.stat() // so that it is known to answer
		}
		ch <- answer{p, err}
	}()
	select {
	case a := <-ch:
		return a.p, a.err
	case <-time.After(patience):
	}
	go func() {
		if a := <-ch; a.err == nil {
			a.p.close()
		}
	}()
	return nil, fmt.Errorf("the way to %s does not answer within %s", t.File.Path, patience)
}

func (q *quarantine) openNow(t *Target) (*place, error) {
	switch {
	case t.Process != nil:
		return placeOf(t.Process, t.File.Path)
	case t.Container == "":
		return hostPlace(t.File.Path)
	case q.o.Inside == nil:
		return nil, fmt.Errorf("%w: name a process of the container, by whose eyes the path is to be read", ErrInvalid)
	}
	pin, err := q.o.Inside(t.Container)
	if err != nil {
		return nil, fmt.Errorf("finding a process of container %s: %w", t.Container, err)
	}
	return placeOf(pin, t.File.Path)
}

func (q *quarantine) check(p *place, r *Request) (*unix.Stat_t, error) {
	if why := q.protects(p); why != "" {
		return nil, fmt.Errorf("%s is %s: %w", p, why, ErrProtected)
	}
	st, err := p.stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrGone, p, err)
	}
	pin := r.Target.File
	if pin.Inode != 0 && (st.Ino != pin.Inode || pin.Dev != 0 && st.Dev != pin.Dev) {
		return nil, fmt.Errorf("%w: %s is another file now", ErrGone, p)
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, fmt.Errorf("%w: %s is neither a file nor a directory", ErrInvalid, p)
	}
	if why := protectedFile(st); why != "" {
		return nil, fmt.Errorf("%s is %s: %w", p, why, ErrProtected)
	}
	if st.Nlink > 1 && !isDir(st) && r.Params["links"] != "close" {
		return nil, fmt.Errorf("%w: %s has %d other names, which may be others' files: to close those too, ask with links=close", ErrProtected, p, st.Nlink-1)
	}
	return st, nil
}

// Do takes the file away.
func (q *quarantine) Do(ctx context.Context, r *Request) (*Result, error) {
	if h, err := q.read(r.ID); err == nil && exists(h.Content) {
		return q.result(r, h), nil // done, and the end of it was not written down
	}
	p, st, err := q.find(r)
	if err != nil {
		return outcome(r, err), nil
	}
	defer p.close()
	h := &held{
		Request: r.ID, Path: p.path, Dev: st.Dev, Inode: st.Ino, Links: uint64(st.Nlink), At: time.Now().UTC(), By: r.By, Reason: r.Reason, Incident: r.Incident, //nolint:unconvert // other ports have 32 bits
		Dress: dress{
			UID: int(st.Uid), GID: int(st.Gid), Mode: st.Mode & 0o7777,
			Accessed: time.Unix(st.Atim.Unix()), Modified: time.Unix(st.Mtim.Unix()),
		},
	}
	h.Process, h.Container = p.pin, r.Target.Container
	moved, err := q.move(p, h)
	if err == nil && !moved {
		err = q.carry(ctx, p, h)
	}
	if err != nil {
		return outcome(r, err), nil
	}
	if err := q.settle(ctx, p, h, r.Target.File.SHA256); err != nil {
		return outcome(r, err), nil
	}
	return q.result(r, h), nil
}

// move renames the file into the first directory that lies on its file system, and back again if
// another one was put in its place meanwhile.
func (q *quarantine) move(p *place, h *held) (moved bool, err error) {
	for _, dir := range q.o.Dirs {
		own := filepath.Join(dir, fileID(h.Request))
		if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return false, err
		}
		h.Content = filepath.Join(own, contentName)
		if err := q.write(h); err != nil {
			return false, err
		}
		err := unix.Renameat(int(p.dir.Fd()), p.name, unix.AT_FDCWD, h.Content)
		if errors.Is(err, unix.EPERM) && unlock(p, h) {
			err = unix.Renameat(int(p.dir.Fd()), p.name, unix.AT_FDCWD, h.Content)
		}
		if errors.Is(err, unix.EXDEV) {
			_ = os.RemoveAll(own)
			continue
		}
		if err != nil {
			_ = os.RemoveAll(own)
			return false, fmt.Errorf("moving %s: %w", p, err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(h.Content, &st); err == nil && st.Ino == h.Inode && st.Dev == h.Dev {
			return true, os.Chmod(h.Content, 0)
		}
		if err := unix.Renameat2(unix.AT_FDCWD, h.Content, int(p.dir.Fd()), p.name, unix.RENAME_NOREPLACE); err != nil {
			return false, fmt.Errorf("%s was another file, which is now %s: putting it back: %w", p, h.Content, err)
		}
		_ = os.RemoveAll(own)
		return false, fmt.Errorf("%w: %s became another file", ErrGone, p)
	}
	return false, nil
}

// settle reads the content, puts it back where it is not what was pinned, and writes the manifest.
func (q *quarantine) settle(ctx context.Context, p *place, h *held, pinned string) error {
	root, err := os.OpenRoot(filepath.Dir(h.Content))
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only a handle
	if h.SHA256 == "" {
		h.Files, err = digestTree(ctx, root, contentName)
		if err != nil {
			h.Files, h.Note = nil, "not digested: "+err.Error()
		} else {
			h.SHA256 = sumOf(h.Files)
		}
	}
	if pinned != "" && h.SHA256 != pinned {
		why := fmt.Errorf("%w: the content of %s is another one now", ErrGone, p)
		if h.SHA256 == "" {
			why = fmt.Errorf("the content of %s could not be compared: %s", p, h.Note)
		}
		if err := q.putBack(ctx, p, h); err != nil {
			return fmt.Errorf("%w; it is kept as %s: %w", why, h.Content, err)
		}
		return why
	}
	return q.write(h)
}

// Verify says whether the file is put away, and whether its place is free of it.
func (q *quarantine) Verify(_ context.Context, r *Request) (bool, string, error) {
	h, err := q.read(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return false, "nothing was put away", nil
	}
	if err != nil {
		return false, "", err
	}
	p, err := q.home(h)
	if err == nil {
		defer p.close()
	}
	if err == nil && h.Aside != "" && asideExists(p, h.Aside) {
		return false, "", fmt.Errorf("it was cut short: the file is called %s in its directory, undo gives it its name again", h.Aside)
	}
	if !exists(h.Content) {
		return false, "it is not in quarantine", nil
	}
	if err != nil {
		return true, "it is in quarantine; its place is gone", nil
	}
	st, err := p.stat()
	switch {
	case err != nil:
		return true, "it is in quarantine", nil
	case st.Ino == h.Inode && st.Dev == h.Dev:
		return false, fmt.Sprintf("%s is still there", p), nil
	}
	return true, fmt.Sprintf("it is in quarantine; another file stands at %s now", p), nil
}

// Undo puts the file back where it stood.
func (q *quarantine) Undo(ctx context.Context, r *Request) (*Result, error) {
	h, err := q.read(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return &Result{ID: r.ID, State: Undone, Detail: "nothing is put away", At: time.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := q.home(h)
	if err != nil {
		return &Result{
			ID: r.ID, State: Failed, At: time.Now(),
			Detail: fmt.Sprintf("%s has no place to go back to (%v): it stays in %s", h.Path, err, h.Content),
		}, nil
	}
	defer p.close()
	if err := q.putBack(ctx, p, h); err != nil {
		return &Result{ID: r.ID, State: Failed, At: time.Now(), Detail: err.Error()}, nil
	}
	return &Result{ID: r.ID, State: Undone, At: time.Now(), Detail: fmt.Sprintf("%s is back", p)}, nil
}

// home opens the place that the file was taken from.
func (q *quarantine) home(h *held) (*place, error) {
	if h.Process == nil {
		return hostPlace(h.Path)
	}
	p, err := placeOf(h.Process, h.Path)
	if err == nil || h.Container == "" || q.o.Inside == nil {
		return p, err
	}
	pin, err := q.o.Inside(h.Container) // another process of the same container has the same files
	if err != nil {
		return nil, err
	}
	return placeOf(pin, h.Path)
}

func (q *quarantine) result(r *Request, h *held) *Result {
	res := &Result{ID: r.ID, State: Done, At: h.At, Detail: fmt.Sprintf("%s is in quarantine", h.Path), Output: h.Content}
	var size int64
	for _, f := range h.Files {
		size += f.Size
	}
	if h.Note != "" {
		res.Detail += "; " + h.Note
	}
	if len(h.Left) > 0 {
		res.Detail += fmt.Sprintf("; %d things could not be carried, the manifest names them", len(h.Left))
	}
	if r.TTL > 0 {
		res.Until = h.At.Add(r.TTL)
	}
	res.Evidence = []Evidence{{Path: h.Content, SHA256: h.SHA256, Size: size}}
	return res
}

// outcome is the result of an act that did not come about.
func outcome(r *Request, err error) *Result {
	return &Result{ID: r.ID, State: stateOf(err), Detail: err.Error(), At: time.Now()}
}
