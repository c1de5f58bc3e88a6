package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// PolicyFiles gives the agent on this host policies as a person does: as files in a directory of policy.files.
type PolicyFiles struct{ cfg *Config }

// PoliciesOf returns the policies of the agent with this configuration.
func PoliciesOf(cfg *Config) PolicyFiles { return PolicyFiles{cfg} }

// bindTime is how long a policy may take until its container is under it.
const bindTime = 15 * time.Second

// Bind writes a policy by the container's name, which must be the policy's name too, and waits until the
// agent holds the container to it. What it returns takes the file away.
func (p PolicyFiles) Bind(ctx context.Context, container, text string) (end func() error, err error) {
	file, made, err := p.place(container)
	if err != nil {
		return nil, err
	}
	end = func() error {
		err := os.Remove(file)
		if made {
			_ = os.Remove(filepath.Dir(file)) // somebody else's policies may lie in it by now
		}
		return err
	}
	if err := replaceFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := p.held(ctx, container); err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}

// place chooses the file, in the first of policy.files that is a directory or can be made one.
func (p PolicyFiles) place(name string) (file string, made bool, err error) {
	for _, dir := range p.cfg.Policy.Files {
		st, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return "", false, err
			}
			return filepath.Join(dir, name+".yml"), true, nil
		}
		if err == nil && st.IsDir() {
			return filepath.Join(dir, name+".yml"), false, nil
		}
	}
	return "", false, errors.New("policy.files in picket.yaml names no directory that a policy could be put into")
}

// held waits until a cgroup is under the policy.
func (p PolicyFiles) held(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	began := time.Now()
	for {
		s, _ := ReadPolicyStatus(p.cfg) // it is written with the first policy
		if slices.ContainsFunc(s.Policies, func(st PolicyState) bool { return st.Name == name && len(st.Cgroups) > 0 }) {
			return nil
		}
		if s.Time.After(began) && len(s.Refused) > 0 {
			return fmt.Errorf("the agent took no policy over: %s", s.Refused[0])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("policy %s: no agent on this host holds anything to it after %s; picket policy show says what is in use", name, time.Since(began).Round(time.Second))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
