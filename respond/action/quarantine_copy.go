package action

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// asideName is what a file is called, in its own directory, while it is copied.
func asideName(id string) string { return ".picket-" + fileID(id) }

// carry copies the file into the first directory, which lies on another file system. It is renamed
// first, so that nobody finds it under its name, and removed when the copy has been read back.
func (q *quarantine) carry(ctx context.Context, p *place, h *held) (err error) {
	own := filepath.Join(q.o.Dirs[0], fileID(h.Request))
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	h.Content, h.Aside = filepath.Join(own, contentName), asideName(h.Request)
	if err := q.write(h); err != nil {
		return err
	}
	err = rename(p, p.name, h.Aside)
	if errors.Is(err, unix.EPERM) && unlock(p, h) {
		err = rename(p, p.name, h.Aside)
	}
	if err != nil {
		_ = os.RemoveAll(own)
		return fmt.Errorf("moving %s aside: %w", p, err)
	}
	defer func() {
		if err == nil {
			return
		}
		if back := rename(p, h.Aside, p.name); back != nil {
			err = fmt.Errorf("%w; it is now called %s: %w", err, h.Aside, back)
			return
		}
		_ = os.RemoveAll(own)
	}()
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.dir.Fd()), h.Aside, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Ino != h.Inode || st.Dev != h.Dev {
		return fmt.Errorf("%w: %s became another file", ErrGone, p)
	}
	src, err := rootAt(p.dir)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only a handle
	if err := src.Chmod(h.Aside, 0); err != nil {
		return err
	}
	if err := q.copyIn(ctx, src, h, own); err != nil {
		return fmt.Errorf("copying %s: %w", p, errors.Join(err, src.Chmod(h.Aside, fileMode(h.Dress.Mode))))
	}
	if err := src.RemoveAll(h.Aside); err != nil { // the copy is whole, and may be all that is left of it
		h.Note = fmt.Sprintf("%s, beside its place, could not be removed: %v", h.Aside, err)
	}
	h.Aside = ""
	return nil
}

// copyIn copies what stands aside and reads the copy and the original once more: the one must be
// what the other still is.
func (q *quarantine) copyIn(ctx context.Context, src *os.Root, h *held, own string) error {
	if err := roomFor(src, h.Aside, own); err != nil {
		return err
	}
	dst, err := os.OpenRoot(own)
	if err != nil {
		return err
	}
	defer dst.Close() //nolint:errcheck // only a handle
	if h.Left, err = copyTree(ctx, src, h.Aside, dst, contentName); err != nil {
		return err
	}
	if h.Files, err = digestTree(ctx, dst, contentName); err != nil {
		return err
	}
	still, err := digestTree(ctx, src, h.Aside)
	if err != nil {
		return err
	}
	if !slices.Equal(still, h.Files) {
		return errors.New("it is written to meanwhile: freeze the processes that have it open first")
	}
	h.SHA256 = sumOf(h.Files)
	if err := q.write(h); err != nil {
		return err
	}
	return os.Chmod(h.Content, 0)
}

// roomFor refuses a copy that would leave a directory's file system with less than a twentieth.
func roomFor(src *os.Root, name, dir string) error {
	var need uint64
	err := walk(src, name, func(_, _ string, d os.DirEntry) error {
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			need += uint64(max(0, info.Size()))
		}
		return err
	})
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	free, all := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	if need+all/20 > free {
		return fmt.Errorf("%s has %d MiB free, and it takes %d: name a quarantine directory on its own file system", dir, free>>20, need>>20)
	}
	return nil
}

// putBack gives the content its place and its dress again. What stands there by then is kept.
func (q *quarantine) putBack(ctx context.Context, p *place, h *held) error {
	if h.Aside != "" && h.SHA256 == "" && asideExists(p, h.Aside) { // the copy was not brought to its end
		if err := rename(p, h.Aside, p.name); err != nil {
			return taken(p, h, err)
		}
		return q.redress(p, h)
	}
	if !exists(h.Content) {
		if st, err := p.stat(); err == nil && st.Ino == h.Inode && st.Dev == h.Dev {
			return q.redress(p, h) // back, and that was not written down
		}
		return fmt.Errorf("there is nothing at %s to put back", h.Content)
	}
	if _, err := p.stat(); err == nil {
		return taken(p, h, unix.EEXIST)
	}
	err := unix.Renameat2(unix.AT_FDCWD, h.Content, int(p.dir.Fd()), p.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EXDEV) {
		err = q.carryBack(ctx, p, h)
	}
	if err != nil {
		return taken(p, h, err)
	}
	return q.redress(p, h)
}

// carryBack copies the content to beside its place, and gives it its name when it is whole.
func (q *quarantine) carryBack(ctx context.Context, p *place, h *held) error {
	src, err := os.OpenRoot(filepath.Dir(h.Content))
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only a handle
	dst, err := rootAt(p.dir)
	if err != nil {
		return err
	}
	defer dst.Close() //nolint:errcheck // only a handle
	aside := asideName(h.Request) + "-back"
	if err := dst.RemoveAll(aside); err != nil {
		return err
	}
	if _, err := copyTree(ctx, src, contentName, dst, aside); err != nil {
		return errors.Join(err, dst.RemoveAll(aside))
	}
	kept, err := digestTree(ctx, dst, aside)
	if err == nil && sumOf(kept) != h.SHA256 {
		err = errors.New("the copy is not what was put away")
	}
	if err == nil {
		err = rename(p, aside, p.name)
	}
	if err != nil {
		return errors.Join(err, dst.RemoveAll(aside))
	}
	return nil
}

// redress gives what is back its owner, mode and times, and forgets that it was away.
func (q *quarantine) redress(p *place, h *held) error {
	root, err := rootAt(p.dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only a handle
	if err := h.Dress.put(root, p.name); err != nil {
		return fmt.Errorf("%s is back, not as it was: %w", p, err)
	}
	if h.Locked != 0 {
		lock(root, p.name, h.Locked)
	}
	if err := p.dir.Sync(); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Dir(h.Content))
}

// rename gives a file of the place's directory another name that is not taken.
func rename(p *place, from, to string) error {
	return unix.Renameat2(int(p.dir.Fd()), from, int(p.dir.Fd()), to, unix.RENAME_NOREPLACE)
}

func taken(p *place, h *held, err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("something else stands at %s: move it away first; what was put away stays in %s", p, h.Content)
	}
	return fmt.Errorf("putting %s back: %w; it stays in %s", p, err, h.Content)
}

func asideExists(p *place, aside string) bool {
	var st unix.Stat_t
	return unix.Fstatat(int(p.dir.Fd()), aside, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// lockFlags are the flags of a file that keep root itself from renaming it.
const lockFlags = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND // FS_IMMUTABLE_FL, FS_APPEND_FL

// unlock takes those flags off and notes them: a workload with CAP_LINUX_IMMUTABLE can set them.
func unlock(p *place, h *held) bool {
	root, err := rootAt(p.dir)
	if err != nil {
		return false
	}
	defer root.Close() //nolint:errcheck // only a handle
	f, err := openFile(root, p.name)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only a handle
	var st unix.Stat_t
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&lockFlags == 0 || unix.Fstat(int(f.Fd()), &st) != nil || st.Ino != h.Inode || st.Dev != h.Dev {
		return false
	}
	h.Locked = flags & lockFlags
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^lockFlags) == nil
}

// lock sets flags again that unlock took off.
func lock(root *os.Root, name string, flags int) {
	f, err := openFile(root, name)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // only a handle
	if now, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, now|flags)
	}
}
