// Prompt trains the small model of detect/prompt, and measures it on what it was not trained on.
//
//	go run ./bench/prompt              trains, measures, and compares with the model that is built in
//	go run ./bench/prompt -write       writes detect/prompt/model.bin anew
//	go run ./bench/prompt -noise       measures which texts look like noise, and nothing else
//
// The corpus is templates and words to fill them with, both in corpus/. A template is held out as a
// whole: what is measured is texts whose form was never seen, though some of their words were.
package main

import (
	"bytes"
	"embed"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"picket/detect/prompt"
)

//go:embed corpus
var corpus embed.FS

const (
	modelPath = "detect/prompt/model.bin"
	fillings  = 60 // of each template
	folds     = 5
	epochs    = 12
	rate      = 0.5
	decay     = 2e-5
)

func main() {
	log.SetFlags(0)
	write := flag.Bool("write", false, "write "+modelPath)
	noise := flag.Bool("noise", false, "measure which texts look like noise, and nothing else")
	flag.Parse()
	if err := run(*write, *noise); err != nil {
		log.Fatal(err)
	}
}

// sample is a text as the model sees it.
type sample struct {
	at       []uint16
	attack   bool
	template int
	text     string
}

func run(write, noise bool) error {
	samples, templates, err := read()
	if err != nil {
		return err
	}
	fmt.Printf("%d texts of %d templates\n", len(samples), templates)
	if noise {
		return measureNoise(samples)
	}
	crossValidate(samples, templates)
	model := train(samples, func(sample) bool { return true })
	if err := measureProse(model); err != nil {
		return err
	}
	file := model.Append(nil)
	if write {
		return os.WriteFile(modelPath, file, 0o644) //nolint:gosec // it is part of the source
	}
	have, err := os.ReadFile(modelPath)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, file) {
		return fmt.Errorf("%s is not what the corpus gives: run with -write", modelPath)
	}
	fmt.Printf("%s is what the corpus gives\n", modelPath)
	return nil
}

// read makes the texts of the corpus, the same ones each time.
func read() (out []sample, templates int, err error) {
	slots := map[string][]string{}
	lines := func(name string) (all []string) {
		src, e := corpus.ReadFile("corpus/" + name)
		if e != nil {
			err = e
		}
		for line := range strings.Lines(string(src)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
		return all
	}
	for _, line := range lines("slots.txt") {
		name, values, _ := strings.Cut(line, ": ")
		slots[name] = strings.Split(values, "|")
	}
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	for _, kind := range []string{"attacks.txt", "benign.txt"} {
		for _, template := range lines(kind) {
			seen := map[string]bool{}
			for range fillings {
				text := fill(rnd, template, slots)
				if !seen[text] {
					seen[text] = true
					out = append(out, sample{prompt.Features(text), kind == "attacks.txt", templates, text})
				}
			}
			templates++
		}
	}
	return out, templates, err
}

func fill(rnd *rand.Rand, template string, slots map[string][]string) string {
	var b strings.Builder
	chosen := map[string]string{}
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		values := slots[name]
		if len(values) == 0 {
			log.Fatalf("corpus: no slot %q", name)
		}
		if chosen[name] == "" || name == "topic" || name == "city" {
			chosen[name] = values[rnd.IntN(len(values))]
		}
		b.WriteString(chosen[name])
		template = after
	}
}

// train fits a logistic model by stochastic gradient descent; both kinds and all templates of a kind
// count the same.
func train(samples []sample, use func(sample) bool) *prompt.Model {
	of, kinds := map[int]int{}, map[bool]map[int]bool{true: {}, false: {}}
	var order []int
	for i, s := range samples {
		if use(s) {
			order = append(order, i)
			of[s.template]++
			kinds[s.attack][s.template] = true
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same each time
	var weight [prompt.Buckets]float64
	bias := 0.0
	for epoch := range epochs {
		rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		step := rate / (1 + float64(epoch)/4)
		for _, i := range order {
			s := samples[i]
			norm, z, want := 1/math.Sqrt(float64(len(s.at))), bias, 0.0
			for _, f := range s.at {
				z += weight[f] * norm
			}
			if s.attack {
				want = 1
			}
			share := float64(len(order)) / float64(2*len(kinds[s.attack])*of[s.template])
			g := step * share * (want - 1/(1+math.Exp(-z)))
			bias += g * 0.1
			for _, f := range s.at {
				weight[f] += g*norm - step*decay*weight[f]
			}
		}
	}
	most := 0.0
	for _, w := range weight {
		most = max(most, math.Abs(w))
	}
	m := &prompt.Model{Bias: float32(bias), Scale: float32(most / 127)}
	for i, w := range weight {
		m.Weight[i] = int8(math.Round(w / most * 127))
	}
	return m
}

// crossValidate measures on templates that were held out.
func crossValidate(samples []sample, templates int) {
	rnd := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // the same each time
	fold := make([]int, templates)
	for i := range fold {
		fold[i] = i % folds
	}
	rnd.Shuffle(templates, func(i, j int) { fold[i], fold[j] = fold[j], fold[i] })
	limits := []int64{500, 700, prompt.Suspicious, 900, 950}
	hit, alarm, attacks, benign := make([]int, len(limits)), make([]int, len(limits)), 0, 0
	for k := range folds {
		m := train(samples, func(s sample) bool { return fold[s.template] != k })
		for _, s := range samples {
			if fold[s.template] != k {
				continue
			}
			score := m.Score(s.at)
			if s.attack {
				attacks++
			} else {
				benign++
			}
			for i, l := range limits {
				if score >= l && s.attack {
					hit[i]++
				} else if score >= l {
					alarm[i]++
				}
			}
		}
	}
	for i, l := range limits {
		fmt.Printf("templates held out, score from %d: %5.1f %% of %d attacks, %5.2f %% of %d benign\n",
			l, 100*float64(hit[i])/float64(attacks), attacks, 100*float64(alarm[i])/float64(benign), benign)
	}
}
