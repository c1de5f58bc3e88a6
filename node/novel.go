package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"picket/detect/drift"
	"picket/detect/novel"
)

// openNovel makes what tells new doings from known ones ready, with what was done before.
func (a *agent) openNovel() {
	lists := map[string][]string{}
	for agent, tools := range a.cfg.Ingest.Tools {
		lists[agent] = tools
	}
	a.novel, a.drift = novel.New(lists), drift.New()
	file := novelFile(a.cfg)
	b, err := os.ReadFile(file)
	if err == nil {
		err = a.novel.Restore(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("what agents and users of clusters are wont to do is learned anew: what was kept cannot be read", "file", file, "error", err)
	}
}

// keepNovel writes down who did what.
func (a *agent) keepNovel() {
	b, err := a.novel.Snapshot()
	if err == nil {
		err = replaceFile(novelFile(a.cfg), b, 0o600)
	}
	if err != nil {
		a.log.Warn("what agents and users of clusters are wont to do could not be kept", "error", err)
	}
}

func novelFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "novel.json") }
