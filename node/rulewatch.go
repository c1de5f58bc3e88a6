package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	settle    = 300 * time.Millisecond // a checkout or an editor writes many files at once
	maxSettle = 3 * time.Second        // and one that never ends is read as it is
	maxDirs   = 20_000                 // watched; more are looked at with each heartbeat
)

var errManyDirs = errors.New("too many directories")

// watchRules returns a channel that says when something below the rule directories changed. It
// returns nil where the kernel gives no watches: then the files are looked at now and then.
func watchRules(ctx context.Context, cfg *Config, log *slog.Logger) <-chan struct{} {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = watchDirs(w, ruleDirs(cfg)); err != nil {
			_ = w.Close() // it is not used
		}
	}
	if err != nil {
		log.Warn("rule files cannot be watched: they are looked at every ten seconds", "error", err)
		return nil
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer w.Close() //nolint:errcheck // nothing is lost with it
		followFiles(ctx, w, cfg, log, changed)
	}()
	return changed
}

// followFiles tells changed of changes, once they have settled.
func followFiles(ctx context.Context, w *fsnotify.Watcher, cfg *Config, log *slog.Logger, changed chan<- struct{}) {
	quiet := time.NewTimer(0)
	<-quiet.C
	var began time.Time // of changes that were not told yet
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.Errors: // an overflow: something changed, nobody knows what
			log.Debug("watching rule files", "error", err)
		case ev := <-w.Events:
			if ev.Op == fsnotify.Chmod || !concerns(ev.Name, ruleDirs(cfg)) {
				continue
			}
		case <-quiet.C:
			if err := watchDirs(w, ruleDirs(cfg)); err != nil { // those that are new
				log.Warn("not all rule directories can be watched: send SIGHUP after a change", "error", err)
			}
			began = time.Time{}
			signalOnce(changed)
			continue
		}
		if began.IsZero() {
			began = time.Now()
		}
		quiet.Reset(max(0, min(settle, maxSettle-time.Since(began))))
	}
}

// watchDirs watches the directories below each root; of a root that is missing, the nearest above
// it that is there.
func watchDirs(w *fsnotify.Watcher, roots []string) error {
	dirs := 0
	for _, root := range roots {
		if st, err := os.Stat(root); err != nil || !st.IsDir() { // of a file, one that is put in its place is seen too
			if err := w.Add(nearest(root)); err != nil {
				return err
			}
			continue
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // what vanished meanwhile needs no watch
			}
			if skip := skipHidden(path, root, d); skip != nil {
				return skip
			}
			if dirs++; dirs > maxDirs {
				return errManyDirs
			}
			if err := w.Add(path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nearest returns the closest directory above path that is there.
func nearest(path string) string {
	for {
		up := filepath.Dir(path)
		if _, err := os.Stat(up); err == nil || up == path {
			return up
		}
		path = up
	}
}

// concerns reports whether a change of name can change what is below a root.
func concerns(name string, roots []string) bool {
	for _, root := range roots {
		if within(name, root) || within(root, name) {
			return true
		}
	}
	return false
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// signalOnce signals a channel that has room for one: two changes before it is read are one.
func signalOnce(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// askIfChanged asks for a reload if a rule file is another than at the last.
func (a *agent) askIfChanged(ask chan<- struct{}) {
	if seen := fingerprint(a.cfg); seen != a.rules.seen {
		a.rules.seen = seen
		signalOnce(ask)
	}
}
