package prompt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
)

// Bands is how many parts a template has. Two texts of which half of the pairs of words are common
// share one in three times, of which a fifth are in one of ten.
const (
	Bands = 8
	rows  = 3
)

// Template is what a text is like, in a form that tells nothing of it: a MinHash of its pairs of words
// in bands. Texts made of one template share bands. It is zero for a text of less than eight words.
type Template [Bands]uint32

// String writes it as 64 hexadecimal digits, 8 a part.
func (t Template) String() string {
	var b []byte
	for _, part := range t {
		b = binary.BigEndian.AppendUint32(b, part)
	}
	return hex.EncodeToString(b)
}

// Key is what hashes of texts are made with: without it nobody can try out what a text was.
type Key [32]byte

// Hash returns a hash of a text under the key, 32 hex digits; letters, blanks and punctuation count.
func (k *Key) Hash(parts ...string) string {
	h := hmac.New(sha256.New, k[:])
	for _, p := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Template returns the template of a text under the key. Numbers count as one word, whatever they are.
func (k *Key) Template(text string) (t Template) {
	words := split(text[:min(len(text), MaxText)])
	if len(words) < 8 {
		return t
	}
	for i, w := range words {
		if w[0] >= '0' && w[0] <= '9' {
			words[i] = "0"
		}
	}
	seed := binary.LittleEndian.Uint64(k[:])
	var least [Bands * rows]uint64
	for i := range least {
		least[i] = math.MaxUint64
	}
	for run := range shingles(words, 2) {
		for i := range least {
			least[i] = min(least[i], mix(run^seed+uint64(i)*0x9E3779B97F4A7C15))
		}
	}
	for b := range t {
		h := seed
		for _, v := range least[b*rows : b*rows+rows] {
			h = mix(h ^ v)
		}
		t[b] = uint32(h>>32) | 1 // never 0, which is no template
	}
	return t
}

// mix spreads a number over all its bits, and is one to one.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
