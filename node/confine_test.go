package node

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// started returns what cat prints of itself when it is started as a role is.
func started(t *testing.T, file string) string {
	t.Helper()
	return startedAs(t, fallbackUID, file)
}

func startedAs(t *testing.T, uid int, file string) string {
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
		cmd, err := program(&Config{Host: "h", src: []byte("secret: ${HOOK_SECRET}\n")}, uid)
		if err == nil {
			err = confine(uid)
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

func TestTheAgentRunsWithoutNeedlessCapabilities(t *testing.T) {
	status := startedAs(t, 0, "/proc/self/status")
	own, err := os.ReadFile("/proc/thread-self/status") // the first thread may be one that was confined
	if err != nil {
		t.Fatal(err)
	}
	want := capabilities(t, string(own), "CapBnd")
	for _, c := range needless {
		want &^= 1 << c
	}
	for _, set := range []string{"CapBnd", "CapPrm", "CapEff"} {
		if got := capabilities(t, status, set); got != want {
			t.Errorf("%s %#x, want %#x", set, got, want)
		}
	}
	if want&(1<<unix.CAP_SYS_PTRACE) == 0 || !strings.Contains(status, "NoNewPrivs:\t1\n") {
		t.Errorf("want ptrace and no_new_privs in\n%s", status)
	}
}

func capabilities(t *testing.T, status, set string) uint64 {
	t.Helper()
	_, rest, _ := strings.Cut(status, set+":")
	text, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	if err != nil {
		t.Fatal(set, err)
	}
	return n
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
