package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"picket/sigma"
)

const archive = "sigmahq-rules-8eaafff1f.tar.gz"

// ruleset is the public rules, and what loading them cost.
type ruleset struct {
	rules    []*sigma.Rule
	compiled int
	took     time.Duration // YAML to engine, on one core
	heap     uint64        // of rules and engine
}

// load reads the living public rules that need no placeholder values.
func load(data string) (set ruleset, err error) {
	files, err := ruleFiles(filepath.Join(data, archive))
	if err != nil {
		return set, fmt.Errorf("the public rules: %w", err)
	}
	before := heap()
	began := cpu()
	for _, f := range files {
		parsed, err := sigma.Parse(f.name, f.src)
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
		files[i].src = nil
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

type file struct {
	name string
	src  []byte
}

func ruleFiles(name string) (files []file, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(zip); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(h.Name, "sigma/rules") || !strings.HasSuffix(h.Name, ".yml") {
			continue
		}
		src, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		files = append(files, file{h.Name, src})
	}
}
