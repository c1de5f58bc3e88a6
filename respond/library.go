package respond

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"picket/cacao"
)

// Library holds the playbooks that may be run.
type Library struct {
	books []*Book
}

// Book is a playbook in the library.
type Book struct {
	*cacao.Playbook
	Word    string // its name in configuration and commands: the file's, without .json
	File    string
	Hash    string // of its canonical form
	Runbook string // what a person does, in Markdown, where NAME.md stands beside NAME.json
	BuiltIn bool   // it is part of the program
}

// maxBooks bounds a library.
const maxBooks = 1000

// ReadLibrary reads the playbooks of file systems, built-in ones first. One of a later file system
// takes the place of one with the same name or id. What has mistakes is left out and told of in the
// error, which joins all of them; the library holds the rest.
func ReadLibrary(from ...fs.FS) (*Library, error) {
	l := &Library{}
	var errs []error
	for _, f := range from {
		files, err := fs.Glob(f, "*.json")
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range files {
			b, err := readBook(f, name)
			if err != nil {
				errs = append(errs, fmt.Errorf("playbook %s: %w", name, err))
				continue
			}
			_, b.BuiltIn = f.(builtIn)
			l.books = slices.DeleteFunc(l.books, func(o *Book) bool { return o.Word == b.Word || o.ID == b.ID })
			if l.books = append(l.books, b); len(l.books) > maxBooks {
				return l, fmt.Errorf("more than %d playbooks", maxBooks)
			}
		}
	}
	slices.SortFunc(l.books, func(a, b *Book) int { return strings.Compare(a.Word, b.Word) })
	return l, errors.Join(errs...)
}

func readBook(f fs.FS, name string) (*Book, error) {
	st, err := fs.Stat(f, name)
	if err != nil {
		return nil, err
	}
	if st.Size() > cacao.MaxSize {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", st.Size(), cacao.MaxSize)
	}
	data, err := fs.ReadFile(f, name)
	if err != nil {
		return nil, err
	}
	p, err := cacao.Parse(data)
	if err != nil {
		return nil, err
	}
	if bad := p.Validate().Errors(); len(bad) > 0 {
		return nil, bad
	}
	hash, err := p.Hash()
	if err != nil {
		return nil, err
	}
	b := &Book{Playbook: p, Word: strings.TrimSuffix(name, ".json"), File: name, Hash: hash}
	runbook, err := fs.ReadFile(f, b.Word+".md")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	b.Runbook = string(runbook)
	return b, nil
}

// Books returns the playbooks in the order of their names.
func (l *Library) Books() []*Book { return l.books }

// Book finds a playbook by its name, its id, or how the id begins.
func (l *Library) Book(word string) (*Book, error) {
	var found []*Book
	for _, b := range l.books {
		switch {
		case b.Word == word, b.ID == word:
			return b, nil
		case len(word) >= 4 && strings.HasPrefix(strings.TrimPrefix(b.ID, "playbook--"), strings.TrimPrefix(word, "playbook--")):
			found = append(found, b)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return nil, fmt.Errorf("playbook %q: %w: picket playbook list names those there are", word, ErrNotFound)
}

// Keep takes all out but the playbooks with these names, and those that they call.
func (l *Library) Keep(words []string) error {
	var keep []*cacao.Playbook
	for _, word := range words {
		b, err := l.Book(word)
		if err != nil {
			return err
		}
		all, err := l.called(b.Playbook)
		if err != nil {
			return fmt.Errorf("playbook %s: %w", word, err)
		}
		keep = append(keep, all...)
	}
	l.books = slices.DeleteFunc(l.books, func(b *Book) bool { return !slices.Contains(keep, b.Playbook) })
	for _, b := range l.books {
		b.Runbook = "" // for people, who read it elsewhere
	}
	return nil
}

// called returns a playbook and those that it calls, as the machine takes them, the first one first.
func (l *Library) called(p *cacao.Playbook) ([]*cacao.Playbook, error) {
	all := []*cacao.Playbook{p}
	for i := 0; i < len(all); i++ {
		for id, s := range all[i].Workflow {
			if s.Type != cacao.PlaybookStep || slices.ContainsFunc(all, func(o *cacao.Playbook) bool { return o.ID == s.PlaybookID }) {
				continue
			}
			b, err := l.Book(s.PlaybookID)
			if err != nil {
				return nil, fmt.Errorf("/workflow/%s/playbook_id: %w", id, err)
			}
			all = append(all, b.Playbook)
		}
	}
	slices.SortFunc(all[1:], func(a, b *cacao.Playbook) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// machine returns what the bodies of a run say: its playbook, and those that it calls.
func (r *Run) playbooks() (*cacao.Playbook, cacao.Library, error) {
	lib := cacao.Library{}
	var first *cacao.Playbook
	for i, body := range r.bodies {
		p, err := cacao.Parse(body)
		if err != nil {
			return nil, nil, fmt.Errorf("the playbook of run %s: %w", r.ID, err)
		}
		if i == 0 {
			first = p
		}
		lib[p.ID] = p
	}
	if first == nil {
		return nil, nil, fmt.Errorf("run %s has no playbook", r.ID)
	}
	if hash, err := bookHash(r.bodies); err != nil || hash != r.Plan.Body {
		return nil, nil, fmt.Errorf("the playbook of run %s is not the one that was planned: it was changed in the database", r.ID)
	}
	return first, lib, nil
}

// bodies writes playbooks for the journal.
func bodies(all []*cacao.Playbook) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, len(all))
	for i, p := range all {
		b, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}
