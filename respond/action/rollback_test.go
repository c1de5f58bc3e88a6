package action

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRollback(t *testing.T) {
	needsRoot(t)
	dir := filepath.Join(t.TempDir(), "llama")
	link := filepath.Join(dir, "current")
	for _, v := range []string{"v1", "v2", "v3"} {
		writeFile(t, filepath.Join(dir, v, "m.gguf"), v)
	}
	b := must(NewRollback(RollbackOptions{
		Dir: filepath.Join(t.TempDir(), "links"),
		Verified: func(_ context.Context, l, current string) (string, error) {
			if l != link || current != filepath.Join(dir, "v3") {
				return "", errors.New("asked for another model")
			}
			return filepath.Join(dir, "v2"), nil
		},
		Check: func(_ context.Context, version string) error {
			if filepath.Base(version) == "v1" {
				return errors.New("its signature does not hold")
			}
			return nil
		},
	}))(t)
	request := func(params map[string]string) *Request {
		return &Request{ID: "r1", Kind: RollbackModel, Target: Target{File: &FilePin{Path: link}}, Params: params}
	}
	read := func() string {
		content, err := os.ReadFile(filepath.Join(link, "m.gguf"))
		if err != nil {
			return err.Error()
		}
		return string(content)
	}
	for _, c := range []struct {
		name   string
		leads  string // before
		params map[string]string
		state  State
		reads  string
		says   string
	}{
		{"to the last verified one", "v3", nil, Done, "v2", "before to v3"},
		{"of an absolute link", filepath.Join(dir, "v3"), nil, Done, "v2", filepath.Join(dir, "v2")},
		{"to one that the request names", "v3", map[string]string{"to": "v2"}, Done, "v2", ""},
		{"to one that is not verified", "v3", map[string]string{"to": "v1"}, Failed, "v3", "signature does not hold"},
		{"to one that is not there", "v3", map[string]string{"to": "v9"}, Failed, "v3", "not there"},
		{"to itself", "v3", map[string]string{"to": "v3"}, Failed, "v3", "already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_ = os.Remove(link)
			if err := os.Symlink(c.leads, link); err != nil {
				t.Fatal(err)
			}
			_ = os.Lchown(link, 12345, 54321)
			r := request(c.params)
			res := must(b.Do(t.Context(), r))(t)
			if res.State != c.state || read() != c.reads || !strings.Contains(res.Detail, c.says) {
				t.Fatalf("reads %s: %+v", read(), res)
			}
			if holds, detail, err := b.Verify(t.Context(), r); holds != (c.state == Done) || err != nil {
				t.Errorf("verify: %v %s %v", holds, detail, err)
			}
			if d := dressOf(must(os.Lstat(link))(t)); d.UID != 12345 || d.GID != 54321 {
				t.Errorf("its owner is %d:%d", d.UID, d.GID)
			}
			if res := must(b.Undo(t.Context(), r))(t); res.State != Undone || must(os.Readlink(link))(t) != c.leads {
				t.Errorf("%s: %+v", must(os.Readlink(link))(t), res)
			}
			if left := must(os.ReadDir(dir))(t); len(left) != 4 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestRollbackOfAnothers leaves a link alone that somebody else has changed since.
func TestRollbackOfAnothers(t *testing.T) {
	needsRoot(t)
	dir := filepath.Join(t.TempDir(), "llama")
	link := filepath.Join(dir, "current")
	for _, v := range []string{"v1", "v2", "v3"} {
		writeFile(t, filepath.Join(dir, v, "m.gguf"), v)
	}
	_ = os.Symlink("v3", link)
	b := must(NewRollback(RollbackOptions{
		Dir:      filepath.Join(t.TempDir(), "links"),
		Verified: func(context.Context, string, string) (string, error) { return filepath.Join(dir, "v2"), nil },
		Check:    func(context.Context, string) error { return nil },
	}))(t)
	r := &Request{ID: "r1", Kind: RollbackModel, Target: Target{File: &FilePin{Path: link}}}
	r.Target = must(b.Plan(t.Context(), r))(t).Target
	_, _ = os.Remove(link), os.Symlink("v1", link)
	if res := must(b.Do(t.Context(), r))(t); res.State != Gone || must(os.Readlink(link))(t) != "v1" {
		t.Errorf("planned for another link: %+v", res)
	}
	_, _ = os.Remove(link), os.Symlink("v3", link)
	r.Target.File = &FilePin{Path: link}
	if res := must(b.Do(t.Context(), r))(t); res.State != Done {
		t.Fatalf("%+v", res)
	}
	_, _ = os.Remove(link), os.Symlink("v1", link)
	if holds, _, _ := b.Verify(t.Context(), r); holds {
		t.Error("it holds, though the link leads elsewhere")
	}
	if res := must(b.Undo(t.Context(), r))(t); res.State != Undone || !strings.Contains(res.Detail, "somebody else") || must(os.Readlink(link))(t) != "v1" {
		t.Errorf("%s: %+v", must(os.Readlink(link))(t), res)
	}
}
