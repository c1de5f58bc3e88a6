package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/api/client"
	"picket/node"
	"picket/respond"
	"picket/respond/action"
	"picket/respond/kubetest"
)

// The whole way in a cluster: a shell in a pod is told of, and a playbook cuts that pod off and scales what
// makes it to nothing, with the role of the guide: tried by the API server, approved by another, read back
// and taken back.
func TestAPodIsCutOffInItsCluster(t *testing.T) {
	cluster := kubetest.Start(t)
	p := newProgram(t)
	container := strings.Repeat("3f2a", 16)
	template := kubetest.M{"metadata": kubetest.M{"labels": kubetest.M{"app": "serve-0"}}, "spec": kubetest.M{"containers": []any{kubetest.M{"name": "main", "image": "x"}}}}
	cluster.Namespace("ml")
	cluster.Do("POST", "/apis/apps/v1/namespaces/ml/deployments", kubetest.M{"metadata": kubetest.M{"name": "serve"}, "spec": kubetest.M{
		"replicas": 2, "selector": kubetest.M{"matchLabels": kubetest.M{"app": "serve-0"}}, "template": template,
	}})
	cluster.Pod("ml", "serve-0", "gpu-1", container)
	from, secret := filepath.Dir(cluster.Account("../docs/kubernetes.md")), ""
	for _, name := range []string{"kubeconfig", "token"} { // to where the server, which is not root, can read it
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(p.dir, "kube", name), string(b))
		secret = strings.TrimSpace(string(b))
	}
	write(t, filepath.Join(p.dir, "playbooks/cut-pod.json"), cutPod())
	config, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), fmt.Sprintf("%skubernetes: {config: %[2]s/kube/kubeconfig}\nrespond: {playbooks: [%[2]s/playbooks]}\n", config, p.dir))
	p.start()
	inPod(t, container, "true "+mark+"kube; sleep 60")
	incident := ""
	p.until(30*time.Second, "an incident with the container", func() bool {
		list, err := p.client.Incidents(t.Context(), client.IncidentFilter{})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		incident = list.Items[0].ID
		plan, code := p.try("playbook", "plan", "cut-pod", incident)
		return code == 0 && strings.Contains(plan, "pod ml/serve-0") && strings.Contains(plan, "no network plugin that is known") && strings.Contains(plan, "deployment ml/serve")
	})
	if out, code := p.try("playbook", "simulate", "cut-pod", "--since", "1h"); code != 0 || !strings.Contains(out, "scale") {
		t.Errorf("%d %s", code, out)
	}

	const policies, work, pod = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies", "/apis/apps/v1/namespaces/ml/deployments/serve", "/api/v1/namespaces/ml/pods/serve-0"
	state := func() string {
		made, _ := cluster.Do("GET", policies, nil)["items"].([]any)
		spec, _ := cluster.Do("GET", work, nil)["spec"].(kubetest.M)
		meta, _ := cluster.Do("GET", pod, nil)["metadata"].(kubetest.M)
		labels, _ := meta["labels"].(kubetest.M)
		return fmt.Sprintf("%d policies, %v replicas, %d labels", len(made), spec["replicas"], len(labels))
	}
	var run respond.Run
	out := p.picket("playbook", "run", "cut-pod", incident, "--reason", "a test", "--output", "json")
	if err := json.Unmarshal([]byte(out), &run); err != nil || run.State != respond.Waiting || run.Plan.Class != action.Destructive {
		t.Fatalf("%v %s", err, out)
	}
	if is := state(); is != "0 policies, 2 replicas, 1 labels" {
		t.Errorf("before anybody approved: %s", is)
	}
	if _, err := p.another("berta").ApproveRun(t.Context(), run.ID, run.Plan.Hash, "agreed"); err != nil {
		t.Fatal(err)
	}
	p.until(30*time.Second, "the run is over", func() bool {
		r, err := p.client.Run(t.Context(), run.ID)
		return err == nil && r.State == respond.Succeeded
	})
	if is := state(); is != "1 policies, 0 replicas, 2 labels" {
		t.Errorf("after the run: %s\n%s", is, p.picket("playbook", "show-run", run.ID[:8]))
	}
	p.until(20*time.Second, "the acts are told of", func() bool {
		told, code := p.try("events", "event.kind:action")
		return code == 0 && strings.Contains(told, "isolate-pod of pod ml/serve-0") && strings.Contains(told, "scale of deployment ml/serve")
	})
	p.picket("playbook", "undo", run.ID[:8])
	p.until(20*time.Second, "all is as it was", func() bool { return state() == "0 policies, 2 replicas, 1 labels" })
	p.holds(secret)
}

