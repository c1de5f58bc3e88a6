package kernel

import (
	"hash/maphash"
	"path"
)

// texts remembers what was last told by name: the same path again is the same string, and not one
// more for the garbage collector. A text that falls on the place of another takes it, so that who
// makes up names makes nothing grow.
type texts struct {
	seed maphash.Seed
	last [1024]struct{ text, clean string }
}

// maxText bounds the length of what is remembered: 512 KiB in all.
const maxText = 256

func newTexts() *texts { return &texts{seed: maphash.MakeSeed()} }

// of returns b as a string.
func (t *texts) of(b []byte) string {
	text, _ := t.both(b)
	return text
}

// path returns b as a clean path.
func (t *texts) path(b []byte) string {
	_, clean := t.both(b)
	return clean
}

func (t *texts) both(b []byte) (text, clean string) {
	if len(b) == 0 {
		return "", ""
	}
	if len(b) > maxText {
		text = string(b)
		return text, path.Clean(text)
	}
	at := &t.last[maphash.Bytes(t.seed, b)%uint64(len(t.last))]
	if at.text != string(b) {
		at.text = string(b)
		at.clean = path.Clean(at.text)
	}
	return at.text, at.clean
}
