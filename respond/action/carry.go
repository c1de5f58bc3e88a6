package action

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxEntries bounds a directory that is carried or digested: a workload can make as many as it likes.
const maxEntries = 100_000

// keptFile is one file of what was put away.
type keptFile struct {
	Path   string `json:"path"` // below the content; "." is the content itself
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// rootAt opens a directory that is held open as a root: nothing below it leads out of it.
func rootAt(dir *os.File) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// openFile opens a regular file of a root, and nothing else: a pipe would stall the reader.
func openFile(root *os.Root, name string) (*os.File, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!now.Mode().IsRegular() || !os.SameFile(st, now)) {
		err = fmt.Errorf("%s changed into another file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// digestTree reads every regular file at name, itself or below, into their digests.
func digestTree(ctx context.Context, root *os.Root, name string) ([]keptFile, error) {
	var kept []keptFile
	err := walk(root, name, func(at, rel string, d fs.DirEntry) error {
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := openFile(root, at)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read from
		h := sha256.New()
		n, err := io.Copy(h, reader{ctx, f})
		kept = append(kept, keptFile{Path: rel, Size: n, SHA256: hexSum(h)})
		return err
	})
	return kept, err
}

// walk calls each for name and all below it, at most maxEntries of them.
func walk(root *os.Root, name string, each func(at, rel string, d fs.DirEntry) error) error {
	n := 0
	return fs.WalkDir(root.FS(), name, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxEntries {
			return fmt.Errorf("it holds more than %d files", maxEntries)
		}
		rel := "."
		if at != name {
			rel = at[len(name)+1:]
		}
		return each(at, rel, d)
	})
}

// sumOf is one digest for what was put away: that of the file, or of a line "DIGEST  PATH" for each
// file of a directory, as sha256sum writes them.
func sumOf(kept []keptFile) string {
	if len(kept) == 1 && kept[0].Path == "." {
		return kept[0].SHA256
	}
	h := sha256.New()
	for _, k := range kept {
		_, _ = fmt.Fprintf(h, "%s  %s\n", k.SHA256, k.Path)
	}
	return hexSum(h)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// dress is what a file has beside its content. The time of its last change of state cannot be set.
type dress struct {
	UID      int       `json:"uid"`
	GID      int       `json:"gid"`
	Mode     uint32    `json:"mode"` // permission bits, set-user-id and the like
	Accessed time.Time `json:"accessed"`
	Modified time.Time `json:"modified"`
}

func dressOf(info fs.FileInfo) dress {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return dress{Mode: uint32(info.Mode().Perm()), Modified: info.ModTime()}
	}
	return dress{
		UID: int(st.Uid), GID: int(st.Gid), Mode: st.Mode & 0o7777,
		Accessed: time.Unix(st.Atim.Unix()), Modified: time.Unix(st.Mtim.Unix()),
	}
}

// put gives a file that dress. The owner comes first: to change it takes the set-user-id bits away.
func (d dress) put(root *os.Root, name string) error {
	if err := root.Lchown(name, d.UID, d.GID); err != nil {
		return err
	}
	if err := root.Chmod(name, fileMode(d.Mode)); err != nil {
		return err
	}
	return root.Chtimes(name, d.Accessed, d.Modified)
}

// copyTree copies name of src, a file or a directory, to a name of dst that is not taken: content,
// owner, mode, extended attributes and times. What cannot be carried is left out, by name: pipes,
// sockets and devices, which hold no content, and attributes that the other file system does not
// know. Every file has reached the disk when it returns.
func copyTree(ctx context.Context, src *os.Root, name string, dst *os.Root, to string) (left []string, err error) {
	type made struct {
		name string
		as   dress
	}
	var dirs []made
	lost := func(rel string, attributes []string) {
		for _, a := range attributes {
			left = append(left, rel+": attribute "+a)
		}
	}
	err = walk(src, name, func(at, rel string, d fs.DirEntry) error {
		info, err := src.Lstat(at)
		if err != nil {
			return err
		}
		as, target := dressOf(info), path.Join(to, rel)
		switch {
		case d.Type().IsRegular():
			attributes, err := copyFile(ctx, src, at, dst, target)
			lost(rel, attributes)
			return err
		case d.IsDir():
			dirs = append(dirs, made{target, as})
			if err := dst.Mkdir(target, 0o700); err != nil {
				return err
			}
			attributes, err := copyXattrs(src, at, dst, target)
			lost(rel, attributes)
			return err
		case d.Type()&fs.ModeSymlink != 0:
			text, err := src.Readlink(at)
			if err != nil {
				return err
			}
			if err := dst.Symlink(text, target); err != nil {
				return err
			}
			return dst.Lchown(target, as.UID, as.GID)
		default:
			left = append(left, rel)
			return nil
		}
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- { // from within: filling a directory sets its time
		err = dirs[i].as.put(dst, dirs[i].name)
	}
	return left, err
}

func copyFile(ctx context.Context, src *os.Root, name string, dst *os.Root, to string) (lost []string, err error) {
	in, err := openFile(src, name)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only read from
	out, err := dst.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // synced below
	if _, err := io.Copy(out, reader{ctx, in}); err != nil {
		return nil, fmt.Errorf("copying %s: %w", name, err)
	}
	if lost, err = copyXattrsOf(in, out); err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if err := dressOf(info).put(dst, to); err != nil {
		return nil, err
	}
	return lost, out.Sync()
}

// fileMode turns the bits of a stat into Go's.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	for bit, as := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= as
		}
	}
	return mode
}

func copyXattrs(src *os.Root, name string, dst *os.Root, to string) (lost []string, err error) {
	in, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only read from
	out, err := dst.Open(to)
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // only a handle
	return copyXattrsOf(in, out)
}

// copyXattrsOf copies extended attributes, and returns those that the other file system refused.
func copyXattrsOf(in, out *os.File) (lost []string, err error) {
	names, value := make([]byte, 64<<10), make([]byte, 64<<10) // as large as Linux lets them be
	n, err := unix.Flistxattr(int(in.Fd()), names)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v, err := unix.Fgetxattr(int(in.Fd()), name, value)
		if err == nil {
			err = unix.Fsetxattr(int(out.Fd()), name, value[:v], 0)
		}
		if err != nil {
			lost = append(lost, name)
		}
	}
	return lost, nil
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