// A person acts on the cluster by hand: a plan changes nothing, what is done is done once, kept by the
// server, told of, and taken back.
func TestActsByHandInACluster(t *testing.T) {
	cluster := kubetest.Start(t)
	p := newProgram(t)
	cluster.Namespace("ml")
	cluster.Do("POST", "/api/v1/nodes", kubetest.M{"metadata": kubetest.M{"name": "gpu-7"}})
	cluster.Pod("ml", "serve-0", "gpu-7", strings.Repeat("3f2a", 16))
	from := filepath.Dir(cluster.Account("../docs/kubernetes.md"))
	for _, name := range []string{"kubeconfig", "token"} { // to where the server, which is not root, can read it
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(p.dir, "kube", name), string(b))
	}
	config, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), fmt.Sprintf("%skubernetes: {config: %s/kube/kubeconfig}\n", config, p.dir))
	p.start()
	cordoned := func() bool {
		spec, _ := cluster.Do("GET", "/api/v1/nodes/gpu-7", nil)["spec"].(kubetest.M)
		return spec["unschedulable"] == true
	}
	if out, code := p.try("action", "cordon", "gpu-7", "--dry-run"); code != 0 || !strings.Contains(out, "on node gpu-7, nothing of this was done") || cordoned() {
		t.Errorf("%d %s", code, out)
	}
	var res action.Result
	out := p.picket("action", "cordon", "gpu-7", "--reason", "a test", "--for", "1h", "-o", "json")
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.State != action.Done || !cordoned() {
		t.Fatalf("%v %s", err, out)
	}
	for _, args := range [][]string{{"action", "list", "--host", "@server"}, {"action", "list", "--all-hosts"}, {"action", "show", res.ID, "--host", "@server"}} {
		if out, code := p.try(args...); code != 0 || !strings.Contains(out, "cordon") || !strings.Contains(out, "gpu-7") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	if out, code := p.try("action", "undo", res.ID, "--host", "@server"); code != 0 || cordoned() {
		t.Errorf("%d %s", code, out)
	}
	if out, code := p.try("action", "cordon", "gpu-8", "--dry-run"); code == 0 || !strings.Contains(out, "gpu-8") {
		t.Errorf("a node that is not there: %d %s", code, out)
	}
	if out, code := p.try("action", "evict", "ml/serve-0", "--grace", "0"); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, _ := cluster.Try("GET", "/api/v1/namespaces/ml/pods/serve-0", nil); code != 404 {
		t.Errorf("the pod is there still: %d", code)
	}
	p.until(20*time.Second, "the acts are told of", func() bool {
		told, code := p.try("events", "event.kind:action")
		return code == 0 && strings.Contains(told, "cordon of node gpu-7") && strings.Contains(told, "evict of pod ml/serve-0")
	})
}

// holds fails where a secret stands in what the program wrote.
func (p *program) holds(secret string) {
	p.t.Helper()
	err := filepath.WalkDir(p.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(file, filepath.Join(p.dir, "kube")) {
			return nil // a file of the moment, or where the secret is from
		}
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), secret) {
			p.t.Errorf("the token stands in %s", file)
		}
		return nil
	})
	if err != nil {
		p.t.Error(err)
	}
}

// another is the client of another person, who signs in by a token.
func (p *program) another(name string) *client.Client {
	p.t.Helper()
	socket := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", node.SocketPath(p.cfg))
	}}}
	defer socket.CloseIdleConnections()
	answer, err := socket.Post("http://picket/api/v1/tokens", "application/json", strings.NewReader(fmt.Sprintf(`{"name": %q, "role": "admin"}`, name)))
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	var made struct{ Secret string }
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || made.Secret == "" {
		p.t.Fatalf("a token: %s %v", answer.Status, err)
	}
	c, err := client.New("http://"+p.cfg.API.Listen, made.Secret)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// inPod runs a shell in a cgroup as the kubelet and containerd make them.
func inPod(t *testing.T, container, script string) {
	t.Helper()
	root := "/sys/fs/cgroup/unified" // beside hierarchies of v1
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root = "/sys/fs/cgroup"
	}
	slice := fmt.Sprintf("%s/kubepods-pod%d.slice", root, os.Getpid())
	group := slice + "/cri-containerd-" + container + ".scope"
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		for end := time.Now().Add(5 * time.Second); os.Remove(group) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // until its children are gone
		}
		_ = os.Remove(slice)
	})
}

// cutPod is a playbook of two commands: one for the pods of the incident, one for what makes them.
func cutPod() string {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	step := func(next, command string) map[string]any {
		return map[string]any{"type": "action", "agent": id("security-category", 1), "on_completion": next, "commands": []any{
			map[string]any{"type": "openc2-http", "command": "POST /x HTTP/1.1", "content": command},
		}}
	}
	data, _ := json.Marshal(map[string]any{ // of texts and numbers
		"type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 3), "name": "Cut a pod off", "created_by": id("identity", 1),
		"created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "workflow_start": id("start", 1),
		"agent_definitions": map[string]any{id("security-category", 1): map[string]any{"type": "security-category", "name": "Picket", "category": []string{"server"}}},
		"workflow": map[string]any{
			id("start", 1):  map[string]any{"type": "start", "on_completion": id("action", 1)},
			id("action", 1): step(id("action", 2), `{"action": "contain", "target": {"x-picket": {"entity": "pod"}}, "args": {"duration": 3600000, "x-picket": {"act": "isolate-pod"}}}`),
			id("action", 2): step(id("end", 1), `{"action": "set", "target": {"x-picket": {"object": {"of": "kubernetes", "kind": "deployment", "namespace": "ml", "name": "serve"}}}, "args": {"x-picket": {"act": "scale", "replicas": "0"}}}`),
			id("end", 1):    map[string]any{"type": "end"},
		},
	})
	return string(data)
}
