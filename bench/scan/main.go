// Scan measures the scanner of model files: how many hostile files of each class it finds, of how many harmless
// ones it says that they are not, and how fast it is.
//
//	go run ./bench/scan
//	python3 bench/scan/real.py DIR && go run ./bench/scan -dir DIR
//
// The files are written by this program, and nothing here loads them. With -dir it also judges those below
// DIR/hostile and DIR/benign, whose folders are their classes, and -write DIR keeps all files for another scanner.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"picket/artifact"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "directory with hostile/CLASS/FILE and benign/CLASS/FILE to judge, too")
	write := flag.String("write", "", "directory to keep the files in")
	n := flag.Int("n", 60, "harmless pickles of each class")
	fast := flag.Bool("speed", true, "measure speed and memory, too")
	flag.Parse()
	if err := run(*dir, *write, *n, *fast); err != nil {
		log.Fatal("scan: ", err)
	}
}

func run(dir, write string, n int, fast bool) error {
	samples := append(hostile(), benign(n)...)
	if dir != "" {
		more, err := load(dir)
		if err != nil {
			return err
		}
		samples = append(samples, more...)
	}
	if write != "" {
		if err := keep(write, samples); err != nil {
			return err
		}
	}
	ok := judge(samples)
	if fast {
		if err := speed(); err != nil {
			return err
		}
	}
	if !ok {
		return errors.New("a goal was not met")
	}
	return nil
}

// tally counts the files of a class.
type tally struct {
	class         string
	hostile       bool
	n, told       int // told: suspicious or malicious
	unknown, fail int
	wrong         []string
}

// judge scans the files, prints what was found by class, and says whether the goals are met.
func judge(samples []sample) bool {
	classes := map[string]*tally{}
	var sum [2][2]tally // pickle or other, benign or hostile
	for _, s := range samples {
		key := fmt.Sprint(s.hostile, s.class)
		t := classes[key]
		if t == nil {
			t = &tally{class: s.class, hostile: s.hostile}
			classes[key] = t
		}
		file := "model.bin" // the name must not matter
		if strings.HasSuffix(s.name, ".yaml") {
			file = s.name
		}
		r := artifact.Scan(file, bytes.NewReader([]byte(s.data)), artifact.Options{})
		total := &sum[index(!s.pickle)][index(s.hostile)]
		for _, t := range []*tally{t, total} {
			t.n++
			t.told += index(r.Verdict >= artifact.Suspicious)
			t.unknown += index(r.Verdict == artifact.Unknown)
			t.fail += index(r.Verdict == artifact.Failed || r.Verdict == artifact.Unsupported)
		}
		if (r.Verdict >= artifact.Suspicious) != s.hostile && (s.hostile || r.Verdict >= artifact.Failed) {
			t.wrong = append(t.wrong, fmt.Sprintf("%s: %s", s.name, reason(r)))
		}
	}
	list := make([]*tally, 0, len(classes))
	for _, t := range classes {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *tally) int {
		return cmp.Or(cmp.Compare(index(b.hostile), index(a.hostile)), strings.Compare(a.class, b.class))
	})
	fmt.Printf("%-8s %-44s %6s %6s %7s %7s\n", "files", "class", "n", "told", "unknown", "failed")
	for _, t := range list {
		fmt.Printf("%-8s %-44s %6d %6d %7d %7d\n", side(t.hostile), t.class, t.n, t.told, t.unknown, t.fail)
		for _, w := range t.wrong[:min(len(t.wrong), 12)] {
			fmt.Printf("    wrong: %.200s\n", w)
		}
	}
	ok := true
	for i, family := range []string{"pickle family", "other formats"} {
		h, b := sum[i][1], sum[i][0]
		recall, false1 := 100*float64(h.told)/float64(max(h.n, 1)), 100*float64(b.told+b.fail)/float64(max(b.n, 1))
		goal := []float64{99, 98}[i]
		fmt.Printf("%s: %d of %d hostile files told, %.2f %% (goal %.0f %%); %d of %d harmless files told, %d not judged, %.2f %% (goal at most 1 %%), %d of classes that are on no list\n",
			family, h.told, h.n, recall, goal, b.told, b.n, b.fail, false1, b.unknown)
		ok = ok && recall >= goal && false1 <= 1
	}
	return ok
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

func side(hostile bool) string { return []string{"harmless", "hostile"}[index(hostile)] }

func reason(r artifact.Report) string {
	out := r.Verdict.String() + " " + strings.Join(r.Formats, ",")
	for _, i := range r.Issues {
		if i.Verdict == r.Verdict {
			return out + ": " + i.Text
		}
	}
	return out
}

// load reads the files below DIR/hostile and DIR/benign.
func load(dir string) ([]sample, error) {
	var out []sample
	for _, kind := range []string{"hostile", "benign"} {
		root := filepath.Join(dir, kind)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			class, _ := filepath.Rel(root, filepath.Dir(p))
			other := strings.HasPrefix(class, "other")
			out = append(out, sample{"real: " + class, filepath.Base(p), string(b), kind == "hostile", !other})
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return out, nil
}

// keep writes the files where another scanner can read them.
func keep(dir string, samples []sample) error {
	for i, s := range samples {
		family := []string{"other", "pickle"}[index(s.pickle)]
		at := filepath.Join(dir, []string{"benign", "hostile"}[index(s.hostile)], family)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%05d.bin", i)), []byte(s.data), 0o600); err != nil {
			return err
		}
	}
	return nil
}
