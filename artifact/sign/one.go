package sign

import (
	"encoding/hex"
	"hash"
	"strings"
)

// FileCheck compares one file of a model with what was signed of it, as it is read from start to end.
type FileCheck struct {
	want  []string // digests of its pieces, in order
	kind  string
	piece int64 // bytes of each but the last
	left  int64 // of the piece that is read
	at    int
	hash  hash.Hash
	wrong bool
}

// CheckFile begins to check a file that the model has under name, a path with slashes, or . where the
// model is one file. A file that was not signed, or has another number of pieces than was signed, is
// refused with a *RefusedError at once.
func (m *Manifest) CheckFile(name string, size int64) (*FileCheck, error) {
	c := &FileCheck{kind: m.Serialization.HashType, piece: max(size, 1)}
	if m.Serialization.Method == Shards {
		var err error
		if c.piece, err = m.Serialization.size(); err != nil {
			return nil, err
		}
	}
	n := max((size+c.piece-1)/c.piece, 1)
	if n > MaxResources {
		return nil, refuse("%s has more than %d shards", name, MaxResources)
	}
	signed := map[string]string{}
	for _, r := range m.Resources {
		if r.Name == name || m.Serialization.Method == Shards && strings.HasPrefix(r.Name, name+":") {
			signed[r.Name] = strings.ToLower(r.Digest)
		}
	}
	if len(signed) == 0 {
		return nil, refuse("%s was not signed", name)
	}
	for i := range n {
		key := name
		if m.Serialization.Method == Shards {
			key = shard{name, i * c.piece, min((i+1)*c.piece, size)}.String()
		}
		digest, ok := signed[key]
		if !ok {
			return nil, refuse("%s is not what was signed: it has another length", name)
		}
		c.want = append(c.want, digest)
		delete(signed, key)
	}
	for rest := range signed {
		if s, err := parseShard(rest); err != nil || s.path == name { // of a file that is called name:1:2, it is none of this one's
			return nil, refuse("%s is not what was signed: it has another length", name)
		}
	}
	return c, c.next()
}

// next begins a piece.
func (c *FileCheck) next() (err error) {
	c.left = c.piece
	c.hash, err = newHash(c.kind)
	return err
}

// Write takes the next bytes of the file. It does not fail.
func (c *FileCheck) Write(p []byte) (int, error) {
	n := len(p)
	for int64(len(p)) > c.left {
		_, _ = c.hash.Write(p[:c.left]) // a hash does not fail
		p = p[c.left:]
		c.close()
	}
	_, _ = c.hash.Write(p)
	c.left -= int64(len(p))
	return n, nil
}

// close ends a piece.
func (c *FileCheck) close() {
	if c.at >= len(c.want) || hex.EncodeToString(c.hash.Sum(nil)) != c.want[c.at] {
		c.wrong = true
	}
	c.at++
	_ = c.next() // its function was there for the piece before
}

// Same reports, once the whole file was written to c, whether it is what was signed.
func (c *FileCheck) Same() bool {
	if c.at < len(c.want) {
		c.close()
	}
	return !c.wrong && c.at == len(c.want)
}
