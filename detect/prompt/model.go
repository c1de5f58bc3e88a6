package prompt

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	_ "embed"
)

// Buckets is how many weights the model has.
const Buckets = 1 << 16

// Suspicious is the score, of 1000, from which on a prompt is taken for an attempt.
const Suspicious = 800

// modelMagic begins a file of weights. It is another one where split, features or the layout changed.
const modelMagic = "PKTPM\x00\x00\x01"

//go:embed model.bin
var modelFile []byte

// trained is the model that is built in; most programs of Picket never ask for it.
var trained = sync.OnceValue(func() *Model {
	m, err := ReadModel(modelFile)
	if err != nil {
		panic(err) // it is built in, and a test reads it
	}
	return m
})

// Model is a logistic model of hashed words and pairs of words.
type Model struct {
	Bias   float32
	Scale  float32 // what a weight of 1 stands for
	Weight [Buckets]int8
}

// Append writes the model as it is kept: magic, bias, scale, weights.
func (m *Model) Append(b []byte) []byte {
	b = append(b, modelMagic...)
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(m.Bias))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(m.Scale))
	for _, w := range m.Weight {
		b = append(b, byte(w))
	}
	return b
}

// ReadModel reads what Append wrote.
func ReadModel(b []byte) (*Model, error) {
	const head = len(modelMagic) + 8
	if len(b) != head+Buckets || string(b[:len(modelMagic)]) != modelMagic {
		return nil, fmt.Errorf("model of prompts: %d bytes that begin with %q, want %d and %q", len(b), b[:min(len(b), len(modelMagic))], head+Buckets, modelMagic)
	}
	m := &Model{
		Bias:  math.Float32frombits(binary.LittleEndian.Uint32(b[len(modelMagic):])),
		Scale: math.Float32frombits(binary.LittleEndian.Uint32(b[len(modelMagic)+4:])),
	}
	for i, c := range b[head:] {
		m.Weight[i] = int8(c)
	}
	return m, nil
}

// Features returns the buckets of a text's words and pairs of words, each once. Training and scoring
// see a text by it alone.
func Features(text string) []uint16 {
	seen, _ := reveal(text[:min(len(text), MaxText)])
	return features(split(seen))
}

func features(words []string) []uint16 {
	var have [Buckets / 64]uint64
	out := make([]uint16, 0, 2*len(words))
	for n := 1; n <= 2; n++ {
		for h := range shingles(words, n) {
			at := uint16(h ^ h>>16 ^ h>>32 ^ h>>48)
			if bit := uint64(1) << (at % 64); have[at/64]&bit == 0 {
				have[at/64] |= bit
				out = append(out, at)
			}
		}
	}
	return out
}

// window is how many words are judged together: an attempt is not thinned by what surrounds it.
const window = 32

// Worst is the score of the worst part of a text, of 1000.
func (m *Model) Worst(text string) int64 {
	seen, _ := reveal(text[:min(len(text), MaxText)])
	return m.worst(split(seen))
}

func (m *Model) worst(words []string) (most int64) {
	for i := 0; i < len(words); i += window / 2 {
		part := words[i:min(i+window, len(words))]
		most = max(most, m.Score(features(part)))
		if i+window >= len(words) {
			break
		}
	}
	return most
}

// Score says how much a text with these features looks like an attempt, of 1000.
func (m *Model) Score(at []uint16) int64 {
	if len(at) == 0 {
		return 0
	}
	sum := int64(0)
	for _, f := range at {
		sum += int64(m.Weight[f])
	}
	z := float64(m.Bias) + float64(m.Scale)*float64(sum)/math.Sqrt(float64(len(at)))
	return int64(1000 / (1 + math.Exp(-z)))
}
