package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"picket/event"
	"picket/respond/action"
	"picket/sensor/gpu"
)

// gpuHost is what acts know and do of this host's GPUs, by way of sensor/gpu.
type gpuHost struct{ *gpus }

// GPU returns a GPU as it is told now, and who holds it.
func (h gpuHost) GPU(uuid string) (action.GPUNow, error) {
	d, at, answers, known := h.sensor.Device(uuid)
	if !known {
		there := "none was seen"
		if all := h.sensor.UUIDs(); len(all) > 0 {
			there = "there are " + listNames(all)
		}
		return action.GPUNow{}, unlike{fmt.Errorf("there is no GPU %s on this host: %s", cutText(uuid, 100), there), action.ErrGone}
	}
	now := action.GPUNow{GPU: d.GPU, Told: at, Silent: !answers}
	now.By, now.Never = h.sensor.Resets(&d.GPU)
	users := h.users(uuid)
	for _, p := range h.sensor.Holders(&d) {
		of := ""
		if u := users[p.PID]; u.Workload != "" {
			of = " of " + u.Workload
		} else if u.Container != "" {
			of = " of container " + u.Container
		}
		now.Holders = append(now.Holders, fmt.Sprintf("%d %s%s (%s)", p.PID, p.Name, of, p.How))
	}
	return now, nil
}

// users are the processes of a GPU as the agent last saw them, by number.
func (h gpuHost) users(uuid string) map[uint32]event.GPUUser {
	out := map[uint32]event.GPUUser{}
	for _, s := range h.states() {
		if s.UUID != uuid {
			continue
		}
		for _, u := range s.Users {
			out[u.PID] = u
		}
	}
	return out
}

// ResetGPU resets a GPU that nobody holds.
func (h gpuHost) ResetGPU(ctx context.Context, uuid string) (string, bool, error) {
	said, begun, err := h.sensor.Reset(ctx, uuid)
	switch {
	case err == nil, errors.Is(err, context.DeadlineExceeded):
	case begun:
		err = unlike{err, action.ErrReset}
	case errors.Is(err, gpu.ErrHeld), errors.Is(err, gpu.ErrNoReset):
		err = unlike{fmt.Errorf("GPU %s: %w", uuid, err), action.ErrProtected}
	}
	return strings.ToValidUTF8(said, "\uFFFD"), begun, err
}
