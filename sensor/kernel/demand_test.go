package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"picket/event"
)

func TestFollowMeetsAnotherDemand(t *testing.T) {
	dir, other := realTempDir(t), realTempDir(t)
	d := only(event.ProcessExit)
	r := newRecording(t, d)
	write := func(name string) string {
		t.Helper()
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	created := func(name string) {
		t.Helper()
		r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == name })
	}
	silent := func(name string) {
		t.Helper()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.events {
			if e.File.Path == name {
				t.Errorf("%s was told of, and nobody asked", name)
			}
		}
	}
	follow := func(paths ...string) {
		t.Helper()
		next := only(event.FileCreate, event.ProcessExit)
		next.Paths = paths
		if err := r.Follow(next); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Capabilities() {
			if !c.OK {
				t.Fatalf("%s: %s", c.Name, c.Detail)
			}
		}
	}
	early := write(filepath.Join(dir, "early"))

	follow(dir + "/")
	outside := write(filepath.Join(other, "outside"))
	created(write(filepath.Join(dir, "inside")))
	silent(early)
	silent(outside)

	follow(other + "/")
	outside = write(filepath.Join(dir, "now-outside"))
	created(write(filepath.Join(other, "now-inside")))
	silent(outside)

	follow()
	created(write(filepath.Join(dir, "anywhere")))
	created(write(filepath.Join(other, "anywhere")))
}
