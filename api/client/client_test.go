package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/api"
	"picket/api/apitest"
	"picket/api/client"
	"picket/event"
)

func serve(t *testing.T) (*api.Server, *httptest.Server, *client.Client) {
	t.Helper()
	fake := apitest.New(time.Now)
	srv, err := api.New(fake.Deps(), api.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(srv.Handler())
	t.Cleanup(func() { srv.Close(); hs.Close() })
	secret, _, err := srv.NewToken(t.Context(), "t", api.Admin, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(hs.URL, secret)
	if err != nil {
		t.Fatal(err)
	}
	return srv, hs, c
}

func TestCalls(t *testing.T) {
	_, _, c := serve(t)
	ctx := t.Context()
	if s, err := c.Session(ctx); err != nil || s.Role != api.Admin {
		t.Errorf("session %+v, %v", s, err)
	}
	page, err := c.Incidents(ctx, client.IncidentFilter{Limit: 1})
	if err != nil || len(page.Items) != 1 || page.Next == "" {
		t.Fatalf("incidents: %+v, %v", page, err)
	}
	next, err := c.Incidents(ctx, client.IncidentFilter{Limit: 5, Before: page.Next})
	if err != nil || len(next.Items) != 2 || next.Items[0].ID == page.Items[0].ID || next.Next != "" {
		t.Errorf("next page: %d items, next %q, %v", len(next.Items), next.Next, err)
	}
	inc, err := c.Incident(ctx, "i-gpu-01")
	if err != nil || inc.Severity != event.Critical {
		t.Fatalf("incident: %+v, %v", inc.Severity, err)
	}
	patch := api.IncidentPatch{Status: event.IncidentClosed, Verdict: event.TruePositive, Note: "real", Version: inc.Version}
	if got, err := c.UpdateIncident(ctx, inc.ID, patch); err != nil || got.Status != event.IncidentClosed || got.Version != inc.Version+1 {
		t.Errorf("update: %+v, %v", got.Status, err)
	}
	var e *client.Error
	if _, err := c.UpdateIncident(ctx, inc.ID, patch); !errors.As(err, &e) || e.Status != http.StatusConflict {
		t.Errorf("second update: %v", err)
	}
	if got, err := c.Findings(ctx, client.FindingFilter{Incident: "i-gpu-01", Severity: "high"}); err != nil || len(got.Items) != 2 {
		t.Errorf("findings: %d, %v", len(got.Items), err)
	}
	if got, err := c.Events(ctx, client.EventFilter{Query: "tar", Start: "1d"}); err != nil || len(got.Items) == 0 {
		t.Errorf("events: %+v, %v", got, err)
	}
	if got, err := c.Hits(ctx, client.EventFilter{Start: "1d"}, 10); err != nil || len(got) != 10 {
		t.Errorf("hits: %+v, %v", got, err)
	}
	if got, err := c.Fields(ctx); err != nil || len(got) < 20 {
		t.Errorf("fields: %d, %v", len(got), err)
	}
	if got, err := c.Fleet(ctx); err != nil || len(got) != 3 || got[0].Heartbeat.Metrics != "" {
		t.Errorf("fleet: %+v, %v", got, err)
	}
	if got, err := c.GPUs(ctx); err != nil || len(got) == 0 || got[0].Util != event.Measured(64) || got[0].ECC.Known || len(got[0].Users) != 1 {
		t.Errorf("gpus: %+v, %v", got, err)
	}
	if got, err := c.Health(ctx); err != nil || got.Version != "test" {
		t.Errorf("health: %+v, %v", got, err)
	}
	if got, err := c.Rules(ctx); err != nil || len(got) != 5 {
		t.Errorf("rules: %d, %v", len(got), err)
	}
	if _, err := c.Finding(ctx, "no/such"); !client.IsNotFound(err) {
		t.Errorf("missing finding: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	_, hs, c := serve(t)
	ctx := t.Context()
	u, err := c.SaveUser(ctx, "ann", api.Admin)
	if err != nil || !strings.HasPrefix(u.Link, "/signin?token=") {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := c.SaveUser(ctx, "ann", api.Viewer); err == nil || !strings.Contains(err.Error(), "only admin") {
		t.Errorf("losing the last admin: %v", err)
	}
	if _, err := c.SaveUser(ctx, "<b>", api.Viewer); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("bad name: %v", err)
	}
	tok, err := c.NewToken(ctx, "ci", api.Viewer, 1)
	if err != nil || tok.Secret == "" || tok.Expires == nil {
		t.Fatalf("%+v, %v", tok, err)
	}
	list, err := c.Tokens(ctx)
	if err != nil || len(list) != 2 || list[0].Secret != "" {
		t.Errorf("%+v, %v", list, err)
	}
	viewer, _ := client.New(hs.URL, tok.Secret)
	if _, err := viewer.Users(ctx); err == nil || !strings.Contains(err.Error(), "needs the role admin") {
		t.Errorf("viewer lists users: %v", err)
	}
	if err := c.RemoveToken(ctx, tok.ID); err != nil {
		t.Error(err)
	}
	if _, err := viewer.Health(ctx); err == nil || !strings.Contains(err.Error(), "does not know who you are") {
		t.Errorf("revoked token: %v", err)
	}
}

func TestStreamResumes(t *testing.T) {
	srv, hs, c := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var ids []string
	done := make(chan error, 1)
	hello := make(chan bool, 10)
	go func() {
		done <- c.Stream(ctx, client.StreamOptions{}, func(m client.Message) error {
			switch m.Event {
			case "hello":
				hello <- true
			case "incident":
				var i event.Incident
				if err := json.Unmarshal(m.Data, &i); err != nil {
					return err
				}
				if ids = append(ids, i.ID); len(ids) == 3 {
					return errors.New("enough")
				}
			}
			return nil
		})
	}()
	<-hello
	srv.PublishIncident(event.Incident{ID: "a"})
	time.Sleep(50 * time.Millisecond)
	hs.CloseClientConnections()
	srv.PublishIncident(event.Incident{ID: "b"}) // while nobody is connected
	<-hello
	srv.PublishIncident(event.Incident{ID: "c"})
	if err := <-done; err == nil || err.Error() != "enough" {
		t.Fatal(err)
	}
	if got := strings.Join(ids, " "); got != "a b c" {
		t.Errorf("got %s, want a b c", got)
	}
}

func TestNoServerIsSaidPlainly(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for _, addr := range []string{"http://" + ln.Addr().String(), "unix://" + filepath.Join(t.TempDir(), "none.sock")} {
		c, err := client.New(addr, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Health(t.Context())
		if !errors.Is(err, client.ErrNoServer) || !strings.Contains(err.Error(), "no Picket server at "+addr+": start one with `picket run`") {
			t.Errorf("%s: %v", addr, err)
		}
		if err := c.Stream(t.Context(), client.StreamOptions{}, nil); !errors.Is(err, client.ErrNoServer) {
			t.Errorf("stream %s: %v", addr, err)
		}
	}
	for _, bad := range []string{"", "localhost:80", "ftp://x", "unix://", "http://"} {
		if _, err := client.New(bad, ""); err == nil {
			t.Errorf("address %q is taken", bad)
		}
	}
}

func TestUnixSocketIsTrusted(t *testing.T) {
	srv, _, _ := serve(t)
	sock := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	hs := api.HTTPServer(srv.Trusted(), nil)
	go hs.Serve(ln)
	defer hs.Close()
	c, err := client.New("unix://"+sock, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Session(t.Context()); err != nil || s.User != "local" || s.Role != api.Admin {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("id: a-1\nevent: incident\ndata: {}\n\n: ping\n\ndata: x\ndata: y\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(b) }))
		defer hs.Close()
		c, _ := client.New(hs.URL, "")
		_ = c.Stream(t.Context(), client.StreamOptions{Once: true}, func(client.Message) error { return nil })
	})
}
