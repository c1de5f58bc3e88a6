package client

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The server's folder belongs to its user, who may put a link to another program's socket there.
func TestASocketOfAnotherUserIsNotSpokenTo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives a directory away")
	}
	dir, other := t.TempDir(), t.TempDir()
	l, err := net.Listen("unix", filepath.Join(other, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })}
	go srv.Serve(l)
	defer srv.Close()
	if err := os.Symlink(l.Addr().String(), filepath.Join(dir, "api.sock")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 61_942, 61_942); err != nil {
		t.Fatal(err)
	}
	c, err := New("unix://"+filepath.Join(dir, "api.sock"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Session(t.Context()); err == nil || !strings.Contains(err.Error(), "not the server") {
		t.Errorf("got %v", err)
	}
	select {
	case path := <-asked:
		t.Errorf("the other program was asked for %s", path)
	default:
	}
}
