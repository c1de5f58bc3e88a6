package main

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"picket": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("PICKET_LAB_ROLE", "")
		return nil
	}})
}

func TestEveryCommandHasHelpAndAnExample(t *testing.T) {
	k, err := kong.New(&CLI{})
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		for _, c := range n.Children {
			p := strings.TrimSpace(path + " " + c.Name)
			if c.Help == "" {
				t.Errorf("%s has no help", p)
			}
			if _, ok := examples[strings.Fields(p)[0]]; !ok {
				t.Errorf("%s has no example", p)
			}
			walk(c, p)
		}
	}
	walk(k.Model.Node, "")
	for path := range examples {
		n := k.Model.Node
		for word := range strings.FieldsSeq(path) {
			var next *kong.Node
			for _, c := range n.Children {
				if c.Name == word {
					next = c
				}
			}
			if next == nil {
				t.Fatalf("an example stands for %q, which is no command", path)
			}
			n = next
		}
	}
}

func TestHostileTextCannotSteerTheTerminal(t *testing.T) {
	got := printable("a\x1b[2J\r\nb\x00\u202e\xff<b>ü", false)
	if want := `a\x1b[2J\x0d\nb\x00\u202e\xff<b>ü`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := printable("two\nlines", true); got != "two\nlines" {
		t.Errorf("lines were broken: %q", got)
	}
}

func TestOutputIsPlainWhenPiped(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if s := (&app{out: w}).colour("31", "x"); s != "x" {
		t.Errorf("a pipe got %q", s)
	}
}
