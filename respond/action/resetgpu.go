package action

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// ResetGPU is the act that resets a GPU. A person approves it each time.
const ResetGPU Kind = "reset-gpu"

// OfHost is what target.object.of says of things of a host itself: its GPUs.
const OfHost = "host"

// ErrReset says that a reset was begun, and that who did it says that it failed.
var ErrReset = errors.New("the reset failed")

// GPUNow is a GPU as its driver tells it, and who holds it.
type GPUNow struct {
	event.GPU
	Told    time.Time // when its driver last told of it
	Silent  bool      // it tells of it no more
	Holders []string  // processes: "1234 python3 of llama (compute)"
	By      string    // what would reset it
	Never   error     // why nothing can; nil: By can
}

// Resetter knows the GPUs of a host and resets them. What it does not know fails with ErrGone.
type Resetter interface {
	GPU(uuid string) (GPUNow, error)
	// ResetGPU resets one that nobody holds; of others begun is false, and nothing was done. A reset that
	// was begun and is known to have failed gives ErrReset; any other error of it says that nobody knows.
	ResetGPU(ctx context.Context, uuid string) (said string, begun bool, err error)
}

type resetGPU struct {
	h      Resetter
	answer time.Duration // that a GPU has to answer in after its reset
}

// NewResetGPU returns the act that resets a GPU.
func NewResetGPU(h Resetter) Action { return resetGPU{h, 15 * time.Second} }

func (resetGPU) Kind() Kind   { return ResetGPU }
func (resetGPU) Class() Class { return Destructive }

// leavesNoTrace says that the world does not show whether it was done: a GPU that answers may have been
// reset, or not.
func (resetGPU) leavesNoTrace() {}

