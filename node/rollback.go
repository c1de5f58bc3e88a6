package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"picket/artifact/sign"
	"picket/respond/action"
)

const (
	readSoon    = 4 * time.Second // below what a server lets an agent plan in
	readLongest = time.Hour       // of one version
	maxVersions = 64              // of one model
	maxVersion  = 10_000          // files of one
)

// newRollback makes the act of switching a model back to a version whose signature counts.
func newRollback(cfg *Config) (action.Action, error) {
	trust, err := readTrust(cfg.Models)
	if err != nil {
		return nil, err
	}
	v := &versions{trust: trust, known: map[string]verified{}}
	return action.NewRollback(action.RollbackOptions{
		Dir: filepath.Join(cfg.dir("agent"), "links"), Protected: []string{cfg.Data, "/etc/picket"}, Verified: v.last, Check: v.check,
	})
}

// versions knows which versions of models were signed by whom models.trust or models.keyless names, and
// are what was signed. To read one may take minutes: it goes on when who asked has gone, and what came of it counts
// as long as no file of it has changed.
type versions struct {
	trust []sign.Trust

	mu    sync.Mutex // of what follows
	known map[string]verified
	busy  string // which is read
}

type verified struct {
	looks string // of its files, when they were read
	err   error
}

var errReading = errors.New("its files are being read to check its signature: plan again in a moment")

// last returns the version beside current that was signed last and holds.
func (v *versions) last(ctx context.Context, _, current string) (string, error) {
	dir := filepath.Dir(current)
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	type version struct {
		path string
		at   time.Time
	}
	var found []version
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if st, err := os.Lstat(filepath.Join(path, "model.sig")); e.IsDir() && path != filepath.Clean(current) && err == nil {
			found = append(found, version{path, st.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b version) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.path, a.path)) })
	var errs []error
	for _, f := range found[:min(len(found), maxVersions)] {
		err := v.check(ctx, f.path)
		if err == nil {
			return f.path, nil
		}
		if errs = append(errs, fmt.Errorf("%s: %w", f.path, err)); errors.Is(err, errReading) {
			break // it may be the one
		}
	}
	if len(errs) == 0 {
		return "", fmt.Errorf("no other version in %s has a signature (model.sig)", dir)
	}
	return "", errors.Join(errs...)
}

// check says why a version is none to go back to.
func (v *versions) check(ctx context.Context, path string) error {
	if len(v.trust) == 0 {
		return errors.New("models.trust and models.keyless name nobody whose signatures count")
	}
	looks, err := looksOf(path)
	if err != nil {
		return err
	}
	v.mu.Lock()
	if k, has := v.known[path]; has && k.looks == looks {
		v.mu.Unlock()
		return k.err
	}
	if v.busy != "" {
		v.mu.Unlock()
		return errReading
	}
	v.busy = path
	v.mu.Unlock()
	read := make(chan error, 1)
	go func() {
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), readLongest)
		defer cancel()
		err := v.read(whole, path)
		if after, changed := looksOf(path); changed != nil || after != looks {
			err = errors.New("it changed while it was read")
		}
		v.mu.Lock()
		if len(v.known) >= maxVersions {
			clear(v.known)
		}
		v.known[path], v.busy = verified{looks, err}, ""
		v.mu.Unlock()
		read <- err
	}()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
	case <-time.After(readSoon):
	}
	return errReading
}

// read compares a version with its signature.
func (v *versions) read(ctx context.Context, path string) error {
	bundle, err := bundleIn(path)
	if err != nil {
		return err
	}
	t, err := sign.OpenTree(path, false)
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // it was only read
	var errs []error
	for _, who := range v.trust {
		s, err := sign.Open(bundle, who)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		diff, err := s.Manifest.Compare(ctx, t, sign.CompareOptions{Ignore: []string{"model.sig"}})
		switch {
		case err != nil:
			return err
		case len(diff) > 0:
			return fmt.Errorf("it is not what was signed: %s: %s (differences: %d)", diff[0].Name, diff[0].What, len(diff))
		}
		return nil
	}
	return errors.Join(errs...)
}

// bundleIn reads the signature in a directory that others may write.
func bundleIn(path string) ([]byte, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	f, err := root.OpenFile("model.sig", os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > sign.MaxBundle {
		return nil, fmt.Errorf("model.sig is no file of at most %d MiB", sign.MaxBundle>>20)
	}
	return io.ReadAll(io.LimitReader(f, sign.MaxBundle))
}

// looksOf is another whenever a file of a version was changed, put in or taken out: the time of the
// last change of state cannot be set.
func looksOf(path string) (string, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return "", err
	}
	defer root.Close() //nolint:errcheck // it was only read
	var out []byte
	n := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if n++; n > maxVersion {
			return fmt.Errorf("it has more than %d files", maxVersion)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("it is on a file system without inodes")
		}
		out = fmt.Appendf(out, "%q %d %d %d %d %d %d\n", name, st.Dev, st.Ino, st.Size, st.Mode, st.Ctim.Sec, st.Ctim.Nsec)
		return nil
	})
	return string(out), err
}
