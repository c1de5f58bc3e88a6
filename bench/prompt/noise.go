package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"picket/detect/prompt"
)

// measureNoise counts which texts look like noise: the corpus, the source of Go's library by the line, and
// suffixes of words and signs that are drawn here, as a search by machine finds them.
func measureNoise(samples []sample) error {
	limits := []int64{10, 15, prompt.NoiseFrom, 30}
	count := func(what string, texts []string) {
		n := make([]int, len(limits))
		for _, text := range texts {
			v := prompt.Noise(text)
			for i, l := range limits {
				if v >= l {
					n[i]++
				}
			}
		}
		for i, l := range limits {
			fmt.Printf("noise from %d: %6.3f %% of %d %s\n", l, 100*float64(n[i])/float64(max(len(texts), 1)), len(texts), what)
		}
	}
	var benign, attacks, comments, lines []string
	for _, s := range samples {
		if s.attack {
			attacks = append(attacks, s.text)
		} else {
			benign = append(benign, s.text)
		}
	}
	root := filepath.Join(runtime.GOROOT(), "src") //nolint:staticcheck // the library beside the compiler that runs this
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		src, err := os.ReadFile(path) //nolint:gosec // a file of the library
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(src)) {
			if len(strings.Fields(line)) < 10 {
				continue
			}
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				comments = append(comments, line)
			} else {
				lines = append(lines, line)
			}
		}
		return nil
	})
	count("ordinary requests of the corpus", benign)
	count("attacks of the corpus, which are words", attacks)
	count("lines of comments in Go's library", comments)
	count("lines of code in Go's library", lines)
	count("suffixes drawn by lot", suffixes(benign))
	return err
}

// suffixes puts behind ordinary requests what is drawn of their words, pieces of them, and signs.
func suffixes(requests []string) (out []string) {
	rnd := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // the same each time
	signs := []string{"](", "**", `\`, "!--", "{$", "==", "?)", `"\`, "]{", "=>", "||", ":", "'.", "}(", "#"}
	var words []string
	for _, r := range requests {
		words = append(words, strings.Fields(r)...)
	}
	for range 2000 {
		var b strings.Builder
		b.WriteString(requests[rnd.IntN(len(requests))])
		for range 20 { // tokens: a piece, glued to the one before in half of the cases
			if rnd.IntN(2) == 0 {
				b.WriteByte(' ')
			}
			if rnd.IntN(3) == 0 {
				b.WriteString(signs[rnd.IntN(len(signs))])
			} else {
				w := words[rnd.IntN(len(words))]
				b.WriteString(w[:1+rnd.IntN(len(w))])
			}
		}
		out = append(out, strings.ToValidUTF8(b.String(), ""))
	}
	return out
}
