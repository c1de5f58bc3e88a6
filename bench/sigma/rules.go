package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"picket/bench/public"
	"picket/sigma"
)

// ruleset is the public rules, and what loading them cost.
type ruleset struct {
	rules    []*sigma.Rule
	compiled int
	took     time.Duration // YAML to engine, on one core
	heap     uint64        // of rules and engine
}

// load reads the living public rules that need no placeholder values.
func load(data string) (set ruleset, err error) {
	files, err := public.ReadRules(filepath.Join(data, public.Archive))
	if err != nil {
		return set, fmt.Errorf("the public rules: %w", err)
	}
	files = public.Living(files)
	before := heap()
	began := cpu()
	for _, f := range files {
		parsed, err := sigma.Parse(f.Name, f.Data)
		if err != nil {
			return set, err
		}
		set.rules = append(set.rules, parsed.Rules...)
	}
	e, err := sigma.Compile(set.rules, schema)
	if err := onlyPlaceholders(err); err != nil {
		return set, err
	}
	set.took = cpu() - began
	for i := range files {
		files[i].Data = nil
	}
	set.heap = heap() - before
	set.compiled = len(e.Rules())
	set.rules = e.Rules()
	runtime.KeepAlive(e)
	return set, nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
