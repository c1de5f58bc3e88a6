package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"picket/respond/action"
)

// deed is an act whose effect is a line in a file, which outlives who wrote it: a word and the act's id.
type deed struct {
	kind  action.Kind
	class action.Class
	file  string
}

func (d deed) Kind() action.Kind   { return d.kind }
func (d deed) Class() action.Class { return d.class }

func (d deed) Plan(_ context.Context, r *action.Request) (*action.Plan, error) {
	t := r.Target
	t.CgroupID = 7
	return &action.Plan{Target: t, Class: d.class}, nil
}

func (d deed) Do(_ context.Context, r *action.Request) (*action.Result, error) {
	return &action.Result{State: action.Done, Detail: "a line is there"}, d.write("do", r.ID)
}

func (d deed) Verify(_ context.Context, r *action.Request) (bool, string, error) {
	done, undone, err := counted(d.file, r.ID)
	return done > undone, fmt.Sprintf("%d lines", done-undone), err
}

func (d deed) Undo(_ context.Context, r *action.Request) (*action.Result, error) {
	done, undone, err := counted(d.file, r.ID)
	if err == nil && done > undone {
		err = d.write("undo", r.ID)
	}
	return &action.Result{State: action.Undone, Detail: "it is taken back"}, err
}

func (d deed) write(word, id string) error {
	f, err := os.OpenFile(d.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(word + " " + id + "\n")
	return errors.Join(err, f.Close())
}

// counted says how often a thing was done, and how often taken back.
func counted(file, id string) (done, undone int, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	for line := range strings.Lines(string(b)) {
		switch strings.TrimSpace(line) {
		case "do " + id:
			done++
		case "undo " + id:
			undone++
		}
	}
	return done, undone, err
}

func socket(dir string) string  { return filepath.Join(dir, "agent.sock") }
func effects(dir string) string { return filepath.Join(dir, "effects") }

// agent carries acts out until it is killed.
func agent(dir string) error {
	home := filepath.Join(dir, "agent")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	l, err := action.Open(action.Options{Dir: home, Host: "h", BootID: "b"},
		deed{action.Kill, action.Destructive, effects(dir)}, deed{action.Isolate, action.Reversible, effects(dir)}, deed{action.Freeze, action.Reversible, effects(dir)})
	if err != nil {
		return err
	}
	if err := os.Remove(socket(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := net.Listen("unix", socket(dir))
	if err != nil {
		return err
	}
	go func() { _ = l.Run(context.Background()) }()                                       // it ends with the program
	return http.Serve(in, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { //nolint:gosec // who asks is the other program of the benchmark
		var c action.Command
		if err := json.NewDecoder(q.Body).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(l.Answer(context.WithoutCancel(q.Context()), c)) // who went away asks again
	}))
}
