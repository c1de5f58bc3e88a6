package picket_test

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layers orders Picket's packages from the ground up. A package may import lower layers and its
// own parent or children; what it needs of a neighbour it states as an interface, and node hands it in.
var layers = [][]string{
	{"event", "sigma", "artifact", "cacao", "threats", "playbooks", "labs", "ui", "docs"},
	{"workload", "inventory", "policy", "sensor", "ingest", "stream", "detect", "incident", "respond", "sink", "store"},
	{"api"},
	{"node", "lab"},
	{"cmd", "bench"},
}

type pkg struct {
	ImportPath, Dir string
	GoFiles         []string
	Imports         []string
}

func packages(t *testing.T) (mod string, pkgs []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	b, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b)), pkgs
}

func TestImportsPointDown(t *testing.T) {
	layer := map[string]int{}
	for i, names := range layers {
		for _, n := range names {
			layer[n] = i
		}
	}
	mod, pkgs := packages(t)
	top := func(path string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, mod+"/"), "/")
		return name
	}
	for _, p := range pkgs {
		if p.ImportPath == mod {
			continue
		}
		from := top(p.ImportPath)
		if _, ok := layer[from]; !ok {
			t.Errorf("%s is on no layer: give it a place in layers, and in ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, mod+"/") || top(imp) == from {
				continue
			}
			if to := top(imp); layer[to] >= layer[from] {
				t.Errorf("%s must not import %s: imports point down", p.ImportPath, imp)
			}
		}
	}
}

// The store engine is foreign code with global state: one package alone may touch it.
func TestOnlyTheStoreChildImportsTheEngine(t *testing.T) {
	mod, pkgs := packages(t)
	for _, p := range pkgs {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "github.com/VictoriaMetrics/") && p.ImportPath != mod+"/store/child" && p.ImportPath != mod+"/store/events/child" {
				t.Errorf("%s must not import %s: only the store's child does", p.ImportPath, imp)
			}
		}
	}
}

// A program that can load a shared library is linked dynamically: picket itself is not.
func TestOnlyTheReaderOfGPUsLoadsALibrary(t *testing.T) {
	mod, pkgs := packages(t)
	for _, p := range pkgs {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "github.com/ebitengine/purego") && p.ImportPath != mod+"/sensor/gpu/nvml" ||
				imp == mod+"/sensor/gpu/nvml" && p.ImportPath != mod+"/cmd/picket-gpu" {
				t.Errorf("%s must not import %s: picket would be linked dynamically", p.ImportPath, imp)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	_, pkgs := packages(t)
	for _, p := range pkgs {
		said := 0
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil {
				said++
			}
		}
		if len(p.GoFiles) > 0 && said != 1 {
			t.Errorf("%s has %d package comments, want 1", p.ImportPath, said)
		}
	}
}

// A program that was built belongs to who built it. Only what the kernel loads is kept here, as clang is not
// everywhere, and a test holds it to its source.
func TestNoBuiltProgramIsKept(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Skip("what is kept cannot be asked: no git, or no clone:", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue // taken away in the work tree
		}
		if size := info.Size(); size > 1<<20 {
			t.Errorf("%s has %d bytes: was it built, and added by mistake?", name, size)
		}
		if head := make([]byte, 4); !strings.HasSuffix(name, "_bpfel.o") {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(f, head); err == nil && string(head) == "\x7fELF" {
				t.Errorf("%s is a program: was it added by mistake?", name)
			}
			_ = f.Close()
		}
	}
}
