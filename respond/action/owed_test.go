package action

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// opened carries acts out in a directory of its own.
func opened(t *testing.T, acts ...Action) *testCluster {
	t.Helper()
	l, err := Open(Options{Dir: t.TempDir(), Host: "h"}, acts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	t.Cleanup(func() { end(); <-ended; _ = l.Close() })
	return &testCluster{t: t, local: l}
}

// oneObject serves GET and merge patches of objects, and takes policies.
type oneObject struct {
	mu  sync.Mutex
	all map[string]map[string]any
}

func (s *oneObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	dry := r.URL.Query().Has("dryRun")
	var sent map[string]any
	_ = json.NewDecoder(r.Body).Decode(&sent)
	answer := any(s.all[path])
	switch {
	case r.Method == http.MethodPost:
		name := sent["metadata"].(map[string]any)["name"].(string)
		if answer = sent; !dry {
			s.all[path+"/"+name] = sent
		}
	case r.Method == http.MethodGet && (strings.HasSuffix(path, "networkpolicies") || strings.HasSuffix(path, "daemonsets")):
		answer = map[string]any{"items": []any{}}
	case s.all[path] == nil:
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"message": "not found"}
	case r.Method == http.MethodDelete:
		delete(s.all, path)
	case r.Method == http.MethodPatch && !dry:
		merge(s.all[path], sent)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func merge(into, change map[string]any) {
	for k, v := range change {
		m, isMap := v.(map[string]any)
		old, was := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && was:
			merge(old, m)
		case isMap:
			into[k] = map[string]any{}
			merge(into[k].(map[string]any), m)
		default:
			into[k] = v
		}
	}
}

// at returns a value as JSON.
func (s *oneObject) at(path string, keys ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := json.Marshal(kubeObject(s.all[path]).at(keys...))
	return string(b)
}

// Acts of two runs on the same object end in any order: when the last one has, all is as it was before
// the first.
func TestWhatTwoActsSetIsSetBack(t *testing.T) {
	const node, pod = "/api/v1/nodes/gpu-1", "/api/v1/namespaces/ml/pods/p"
	api := &oneObject{all: map[string]map[string]any{
		node: {"metadata": map[string]any{"uid": "n1", "resourceVersion": ""}, "spec": map[string]any{"x": 1}},
		pod:  {"metadata": map[string]any{"uid": "p1", "resourceVersion": "", "labels": map[string]any{"app": "a"}}},
		"/apis/apps/v1/namespaces/ml/deployments/d": {"metadata": map[string]any{"uid": "d1", "resourceVersion": ""}, "spec": map[string]any{"replicas": 3}},
	}}
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	k := &kube{cluster: &cluster{server: srv.URL}, http: srv.Client(), dir: t.TempDir()}
	c := opened(t, append(kubeSets(k), kubeEnds(k)...)...)
	before, _ := json.Marshal(api.all)
	onNode, onPod, onWork := of("node", "", "gpu-1"), of("pod", "ml", "p"), of("deployment", "ml", "d")
	for n, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		id := func(kind, x string) string { return fmt.Sprintf("%s%d%s", kind, n, x) }
		for _, x := range []string{"a", "b"} {
			c.act(id("cordon", x), Cordon, onNode, nil)
			c.act(id("label", x), Label, onPod, map[string]string{"key": "state-" + x, "value": "held"})
			c.act(id("taint", x), Taint, onNode, map[string]string{"key": "held", "value": x})
			c.act(id("scale", x), Scale, onWork, map[string]string{"replicas": map[string]string{"a": "0", "b": "1"}[x]})
			c.act(id("isolate", x), IsolatePod, onPod, nil)
		}
		for i, x := range order {
			for _, kind := range []string{"cordon", "label", "taint", "scale", "isolate"} {
				c.undo(id(kind, x))
			}
			if is := api.at(node, "spec", "unschedulable"); i == 0 && is != "true" {
				t.Errorf("%v: cordoned by the other act, it is %s", order, is)
			}
		}
		if after, _ := json.Marshal(api.all); string(after) != string(before) {
			t.Errorf("%v: not as it was:\n%s\n%s", order, before, after)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(k.dir, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The same of Slurm, whose programs are stood in for by scripts: the real ones are in TestSlurm.
func TestWhatTwoActsDrainTakesJobsAgain(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		file := filepath.Join(dir, name)
		write(t, file, "#!/bin/sh\ncd "+dir+"\n"+text)
		if err := os.Chmod(file, 0o700); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s := &slurm{dir: filepath.Join(dir, "was"), programs: map[string]string{
		"sinfo": script("sinfo", `cat node`),
		"scontrol": script("scontrol", `case "$*" in
*UNDRAIN*) echo idle none > node ;;
*DRAIN*) echo "drained ${4#Reason=}" > node ;;
hold*) echo 'PENDING 1 2026 0 held' > job ;;
release*) echo 'PENDING 1 2026 9 none' > job ;;
esac`),
		"squeue": script("squeue", `cat job`),
	}}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const idle, waits = "idle none\n", "PENDING 1 2026 9 none\n"
	write(t, filepath.Join(dir, "node"), idle)
	write(t, filepath.Join(dir, "job"), waits)
	c := opened(t, &slurmJob{s, HoldJob, Reversible}, &slurmNode{s, DrainNode})
	node := Target{Object: &ObjectPin{Of: Slurm, Kind: "node", Name: "gpu-1"}}
	held := Target{Object: &ObjectPin{Of: Slurm, Kind: "job", Name: "7"}}
	for n, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		for _, x := range []string{"a", "b"} {
			c.act(fmt.Sprintf("d%d%s", n, x), DrainNode, node, nil)
			c.act(fmt.Sprintf("h%d%s", n, x), HoldJob, held, nil)
		}
		for i, x := range order {
			c.undo(fmt.Sprintf("d%d%s", n, x))
			c.undo(fmt.Sprintf("h%d%s", n, x))
			if b, _ := os.ReadFile(filepath.Join(dir, "node")); i == 0 && !strings.HasPrefix(string(b), "drained") {
				t.Errorf("%v: drained by the other act, it is %s", order, b)
			}
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "node")); string(b) != idle {
			t.Errorf("%v: the node is %s", order, b)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "job")); string(b) != waits {
			t.Errorf("%v: the job is %s", order, b)
		}
	}
}
