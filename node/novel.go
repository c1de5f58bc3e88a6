package node

import (
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
	recall(a.log, novelFile(a.cfg), "doings of agents and users of clusters", a.novel.Restore)
}

// keepNovel writes down who did what.
func (a *agent) keepNovel() {
	remember(a.log, novelFile(a.cfg), "doings of agents and users of clusters", a.novel.Snapshot)
}

func novelFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "novel.json") }
