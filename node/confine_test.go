package node

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// started returns what cat prints of itself when it is started as a role is.
func started(t *testing.T, file string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts programs as another user")
	}
	type result struct {
		out []byte
		err error
	}
	ended := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // for good: see confine
		cmd, err := program(&Config{Host: "h", src: []byte("secret: ${HOOK_SECRET}\n")}, fallbackUID)
		if err == nil {
			err = confine(fallbackUID)
		}
		if err != nil {
			ended <- result{nil, err}
			return
		}
		defer cmd.ExtraFiles[0].Close()
		cmd.Path, cmd.Args = "/bin/cat", []string{"cat", file}
		out, err := cmd.Output()
		ended <- result{out, err}
	}()
	r := <-ended
	if r.err != nil {
		t.Fatal(r.err)
	}
	return string(r.out)
}

func TestAProgramWithoutPrivilegeCannotGainAny(t *testing.T) {
	status := strings.ReplaceAll(started(t, "/proc/self/status"), "\t", " ")
	for _, want := range []string{
		"NoNewPrivs: 1\n", "CapPrm: 0000000000000000\n", "CapEff: 0000000000000000\n", "CapBnd: 0000000000000000\n",
		"CapAmb: 0000000000000000\n", "CapInh: 0000000000000000\n", "Uid: 61942 61942 61942 61942\n", "Gid: 61942 61942 61942 61942\n",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("want %q in\n%s", want, status)
		}
	}
	for line := range strings.Lines(status) {
		if groups, ok := strings.CutPrefix(line, "Groups:"); ok && strings.TrimSpace(groups) != "" {
			t.Errorf("it is in the groups %s", groups)
		}
	}
	// The thread that was confined is gone, and no other took after it.
	own, err := os.ReadFile("/proc/thread-self/status")
	if err != nil || !strings.Contains(string(own), "NoNewPrivs:\t0\n") {
		t.Errorf("the test itself lost its privilege: %v\n%s", err, own)
	}
}

func TestAProgramWithoutPrivilegeGetsNoSecretsOfRootsEnvironment(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hidden")
	t.Setenv("PICKET_TOKEN", "hidden")
	t.Setenv("NO_PROXY", "shown")
	t.Setenv("HOOK_SECRET", "named")
	env := started(t, "/proc/self/environ")
	if strings.Contains(env, "hidden") {
		t.Errorf("it got %q", env)
	}
	for _, want := range []string{"NO_PROXY=shown\x00", "HOOK_SECRET=named\x00", "PICKET_HOST=h\x00"} {
		if !strings.Contains(env, want) {
			t.Errorf("want %q in %q", want, env)
		}
	}
}

func TestADataDirectoryThatOthersMayWriteIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives a directory away")
	}
	dir := t.TempDir()
	if err := ownData(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ownData(dir); Code(err) != ExitHost {
		t.Errorf("writable by all: got %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, fallbackUID, 0); err != nil {
		t.Fatal(err)
	}
	if err := ownData(dir); Code(err) != ExitHost || !strings.Contains(err.Error(), "chown root") {
		t.Errorf("of another user: got %v", err)
	}
}