var gpuID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:-]{0,95}$`)

// find returns the GPU that a request names, pinned to its place on the bus.
func (a resetGPU) find(r *Request) (*ObjectPin, *GPUNow, error) {
	o := r.Target.Object
	if o == nil || o.Of != OfHost || o.Kind != "gpu" || r.Target.Process != nil || r.Target.File != nil || r.Target.Cgroup != "" || r.Target.Container != "" {
		return nil, nil, fmt.Errorf("%w: %s wants a GPU, by its UUID: an object of host, kind gpu", ErrInvalid, ResetGPU)
	}
	pin := *o
	if !gpuID.MatchString(pin.Name) || pin.Namespace != "" || pin.Container != "" {
		return nil, nil, fmt.Errorf("%w: %q is no UUID of a GPU: picket gpu -o json shows them", ErrInvalid, oneLine(pin.Name, 100))
	}
	if err := params(r); err != nil {
		return nil, nil, err
	}
	g, err := a.h.GPU(pin.Name)
	if err != nil {
		return nil, nil, err
	}
	if pin.UID == "" {
		pin.UID = g.PCI
	}
	if pin.UID != g.PCI {
		return nil, nil, fmt.Errorf("GPU %s is at %s now, not at %s: %w", pin.Name, g.PCI, pin.UID, ErrGone)
	}
	return &pin, &g, nil
}

// Plan says what a reset ends. Who holds the GPU is to end first: a reset under it would take the host's
// driver with it.
func (a resetGPU) Plan(_ context.Context, r *Request) (*Plan, error) {
	pin, g, err := a.find(r)
	if err != nil {
		return nil, err
	}
	if g.Never != nil {
		return nil, refusedError(fmt.Sprintf("GPU %s: %v", pin.Name, g.Never))
	}
	if n := len(g.Holders); n > 0 {
		return nil, refusedError(fmt.Sprintf("GPU %s is held by %s: %s: end them first", pin.Name, processes(n), listed(g.Holders)))
	}
	t := r.Target
	t.Object = pin
	var silent []string
	if g.Silent {
		silent = []string{"its driver has told nothing of it since " + g.Told.UTC().Format(time.DateTime) + ": who holds it is known from open files alone"}
	}
	return &Plan{
		Target: t, Class: Destructive, Hits: []string{fmt.Sprintf("GPU %s, %s at %s", pin.Name, oneLine(g.Name, 64), g.PCI)},
		Effects: slices.Concat([]string{fmt.Sprintf("GPU %s is reset by %s: all of its memory and state is lost, and it cannot be undone", pin.Name, g.By)}, silent, lostBy(&g.GPU)),
	}, nil
}

// listed names the first of those that hold a GPU.
func listed(all []string) string {
	const most = 16
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}

// lostBy says what of that which is set and counted does not outlive a reset.
func lostBy(g *event.GPU) (out []string) {
	if g.MIG == "enabled" {
		out = append(out, "it is split (MIG): its instances are gone then, and are made anew by who made them")
	}
	if g.ECC.Known || g.Corrected.Known {
		out = append(out, fmt.Sprintf("counts of errors of memory begin anew: %s that could not be corrected, %s that were", number(g.ECC), number(g.Corrected)))
	}
	if strings.Contains(g.ECCMode, "after a reset") {
		out = append(out, "correction of errors: "+g.ECCMode+", which this is")
	}
	if g.Retired.Known && g.Retired.N > 0 {
		out = append(out, fmt.Sprintf("%d pages or rows of memory are out of use; those that wait for a reset go with it", g.Retired.N))
	}
	var set []string
	if g.ClockLimit.Known {
		set = append(set, fmt.Sprintf("clocks for applications (%d MHz)", g.ClockLimit.N))
	}
	if g.PowerLimit.Known {
		set = append(set, fmt.Sprintf("power limit (%d W)", g.PowerLimit.N/1000))
	}
	if g.ComputeMode != "" && g.ComputeMode != "default" {
		set = append(set, "compute mode ("+g.ComputeMode+")")
	}
	set = append(set, "locked clocks")
	out = append(out, "what was set may be the driver's own again: "+strings.Join(set, ", "))
	if g.Source == "nvml" {
		out = append(out, "Picket's reader of NVIDIA's library lets go meanwhile: for some seconds none of this host's NVIDIA GPUs is seen",
			"GPUs that NVLink joins to it may have to be reset with it: then NVIDIA's tool refuses")
	}
	return out
}

func number(m event.Measure) string {
	if !m.Known {
		return "not known how many"
	}
	return fmt.Sprint(m.N)
}

// Do resets the GPU that was pinned, and waits until it answers.
func (a resetGPU) Do(ctx context.Context, r *Request) (*Result, error) {
	pin, _, err := a.find(r)
	if err != nil {
		return nil, err
	}
	said, begun, err := a.h.ResetGPU(ctx, pin.Name)
	if err != nil && !begun {
		return nil, err
	}
	res := &Result{State: Done, Output: plainText(said, maxOutput)}
	answers := a.answers(ctx, pin, time.Now())
	switch {
	case err != nil && errors.Is(err, ErrReset) && answers:
		res.State, res.Detail = Failed, fmt.Sprintf("%s: %s; it answers as before", pin, oneLine(err.Error()+": "+said, 400))
	case err != nil:
		res.State, res.Detail = Unknown, fmt.Sprintf("%s: %s", pin, oneLine(err.Error()+": "+said, 400))
	case !answers:
		res.State, res.Detail = Unknown, fmt.Sprintf("%s was reset and has not answered within %s", pin, a.answer)
	default:
		res.Detail = pin.String() + " was reset, and answers"
	}
	return res, nil
}

// answers waits until a GPU's driver tells of it anew.
func (a resetGPU) answers(ctx context.Context, pin *ObjectPin, after time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, a.answer)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if g, err := a.h.GPU(pin.Name); err == nil && g.PCI == pin.UID && g.Told.After(after) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Verify says whether the GPU answers, under the name and at the place that it had.
func (a resetGPU) Verify(_ context.Context, r *Request) (bool, string, error) {
	pin, g, err := a.find(r)
	if errors.Is(err, ErrGone) {
		return false, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	if g.Silent {
		return false, fmt.Sprintf("%s does not answer: its driver last told of it at %s", pin, g.Told.UTC().Format(time.DateTime)), nil
	}
	return true, fmt.Sprintf("%s answers: its driver told of it at %s", pin, g.Told.UTC().Format(time.TimeOnly)), nil
}

// Undo refuses: what was in the GPU is gone.
func (resetGPU) Undo(context.Context, *Request) (*Result, error) {
	return nil, fmt.Errorf("%w: a reset of a GPU cannot be taken back", ErrInvalid)
}
