package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/detect/install"
	"picket/detect/outflow"
	"picket/detect/profile"
	"picket/detect/tunnel"
	"picket/event"
)

const (
	sentEvery     = 5 * time.Second // how often it is looked at how much each process has sent where
	profilesEvery = time.Minute     // how often profiles are kept
)

// habits is what the agent knows of what is usual, and what is set against it.
type habits struct {
	outflow  *outflow.Watch
	profiles *profile.Watch
	tunnel   *tunnel.Watch
	install  *install.Watch
	dropped  atomic.Uint64 // what all of them gave up
	counting bool          // the bytes of files, as there are models
	mapped   bool          // libraries are told of, as there are workloads
	looked   time.Time
	kept     time.Time
	size     int // of what was kept: much is kept more seldom
}

// openHabits makes what judges habits ready, with what was learned before.
func (a *agent) openHabits() {
	h := &a.habits
	h.profiles = profile.New(profile.Options{Host: a.cfg.Host, Image: imageOf})
	h.outflow = outflow.New(outflow.Options{Host: a.cfg.Host, Usual: h.profiles.Usual})
	h.tunnel, h.install = tunnel.New(a.cfg.Host), install.New(a.cfg.Host)
	a.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "picket_habits_dropped_total", Help: "Profiles, and what is followed of models, names and installers, that were given up as there was too much.",
	}, func() float64 { return float64(h.dropped.Load()) }))
	if !recall(a.log, profilesFile(a.cfg), "profiles of workloads", h.profiles.Restore) {
		_ = os.Rename(profilesFile(a.cfg), profilesFile(a.cfg)+".unread") // for who wants to look at it
	}
	h.counting = len(a.tracker.Models()) > 0
	h.mapped = len(h.profiles.List()) > 0
	h.profiles.Mapped = h.mapped
}

// wants adds the kinds of events that habits are told by.
func (h *habits) wants(kinds map[event.Kind]bool) {
	if h.counting {
		kinds[event.FileIO] = true
	}
	if h.mapped {
		kinds[event.FileMap], kinds[event.DeviceOpen] = true, true
	}
}

// see takes an event on, and returns what deviates.
func (h *habits) see(e *event.Event) []*event.Event {
	if h.outflow == nil {
		return nil
	}
	out := append(h.profiles.See(e), h.outflow.See(e)...)
	for _, d := range [...]*event.Event{h.tunnel.See(e), h.install.See(e)} {
		if d != nil {
			out = append(out, d)
		}
	}
	return out
}

// followHabits makes the sensor count bytes of files once there is a model, and tell of libraries and
// devices once there is a workload. Nobody pays for it before.
func (a *agent) followHabits() {
	h := &a.habits
	if h.counting && h.mapped {
		return // each second: what is known is not listed for nothing
	}
	models, workloads := len(a.tracker.Models()) > 0, len(a.tracker.Workloads()) > 0
	if (h.counting || !models) && (h.mapped || !workloads) {
		return
	}
	h.counting, h.mapped = h.counting || models, h.mapped || workloads
	a.followDemand()
}

// advanceHabits looks at what was sent, and tells that time went on.
func (a *agent) advanceHabits(now time.Time) {
	h := &a.habits
	h.profiles.Mapped = h.mapped && a.asked.Kinds[event.FileMap] // from the tick after it was asked for
	a.followOrders()
	news := h.profiles.Advance(now)
	if since := now.Sub(h.looked); since < 0 || since >= sentEvery {
		h.looked = now
		news = append(news, a.lookAtSent(now)...)
		h.outflow.Advance(now)
		h.tunnel.Advance(now)
		h.install.Advance(now)
		h.dropped.Store(h.profiles.Dropped() + h.outflow.Dropped() + h.tunnel.Dropped() + h.install.Dropped())
	}
	for _, e := range news {
		a.judge(e)
	}
	if since := now.Sub(h.kept); since < 0 || since >= profilesEvery*time.Duration(1+h.size>>20) {
		h.kept = now
		a.keepProfiles()
		a.keepNovel()
	}
}

func (a *agent) lookAtSent(now time.Time) (news []*event.Event) {
	err := a.sensor.Sent(func(key event.Key, to netip.AddrPort, bytes uint64) {
		e := &event.Event{
			Kind: event.NetSend, Time: now, Host: a.cfg.Host,
			Process: &event.Process{PID: key.PID, TID: key.PID, StartBoot: key.Start, LoginUID: ^uint32(0)},
		}
		a.tracker.Stamp(e)
		a.habits.profiles.Sent(e.Process, to, bytes)
		news = append(news, a.habits.outflow.Sent(now, e.Process, to, bytes)...)
	})
	if err != nil {
		a.log.Warn("what was sent could not be looked at", "error", err)
	}
	return news
}

// keepProfiles writes down what is usual.
func (a *agent) keepProfiles() {
	if _, err := os.Lstat(profilesFile(a.cfg)); err != nil && len(a.habits.profiles.List()) == 0 {
		return // nothing was ever learned
	}
	if n := remember(a.log, profilesFile(a.cfg), "profiles of workloads", a.habits.profiles.Snapshot); n > 0 {
		a.habits.size = n
	}
}

func profilesFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "profiles.json") }

// ordersFile holds what people want done with profiles. The agent follows it, and removes it.
func ordersFile(cfg *Config) string { return filepath.Join(cfg.dir("agent"), "profile-orders.json") }

// ProfileOrder is what a person wants done with a profile. It is named by its id, or by a container in which the
// workload runs.
type ProfileOrder struct {
	ID        string `json:"id,omitempty"`
	Container string `json:"container,omitempty"`
	Do        string `json:"do"` // freeze, thaw or forget
}

// OrderProfile asks the agent on this host to freeze, thaw or forget a profile.
func OrderProfile(cfg *Config, o ProfileOrder) error {
	var all []ProfileOrder
	if b, err := os.ReadFile(ordersFile(cfg)); err == nil {
		_ = json.Unmarshal(b, &all) // what cannot be read is no order
	}
	b, err := json.Marshal(append(all, o))
	if err != nil {
		return fmt.Errorf("order for a profile: %w", err)
	}
	return replaceFile(ordersFile(cfg), b, 0o600)
}

// ReadProfiles returns the profiles that the agent on this host keeps.
func ReadProfiles(cfg *Config) ([]*profile.Profile, error) {
	b, err := os.ReadFile(profilesFile(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Err: errors.New("no agent has kept profiles in this data directory yet"), Hint: "the agent writes them each minute once an AI workload has run", Code: ExitFailure}
	}
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	return profile.Read(b)
}

// followOrders does what people want done with profiles.
func (a *agent) followOrders() {
	file := ordersFile(a.cfg)
	if _, err := os.Lstat(file); err != nil {
		return
	}
	b, err := os.ReadFile(file)
	var all []ProfileOrder
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		a.log.Error("orders for profiles cannot be read", "file", file, "error", err)
	}
	_ = os.Remove(file) // what comes again is done again, which changes nothing
	for _, o := range all {
		done := false
		if o.ID == "" {
			o.ID = a.habits.profiles.In(o.Container)
		}
		switch o.Do {
		case "freeze", "thaw":
			done = a.habits.profiles.Freeze(o.ID, o.Do == "freeze")
		case "forget":
			done = a.habits.profiles.Forget(o.ID)
		}
		a.log.Info("an order for a profile", "profile", o.ID, "do", o.Do, "done", done)
	}
	if len(all) > 0 {
		a.keepProfiles()
	}
}
