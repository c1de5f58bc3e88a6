package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"picket/api"
	"picket/event"
	"picket/respond/action"
	"picket/stream"
)

// Kubernetes is the kubernetes section.
type Kubernetes struct {
	Config  string   `yaml:"config" doc:"kubeconfig of the cluster in which playbooks may act; empty takes the service account of the server's pod, and outside of a pod there are no such acts"`
	Protect []string `yaml:"protect" doc:"namespaces in which nothing is done, beside kube-system and that of Picket's service account"`
}

var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// validate returns the key at fault and what was expected.
func (c *Kubernetes) validate() (key, msg string) {
	if c.Config != "" && !filepath.IsAbs(c.Config) {
		return "kubernetes.config", "want the whole path of a kubeconfig"
	}
	for i, ns := range c.Protect {
		if !namespaceName.MatchString(ns) {
			return fmt.Sprintf("kubernetes.protect.%d", i), "want the name of a namespace"
		}
	}
	return "", ""
}

// kubeActs are the acts on a cluster, where there is one. What keeps them from being there stops
// nothing else, and is said.
func (s *server) kubeActs(dir string) []action.Action {
	acts, err := action.NewKube(action.KubeOptions{
		Config: s.cfg.Kubernetes.Config, Dir: filepath.Join(dir, "kubernetes"), Protected: s.cfg.Kubernetes.Protect, Env: os.LookupEnv,
	})
	if err != nil && !errors.Is(err, action.ErrNoCluster) {
		s.log.Error("nothing can be done in the Kubernetes cluster", "error", err)
	}
	return acts
}

// tellAct has sinks, the store and incidents be told of what the server itself did: by run, as runs of
// before go on while there is no API yet.
func (s *server) tellAct(r action.Request, res action.Result) {
	e := &event.Event{
		Kind: event.ActionDone, Time: res.At, Host: s.cfg.Host, Message: res.Detail,
		Action: &event.Action{ID: r.ID, Kind: string(r.Kind), State: string(res.State), Target: r.Target.String(), By: r.By, Incident: r.Incident},
	}
	select {
	case s.did <- stream.Batch{From: api.ServerHost, Lines: append(e.AppendRecord(nil), '\n'), N: 1, Ack: func() {}}:
	default:
		s.log.Error("an act is not told to sinks and incidents: too many wait to be told", "act", r.ID)
	}
}

// tellActs tells of them until ctx ends, and of those that wait then.
func (s *server) tellActs(ctx context.Context) error {
	tell := func(b stream.Batch) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // a store that is away holds nothing up
		defer cancel()
		s.events(ctx, b)
	}
	for {
		select {
		case b := <-s.did:
			tell(b)
		case <-ctx.Done():
			for {
				select {
				case b := <-s.did:
					tell(b)
				default:
					return nil
				}
			}
		}
	}
}
