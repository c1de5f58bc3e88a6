package sign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Tree is a model as it lies on a disk, opened so that no link in it leads out. A model in a cache of Hugging
// Face is a directory of links to its files, which lie beside it: they lead no further than the repository's
// directory in the cache.
type Tree struct {
	root  *os.Root
	below string // where the model lies in root
	name  string
	file  string // the one file that is the model; "" for a directory
	links bool   // links within the model are followed
}

// OpenTree opens a model: a directory, or one file.
func OpenTree(at string, links bool) (*Tree, error) {
	info, err := os.Stat(at)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(at)
	if err != nil {
		return nil, err
	}
	t := &Tree{name: filepath.Base(abs), below: ".", links: links}
	dir := abs
	switch {
	case info.Mode().IsRegular():
		dir, t.file = filepath.Dir(abs), filepath.Base(abs)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is neither a directory nor a file", at)
	}
	if repo := repository(dir); repo != "" {
		t.below = path.Join("snapshots", filepath.Base(dir))
		dir = repo
	}
	t.root, err = os.OpenRoot(dir)
	return t, err
}

// repository returns the directory of the repository in a cache of Hugging Face that dir is a snapshot of, or "".
func repository(dir string) string {
	repo, ok := strings.CutSuffix(filepath.Dir(dir), "/snapshots")
	if !ok {
		return ""
	}
	if info, err := os.Lstat(filepath.Join(repo, "blobs")); err != nil || !info.IsDir() {
		return ""
	}
	return repo
}

// Close lets go of the model.
func (t *Tree) Close() error { return t.root.Close() }

// Odd is an entry that no signature can cover.
type Odd struct{ Name, Reason string }

// list returns the paths of all files but those in ignored paths, sorted, and what is neither file nor
// directory.
func (t *Tree) list(ignored []string) (files []string, odd []Odd, err error) {
	if t.file != "" {
		return []string{"."}, nil, nil
	}
	below, err := fs.Sub(t.root.FS(), t.below)
	if err != nil {
		return nil, nil, err
	}
	err = fs.WalkDir(below, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && covered(name, ignored) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch kind := d.Type(); {
		case d.IsDir():
		case kind.IsRegular():
			files = append(files, name)
		case kind&fs.ModeSymlink != 0 && t.links:
			return t.link(name, &files, &odd)
		case kind&fs.ModeSymlink != 0:
			odd = append(odd, Odd{name, "is a symbolic link"})
		default:
			odd = append(odd, Odd{name, "is no file: " + kind.String()})
		}
		if len(files)+len(odd) > MaxResources {
			return fmt.Errorf("more than %d files", MaxResources)
		}
		return nil
	})
	slices.Sort(files)
	return files, odd, err
}

// link takes a symbolic link for the file that it leads to.
func (t *Tree) link(name string, files *[]string, odd *[]Odd) error {
	info, err := t.root.Stat(path.Join(t.below, name))
	switch {
	case err != nil:
		*odd = append(*odd, Odd{name, "is a link out of the model, or to nothing"})
	case info.Mode().IsRegular():
		*files = append(*files, name)
	default:
		*odd = append(*odd, Odd{name, "is a link to a directory"})
	}
	return nil
}

// covered reports whether name is one of paths or below one.
func covered(name string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		p = path.Clean(p)
		return name == p || strings.HasPrefix(name, p+"/")
	})
}

// open opens a file of the model; a FIFO put in its place does not make it wait.
func (t *Tree) open(name string) (*os.File, fs.FileInfo, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	if name == "." && t.file != "" {
		name = t.file
	} else if !t.links {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := t.root.OpenFile(path.Join(t.below, name), flags, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(name + " is no file")
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, nil, err
	}
	return f, info, nil
}

// Relative returns where file stands below the model, or "" where it does not.
func (t *Tree) Relative(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil || t.file != "" {
		return ""
	}
	rel, err := filepath.Rel(filepath.Join(t.root.Name(), t.below), abs)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}
