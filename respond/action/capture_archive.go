package action

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// lack is something that an archive does not hold, and why.
type lack struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// archive is a tar, compressed by zstd, that ends with a manifest of the digests of all before it.
// It gets its name when it is whole.
type archive struct {
	path    string
	f       *os.File
	sum     hash.Hash
	n       int64
	z       *zstd.Encoder
	t       *tar.Writer
	left    int64
	files   []keptFile
	missing []lack
	lost    int // beyond maxMissing
}

const maxMissing = 1000

func newArchive(path string, most int64) (*archive, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // of mode 0600
	if err != nil {
		return nil, err
	}
	a := &archive{path: path, f: f, sum: sha256.New(), left: most}
	a.z, err = zstd.NewWriter(io.MultiWriter(f, a.sum, counter{&a.n}), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	a.t = tar.NewWriter(a.z)
	return a, nil
}

type counter struct{ n *int64 }

func (c counter) Write(p []byte) (int, error) {
	*c.n += int64(len(p))
	return len(p), nil
}

// lacks notes that something is not in the archive.
func (a *archive) lacks(what string, why any) {
	if len(a.missing) >= maxMissing {
		a.lost++
		return
	}
	a.missing = append(a.missing, lack{what, oneLine(fmt.Sprint(why), 300)})
}

// add puts a file in, where there is room for it.
func (a *archive) add(name string, content []byte) {
	a.stream(name, int64(len(content)), bytes.NewReader(content))
}

func (a *archive) json(name string, v any) {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		a.lacks(name, err)
		return
	}
	a.add(name, append(b, '\n'))
}

// stream puts size bytes of r in. What r does not give is filled with zeros, and named as missing.
func (a *archive) stream(name string, size int64, r io.Reader) {
	if size > a.left {
		a.lacks(name, fmt.Sprintf("its %d bytes do not fit any more", size))
		return
	}
	a.left -= size
	if err := a.put(name, size, r); err != nil {
		a.lacks(name, err)
	}
}

func (a *archive) put(name string, size int64, r io.Reader) error {
	if err := a.t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: time.Now(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(a.t, sum), io.LimitReader(r, size))
	if n < size {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		err = fmt.Errorf("only its first %d of %d bytes could be read, zeros follow: %w", n, size, err)
		if _, zero := io.CopyN(io.MultiWriter(a.t, sum), zeros{}, size-n); zero != nil {
			return zero
		}
	}
	a.files = append(a.files, keptFile{Path: name, Size: size, SHA256: hexSum(sum)})
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// seal writes who had it collected, what is missing, and the manifest, and gives it its name. They
// fit always: the bound is on what workloads have a say in.
func (a *archive) seal(c *custody) error {
	a.left = 64 << 20
	if a.lost > 0 {
		a.missing = append(a.missing, lack{"more", fmt.Sprintf("%d more things are missing", a.lost)})
	}
	a.json("custody.json", c)
	a.json("missing.json", a.missing)
	a.json("manifest.json", a.files)
	err := errors.Join(a.t.Close(), a.z.Close(), a.f.Sync(), a.f.Close())
	if err == nil {
		err = os.Rename(a.f.Name(), a.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(a.path))
	}
	return err
}

// abandon removes what was not sealed.
func (a *archive) abandon() {
	_ = a.f.Close()
	_ = os.Remove(a.f.Name())
}

func (a *archive) size() int64    { return a.n }
func (a *archive) digest() string { return hexSum(a.sum) }
