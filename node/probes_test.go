package node_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/api/client"
)

// ownPython returns an interpreter that is none of a tool that picks one.
func ownPython(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if head, err := os.ReadFile(path); err == nil && bytes.HasPrefix(head, []byte("\x7fELF")) {
			return path
		}
	}
	t.Skip("no Python here")
	return ""
}

func TestProbesSeeAPickleAndALibrary(t *testing.T) {
	needRoot(t)
	python := ownPython(t)
	p := newProgram(t)
	conf, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(conf)+"sensor: {cuda: true, python: true}\n")
	p.start()

	// The secret is a command's, and stays here.
	const pickle = "import pickle, time; pickle.loads(b\"cposix\\nsystem\\n(S'/bin/true --token=s3cr3t'\\ntR.\"); time.sleep(3)"
	var pids []string
	p.until(120*time.Second, "the pickle and what it ran", func() bool {
		cmd := exec.Command(python, "-c", pickle)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		pids = append(pids, fmt.Sprint(cmd.Process.Pid))
		found, err := p.findings("command_run_by_pickle")
		return err == nil && len(found) > 0
	})
	p.until(60*time.Second, "the store has what the pickle named", func() bool {
		list, err := p.client.Events(t.Context(), client.EventFilter{Query: `event.kind:"python.audit" python.argument:"posix.system"`, Limit: 1})
		return err == nil && len(list.Items) == 1 && slices.ContainsFunc(pids, func(pid string) bool {
			return strings.Contains(string(list.Items[0]), `"process.pid":"`+pid+`"`)
		})
	})
	list, err := p.client.Events(t.Context(), client.EventFilter{Query: `event.kind:"python.audit" python.event:"os.system"`, Limit: 10})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, e := range list.Items {
		if !strings.Contains(string(e), `"python.argument":"/bin/true --token=***"`) {
			t.Errorf("not masked: %s", e)
		}
	}

	library, caller := filepath.Join(p.dir, "libcuda.so.1"), filepath.Join(p.dir, "caller")
	for _, args := range [][]string{{"-shared", "-fPIC", "-o", library, "../sensor/cuda/testdata/libcuda.c"}, {"-o", caller, "../sensor/cuda/testdata/caller.c", "-ldl"}} {
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Skipf("no library to call: %v: %s", err, out)
		}
	}
	cmd := exec.Command(caller, library)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	fmt.Fprintln(in, "alloc 1") // which loads the library
	p.until(60*time.Second, "the library was met", func() bool {
		return p.has(`event.kind:"cuda" cuda.call:"library"`)
	})
	fmt.Fprintln(in, "copy cuMemcpyDtoH_v2 10 4096")
	p.until(60*time.Second, "the copies were counted", func() bool { return p.has(`event.kind:"cuda" cuda.call:"copies" cuda.bytes:40960`) })
}

// has reports whether the store has an event.
func (p *program) has(query string) bool {
	list, err := p.client.Events(p.t.Context(), client.EventFilter{Query: query, Limit: 1})
	return err == nil && len(list.Items) > 0
}
