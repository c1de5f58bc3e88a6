package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"picket/artifact"
	"picket/inventory"
	"picket/node"
)

type scanCmd struct {
	Paths  []string `arg:"" optional:"" name:"path" help:"Files and directories. Of a directory every file is looked at, whatever its name."`
	Output string   `short:"o" enum:"text,json,sarif" default:"text" help:"How to print: text, json or sarif."`
	Allow  []string `placeholder:"MODULE.NAME" sep:"none" help:"Callable that you trust, or module.* for all that stands directly in a module. May be given several times."`
	FailOn string   `enum:"unknown,suspicious,malicious" default:"suspicious" help:"Verdict from which on the exit code is 1: unknown, suspicious or malicious."`
	Worker bool     `hidden:""`

	reports []artifact.Report
	skipped []string
}

// Help says what the exit codes mean.
func (scanCmd) Help() string {
	return `Nothing is loaded, run or unpacked to a place where it stays. Exit code 0: all files are below --fail-on; 1: one is not; 6: none is, but one could not be judged whole. A file of no known format is 6 where it is named, and only counted in a directory.`
}

func (c *scanCmd) Run(a *app) error {
	for _, allow := range c.Allow {
		if err := artifact.CheckAllow(allow); err != nil {
			return &node.Error{Err: fmt.Errorf("--allow %w", err), Code: node.ExitUsage}
		}
	}
	switch {
	case c.Worker:
		return inventory.Work(os.NewFile(3, "parent"), a.out, c.Allow)
	case len(c.Paths) == 0:
		return &node.Error{Err: errors.New("scan needs a file or a directory"), Hint: "picket scan model.pt", Code: node.ExitUsage}
	}
	s := &scanRun{scanCmd: c, app: a, bar: a.progress()}
	for _, p := range c.Paths {
		if err := s.path(p); err != nil {
			return errors.Join(err, s.end())
		}
	}
	if err := errors.Join(s.end(), c.print(a)); err != nil {
		return err
	}
	return c.verdict()
}

// scanRun is a scan of all paths.
type scanRun struct {
	*scanCmd
	app    *app
	bar    *progressBar
	worker *inventory.Worker
}

func (s *scanRun) end() error {
	s.bar.clear()
	if s.worker != nil {
		_ = s.worker.Close() // it was killed: all reports are here
	}
	return s.app.ctx.Err()
}

// path scans what was named: a link that was named is followed.
func (s *scanRun) path(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return &node.Error{Err: err, Code: node.ExitInput}
	}
	if !st.IsDir() {
		return s.file(name, 0)
	}
	root, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			s.failed(p, err)
			return nil
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			if to, err := filepath.EvalSymlinks(p); err != nil || !strings.HasPrefix(to, root+"/") {
				s.skipped = append(s.skipped, p+": a link that leads out of the directory")
			}
			return nil // what it leads to within the directory is seen there
		}
		return s.file(p, unix.O_NOFOLLOW)
	})
}

// file scans one file. Only the end of the whole scan is an error.
func (s *scanRun) file(name string, flags int) error {
	if err := s.app.ctx.Err(); err != nil {
		return err
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
	if errors.Is(err, unix.ENXIO) { // a socket
		s.skipped = append(s.skipped, name+": not a regular file")
		return nil
	}
	if err != nil {
		s.failed(name, err)
		return nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() //nolint:errcheck // it was only read
	st, err := f.Stat()
	if err != nil {
		s.failed(name, err)
		return nil
	}
	if !st.Mode().IsRegular() {
		s.skipped = append(s.skipped, name+": not a regular file")
		return nil
	}
	if s.worker == nil {
		args := []string{"scan", "--worker"}
		for _, a := range s.Allow {
			args = append(args, "--allow="+a)
		}
		if s.worker, err = inventory.StartWorker(s.app.ctx, node.RunConfined, args...); err != nil {
			return err
		}
	}
	s.bar.begin(filepath.Base(name), st.Size())
	r, _, err := s.worker.Judge(inventory.Job{Name: name, File: f, Tick: s.bar.show})
	if err != nil {
		why := s.worker.Close()
		s.worker = nil
		if s.app.ctx.Err() != nil {
			return s.app.ctx.Err()
		}
		s.failed(name, fmt.Errorf("the scanner ended: %w", errors.Join(why, err)))
		return nil
	}
	r.Path = name
	s.reports = append(s.reports, r)
	return nil
}

// failed reports a file that was not scanned.
func (s *scanRun) failed(name string, err error) {
	s.reports = append(s.reports, artifact.Report{
		Path: name, Formats: []string{}, Verdict: artifact.Failed,
		Issues: []artifact.Issue{{Rule: "unreadable", Verdict: artifact.Failed, Offset: -1, Text: fmt.Sprintf("It was not judged: %v.", err)}},
	})
}

// verdict is the error that makes the exit code.
func (c *scanCmd) verdict() error {
	var failOn artifact.Verdict
	_ = failOn.UnmarshalText([]byte(c.FailOn)) // kong checked it
	bad, unjudged := 0, 0
	for _, r := range c.reports {
		// A file that failed lies between unknown and suspicious, and is neither.
		broken := r.Verdict == artifact.Failed || r.Verdict == artifact.Unsupported
		switch {
		case !broken && r.Verdict >= failOn:
			bad++
		case r.Verdict == artifact.Failed, broken && c.named(r.Path):
			unjudged++
		}
	}
	switch {
	case bad > 0:
		return fmt.Errorf("%d of %d files are %s or worse", bad, len(c.reports), failOn)
	case unjudged > 0:
		return &node.Error{Err: fmt.Errorf("%d of %d files could not be judged", unjudged, len(c.reports)), Code: node.ExitInput}
	}
	return nil
}

func (c *scanCmd) named(file string) bool { return slices.Contains(c.Paths, file) }
