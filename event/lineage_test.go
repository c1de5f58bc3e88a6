package event

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDerivedFields(t *testing.T) {
	value := func(e *Event, name string) Value {
		f, ok := Lookup(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		return e.Value(f.Field)
	}
	sh := func(comm string, args ...string) *Process {
		p := &Process{Comm: comm, Args: args}
		for i, a := range args {
			if i > 0 {
				p.Cmdline += " "
			}
			p.Cmdline += a
		}
		return p
	}
	for _, c := range []struct {
		p                    *Process
		argv0, args, cmdline string
	}{
		{sh("sh", "/bin/sh", "-c", "id"), "/bin/sh", "-c id", "sh -c id"},
		{sh("sh", "sh"), "sh", "", "sh"},
		{sh("bash", "-bash"), "-bash", "", "bash"},
		{sh("dpkg-preconfigu", "/usr/sbin/dpkg-preconfigure", "--apt"), "/usr/sbin/dpkg-preconfigure", "--apt", "dpkg-preconfigu --apt"},
		{sh("evil", "a b", "c"), "a b", "c", "evil c"},
		{&Process{Comm: "x", Cmdline: "/bin/x y"}, "/bin/x", "y", "x y"},
		{&Process{Comm: "kworker"}, "", "", "kworker"},
		{&Process{Cmdline: "/bin/x y"}, "/bin/x", "y", "/bin/x y"},
	} {
		for _, sealed := range []bool{false, true} {
			if sealed {
				c.p.Seal()
			}
			e := &Event{Process: c.p}
			got := []string{value(e, "process.argv0").String(), value(e, "process.args").String(), value(e, "process.command").String()}
			if d := cmp.Diff([]string{c.argv0, c.args, c.cmdline}, got); d != "" {
				t.Errorf("%q: %s", c.p.Cmdline, d)
			}
		}
	}
	if v := value(&Event{Process: sh("sh", "sh")}, "process.args"); v.Kind != Text {
		t.Error("a process without arguments has an empty process.args, not none")
	}
	for path, want := range map[string][2]string{"/a": {"/", "a"}, "/a/b": {"/a", "b"}, "/a/b/c": {"/a/b", "c"}, "": {"", ""}, "/": {"/", ""}} {
		e := &Event{File: File{Path: path}}
		if got := [2]string{value(e, "file.directory").String(), value(e, "file.name").String()}; got != want {
			t.Errorf("%q is in %q", path, got)
		}
	}
}

func TestPermissionsAndCapabilities(t *testing.T) {
	for mode, want := range map[uint32]string{
		0o100755: "rwxr-xr-x", 0o4755: "rwsr-xr-x", 0o2745: "rwxr-Sr-x", 0o2755: "rwxr-sr-x", 0o1777: "rwxrwxrwt", 0o7000: "--S--S--T", 0o100000: "---------", 0: "",
	} {
		if got := (&File{Mode: mode}).Permissions(); got != want {
			t.Errorf("%o is %q, want %q", mode, got, want)
		}
	}
	f, _ := Lookup("process.capabilities")
	for mask, want := range map[uint64][]string{
		0: nil, 1: {"CAP_CHOWN"}, 1<<21 | 1<<1: {"CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"}, 1<<40 | 1<<63: {"CAP_CHECKPOINT_RESTORE"}, 1<<2 - 1: {"CAP_CHOWN", "CAP_DAC_OVERRIDE"},
	} {
		p := &Process{Cred: Cred{CapEff: mask}}
		if d := cmp.Diff(want, (&Event{Process: p}).Value(f.Field).List); d != "" {
			t.Errorf("%x: %s", mask, d)
		}
		p.Seal()
		child := &Process{Parent: p, Cred: p.Cred}
		child.Seal()
		if d := cmp.Diff(want, (&Event{Process: child}).Value(f.Field).List); d != "" {
			t.Errorf("child of %x: %s", mask, d)
		}
		other := &Process{Parent: p}
		other.Seal()
		if v := (&Event{Process: other}).Value(f.Field); v.Kind != Absent {
			t.Errorf("child of %x without capabilities has %v", mask, v.List)
		}
	}
	if names := capNames(1<<41 - 1); len(names) != 41 || names[40] != "CAP_CHECKPOINT_RESTORE" {
		t.Errorf("all capabilities are %d", len(names))
	}
}

func TestAncestors(t *testing.T) {
	e, err := ParseRecord([]byte(`{"process.lineage":"sh < nginx < runc","process.parent.exe":"/bin/dash","process.original_name":"id"}`))
	if err != nil {
		t.Fatal(err)
	}
	ancestors, _ := Lookup("process.ancestors")
	if d := cmp.Diff([]string{"sh", "nginx", "runc"}, e.Value(ancestors.Field).List); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]string{
		"process.parent.original_name": "sh", "process.ancestor.2.original_name": "nginx",
		"process.ancestor.3.original_name": "runc", "process.ancestor.4.original_name": "",
	} {
		f, _ := Lookup(name)
		if got := e.Value(f.Field).String(); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	loop := &Process{Comm: "a"}
	loop.Parent = loop
	if n := len(loop.AncestorNames()); n != maxAncestors {
		t.Errorf("a loop has %d ancestors", n)
	}
}
