package public

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(f)
	tw := tar.NewWriter(zip)
	for _, name := range []string{"sigma/LICENSE", "sigma/rules/linux/a.yml", "sigma/rules-emerging-threats/b.yml", "sigma/deprecated/c.yml"} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(name)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{tw.Close(), zip.Close(), f.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := ReadRules(path)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) File { return File{name, []byte(name)} }
	living := []File{file("sigma/rules/linux/a.yml"), file("sigma/rules-emerging-threats/b.yml")}
	if d := cmp.Diff(append(living, file("sigma/deprecated/c.yml")), files); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(living, Living(files)); d != "" {
		t.Error(d)
	}
	if err := os.Truncate(path, 40); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRules(path); err == nil {
		t.Error("half an archive is read")
	}
	if _, err := ReadRules(path + ".gone"); !os.IsNotExist(err) {
		t.Errorf("an archive that is not there: %v", err)
	}
}

// What is not there skips a test, and fails it where PICKET_REQUIRE asks for it.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PICKET_DATA", dir)
	t.Setenv("PICKET_REQUIRE", "")
	skipped := false
	t.Run("skipped", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Open(t, "x")
	})
	if !skipped {
		t.Error("the test was not skipped")
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := Open(t, "x"); f.Name() != filepath.Join(dir, "x") {
		t.Errorf("opened %s", f.Name())
	}
}
