package respond

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"picket/event"
)

// Asset says which tags things bear that incidents are about.
type Asset struct {
	Entities []string // kind:name as a rule has them
	Tags     []string
}

const (
	maxAssets = 256
	maxTags   = 16 // of an asset, and of an incident
)

var tagName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// Check says what is wrong with an asset.
func (a Asset) Check() error {
	switch {
	case len(a.Entities) == 0:
		return errors.New("entities are missing: say which things bear the tags, such as workload:llama-*")
	case len(a.Entities) > maxAssets:
		return fmt.Errorf("%d entities: want at most %d", len(a.Entities), maxAssets)
	case len(a.Tags) == 0 || len(a.Tags) > maxTags:
		return fmt.Errorf("%d tags: want from 1 to %d", len(a.Tags), maxTags)
	}
	if err := checkTags(a.Tags); err != nil {
		return err
	}
	return checkEntities(a.Entities)
}

// CheckAssets says what is wrong with a list of assets, and with which of them.
func CheckAssets(list []Asset) (n int, err error) {
	if len(list) > maxAssets {
		return maxAssets, fmt.Errorf("want at most %d", maxAssets)
	}
	for i, a := range list {
		if err := a.Check(); err != nil {
			return i, err
		}
	}
	return 0, nil
}

func checkTags(tags []string) error {
	for _, tag := range tags {
		if !tagName.MatchString(tag) {
			return fmt.Errorf("tag %q: want small letters, digits and . _ -, at most 32", tag)
		}
	}
	return nil
}

// TagsOf returns the tags that an incident bears by what it is about, each once, in their order.
func TagsOf(assets []Asset, inc *event.Incident) []string {
	var out []string
	for _, a := range assets {
		if !about(inc, a.Entities) {
			continue
		}
		for _, tag := range a.Tags {
			if !slices.Contains(out, tag) {
				out = append(out, tag)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxTags)]
}

// bears reports whether one of the tags is on an incident; none wanted fit all.
func (c *Config) bears(inc *event.Incident, tags []string) bool {
	if len(tags) == 0 {
		return true
	}
	on := TagsOf(c.Assets, inc)
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(on, tag) })
}
