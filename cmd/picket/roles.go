package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"picket/node"
)

// logger logs to standard error as the configuration says.
func (a *app) logger(c *node.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log.Level)) // the configuration was checked
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}

// rulesFlag brings rule directories to those that detect.rules names.
type rulesFlag struct {
	Rules []string `placeholder:"DIR" sep:"none" help:"Directory of plain Sigma rules, read at any depth as they are. May be given several times."`
}

// config reads the configuration, with the directories added.
func (f rulesFlag) config(a *app) (*node.Config, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return cfg, cfg.AddRules(f.Rules...)
}

type runCmd struct{ rulesFlag }

func (c *runCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	for _, dir := range c.Rules { // one that vanishes later stops nothing
		if !isDir(dir) {
			return &node.Error{Err: fmt.Errorf("--rules %s: there is no such directory", dir), Hint: "name a directory of Sigma rules", Code: node.ExitUsage}
		}
	}
	return node.Run(a.ctx, cfg, a.logger(cfg), a.out)
}

// supervised is set on the programs that picket run starts: their parent speaks to the user.
type supervised struct {
	Supervised bool `hidden:""`
}

// AfterApply lets the program outlive the reader of its log, so that it can stop in order.
func (s supervised) AfterApply() error { //nolint:unparam // the form that kong calls
	if s.Supervised {
		signal.Ignore(syscall.SIGPIPE)
	}
	return nil
}

type agentCmd struct {
	supervised
	rulesFlag
	Bundle   string `placeholder:"FILE" help:"Certificate bundle made by 'picket server enrol'."`
	Receiver bool   `hidden:""`                       // the agent runs itself so, without privilege
	Audit    bool   `hidden:"" name:"audit-receiver"` // and so
}

func (c *agentCmd) Run(a *app) error {
	if c.Audit {
		return node.RunAuditReceiver(a.ctx, a.out)
	}
	if c.Receiver {
		return node.RunReceiver(a.ctx, a.out)
	}
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	if c.Bundle != "" {
		cfg.Stream.Bundle = c.Bundle
	}
	ctx, log := a.ctx, a.logger(cfg).With("role", "agent")
	a.stay = func() error {
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		return node.RunAgent(ctx, cfg, log, hup)
	}
	return nil
}

type serverCmd struct {
	Serve serverRunCmd   `cmd:"" name:"run" default:"withargs" help:"Run the server."`
	Enrol serverEnrolCmd `cmd:"" help:"Make the certificate bundle that an agent on another host joins with."`
}

type serverRunCmd struct {
	supervised
	rulesFlag
}

func (c *serverRunCmd) Run(a *app) error {
	cfg, err := c.config(a)
	if err != nil {
		return err
	}
	return node.RunServer(a.ctx, cfg, a.logger(cfg).With("role", "server"))
}

type serverEnrolCmd struct {
	Name string `arg:"" help:"Host name of the agent."`
	URL  string `placeholder:"tls://HOST:PORT" help:"Address by which the agent reaches this server. Default: stream.listen."`
}

func (c *serverEnrolCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	b, err := node.Enrol(a.ctx, cfg, c.Name, c.URL)
	if err != nil {
		return err
	}
	a.printf("%s\n", b)
	return nil
}

type storeCmd struct {
	supervised
	Listen string `default:"127.0.0.1:7422" help:"Address to listen on. It is not for browsers."`
}

func (c *storeCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	return node.RunStore(cfg, c.Listen)
}

type signinCmd struct {
	outputFlag
	serverFlags
	User string `default:"admin" help:"Who signs in with the link."`
}

func (c *signinCmd) Run(a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cl, err := a.client(c.serverFlags)
	if err != nil {
		return err
	}
	link, err := cl.NewLink(a.ctx, c.User)
	if err != nil {
		return err
	}
	base := cfg.API.URL
	if c.Server != "" {
		base = strings.TrimRight(c.Server, "/")
	}
	if c.json() {
		return a.printJSON(map[string]any{"url": base + link.Link, "expires": link.Expires})
	}
	a.printf("%s%s\n", base, printable(link.Link, false))
	return nil
}
