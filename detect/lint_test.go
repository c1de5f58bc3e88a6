package detect

import (
	"strings"
	"testing"
)

func TestLintFindsRulesThatNoEventCanFire(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"in order":                 {nil, ""},
		"a field of other events":  {map[string]string{"shell.yml": strings.Replace(goodRule, "Image|endswith: /sh", "Image|endswith: /sh\n        DestinationPort: 443", 1)}, "t/shell.yml:9:1: no event of linux/process_creation carries DestinationPort, so the rule can never fire"},
		"beside what can":          {map[string]string{"shell.yml": strings.Replace(goodRule, "condition: sel", "other: {DestinationPort: 443}\n    condition: sel or other", 1)}, "t/shell.yml:9:1: no event of linux/process_creation carries DestinationPort"},
		"no such events":           {map[string]string{"shell.yml": strings.Replace(goodRule, "process_creation", "registry_event", 1)}, "t/shell.yml:8:1: no event here is of linux/registry_event"},
		"two texts of one field":   {map[string]string{"shell.yml": strings.Replace(goodRule, "Image|endswith: /sh", "process.user: root\n        User|endswith: x", 1)}, ""}, // one field by two names is not looked into
		"two texts of one name":    {map[string]string{"shell.yml": strings.Replace(goodRule, "Image|endswith: /sh", "User: root\n        User|endswith: x", 1)}, "can never fire"},
		"the link and its target":  {map[string]string{"shell.yml": strings.Replace(goodRule, "Image|endswith: /sh", "Image: /bin/sh\n        Image|endswith: /busybox", 1)}, ""},
		"all of one value":         {map[string]string{"shell.yml": strings.Replace(goodRule, "endswith", "endswith|all", 1)}, "all has no effect"},
		"an identifier not in use": {map[string]string{"shell.yml": strings.Replace(goodRule, "condition: sel", "other: {User: x}\n    condition: sel", 1)}, "identifier other is not used"},
		"no level":                 {map[string]string{"shell.yml": strings.Replace(goodRule, "level: high\n", "", 1)}, "the rule has no level"},
	} {
		threats, err := LoadThreats(folderOf(c.change))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var said []string
		for _, p := range Lint(threats[0]) {
			said = append(said, p.Error())
		}
		all := strings.Join(said, "\n")
		if c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", name, all, c.want)
		}
	}
}
