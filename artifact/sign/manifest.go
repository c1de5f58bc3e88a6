package sign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// Manifest is what a model consists of: each file, or each shard of each file, with its digest.
type Manifest struct {
	Name          string        `json:"name"` // of the model: its directory's or file's
	Digest        string        `json:"digest"`
	Serialization Serialization `json:"serialization"`
	Resources     []Resource    `json:"resources"` // as they were signed, alphabetical
}

// Serialization says how the digests were made.
type Serialization struct {
	Method        string      `json:"method"`    // files or shards
	HashType      string      `json:"hash_type"` // sha256, blake2b or blake3
	AllowSymlinks bool        `json:"allow_symlinks"`
	IgnorePaths   []string    `json:"ignore_paths,omitempty"` // below the model; nothing in them is signed
	ShardSize     json.Number `json:"shard_size,omitempty"`   // bytes; other writers give 1e9 and 8.0 too
}

// Resource is a file or shard. Name is the path below the model, or . where the model is one file; a
// shard's goes on with :start:end.
type Resource struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"` // sha256, blake2b, blake3, or one of them with -sharded-SIZE
	Digest    string `json:"digest"`    // hexadecimal
}

// The methods.
const (
	Files  = "files"
	Shards = "shards"
)

// size returns the bytes of a shard.
func (s Serialization) size() (int64, error) {
	f, err := s.ShardSize.Float64()
	if err != nil || f < 1 || f > 1<<50 || f != float64(int64(f)) {
		return 0, refuse("shard_size %q is no number of bytes", s.ShardSize)
	}
	return int64(f), nil
}

// algorithm returns what resources name.
func (s Serialization) algorithm() (string, error) {
	if _, err := newHash(s.HashType); err != nil {
		return "", err
	}
	switch s.Method {
	case Files:
		return s.HashType, nil
	case Shards:
		size, err := s.size()
		return fmt.Sprintf("%s-sharded-%d", s.HashType, size), err
	}
	return "", refuse("serialization method %q is neither files nor shards", s.Method)
}

// root returns the digest of all digests: SHA-256 of them, raw and one after the other.
func (m *Manifest) root() (string, error) {
	h := sha256.New()
	for _, r := range m.Resources {
		raw, err := hex.DecodeString(r.Digest)
		if err != nil {
			return "", refuse("the digest of %q is not hexadecimal", r.Name)
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// check refuses what no signer writes: names that leave the model or come twice, and other digests
// than the manifest's own.
func (m *Manifest) check() error {
	algorithm, err := m.Serialization.algorithm()
	if err != nil {
		return err
	}
	if len(m.Resources) == 0 {
		return refuse("it covers no file")
	}
	if len(m.Resources) > MaxResources {
		return refuse("it lists more than %d files", MaxResources)
	}
	seen := make(map[string]bool, len(m.Resources))
	for _, r := range m.Resources {
		if r.Algorithm != algorithm {
			return refuse("%q has a digest by %q, the manifest says %q", r.Name, r.Algorithm, algorithm)
		}
		if seen[r.Name] {
			return refuse("%q is listed twice", r.Name)
		}
		seen[r.Name] = true
		name := r.Name
		if m.Serialization.Method == Shards {
			s, err := parseShard(r.Name)
			if err != nil {
				return err
			}
			name = s.path
		}
		if !local(name) {
			return refuse("%q is not a path below the model", r.Name)
		}
	}
	root, err := m.root()
	if err != nil {
		return err
	}
	if root != m.Digest {
		return refuse("its digest of all files is %s, and they make %s", m.Digest, root)
	}
	return nil
}

// local reports whether name is a clean path that stays below where it begins.
func local(name string) bool {
	return name != "" && !path.IsAbs(name) && path.Clean(name) == name && name != ".." && !strings.HasPrefix(name, "../") &&
		!strings.ContainsAny(name, "\\\x00")
}

// shard is a range of a file.
type shard struct {
	path       string
	start, end int64
}

func (s shard) String() string { return fmt.Sprintf("%s:%d:%d", s.path, s.start, s.end) }

func parseShard(name string) (shard, error) {
	var s shard
	rest, end, ok := cutLast(name)
	file, start, ok2 := cutLast(rest)
	_, err := fmt.Sscanf(start+" "+end, "%d %d", &s.start, &s.end)
	s.path = file
	if !ok || !ok2 || err != nil || s.start < 0 || s.end < s.start || s.String() != name {
		return s, refuse("%q does not name a shard as path:start:end", name)
	}
	return s, nil
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
