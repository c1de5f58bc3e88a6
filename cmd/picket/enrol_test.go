package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"picket/stream"
)

// A server that was taken over owns its folder and may lay links in it. Root must not write where
// they point.
func TestRootFollowsNoLinkOfTheServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the server's folder belongs to another user")
	}
	const uid = 61_942
	data := t.TempDir()
	if err := os.Chmod(filepath.Dir(data), 0o755); err != nil {
		t.Fatal(err)
	}
	folder, victim := filepath.Join(data, "server"), filepath.Join(data, "victim")
	for _, dir := range []string{folder, victim} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(folder, uid, uid); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "ca")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	enrol := func() (code int, out, errs bytes.Buffer) {
		code = run([]string{"server", "enrol", "--data", data, "gpu-7"}, &out, &errs)
		return code, out, errs
	}
	if code, out, errs := enrol(); code == 0 || out.Len() > 0 {
		t.Errorf("exit code %d, %s%s", code, &out, &errs)
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("root wrote where the link points: %v, %v", left, err)
	}

	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	code, out, errs := enrol()
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if b, err := stream.ParseBundle(out.Bytes()); err != nil || b.Name != "gpu-7" {
		t.Errorf("got %q, %v", b.Name, err)
	}
	key, err := os.Stat(filepath.Join(link, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := key.Sys().(*syscall.Stat_t); !ok || st.Uid != uid || key.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key has owner %d, mode %v", st.Uid, key.Mode())
	}
}
