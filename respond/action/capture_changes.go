package action

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxChanges   = 20_000                  // of one container
	maxRoots     = 16                      // containers of one capture
	changesTime  = 1500 * time.Millisecond // for their names: less than patience
	smallChange  = 1 << 20                 // bytes of a file that is digested
	digestedMost = 500                     // of those
)

// change is a file that a container has and its image does not, or not so.
type change struct {
	Path     string    `json:"path"`
	Kind     string    `json:"kind"` // file, directory, link, pipe, socket, device; gone: the container deleted it
	Mode     string    `json:"mode,omitempty"`
	UID      uint32    `json:"uid"`
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified"`
	To       string    `json:"to,omitempty"` // of a link
	SHA256   string    `json:"sha256,omitempty"`
	Note     string    `json:"note,omitempty"`
}

// changes is what a container wrote over its image.
type changes struct {
	Upper string   `json:"upper"` // the directory of the overlay in which it was found
	PIDs  []int    `json:"pids"`
	Files []change `json:"files"`
}

// over notes the container that a process is in, by its mountinfo, where its root is an overlay.
func (g *gathering) over(l *life, mountinfo string) {
	upper := upperOf(mountinfo)
	if upper == "" {
		return // it has the host's root
	}
	at := slices.IndexFunc(g.containers, func(c *changes) bool { return c.Upper == upper })
	if at < 0 && len(g.containers) == maxRoots {
		g.a.lacks("changes.json", fmt.Sprintf("more than %d containers", maxRoots))
		return
	}
	if at < 0 {
		at, g.containers = len(g.containers), append(g.containers, &changes{Upper: upper})
	}
	g.containers[at].PIDs = append(g.containers[at].PIDs, l.PID)
}

// changed lists what the containers of processes wrote over their images, where those are overlays. The
// kernel names the directory; who may mount over its own root may have it name another. It is listed by
// names alone, no link is followed, and small files are digested.
func (g *gathering) changed() {
	for _, c := range g.containers {
		root, err := boxed(g, func() (*os.Root, error) { return os.OpenRoot(c.Upper) })
		if err != nil {
			g.a.lacks("changes.json", fmt.Errorf("the directory of the overlay cannot be opened: %w", err))
			continue
		}
		c.Files, err = boxed(g, func() ([]change, error) { return listChanges(root, time.Now().Add(changesTime)) })
		if err != nil {
			g.a.lacks("changes.json", fmt.Errorf("not all of %s: %w", c.Upper, err))
		}
		g.digestChanges(root, c.Files)
		if !errors.Is(err, errStuck) { // it is in use by who hangs
			_ = root.Close()
		}
	}
	if len(g.containers) > 0 {
		g.a.json("changes.json", g.containers)
	}
}

// upperOf returns the upper directory of the overlay that is a process's root, by its mountinfo; "": it is none.
// The form of the lines is that of proc_pid_mountinfo(5).
func upperOf(mountinfo string) (upper string) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, of := strings.Split(before, " "), strings.SplitN(after, " ", 3)
		if len(fields) < 6 || len(of) < 3 || fields[4] != "/" {
			continue
		}
		upper = "" // the last one that is mounted there is seen
		if of[0] != "overlay" {
			continue
		}
		for o := range strings.SplitSeq(of[2], ",") {
			if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
				upper = unescaped(dir)
			}
		}
	}
	if !path.IsAbs(upper) {
		return ""
	}
	return path.Clean(upper)
}

var (
	errMany = fmt.Errorf("more than %d files", maxChanges)
	errLate = errors.New("the time for it was over")
)

// listChanges lists a directory of an overlay, what it can until a time. A directory is read piece by piece,
// as the container may have put any number of files into it.
func listChanges(root *os.Root, until time.Time) (out []change, err error) {
	for dirs := []string{"."}; len(dirs) > 0; {
		name := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		dir, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue // it vanished meanwhile, or is another thing now
		}
		for {
			list, err := dir.ReadDir(256)
			for _, d := range list {
				if len(out) == maxChanges {
					return out, errors.Join(errMany, dir.Close())
				}
				if c, ok := changeOf(root, path.Join(name, d.Name())); ok {
					out = append(out, c)
					if c.Kind == "directory" {
						dirs = append(dirs, path.Join(name, d.Name()))
					}
				}
			}
			if time.Now().After(until) {
				return out, errors.Join(errLate, dir.Close())
			}
			if err != nil || len(list) == 0 {
				break // that was all
			}
		}
		_ = dir.Close()
	}
	return out, nil
}

// changeOf says what one file is. It reports false for one that vanished.
func changeOf(root *os.Root, name string) (c change, ok bool) {
	info, err := root.Lstat(name)
	if err != nil {
		return c, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return c, false
	}
	c = change{Path: "/" + name, Kind: kindOf(st.Mode), Mode: info.Mode().String(), UID: st.Uid, Modified: info.ModTime().UTC()}
	switch c.Kind {
	case "file":
		c.Size = info.Size()
	case "link":
		c.To, _ = root.Readlink(name)
	case "device":
		if st.Rdev == 0 { // how an overlay writes that a file of the image was deleted
			c.Kind, c.Mode = "gone", ""
		}
	}
	return c, true
}

// digestChanges digests small files, those first that were written last.
func (g *gathering) digestChanges(root *os.Root, files []change) {
	var small []*change
	for i := range files {
		if f := &files[i]; f.Kind == "file" && f.Size <= smallChange {
			small = append(small, f)
		}
	}
	slices.SortStableFunc(small, func(a, b *change) int { return b.Modified.Compare(a.Modified) })
	for _, c := range small[:min(len(small), digestedMost)] {
		f, err := boxed(g, func() (*os.File, error) { return openFile(root, c.Path[1:]) })
		if errors.Is(err, errStuck) {
			return
		}
		if err != nil {
			c.Note = "not digested: " + err.Error()
			continue
		}
		c.SHA256, c.Note = g.digest(f, c.Size)
		_ = f.Close()
	}
}
