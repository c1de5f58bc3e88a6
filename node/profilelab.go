package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ProfileOrders has the agent with a configuration do what is wanted with profiles.
type ProfileOrders struct{ cfg *Config }

// ProfilesOf returns the profiles of the agent with this configuration.
func ProfilesOf(cfg *Config) ProfileOrders { return ProfileOrders{cfg} }

// freezeTime is how long it may take until the profile of a container's workload is frozen.
const freezeTime = 30 * time.Second

// Freeze orders the profile of the workload in a container frozen, and waits until one is that was not. What it
// returns orders it forgotten, and waits until the agent has read that.
func (p ProfileOrders) Freeze(ctx context.Context, container string) (end func() error, err error) {
	was, err := p.frozen()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTime)
	defer cancel()
	for {
		if err := p.order(ctx, container, "freeze"); err != nil {
			return nil, err
		}
		is, err := p.frozen()
		if err != nil {
			return nil, err
		}
		for id := range is {
			if !was[id] {
				return func() error { return p.forget(container) }, nil
			}
		}
		if !pause(ctx, time.Second) { // the agent may not have seen the workload yet
			return nil, fmt.Errorf("container %s: no profile was frozen within %s; picket profile list shows what there is", container, freezeTime)
		}
	}
}

func (p ProfileOrders) forget(container string) error {
	ctx, cancel := context.WithTimeout(context.Background(), freezeTime)
	defer cancel()
	return p.order(ctx, container, "forget")
}

// order gives an order, and waits until the agent has read it.
func (p ProfileOrders) order(ctx context.Context, container, do string) error {
	if err := OrderProfile(p.cfg, ProfileOrder{Container: container, Do: do}); err != nil {
		return err
	}
	for {
		if _, err := os.Lstat(ordersFile(p.cfg)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("the agent has not read the order to %s a profile after %s: does it run with this data directory?", do, freezeTime)
		}
	}
}

// frozen are the ids of the profiles that are frozen.
func (p ProfileOrders) frozen() (map[string]bool, error) {
	out := map[string]bool{}
	if _, err := os.Lstat(profilesFile(p.cfg)); errors.Is(err, fs.ErrNotExist) {
		return out, nil // nothing was ever learned
	}
	list, err := ReadProfiles(p.cfg)
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		out[one.ID] = one.Frozen
	}
	return out, nil
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
