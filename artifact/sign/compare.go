package sign

import (
	"context"
	"slices"
	"strings"
)

// Difference is where a model is not what was signed.
type Difference struct {
	Name string `json:"name"`
	What string `json:"what"` // changed, missing, extra, or what else is wrong
}

// CompareOptions says how strictly a model is compared. The zero value takes no file that was not signed.
type CompareOptions struct {
	Extra     bool     // files that were not signed are no difference
	Ignore    []string // paths that are not looked at, such as the signature itself
	Progress  func(done, total int64)
	Unchecked func(name string) // called with each file in the paths that the signer left out; may be nil
}

// Compare reads the model and returns where it differs from m, by name. A model that equals m has no
// difference; an error says that it could not be read.
func (m *Manifest) Compare(ctx context.Context, t *Tree, o CompareOptions) ([]Difference, error) {
	t.links = m.Serialization.AllowSymlinks
	left := append(slices.Clone(m.Serialization.IgnorePaths), o.Ignore...)
	files, odd, err := t.list(left)
	if err != nil {
		return nil, err
	}
	if err := m.unchecked(t, files, o); err != nil {
		return nil, err
	}
	var out []Difference
	for _, x := range odd {
		out = append(out, Difference{x.Name, x.Reason})
	}
	signed := map[string]string{} // digest by name
	whole := map[string]bool{}    // files that are signed
	for _, r := range m.Resources {
		signed[r.Name] = strings.ToLower(r.Digest)
		name := r.Name
		if m.Serialization.Method == Shards {
			s, err := parseShard(name)
			if err != nil {
				return nil, err
			}
			name = s.path
		}
		whole[name] = true
	}
	there := files[:0:0]
	for _, name := range files {
		if whole[name] {
			there = append(there, name)
		} else if !o.Extra {
			out = append(out, Difference{name, "extra: it was not signed"})
		}
	}
	pieces, err := t.pieces(there, m.Serialization)
	if err != nil {
		return nil, err
	}
	got, err := t.digests(ctx, pieces, m.Serialization, o.Progress)
	if err != nil {
		return nil, err
	}
	for _, r := range got {
		switch want, ok := signed[r.Name]; {
		case !ok:
			out = append(out, Difference{r.Name, "changed: it is longer than what was signed"})
		case want != r.Digest:
			out = append(out, Difference{r.Name, "changed: it has another digest than what was signed"})
		}
		delete(signed, r.Name)
	}
	for name := range signed {
		out = append(out, Difference{name, "missing"})
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// unchecked tells of each file that the signer left out.
func (m *Manifest) unchecked(t *Tree, checked []string, o CompareOptions) error {
	if o.Unchecked == nil || len(m.Serialization.IgnorePaths) == 0 {
		return nil
	}
	all, _, err := t.list(o.Ignore)
	for _, name := range all {
		if _, found := slices.BinarySearch(checked, name); !found {
			o.Unchecked(name)
		}
	}
	return err
}
