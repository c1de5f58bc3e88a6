package workload

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A container picks the links, pipes and names below its root, and swaps them as it likes. None may
// lead the agent out of that root, hold it up, or fill its memory.
func TestAContainersFilesLeadNowhereElse(t *testing.T) {
	top := t.TempDir()
	f, root := proc{filepath.Join(top, "proc")}, filepath.Join(top, "proc/50/root")
	outside := filepath.Join(top, "outside")
	for _, dir := range []string{filepath.Join(root, "real/deep"), outside} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, []byte("GGUF......"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "w.gguf"))
	write(filepath.Join(root, "real/w.gguf"))
	write(filepath.Join(root, "real/deep/x.gguf"))
	for name, to := range map[string]string{
		"absolute": outside, "up": "../../../../../../.." + outside, "own": "/real", "magic": "/proc/self/root", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "pipe.gguf"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"/absolute/w.gguf", "/up/w.gguf", "/../../../outside/w.gguf", "/magic" + outside, "/loop/w.gguf", "/absolute"} {
		if st, ok := f.stat(50, name); ok {
			t.Errorf("%s: led to %v", name, st)
		}
		if got := f.files(50, name, 10); len(got) > 0 {
			t.Errorf("%s: listed %v", name, got)
		}
		if b := f.head(50, name, 4); b != nil {
			t.Errorf("%s: read %q", name, b)
		}
	}
	if b := f.head(50, "/own/w.gguf", 4); string(b) != "GGUF" {
		t.Errorf("a link within the root: read %q", b)
	}
	if to, err := f.readlink(50, "/own"); err != nil || to != "/real" {
		t.Errorf("got %q, %v", to, err)
	}
	if got := f.files(50, "/own", 10); len(got) != 2 {
		t.Errorf("got %d files, want 2", len(got))
	}
	if b := f.head(50, "/pipe.gguf", 4); b != nil {
		t.Errorf("a pipe: read %q", b)
	}
	for i := range 600 {
		write(filepath.Join(root, fmt.Sprintf("real/%d.gguf", i)))
	}
	if got := f.files(50, "/real", maxListed); len(got) != maxListed {
		t.Errorf("got %d files, want the bound %d", len(got), maxListed)
	}
}

// A process that no event announced is described from /proc, and its secrets stay on the host too.
func TestArgumentsReadFromProcAreRedacted(t *testing.T) {
	tr := New(Options{Redact: func(args []string) []string {
		return append([]string{"masked"}, args[1:2]...)
	}})
	p := tr.opts.Lookup(uint32(os.Getpid()))
	if p == nil || len(p.Args) != 2 || p.Args[0] != "masked" || p.Cmdline != "masked "+p.Args[1] {
		t.Errorf("got %+v", p)
	}
}
