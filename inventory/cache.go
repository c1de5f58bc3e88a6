package inventory

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// In a cache of Hugging Face a model's files are blobs, named by a hash, and a snapshot is a directory of links
// to them. Who opens a file of a snapshot opens the blob; what was signed are the snapshot's names.

const maxLinks = 4096 // entries of all snapshots of a model that are looked at

// blobOf returns the repository's directory in the cache that a blob is of.
func blobOf(file string) (repo string, ok bool) { return strings.CutSuffix(path.Dir(file), "/blobs") }

// cached returns the names that snapshots have for a file, which may be a blob, and the signatures that may
// cover it by them. A link counts by the file that it leads to, and only where that is in the repository.
func cached(root int, file string, is os.FileInfo) (names []string, may []candidate) {
	repo, ok := blobOf(file)
	if !ok {
		return nil, nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, repo, &how)
	if err != nil {
		return nil, nil
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	in, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, nil
	}
	defer in.Close() //nolint:errcheck // as above
	seen := 0
	_ = fs.WalkDir(in.FS(), "snapshots", func(name string, d fs.DirEntry, err error) error {
		if seen++; seen > maxLinks || len(may) >= maxSignatures {
			return fs.SkipAll
		}
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return nil // what cannot be read covers nothing
		}
		to, err := in.Stat(name)
		if err != nil || !os.SameFile(to, is) {
			return nil
		}
		revision, rel, ok := strings.Cut(strings.TrimPrefix(name, "snapshots/"), "/")
		if !ok {
			return nil
		}
		snapshot := path.Join(repo, "snapshots", revision)
		names = append(names, path.Join(snapshot, rel))
		may = append(may, candidate{path.Join(snapshot, rel) + ".sig", "."}, candidate{snapshot + "/model.sig", rel})
		return nil
	})
	return names, may
}
