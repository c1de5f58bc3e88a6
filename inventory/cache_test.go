package inventory

import (
	"os"
	"path/filepath"
	"testing"

	"picket/artifact/sign"
	"picket/event"
)

// A blob in a cache of Hugging Face is signed by the names that snapshots have for it.
func TestABlobIsSignedByItsSnapshot(t *testing.T) {
	private, public := newKey(t)
	repo := filepath.Join(t.TempDir(), "models--a--b")
	snapshot := repo + "/snapshots/0123"
	write(t, repo+"/blobs/aa", "\x80\x04N.")
	write(t, repo+"/blobs/bb", "\x80\x04N0N.")
	write(t, repo+"/blobs/cc", "\x80\x04NN0.")
	write(t, snapshot+"/kept", "x")
	link := func(to, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(snapshot+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, snapshot+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	link("../../blobs/aa", "model.pt")
	link("../../../blobs/bb", "deep/model.pt")
	tree, err := sign.OpenTree(snapshot, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	m, err := sign.Make(t.Context(), tree, sign.Options{})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.NewSigner(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := signer.Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	s, said := watch(t, Options{Trust: []sign.Trust{{Key: public}}})
	user := 0
	state := func(what, blob, want string) {
		t.Helper()
		user++
		s.See(Sighting{Process: self1("a", string(rune('a'+user))), Path: repo + "/blobs/" + blob, Use: event.UseRead})
		if got := wait(t, said).Signature; got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	state("not signed yet", "aa", event.Unsigned)
	write(t, snapshot+"/model.sig", string(bundle))
	s.Resign(snapshot + "/model.sig")
	state("signed", "aa", event.Signed)
	state("signed in a directory of the snapshot", "bb", event.Signed)
	state("of no snapshot", "cc", event.Unsigned)
	link("../../blobs/cc", "late.pt")
	s.Resign(snapshot + "/model.sig")
	state("linked after it was signed", "cc", event.Invalid)
	write(t, repo+"/blobs/aa", "\x80\x04N00N.")
	state("changed", "aa", event.Invalid)
}

// Links count by what they lead to, and not out of the repository.
func TestNamesOfABlob(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "models--a--b")
	write(t, repo+"/blobs/aa", "x")
	write(t, repo+"/snapshots/1/kept", "x")
	write(t, repo+"/../outside", "x")
	for name, to := range map[string]string{"1/a.pt": "../../blobs/aa", "1/b.pt": repo + "/blobs/aa", "1/c.pt": "../../../outside", "1/d.pt": "d.pt", "top.pt": "../blobs/aa"} {
		if err := os.Symlink(to, repo+"/snapshots/"+name); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.Stat(repo + "/blobs/aa")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	names, may := cached(int(root.Fd()), repo+"/blobs/aa", is)
	if len(names) != 1 || names[0] != repo+"/snapshots/1/a.pt" || len(may) != 2 || may[1] != (candidate{repo + "/snapshots/1/model.sig", "a.pt"}) {
		t.Errorf("%v %v", names, may)
	}
	if names, _ := cached(int(root.Fd()), repo+"/snapshots/1/kept", is); names != nil {
		t.Errorf("a file of a snapshot is no blob: %v", names)
	}
}
