package sign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/blake2b"
	"lukechampine.com/blake3"
)

// newHash returns the function that a manifest names, with the length of digest that others give it.
func newHash(name string) (hash.Hash, error) {
	switch name {
	case "sha256":
		return sha256.New(), nil
	case "blake2b":
		return blake2b.New512(nil)
	case "blake3":
		return blake3.New(32, nil), nil
	}
	return nil, refuse("hash type %q is none of sha256, blake2b, blake3", name)
}

// defaultIgnored is what lies beside a model and is not of it.
var defaultIgnored = []string{".git", ".gitattributes", ".github", ".gitignore"}

// ShardSize is the bytes of a shard where nothing else is asked for.
const ShardSize = 1_000_000_000

// Options says how a manifest is made. The zero value is SHA-256 of whole files.
type Options struct {
	Shards   bool                    // a digest for each ShardSize bytes, so that one file takes all processors
	Ignore   []string                // paths below the model, beside those of git
	Progress func(done, total int64) // called with the bytes read so far; may be nil
}

// Make reads the whole model and returns its manifest. Links, devices and the like are refused.
func Make(ctx context.Context, t *Tree, o Options) (*Manifest, error) {
	m := &Manifest{Name: t.name, Serialization: Serialization{Method: Files, HashType: "sha256", AllowSymlinks: t.links}}
	if o.Shards {
		m.Serialization.Method, m.Serialization.ShardSize = Shards, json.Number(strconv.Itoa(ShardSize))
	}
	if t.file == "" {
		m.Serialization.IgnorePaths = append(append([]string{}, defaultIgnored...), o.Ignore...)
	}
	files, odd, err := t.list(m.Serialization.IgnorePaths)
	if err != nil {
		return nil, err
	}
	if len(odd) > 0 {
		return nil, fmt.Errorf("%s %s: remove it or ignore its path (%d such)", odd[0].Name, odd[0].Reason, len(odd))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no file", t.name)
	}
	pieces, err := t.pieces(files, m.Serialization)
	if err != nil {
		return nil, err
	}
	m.Resources, err = t.digests(ctx, pieces, m.Serialization, o.Progress)
	if err != nil {
		return nil, err
	}
	m.Digest, err = m.root()
	return m, err
}

// pieces returns what is hashed: the shards of all files, or the files as shards from start to end.
func (t *Tree) pieces(files []string, s Serialization) ([]shard, error) {
	size := int64(1) << 62
	if s.Method == Shards {
		var err error
		if size, err = s.size(); err != nil {
			return nil, err
		}
	}
	var out []shard
	for _, name := range files {
		f, info, err := t.open(name)
		if err != nil {
			return nil, err
		}
		_ = f.Close() // nothing was written
		for at := int64(0); ; at += size {
			end := min(at+size, info.Size())
			if s.Method != Shards || end > at || info.Size() == 0 {
				out = append(out, shard{name, at, end})
			}
			if end == info.Size() {
				break
			}
			if len(out) > MaxResources {
				return nil, fmt.Errorf("more than %d shards: take a greater size", MaxResources)
			}
		}
	}
	return out, nil
}

// digests hashes pieces on all processors.
func (t *Tree) digests(ctx context.Context, pieces []shard, s Serialization, progress func(done, total int64)) ([]Resource, error) {
	algorithm, err := s.algorithm()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var total int64
	for _, p := range pieces {
		total += p.end - p.start
	}
	var next atomic.Int64
	var mu sync.Mutex // of done
	var done int64
	read := func(n int) {
		if progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		done += int64(n)
		progress(done, total)
	}
	out := make([]Resource, len(pieces))
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return
				}
				p := pieces[i]
				sum, err := t.digest(ctx, p, s.HashType, read)
				if err != nil {
					stop(err)
					return
				}
				out[i] = Resource{p.path, algorithm, sum}
				if s.Method == Shards {
					out[i].Name = p.String()
				}
			}
		})
	}
	wg.Wait()
	return out, context.Cause(ctx)
}

// digest hashes one piece, and says so if the file changed meanwhile.
func (t *Tree) digest(ctx context.Context, p shard, kind string, read func(int)) (string, error) {
	f, before, err := t.open(p.path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	h, err := newHash(kind)
	if err != nil {
		return "", err
	}
	buf, in := make([]byte, 1<<20), io.NewSectionReader(f, p.start, p.end-p.start)
	for at := p.start; at < p.end; {
		n, err := in.Read(buf)
		h.Write(buf[:n])
		at += int64(n)
		read(n)
		if err == io.EOF && at < p.end {
			return "", fmt.Errorf("%s became shorter while it was read", p.path)
		}
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("%s: %w", p.path, err)
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	after, err := f.Stat()
	if err != nil {
		return "", err
	}
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return "", fmt.Errorf("%s changed while it was read", p.path)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
