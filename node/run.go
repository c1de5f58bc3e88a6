package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"picket/api/client"
	"picket/event"
	"picket/sensor/kernel"
)

// Run runs all of Picket on this host: it supervises agent, server and store, and says on out what
// this kernel can do, where the data lies and how to sign in. It returns when ctx ends.
func Run(ctx context.Context, cfg *Config, log *slog.Logger, out io.Writer) error {
	if os.Geteuid() != 0 {
		return &Error{Err: errors.New("picket run needs root: its agent loads eBPF programs"), Hint: "sudo picket run; server and store give the privilege up", Code: ExitHost}
	}
	if err := harden(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1) // it waits; on more processors each of its timers would wake two threads
	s, release, err := NewSupervisor(cfg, log.With("component", "node"))
	if err != nil {
		return err
	}
	defer release()
	if err := enrolSelf(ctx, cfg); err != nil {
		return err
	}
	began, caps := time.Now(), kernel.Probe()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	go func() {
		for {
			select {
			case <-hup:
				s.Signal("agent", syscall.SIGHUP)
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() {
		if err := welcome(ctx, cfg, caps, began, out); err != nil && ctx.Err() == nil {
			log.Error("the page does not answer", "error", err)
		}
	}()
	err = <-ended
	if err == nil {
		fmt.Fprintln(out, "\nPicket stopped.") //nolint:errcheck // the terminal may be gone
	}
	return err
}

// AgentName makes a host name fit for a certificate and a subject of the stream: letters, digits,
// '-' and '_'. Names that had to be changed get a part of their hash, so that two stay two.
func AgentName(host string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, host)
	if name != host || name == "" {
		name += "-" + event.HashID(host)[:8]
	}
	return name
}

// welcome waits for the page and prints the first screen.
func welcome(ctx context.Context, cfg *Config, caps []event.Capability, began time.Time, out io.Writer) error {
	c, err := waitReady(ctx, cfg)
	if err != nil {
		return err
	}
	rules := ruleLine(waitWatched(ctx, c, began))
	link, err := c.NewLink(ctx, adminUser)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(link.Link, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the server's link is no link") // nor fit for a terminal
	}
	can, cannot := Summary(caps)
	_, err = fmt.Fprintf(out, `
Picket %s watches %s (kernel %s)

  sees       %s
  cannot     %s
  blocks     %s
  rules      %s
  data       %s
  page       %s
  sign in    %s   (once, within 15 minutes; picket signin makes another)

Ctrl-C stops everything. In a second terminal: picket lab attack steal-weights
`, Version, cfg.Host, kernelRelease(), can, cannot, blocks(caps), rules, cfg.Data, cfg.API.URL, cfg.API.URL+link.Link)
	return err
}

// Summary puts a capability list into two lines: what works, and what does not with its reason.
func Summary(caps []event.Capability) (can, cannot string) {
	var yes, no []string
	for _, c := range caps {
		switch {
		case c.OK:
			yes = append(yes, c.Name)
		case c.Name != "lsm":
			no = append(no, c.Name+" ("+c.Detail+")")
		}
	}
	can, cannot = strings.Join(yes, ", "), strings.Join(no, "; ")
	if can == "" {
		can = "nothing"
	}
	if cannot == "" {
		cannot = "nothing is missing that Picket uses"
	}
	return can, cannot
}

func blocks(caps []event.Capability) string {
	for _, c := range caps {
		if c.Name == "lsm" {
			return c.Detail
		}
	}
	return "nothing yet: this version watches and tells"
}

// waitReady waits for the server to answer.
func waitReady(ctx context.Context, cfg *Config) (*client.Client, error) {
	c, err := client.New("unix://"+SocketPath(cfg), "")
	if err != nil {
		return nil, err
	}
	for {
		if _, err = c.Session(ctx); err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// waitWatched waits until this host's agent reports, so that what a person does next is seen. Where
// that takes longer than 10 s the welcome is shown all the same: the page says what is wrong.
func waitWatched(ctx context.Context, c *client.Client, since time.Time) *event.Heartbeat {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		agents, err := c.Fleet(ctx)
		for _, a := range agents {
			if err == nil && a.Heartbeat != nil && a.Heartbeat.Started.After(since) {
				return a.Heartbeat
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// ruleLine says in a line what became of the rules.
func ruleLine(b *event.Heartbeat) string {
	if b == nil {
		return "not loaded yet"
	}
	line, resting := fmt.Sprintf("%d loaded", b.Rules), 0
	for _, g := range b.RulesResting {
		resting += g.Rules
	}
	if resting > 0 {
		line += fmt.Sprintf(", %d that no event here can fire", resting)
	}
	if b.RulesWrong > 0 {
		line += fmt.Sprintf(", %d wrong", b.RulesWrong)
	}
	if resting+b.RulesWrong > 0 {
		line += " (picket rule list says why)"
	}
	return line
}

// SocketPath is where the server listens for root on its own host, who needs no token.
func SocketPath(cfg *Config) string { return filepath.Join(cfg.dir("server"), "api.sock") }
