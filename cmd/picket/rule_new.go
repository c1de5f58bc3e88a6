package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"picket/detect"
	"picket/node"
)

type ruleNewCmd struct {
	Name string `arg:"" help:"Name of the threat: lower-case words with dashes, such as steal-weights."`
	In   string `placeholder:"DIR" default:"." help:"Directory of threat folders in which to make it."`
}

func (c *ruleNewCmd) Run(a *app) error {
	files, err := detect.Scaffold(c.Name, newUUID(), time.Now().UTC().Format(time.DateOnly))
	if err != nil {
		return &node.Error{Err: fmt.Errorf("%q: %w", c.Name, err), Code: node.ExitUsage}
	}
	dir := filepath.Join(c.In, c.Name)
	if err := os.MkdirAll(c.In, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return &node.Error{Err: fmt.Errorf("%s is there already", dir), Hint: "choose another name: nothing is written over", Code: node.ExitUsage}
	} else if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return err
		}
		a.printf("%s\n", file)
	}
	a.printf("\nIt is in order as it stands. Change the rule and its events, then:\n  picket rule lint %s\n  picket rule test %s\n", dir, dir)
	return nil
}

// newUUID makes a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
