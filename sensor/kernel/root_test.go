package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinksOfAnotherRootStayInIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"escape": "/proc/self/root/etc", "own": filepath.Join(dir, "file")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return fmt.Sprintf("/proc/%d/root%s/%s", os.Getpid(), dir, name) }
	if st, err := statIn(at("escape")); err == nil {
		t.Errorf("a link through /proc was followed to inode %d", st.Ino)
	}
	for _, name := range []string{"own", "file", "pipe"} { // looking at a pipe waits for nobody
		if _, err := statIn(at(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherRootIsKnownByItsPath(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/12/root": "/", "/proc/12/root/": "/", "/proc/12/root/a/root/b": "/a/root/b",
		"/proc/self/root/a": "", "/proc/12/rootkit": "", "/proc//root/a": "", "/srv/proc/12/root": "", "/proc/12/task/3/root/a": "",
	} {
		if _, rest, ok := inRoot(path); rest != want && ok || ok != (want != "") {
			t.Errorf("%s: got %q, %v", path, rest, ok)
		}
	}
}
