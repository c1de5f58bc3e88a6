package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wasDir is where what things were before acts changed them is kept, a file for each act.
type wasDir string

// was is a value of a thing before an act changed it.
type was struct {
	Request string     `json:"request"`
	Object  *ObjectPin `json:"object"`
	Path    string     `json:"path,omitempty"` // where the value stands, of a thing that has several
	Was     any        `json:"was"`
	Want    any        `json:"want"`
	Reason  string     `json:"reason,omitempty"` // that stood there
	Mark    string     `json:"mark,omitempty"`   // the reason that stands there by the act
	At      time.Time  `json:"at"`
	By      string     `json:"by"`
}

func (d wasDir) file(id string) string { return filepath.Join(string(d), fileID(id)+".json") }

// keep writes down what was, before it is changed.
func (d wasDir) keep(w *was) error {
	w.At = time.Now().UTC()
	return writeJSON(d.file(w.Request), w)
}

// forget is for what was not changed after all.
func (d wasDir) forget(id string) { _ = os.Remove(d.file(id)) } // what stays is looked at by undo

func (d wasDir) read(file string) (*was, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var w was
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return &w, nil
}

// handOver gives what stood there before an act to the act that set the same thing after it, which sets
// it back in its turn. It returns that one's id, "" where none did.
func (d wasDir) handOver(w *was) (string, error) {
	files, err := filepath.Glob(filepath.Join(string(d), "*.json"))
	if err != nil {
		return "", err
	}
	var next *was
	for _, file := range files {
		o, err := d.read(file)
		if err != nil || o == nil || o.Object == nil || w.Object == nil || o.Request == w.Request {
			continue // what is broken is told when its own act is taken back
		}
		same := o.Object.Kind == w.Object.Kind && o.Object.Name == w.Object.Name && o.Object.UID == w.Object.UID && o.Path == w.Path
		if same && o.At.After(w.At) && sameValue(o.Was, w.Want) && (next == nil || o.At.Before(next.At)) {
			next = o
		}
	}
	if next == nil {
		return "", nil
	}
	if sameValue(next.Want, w.Want) { // it changed nothing: what stands there is of the one before
		next.Mark = w.Mark
	}
	next.Was, next.Reason = w.Was, w.Reason
	return next.Request, writeJSON(d.file(next.Request), next)
}

// undo sets back what an act changed, by what set does with what was there before, and forgets it. Where
// nothing was changed, or a later act sets it back, set is not called; a thing that is gone is as good.
func (d wasDir) undo(id string, set func(w *was) (said string, err error)) (*Result, error) {
	w, err := d.read(d.file(id))
	if err != nil {
		return nil, err
	}
	if w == nil {
		return &Result{State: Undone, Detail: "nothing was changed"}, nil
	}
	next, err := d.handOver(w)
	said := "act " + next + " set it after, and sets it back"
	if err == nil && next == "" {
		if said, err = set(w); errors.Is(err, ErrGone) {
			said, err = err.Error(), nil
		}
	}
	if err == nil {
		err = os.Remove(d.file(id))
	}
	if err != nil {
		return nil, err
	}
	return &Result{State: Undone, Detail: said}, nil
}
