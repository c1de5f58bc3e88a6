package event

import "testing"

func TestMasked(t *testing.T) {
	for name, c := range map[string]struct {
		p    Process
		want bool
	}{
		"by path":             {Process{Exe: "/usr/bin/cat", Invoked: "/usr/bin/cat", Comm: "cat", Args: []string{"cat", "x"}}, false},
		"by a link":           {Process{Exe: "/usr/bin/python3.12", Invoked: "/usr/bin/python3", Comm: "python3", Args: []string{"python3"}}, false},
		"login shell":         {Process{Exe: "/usr/bin/bash", Invoked: "/bin/bash", Comm: "bash", Args: []string{"-bash"}}, false},
		"script":              {Process{Exe: "/usr/bin/dash", Invoked: "/srv/run", Comm: "run", Script: true, Args: []string{"/bin/sh", "/srv/run"}}, false},
		"applet":              {Process{Exe: "/bin/busybox", Invoked: "/proc/self/exe", Comm: "exe", Args: []string{"mount", "x"}}, false},
		"long name":           {Process{Exe: "/usr/bin/containerd-shim-runc-v2", Invoked: "/usr/bin/containerd-shim-runc-v2", Comm: "containerd-shim", Args: []string{"/usr/bin/containerd-shim-runc-v2"}}, false},
		"ran before":          {Process{Exe: "/usr/sbin/nginx", Comm: "nginx", Args: []string{"nginx: worker process"}}, false},
		"as a kernel thread":  {Process{Exe: "/tmp/x", Invoked: "/tmp/x", Comm: "x", Args: []string{"[kworker/0:1]"}}, true},
		"as another program":  {Process{Exe: "/tmp/x", Invoked: "/tmp/x", Comm: "x", Args: []string{"/usr/sbin/sshd", "-D"}}, true},
		"under another comm":  {Process{Exe: "/tmp/x", Invoked: "/tmp/x", Comm: "kthreadd", Args: []string{"/tmp/x"}}, true},
		"without any name":    {Process{Exe: "/tmp/x", Invoked: "/tmp/x", Comm: "x"}, false},
		"by descriptor alone": {Process{Exe: "/tmp/x", Invoked: "/dev/fd/3", FDExec: true, Comm: "3", Args: []string{"ls"}}, false},
	} {
		if got := c.p.Masked(); got != c.want {
			t.Errorf("%s: masked %v, want %v", name, got, c.want)
		}
	}
	for exe, want := range map[string]bool{
		"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": true, "/lib/ld-musl-x86_64.so.1": true, "/lib64/ld64.so.2": true, "/usr/bin/ld": false, "/usr/bin/ld-gold": false,
	} {
		if p := (&Process{Exe: exe}); p.Loader() != want {
			t.Errorf("%s is a loader: %v, want %v", exe, p.Loader(), want)
		}
	}
}
