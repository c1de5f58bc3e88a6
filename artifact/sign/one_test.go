package sign

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// One file of a model is checked as it is read, whatever pieces it was signed in and is read in.
func TestOneFileOfAModel(t *testing.T) {
	for name, o := range map[string]Options{"files": {}, "shards": {Shards: true}} {
		t.Run(name, func(t *testing.T) {
			dir, tree := newModel(t)
			_, private, public := newKey(t, elliptic.P256())
			s, err := Open(signed(t, tree, private, nil, o), Trust{Key: public})
			if err != nil {
				t.Fatal(err)
			}
			same := func(file string, text string) bool {
				t.Helper()
				c, err := s.Manifest.CheckFile(file, int64(len(text)))
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range []byte(text) {
					if _, err := c.Write([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
				return c.Same()
			}
			text, err := os.ReadFile(filepath.Join(dir, "weights/part-1.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			if !same("weights/part-1.safetensors", string(text)) || !same("empty", "") {
				t.Error("a file that was signed is not the same")
			}
			if same("weights/part-1.safetensors", "oNe") {
				t.Error("a changed file is the same")
			}
			var r *RefusedError
			if _, err := s.Manifest.CheckFile("other", 1); !errors.As(err, &r) || !strings.Contains(r.Reason, "other was not signed") {
				t.Errorf("a file that was not signed: %v", err)
			}
		})
	}
}

func TestOneFileInShards(t *testing.T) {
	m := &Manifest{Serialization: Serialization{Method: Shards, HashType: "sha256", ShardSize: json.Number("4")}}
	dir := filepath.Join(t.TempDir(), "m")
	write(t, filepath.Join(dir, "w"), "123456789")
	tree, err := OpenTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	pieces, err := tree.pieces([]string{"w"}, m.Serialization)
	if err != nil {
		t.Fatal(err)
	}
	if m.Resources, err = tree.digests(t.Context(), pieces, m.Serialization, nil); err != nil {
		t.Fatal(err)
	}
	for i := range m.Resources {
		m.Resources[i].Name = pieces[i].String()
	}
	for _, tt := range []struct {
		text string
		same bool
	}{{"123456789", true}, {"123X56789", false}, {"12345678X", false}} {
		for _, step := range []int{1, 3, 4, 9} {
			c, err := m.CheckFile("w", 9)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < 9; at += step {
				_, _ = c.Write([]byte(tt.text[at:min(at+step, 9)]))
			}
			if got := c.Same(); got != tt.same {
				t.Errorf("%s in steps of %d: %v", tt.text, step, got)
			}
		}
	}
	for _, size := range []int64{4, 8, 10, 13} {
		if _, err := m.CheckFile("w", size); err == nil {
			t.Errorf("a file of %d bytes is taken for one of 9", size)
		}
	}
	c, err := m.CheckFile("w", 9)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("1234"))
	if c.Same() {
		t.Error("a part of the file is the same")
	}
}
