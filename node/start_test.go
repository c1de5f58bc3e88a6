package node_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picket/event"
	"picket/node"
)

// attempt runs picket run where it should refuse, and returns its exit code and its words.
func (p *program) attempt(t *testing.T, attr *syscall.SysProcAttr) (int, string) {
	t.Helper()
	cmd := exec.Command(p.bin, "--config", p.configFile(), "run")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.Dir = &out, &out, attr, "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// What keeps Picket from starting is said in a sentence, with an exit code of its own.
func TestStartsThatFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, p *program) *syscall.SysProcAttr
		code  int
		says  []string
	}{
		{"not root", func(*testing.T, *program) *syscall.SysProcAttr {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}, node.ExitHost, []string{"needs root", "sudo"}},
		{"api port taken", func(t *testing.T, p *program) *syscall.SysProcAttr {
			p.configure(taken(t), freePort(t))
			return nil
		}, node.ExitHost, []string{"api.listen", "address already in use", "choose another"}},
		{"stream port taken", func(t *testing.T, p *program) *syscall.SysProcAttr {
			p.configure(freePort(t), taken(t))
			return nil
		}, node.ExitHost, []string{"stream.listen", "address already in use", "choose another"}},
		{"data read-only", func(t *testing.T, p *program) *syscall.SysProcAttr {
			mountData(t, p, unix.MS_RDONLY, "mode=755")
			return nil
		}, node.ExitHost, []string{"data directory", "read-only", "--data"}},
		{"data full", func(t *testing.T, p *program) *syscall.SysProcAttr {
			mountData(t, p, 0, "mode=755,size=64k")
			_ = os.WriteFile(filepath.Join(p.cfg.Data, "fill"), make([]byte, 1<<20), 0o600) // fails when it is full
			return nil
		}, node.ExitHost, []string{"data directory", "disk is full"}},
		{"a key that is misspelt", func(t *testing.T, p *program) *syscall.SysProcAttr {
			write(t, p.configFile(), "data: "+p.dir+"/data\napi:\n  listn: 127.0.0.1:1\n")
			return nil
		}, node.ExitConfig, []string{"picket.yaml:3:", "listn"}},
		{"a file that is no YAML", func(t *testing.T, p *program) *syscall.SysProcAttr {
			write(t, p.configFile(), "data: "+p.dir+"/data\napi: [\n")
			return nil
		}, node.ExitConfig, []string{"picket.yaml:"}},
		{"no configuration", func(t *testing.T, p *program) *syscall.SysProcAttr {
			if err := os.Remove(p.configFile()); err != nil {
				t.Fatal(err)
			}
			return nil
		}, node.ExitConfig, []string{"picket.yaml", "no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProgram(t)
			code, said := p.attempt(t, c.spoil(t, p))
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, said)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not said in:\n%s", want, said)
				}
			}
			if n := strings.Count(said, "\n"); n > 6 || strings.Contains(said, "goroutine ") {
				t.Errorf("that is no sentence:\n%s", said)
			}
		})
	}
}

func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func mountData(t *testing.T, p *program, flags uintptr, opts string) {
	t.Helper()
	if err := os.MkdirAll(p.cfg.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", p.cfg.Data, "tmpfs", flags, opts); err != nil {
		t.Skipf("this host does not let a tmpfs be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(p.cfg.Data, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// One run of the program shows: a second one is refused, a broken threat leaves the others in use
// and is named in the heartbeat, and Ctrl-C ends all of it.
func TestLifeOfAProgram(t *testing.T) {
	p := newProgram(t)
	write(t, filepath.Join(p.dir, "threats/broken/README.md"), "# Broken\n\nA rule with a mistake.\n")
	write(t, filepath.Join(p.dir, "threats/broken/broken.yml"), "title: Broken\nlogsource: {product: linux\n")
	p.start()

	t.Run("a second one is refused", func(t *testing.T) {
		code, said := p.attempt(t, nil)
		if code != node.ExitRunning || !strings.Contains(said, "running already") || !strings.Contains(said, "--data") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
	t.Run("SIGTERM ends all but the sensor", func(t *testing.T) {
		p.endsCleanly(t, syscall.SIGTERM)
		if left, err := filepath.Glob(p.pins() + "/layout-*/*/on_exec"); len(left) != 1 {
			t.Errorf("the sensor is not kept: %v, %v", left, err)
		}
		if err := exec.Command("/bin/true", mark+"between").Run(); err != nil {
			t.Fatal(err)
		}
		p.start()
		p.until(10*time.Second, "the finding of what happened between", func() bool {
			all, err := p.findings("canary")
			return err == nil && slices.ContainsFunc(all, func(f event.Finding) bool { return strings.HasSuffix(f.Processes[0].Cmdline, mark+"between") })
		})
	})
	t.Run("a broken threat leaves the others in use", func(t *testing.T) {
		b := p.heartbeat()
		if all := strings.Join(b.RuleErrors, "\n"); !strings.Contains(all, "broken.yml:") {
			t.Errorf("the heartbeat does not name the file and line: %q", all)
		}
		p.sees(t, "one")
	})
	t.Run("a reload keeps the last good rules", func(t *testing.T) {
		rules := p.heartbeat().Rules
		write(t, filepath.Join(p.dir, "threats/canary/canary.yml"), "title: Canary\ndetection: {a: [}\n")
		p.until(20*time.Second, "the mistake is told", func() bool {
			return strings.Contains(strings.Join(p.heartbeat().RuleErrors, "\n"), "canary.yml:")
		})
		if got := p.heartbeat().Rules; got != rules {
			t.Errorf("%d rules are loaded, there were %d", got, rules)
		}
		p.sees(t, "two")
	})
	t.Run("Ctrl-C ends all", func(t *testing.T) {
		p.endsCleanly(t, syscall.SIGINT)
		if _, err := os.Stat(p.pins()); !os.IsNotExist(err) {
			t.Errorf("the sensor is left in the kernel: %v", err)
		}
	})
}

// sees checks that a command is found.
func (p *program) sees(t *testing.T, name string) {
	t.Helper()
	if err := exec.Command("/bin/true", mark+name).Run(); err != nil {
		t.Fatal(err)
	}
	p.until(10*time.Second, "the finding of "+name, func() bool {
		all, err := p.findings("canary")
		return err == nil && len(all) > 0 && strings.HasSuffix(all[0].Processes[0].Cmdline, mark+name)
	})
}

func (p *program) endsCleanly(t *testing.T, sig syscall.Signal) {
	t.Helper()
	err, took := p.stop(sig)
	t.Logf("%v: stopped in %v", sig, took)
	if err != nil || took > 5*time.Second {
		t.Errorf("it ended with %v after %v, want exit code 0 within 5 s; the log ends:\n%s", err, took, p.logTail(10))
	}
	if left := p.running(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(p.cfg.Data, "run/status.json")); !os.IsNotExist(err) {
		t.Errorf("the status of programs that ended is left: %v", err)
	}
}
