package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// PolicyStatus is what an agent says of its policies, in a file of its data directory.
type PolicyStatus struct {
	Time     time.Time         `json:"time"`
	Policies []PolicyState     `json:"policies"`
	Refused  []string          `json:"refused,omitempty"`  // and why
	Counts   map[string]uint64 `json:"counts,omitempty"`   // by hook and action
	Enclosed []string          `json:"enclosed,omitempty"` // cgroups that Picket made, for containers that only v1 tells apart
	Attached []string          `json:"attached,omitempty"`
	Rungs    map[string]string `json:"rungs,omitempty"` // by part, the hook that enforces it
}

// PolicyState is a policy in use.
type PolicyState struct {
	Name    string   `json:"name"`
	Enforce bool     `json:"enforce"`
	Cgroups []string `json:"cgroups"` // that are under it
}

// overrides is what people said of policies beside their files.
type overrides struct {
	Off   bool                `json:"off,omitempty"` // nothing is enforced
	Modes map[string]override `json:"modes,omitempty"`
}

type override struct {
	Mode  string    `json:"mode"`
	Until time.Time `json:"until"`
}

func policyStatusFile(cfg *Config) string {
	return filepath.Join(cfg.dir("agent"), "policy-status.json")
}

func overridesFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "policy-mode.json") }

// readOverrides reads what people said. What cannot be read says nothing.
func readOverrides(cfg *Config) (o overrides) {
	if b, err := os.ReadFile(overridesFile(cfg)); err == nil {
		_ = json.Unmarshal(b, &o) // as good as not there
	}
	if o.Modes == nil {
		o.Modes = map[string]override{}
	}
	return o
}

// SetPolicyMode makes the agent enforce or observe a policy until a time, whatever its file says.
func SetPolicyMode(cfg *Config, name, mode string, until time.Time) error {
	o := readOverrides(cfg)
	o.Off = o.Off && mode != "enforce"
	o.Modes[name] = override{mode, until}
	return writeOverrides(cfg, o)
}

// StopEnforcing makes the agent enforce nothing until SetPolicyMode or ResumeEnforcing.
func StopEnforcing(cfg *Config) error { return writeOverrides(cfg, overrides{Off: true}) }

// ResumeEnforcing makes the agent do what the files say.
func ResumeEnforcing(cfg *Config) error { return writeOverrides(cfg, overrides{}) }

func writeOverrides(cfg *Config, o overrides) error {
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("policy mode: %w", err)
	}
	if err := makeDir(cfg.dir("agent"), 0); err != nil {
		return err
	}
	return replaceFile(overridesFile(cfg), append(b, '\n'), 0o600)
}

// ReadPolicyStatus returns what the agent on this host says of its policies.
func ReadPolicyStatus(cfg *Config) (PolicyStatus, error) {
	var s PolicyStatus
	b, err := os.ReadFile(policyStatusFile(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return s, &Error{Err: errors.New("no agent with policies runs on this data directory"), Hint: "start it with picket run; picket policy check looks at the files", Code: ExitFailure}
	}
	if err != nil {
		return s, fmt.Errorf("policy status: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("policy status: %w", err)
	}
	return s, nil
}

// writeStatus says in a file what is bound to what. p.mu is held.
func (p *policies) writeStatus() {
	s := PolicyStatus{Time: time.Now(), Policies: []PolicyState{}, Refused: p.wrong}
	if p.enforcer != nil {
		s.Counts, s.Attached, s.Rungs = p.enforcer.Counts(), p.enforcer.Programs(), p.enforcer.Rungs()
	}
	for _, to := range p.bound {
		if p.enforcer.Enclosed(to.cgroup) {
			s.Enclosed = append(s.Enclosed, to.cgroup)
		}
	}
	slices.Sort(s.Enclosed)
	for name, r := range p.applied {
		st := PolicyState{Name: name, Enforce: r.Enforce, Cgroups: []string{}}
		for _, to := range p.bound {
			if to.name == name {
				st.Cgroups = append(st.Cgroups, to.cgroup)
			}
		}
		slices.Sort(st.Cgroups)
		s.Policies = append(s.Policies, st)
	}
	slices.SortFunc(s.Policies, func(a, b PolicyState) int { return strings.Compare(a.Name, b.Name) })
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = replaceFile(policyStatusFile(p.cfg), append(b, '\n'), 0o600)
	}
	if err != nil {
		p.log.Warn("what policies do could not be written down", "error", err)
	}
}

// policyFingerprint changes when a policy's file, or what people said beside it, does.
func policyFingerprint(cfg *Config) string {
	var parts []string
	for _, name := range append(slices.Clone(cfg.Policy.Files), overridesFile(cfg)) {
		_ = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error { // what is missing holds nothing
			if err != nil || d.IsDir() {
				return nil
			}
			if i, err := os.Stat(path); err == nil {
				parts = append(parts, path, i.ModTime().String(), fmt.Sprint(i.Size()))
			}
			return nil
		})
	}
	return event.HashID(parts...)
}
