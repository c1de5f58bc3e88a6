package profile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// kept is how profiles are written down.
type kept struct {
	Format   int        `json:"format"`
	Profiles []*Profile `json:"profiles"`
}

const format = 1

// Snapshot returns all profiles, to be given to Restore when the agent starts again.
func (w *Watch) Snapshot() ([]byte, error) { return json.Marshal(kept{format, w.List()}) }

// Restore takes over the profiles of a Snapshot. Of one that is not whole it takes none.
func (w *Watch) Restore(data []byte) error {
	list, err := Read(data)
	if err != nil {
		return err
	}
	for _, p := range list[:min(len(list), maxProfiles)] {
		w.profiles[p.ID] = p
	}
	return nil
}

// Read reads the profiles of a Snapshot.
func Read(data []byte) ([]*Profile, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	if k.Format != format {
		return nil, fmt.Errorf("profiles: format %d is not known; this version writes %d", k.Format, format)
	}
	for i, p := range k.Profiles {
		if p == nil || p.ID == "" {
			return nil, fmt.Errorf("profiles: number %d has no id", i+1)
		}
		p.whole()
	}
	return k.Profiles, nil
}

// whole makes what is missing, and cuts what is more than a profile holds.
func (p *Profile) whole() {
	if p.Items == nil {
		p.Items = map[string]map[string]Item{}
	}
	if p.Strange == nil {
		p.Strange = map[string]Item{}
	}
	if p.Other == nil {
		p.Other = map[string]uint64{}
	}
	if p.Series == nil {
		p.Series = map[string]*Series{}
	}
	for name, s := range p.Series {
		if s == nil || least[name] == 0 || len(s.Ring) > points || s.Next < 0 || s.Next >= points {
			delete(p.Series, name)
		}
	}
	for what, items := range p.Items {
		if items == nil || len(items) > room[what] {
			delete(p.Items, what)
		}
	}
}

// List returns the profiles, the last seen first.
func (w *Watch) List() []*Profile {
	list := make([]*Profile, 0, len(w.profiles))
	for _, p := range w.profiles {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Profile) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Freeze makes a profile judge and learn nothing more, or ends that. It reports false where there is none.
func (w *Watch) Freeze(id string, on bool) bool {
	p := w.profiles[id]
	if p != nil {
		p.Frozen = on
	}
	return p != nil
}

// Forget drops a profile: what it was of is learned anew. It reports false where there is none.
func (w *Watch) Forget(id string) bool {
	if w.profiles[id] == nil {
		return false
	}
	w.drop(id)
	return true
}
