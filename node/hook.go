package node

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"picket/api"
)

// APIHook is one of api.hooks.
type APIHook struct {
	Name   string `yaml:"name" doc:"its name in the path and in the audit log: hook:NAME"`
	Role   string `yaml:"role" doc:"viewer follows runs, analyst asks for, approves and takes them back"`
	Secret string `yaml:"secret" doc:"the key of its signatures, by reference: @/path of a file, or env:NAME; at least 16 bytes"`
}

var hookName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// validateHooks returns the key at fault and what was expected.
func (c *API) validateHooks() (key, msg string) {
	seen := map[string]bool{}
	for i, h := range c.Hooks {
		at := fmt.Sprintf("api.hooks.%d", i)
		switch {
		case !hookName.MatchString(h.Name) || seen[h.Name]:
			return at + ".name", "want a name of its own, of small letters, digits and dashes"
		case !oneOf(h.Role, "viewer", "analyst"):
			return at + ".role", "want viewer or analyst"
		case !strings.HasPrefix(h.Secret, "@/") && !strings.HasPrefix(h.Secret, "env:"):
			return at + ".secret", "a secret is named, not written: @/path of a file, or env:NAME"
		}
		seen[h.Name] = true
	}
	return "", ""
}

// hooks are the programs outside that may send signed requests.
func (c *API) hooks() []api.Hook {
	var out []api.Hook
	for _, h := range c.Hooks {
		out = append(out, api.Hook{Name: h.Name, Role: role(h.Role), Secret: func() (string, error) { return hookSecret(h.Secret) }})
	}
	return out
}

// hookSecret reads a secret where it is named.
func hookSecret(ref string) (string, error) {
	v := ""
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v = os.Getenv(name)
	} else {
		b, err := os.ReadFile(filepath.Clean(strings.TrimPrefix(ref, "@")))
		if err != nil {
			return "", err
		}
		v = strings.TrimRight(string(b), "\r\n")
	}
	if len(v) < 16 {
		return "", fmt.Errorf("%s holds %d bytes, at least 16 are wanted", ref, len(v))
	}
	return v, nil
}
