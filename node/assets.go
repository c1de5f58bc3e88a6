package node

import (
	"fmt"

	"picket/event"
	"picket/respond"
)

// AssetTags is one of assets.
type AssetTags struct {
	Entities []string `yaml:"entities" doc:"what bears the tags: kind:name, where name may hold * and ?, such as workload:llama-* or host:gpu-*"`
	Tags     []string `yaml:"tags" doc:"such as prod or crown-jewel"`
}

// assets returns what bears which tags.
func (c *Config) assets() []respond.Asset {
	var out []respond.Asset
	for _, a := range c.Assets {
		out = append(out, respond.Asset(a))
	}
	return out
}

// validateAssets returns the key at fault and what was expected.
func (c *Config) validateAssets() (key, msg string) {
	if n, err := respond.CheckAssets(c.assets()); err != nil {
		return fmt.Sprintf("assets.%d", n), err.Error()
	}
	return "", ""
}

// tagged returns an incident with the tags that it bears by the configuration of now.
func (s *server) tagged(inc event.Incident) event.Incident {
	inc.Tags = respond.TagsOf(s.assets, &inc)
	return inc
}
