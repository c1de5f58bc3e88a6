package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"picket/detect/prompt"
)

// measureProse counts how often the model takes ordinary technical English for an attempt: the
// comments of Go's own library, none of which it was trained on.
func measureProse(m *prompt.Model) error {
	n, suspicious := 0, 0
	root := filepath.Join(runtime.GOROOT(), "src") //nolint:staticcheck // the library beside the compiler that runs this
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return nil //nolint:nilerr // testdata holds what does not parse
		}
		for _, c := range prose(file) {
			n++
			if m.Worst(c) >= prompt.Suspicious {
				suspicious++
				if suspicious <= 5 {
					fmt.Printf("  taken for an attempt: %.200q\n", c)
				}
			}
		}
		return nil
	})
	fmt.Printf("comments of Go's library: %d of %d taken for attempts, %.3f %%\n", suspicious, n, 100*float64(suspicious)/float64(max(n, 1)))
	return err
}

// prose returns the comments that are at least eight words.
func prose(f *ast.File) (out []string) {
	for _, g := range f.Comments {
		if text := g.Text(); strings.Count(text, " ") >= 8 {
			out = append(out, text)
		}
	}
	return out
}
