// Command main serves the API with made-up data, for work on the dashboard:
//
//	go run ./api/apitest/main -listen 127.0.0.1:8443
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"picket/api"
	"picket/api/apitest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve on")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	fake := apitest.New(time.Now)
	srv, err := api.New(fake.Deps(), api.Options{Log: log})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := fake.SaveUser(ctx, api.User{Name: "admin", Role: api.Admin, Created: time.Now()}); err != nil {
		return err
	}
	link, _, err := srv.NewLink(ctx, "admin")
	if err != nil {
		return err
	}
	secret, _, err := srv.NewToken(ctx, "dashboard", api.Admin, 0, "main")
	if err != nil {
		return err
	}
	fmt.Printf("sign in at http://%s%s\nor send Authorization: Bearer %s\n", listen, link, secret)
	go publish(ctx, srv, fake)
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return api.HTTPServer(srv.Handler(), log).Serve(ln)
}

// publish sends a sample of everything every two seconds.
func publish(ctx context.Context, srv *api.Server, fake *apitest.Fake) {
	deps := fake.Deps()
	for range time.Tick(2 * time.Second) {
		if items, err := deps.Incidents.List(ctx, api.IncidentQuery{Limit: 1}); err == nil && len(items) > 0 {
			srv.PublishIncident(items[0])
		}
		_ = deps.Events.Query(ctx, api.EventQuery{End: time.Now(), Limit: 1}, func(rec json.RawMessage) error {
			srv.PublishEvent(rec)
			return nil
		})
		if agents, err := deps.Fleet.Agents(ctx); err == nil {
			srv.PublishAgent(agents[0])
		}
		srv.PublishHealth(deps.Health.Report(ctx))
	}
}
