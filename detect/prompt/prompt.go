// Package prompt says what a text for a language model, or one from it, looks like: by signs that are
// exact, and by a small model that was trained for it. What it hands out are names and numbers, never
// a piece of the text.
//
// All but a Memory are functions of the text, whose work and memory grow with the length at most, and no more
// than the first MaxText bytes are looked at.
package prompt

import "strings"

// MaxText is how much of a text is looked at, in bytes.
const MaxText = 128 << 10

// What a prompt can be said to hold.
const (
	Phrase  = "phrase"         // words that are known of attempts to make a model break its rules
	Hidden  = "hidden-unicode" // characters that a person does not see
	Encoded = "encoded"        // most of it is Base64 or hexadecimal
	Wrapped = "wrapped"        // what was hidden or encoded in it holds such words
)

// Report says what a prompt looks like.
type Report struct {
	// Score is how much the prompt looks like an attempt to make a model break its rules, of 1000.
	Score int64
	// Signs holds the names of what is in it, in the order of the constants.
	Signs []string
}

// Look says what a prompt looks like. What was hidden or encoded in it is looked at, too, one deep.
func Look(text string) Report {
	text = text[:min(len(text), MaxText)]
	seen, hidden := reveal(text)
	words := split(seen)
	r := Report{Score: trained().worst(words)}
	if phrased(words) {
		r.Signs = append(r.Signs, Phrase)
	}
	if hidden.any() {
		r.Signs = append(r.Signs, Hidden)
	}
	inner, most := decode(seen)
	if most {
		r.Signs = append(r.Signs, Encoded)
	}
	for _, text := range []string{hidden.text, inner} {
		if words := split(text); len(words) > 0 {
			r.Score = max(r.Score, trained().worst(words))
			if phrased(words) {
				r.Signs = append(r.Signs, Wrapped)
				break
			}
		}
	}
	return r
}

// Refuses reports whether an answer says in so many words that the model will not do it. It looks at
// the beginning, where such words stand.
func Refuses(answer string) bool {
	words := split(answer[:min(len(answer), 400)])
	text := " " + strings.Join(words[:min(len(words), 40)], " ") + " "
	for _, p := range refusals {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// Overlap is how much of a system prompt an answer repeats: the share of the runs of five words of the
// one that the other holds, in percent; 0 where the prompt is too short to tell.
func Overlap(system, answer string) int64 {
	runs := map[uint64]bool{}
	for run := range shingles(split(system[:min(len(system), MaxText)]), 5) {
		runs[run] = false
	}
	if len(runs) < 8 {
		return 0
	}
	for run := range shingles(split(answer[:min(len(answer), MaxText)]), 5) {
		if _, ok := runs[run]; ok {
			runs[run] = true
		}
	}
	n := 0
	for _, told := range runs {
		if told {
			n++
		}
	}
	return int64(100 * n / len(runs))
}
