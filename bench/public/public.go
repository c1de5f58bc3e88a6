// Package public opens the public data that tests and benchmarks use and that no repository of
// ours holds: the archive of public Sigma rules, and what lies beside it.
package public

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Archive is the file that holds the public Sigma rules.
const Archive = "sigmahq-rules-8eaafff1f.tar.gz"

// File is a file of the archive.
type File struct {
	Name string
	Data []byte
}

// ReadRules reads the rule files of an archive, in its order: the living, the deprecated, and
// those for tests alone.
func ReadRules(archive string) ([]File, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	var files []File
	for tr := tar.NewReader(zip); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		if !strings.HasSuffix(h.Name, ".yml") {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", archive, h.Name, err)
		}
		files = append(files, File{h.Name, data})
	}
}

// Living returns the rules that are in use.
func Living(files []File) []File {
	return slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !strings.HasPrefix(f.Name, "sigma/rules") })
}

// once is the archive, read by the first test that asks.
var once struct {
	sync.Once
	files []File
	err   error
}

// Files returns all rule files of the archive. Without it the test is skipped. Nobody may change
// what they hold.
func Files(t testing.TB) []File {
	t.Helper()
	path := find(t, Archive)
	once.Do(func() { once.files, once.err = ReadRules(path) })
	if once.err != nil {
		t.Fatal(once.err)
	}
	return once.files
}

// Rules returns the rules that are in use, as Files does.
func Rules(t testing.TB) []File {
	t.Helper()
	return Living(Files(t))
}

// Open opens a file of the public data until the test ends. Without it the test is skipped.
func Open(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(find(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// find returns where a file is, or skips the test; where PICKET_REQUIRE names data it fails.
func find(t testing.TB, name string) string {
	t.Helper()
	dir, err := directory()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	_, err = os.Stat(path)
	switch {
	case err == nil:
		return path
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	case slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "data"):
		t.Fatalf("needs %s in PICKET_DATA", name)
	default:
		t.Skipf("needs %s in PICKET_DATA, or in ../shared/data beside the repository", name)
	}
	return ""
}

// directory is where the data is: PICKET_DATA, or shared/data beside the repository. A test runs
// in the folder of its package.
func directory() (string, error) {
	if dir := os.Getenv("PICKET_DATA"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(filepath.Dir(dir), "shared", "data"), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: set PICKET_DATA")
		}
		dir = up
	}
}
