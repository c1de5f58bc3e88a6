package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picket/respond/action"
	"picket/sensor/enforce"
)

// keepersUnderTest are the acts of an agent that runs on a data directory of a test's own.
type keepersUnderTest struct {
	*acts
	cfg *Config
}

func newKeepers(t *testing.T) keepersUnderTest { return newKeepersOn(t, func(*Config) {}) }

func newKeepersOn(t *testing.T, set func(*Config)) keepersUnderTest {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, whose the directories are")
	}
	cfg := Default()
	cfg.Data, cfg.Host = t.TempDir(), "testhost"
	set(cfg)
	if err := makeDir(cfg.dir("agent"), 0); err != nil {
		t.Fatal(err)
	}
	a := openActs(cfg, slog.New(slog.DiscardHandler), func() (*enforce.Enforcer, error) { return nil, errors.New("no policies here") }, nil,
		func(action.Request, action.Result) {})
	if a.wrong != nil {
		t.Fatal(a.wrong)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.run(ctx, nil); close(ended) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return keepersUnderTest{a, cfg}
}

// TestWhatIsPutAway collects evidence of a process and puts a file into quarantine, by the acts that
// the agent carries out, and takes the file back.
func TestWhatIsPutAway(t *testing.T) {
	a := newKeepers(t)
	cfg := a.cfg
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	res, err := a.local.Do(t.Context(), &action.Request{
		ID: "evidence1", Kind: action.Capture, By: "test", Target: action.Target{Host: "testhost", Process: &action.ProcessPin{PID: cmd.Process.Pid}},
	})
	if err != nil || res.State != action.Done || len(res.Evidence) == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, e := range res.Evidence {
		st, err := os.Stat(e.Path)
		if err != nil || st.Size() != e.Size || st.Mode().Perm() != 0o600 || !strings.HasPrefix(e.Path, cfg.Data) {
			t.Errorf("%+v: %v, %v", e, st, err)
		}
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "model.pt")
	if err := os.WriteFile(file, []byte("weights"), 0o640); err != nil {
		t.Fatal(err)
	}
	ask := &action.Request{ID: "away1", Kind: action.Quarantine, By: "test", Target: action.Target{Host: "testhost", File: &action.FilePin{Path: file}}}
	if res, err = a.local.Do(t.Context(), ask); err != nil || res.State != action.Done {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the file is still there: ", err)
	}
	if res, err = a.local.Undo(t.Context(), &action.Request{ID: "away1", By: "test", Target: action.Target{Host: "testhost"}}); err != nil || res.State != action.Undone {
		t.Fatalf("%+v, %v", res, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "weights" {
		t.Errorf("put back: %q, %v", b, err)
	}
	own := &action.Request{ID: "away2", Kind: action.Quarantine, By: "test", Target: action.Target{Host: "testhost", File: &action.FilePin{Path: cfg.dir("agent")}}}
	if res, err = a.local.Do(t.Context(), own); err == nil && res.State != action.Refused {
		t.Errorf("Picket's own: %+v, %v", res, err)
	}
}

// TestAFileThatCannotBePutBackStaysAway has another file stand at the place of one in quarantine: the
// act is not written down as undone, and can be taken back once the place is free.
func TestAFileThatCannotBePutBackStaysAway(t *testing.T) {
	a := newKeepers(t)
	file := filepath.Join(t.TempDir(), "model.pt")
	ids := []string{"first", "second"}
	for _, id := range ids { // the second is another file by the same name
		if err := os.WriteFile(file, []byte(id), 0o640); err != nil {
			t.Fatal(err)
		}
		res, err := a.local.Do(t.Context(), &action.Request{ID: id, Kind: action.Quarantine, By: "test", Target: action.Target{Host: "testhost", File: &action.FilePin{Path: file}}})
		if err != nil || res.State != action.Done {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if err := os.WriteFile(file, []byte("a third"), 0o640); err != nil {
		t.Fatal(err)
	}
	undo := func(id string) (*action.Result, error) {
		return a.local.Undo(t.Context(), &action.Request{ID: id, By: "test", Target: action.Target{Host: "testhost"}})
	}
	if res, err := undo("first"); err == nil {
		t.Fatalf("taken back onto another file: %+v", res)
	}
	for _, id := range ids {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if res, err := undo(id); err != nil || res.State != action.Undone {
			t.Fatalf("%s: %+v, %v", id, res, err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != id {
			t.Errorf("%q, %v: want %q", b, err, id)
		}
	}
}
