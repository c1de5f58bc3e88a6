package policy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the .yml and .yaml files of directories, or single files. Names that are not there
// hold nothing. What is in order is returned even if other parts are not; mistakes are joined.
func Load(names ...string) ([]*Policy, error) {
	var out []*Policy
	var errs []error
	for _, name := range names {
		files, err := list(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("policies: %w", err))
		}
		for _, f := range files {
			src, err := read(f)
			if err != nil {
				errs = append(errs, fmt.Errorf("policies: %w", err))
				continue
			}
			got, err := Parse(f, src)
			out = append(out, got...)
			if j, ok := err.(interface{ Unwrap() []error }); ok {
				errs = append(errs, j.Unwrap()...)
			}
		}
	}
	out, faults := together(out)
	return out, errors.Join(append(errs, faults...)...)
}

// read reads a file up to a byte more than Parse takes.
func read(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes: join addresses into networks", name, maxFile)
	}
	return os.ReadFile(name)
}

func list(name string) ([]string, error) {
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !st.IsDir():
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	var out []string
	for _, d := range entries {
		ext := filepath.Ext(d.Name())
		if !d.IsDir() && (ext == ".yml" || ext == ".yaml") && !strings.HasPrefix(d.Name(), ".") {
			out = append(out, filepath.Join(name, d.Name()))
		}
	}
	return out, err
}

// together drops what only shows once all policies are read: two of one name, and two that select
// the same workloads by the same keys. The one that was read first stays.
func together(all []*Policy) (out []*Policy, faults []error) {
	bad := func(p *Policy, msg, hint string) {
		faults = append(faults, &Error{File: p.File, Line: p.Line, Col: 1, Msg: msg, Hint: hint})
	}
	for _, p := range all {
		i := slices.IndexFunc(out, func(o *Policy) bool { return o.Name == p.Name || overlaps(o, p) })
		switch {
		case i >= 0 && out[i].Name == p.Name:
			bad(p, fmt.Sprintf("the name %q is taken by %s:%d", p.Name, out[i].File, out[i].Line), "give each policy its own name")
		case i >= 0:
			bad(p, fmt.Sprintf("policy %s selects what policy %s (%s:%d) selects too", p.Name, out[i].Name, out[i].File, out[i].Line), "join them, or give one a further key of select: the more particular one counts")
		case len(out) >= MaxPolicies:
			bad(p, fmt.Sprintf("there are more than %d policies", MaxPolicies), "join them: a selection takes lists")
		default:
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })
	return out, faults
}
