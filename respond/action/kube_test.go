package action

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// testCluster is a real kube-apiserver on an etcd, without nodes of its own: pods are what the test
// makes them.
type testCluster struct {
	t     *testing.T
	dir   string
	url   string
	admin *http.Client
	local *Local
}

// newCluster starts one, or skips with what is missing.
func newCluster(t *testing.T) *testCluster {
	t.Helper()
	if testing.Short() {
		t.Skip("a kube-apiserver takes half a minute to start: not in -short")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	found, _ := filepath.Glob(filepath.Join(cache, "picket", "kube-apiserver-v*"))
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		etcd = filepath.Join(cache, "picket", "etcd")
	}
	if _, err := os.Stat(etcd); err != nil || len(found) == 0 || strings.HasSuffix(found[len(found)-1], ".new") {
		t.Skip("there is no kube-apiserver and etcd to test with: tools/kube.sh builds them")
	}
	c := &testCluster{t: t, dir: t.TempDir()}
	at := func(port string) string { return "http://127.0.0.1:" + port }
	client, peer, secure := freePort(t), freePort(t), freePort(t)
	c.url = "https://127.0.0.1:" + secure
	c.run(etcd, "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", at(client), "--advertise-client-urls", at(client),
		"--listen-peer-urls", at(peer), "--initial-advertise-peer-urls", at(peer), "--initial-cluster", "default="+at(peer), "--unsafe-no-fsync")
	key := filepath.Join(c.dir, "sa.key")
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(pair)})
	write(t, key, string(block))
	write(t, filepath.Join(c.dir, "tokens"), "admin-token,admin,1,system:masters\npicket-token,picket,2\n")
	certs := filepath.Join(c.dir, "certs")
	c.run(found[len(found)-1], "--etcd-servers", at(client), "--secure-port", secure, "--bind-address", "127.0.0.1", "--cert-dir", certs,
		"--token-auth-file", filepath.Join(c.dir, "tokens"), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24",
		"--service-account-issuer", "https://picket.test", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--disable-admission-plugins", "ServiceAccount")
	c.connect(certs)
	return c
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts a program that ends with the test.
func (c *testCluster) run(name string, args ...string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, filepath.Base(name)+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if c.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			c.t.Logf("%s said: …%s", name, b[max(0, len(b)-1500):])
		}
		_ = log.Close()
	})
}

// connect waits for the API server, gives Picket the role that the guide has, and opens the acts.
func (c *testCluster) connect(certs string) {
	t := c.t
	t.Helper()
	var roots *x509.CertPool
	until(t, 3*time.Minute, "the API server is ready", func() bool {
		var err error
		if roots, err = rootsOf(os.ReadFile(filepath.Join(certs, "apiserver.crt"))); err != nil {
			return false
		}
		c.admin = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 20 * time.Second}
		code, _ := c.try("GET", "/readyz", nil)
		return code == http.StatusOK
	})
	guide, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	role := regexp.MustCompile("(?s)```yaml\n(apiVersion: rbac.authorization.k8s.io/v1\n.*?)```").FindSubmatch(guide)
	if role == nil {
		t.Fatal("the guide has no role")
	}
	dec := yaml.NewDecoder(bytes.NewReader(role[1]))
	for {
		var doc map[string]any
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch doc["kind"] {
		case "ClusterRole":
			c.do("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", doc)
		case "ClusterRoleBinding":
			doc["subjects"] = []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "picket"}}
			c.do("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", doc)
		}
	}
	ca, err := os.ReadFile(filepath.Join(certs, "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(c.dir, "kubeconfig")
	write(t, config, fmt.Sprintf(`
current-context: test
contexts: [{name: test, context: {cluster: test, user: picket}}]
clusters: [{name: test, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: picket, user: {token: picket-token}}]
`, c.url, base64.StdEncoding.EncodeToString(ca)))
	acts, err := NewKube(KubeOptions{Config: config, Dir: filepath.Join(c.dir, "was"), Protected: []string{"vault"}})
	if err != nil {
		t.Fatal(err)
	}
	c.local, err = Open(Options{Dir: c.dir}, acts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.local.Run(ctx) }()
	t.Cleanup(func() { end(); <-ended; _ = c.local.Close() })
}

func until(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", most, what)
		}
	}
}

// try makes a call as the administrator.
func (c *testCluster) try(method, path string, body any) (int, kubeObject) {
	c.t.Helper()
	b, _ := json.Marshal(body)
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin-token")
	req.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.admin.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var out kubeObject
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	_ = dec.Decode(&out) // /readyz says ok, and no JSON
	return resp.StatusCode, out
}

func (c *testCluster) do(method, path string, body any) kubeObject {
	c.t.Helper()
	code, o := c.try(method, path, body)
	if code < 200 || code > 299 {
		c.t.Fatalf("%s %s: %d %v", method, path, code, o)
	}
	return o
}

type m = map[string]any

// pod makes a pod, on a node where one is named, and has it run.
func (c *testCluster) pod(ns, name, node string, more ...func(m)) kubeObject {
	c.t.Helper()
	spec := m{"containers": []any{m{"name": "main", "image": "x"}}, "nodeName": node, "automountServiceAccountToken": false}
	doc := m{"metadata": m{"name": name, "labels": m{"app": name}}, "spec": spec}
	for _, f := range more {
		f(doc)
	}
	o := c.do("POST", "/api/v1/namespaces/"+ns+"/pods", doc)
	c.do("PATCH", "/api/v1/namespaces/"+ns+"/pods/"+name+"/status", m{"status": m{
		"phase":             "Running",
		"containerStatuses": []any{m{"name": "main", "containerID": "containerd://" + strings.Repeat(fmt.Sprintf("%x", name[:1]), 32), "image": "x", "imageID": "", "ready": true, "restartCount": 0}},
	}})
	return o
}

func of(kind, ns, name string) Target {
	return Target{Object: &ObjectPin{Of: Kubernetes, Kind: kind, Namespace: ns, Name: name}}
}

// act plans and does, and returns the plan.
func (c *testCluster) act(id string, k Kind, t Target, params map[string]string) (*Plan, *Result) {
	c.t.Helper()
	r := &Request{ID: id, Kind: k, Target: t, Params: params, By: "test"}
	p, err := c.local.Plan(c.t.Context(), r)
	if err != nil {
		c.t.Fatalf("plan %s: %v", id, err)
	}
	r.Target = p.Target
	res, err := c.local.Do(c.t.Context(), r)
	if err != nil || res.State != Done {
		c.t.Fatalf("do %s: %+v %v", id, res, err)
	}
	if holds, detail, err := c.local.Verify(c.t.Context(), r); !holds || err != nil {
		c.t.Errorf("verify %s: %v %s %v", id, holds, detail, err)
	}
	again, err := c.local.Do(c.t.Context(), r)
	if err != nil || again.At != res.At {
		c.t.Errorf("%s was done twice: %+v %v", id, again, err)
	}
	return p, res
}

func (c *testCluster) undo(id string) *Result {
	c.t.Helper()
	res, err := c.local.Undo(c.t.Context(), &Request{ID: id, By: "test"})
	if err != nil || res.State != Undone {
		c.t.Fatalf("undo %s: %+v %v", id, res, err)
	}
	return res
}

func (c *testCluster) get(path string, at ...string) any {
	c.t.Helper()
	return c.do("GET", path, nil).at(at...)
}

// Against a real API server, with the role of the guide and no more: each act is planned by a dry run,
// done once, read back, and what was is put back, unless somebody else has changed it.
func TestKubernetes(t *testing.T) {
	c := newCluster(t)
	for _, ns := range []string{"ml", "vault"} {
		c.do("POST", "/api/v1/namespaces", m{"metadata": m{"name": ns}})
	}
	for _, n := range []string{"gpu-1", "gpu-2"} {
		c.do("POST", "/api/v1/nodes", m{"metadata": m{"name": n}, "spec": m{}})
	}
	t.Run("label", c.label)
	t.Run("node", c.node)
	t.Run("work", c.work)
	t.Run("isolate", c.isolate)
	t.Run("end", c.end)
	t.Run("refused", c.refused)
}

func (c *testCluster) label(t *testing.T) {
	c.pod("ml", "labelled", "gpu-1")
	const path = "/api/v1/namespaces/ml/pods/labelled"
	p, _ := c.act("l1", Label, of("pod", "ml", "labelled"), map[string]string{"key": "app", "value": "held"})
	if !strings.Contains(p.Effects[0], `becomes "held"; it is "labelled"`) || p.Target.Object.UID == "" {
		t.Errorf("%+v", p)
	}
	if is := c.get(path, "metadata", "labels", "app"); is != "held" {
		t.Errorf("it is %v", is)
	}
	c.undo("l1")
	if is := c.get(path, "metadata", "labels", "app"); is != "labelled" {
		t.Errorf("not what was: %v", is)
	}
	c.act("l2", Annotate, of("pod", "ml", "labelled"), map[string]string{"key": "picket/why", "value": "weights left"})
	c.undo("l2")
	if is := c.get(path, "metadata", "annotations", "picket/why"); is != nil {
		t.Errorf("an annotation that was not there is %v", is)
	}
	c.act("l3", Label, of("pod", "ml", "labelled"), map[string]string{"key": "state", "value": "held"})
	c.do("PATCH", path, m{"metadata": m{"labels": m{"state": "released"}}})
	if res := c.undo("l3"); !strings.Contains(res.Detail, "somebody else") || c.get(path, "metadata", "labels", "state") != "released" {
		t.Errorf("another's change was undone: %s", res.Detail)
	}
	byContainer := Target{Object: &ObjectPin{Of: Kubernetes, Kind: "pod", Container: strings.Repeat("6c", 32)}} // "l"
	p, _ = c.act("l4", Label, byContainer, map[string]string{"key": "picket/seen", "value": "1"})
	if p.Target.Object.Name != "labelled" {
		t.Errorf("of another pod: %+v", p.Target.Object)
	}
	c.do("DELETE", path, m{"gracePeriodSeconds": 0})
	c.pod("ml", "labelled", "gpu-1")
	res, err := c.local.Do(t.Context(), &Request{ID: "l5", Kind: Label, Target: p.Target, Params: map[string]string{"key": "a", "value": "b"}, By: "test"})
	if err != nil || res.State != Gone {
		t.Errorf("a pod that was made anew was acted on: %+v %v", res, err)
	}
	if res := c.undo("l4"); !strings.Contains(res.Detail, "made anew") {
		t.Error(res.Detail)
	}
}

func (c *testCluster) node(t *testing.T) {
	const path = "/api/v1/nodes/gpu-1"
	c.act("n1", Cordon, of("node", "", "gpu-1"), nil)
	if c.get(path, "spec", "unschedulable") != true {
		t.Error("it is not cordoned")
	}
	c.act("n2", Uncordon, of("node", "", "gpu-1"), nil)
	c.undo("n2")
	if c.get(path, "spec", "unschedulable") != true {
		t.Error("uncordon was not undone")
	}
	c.undo("n1")
	if c.get(path, "spec", "unschedulable") != nil {
		t.Error("cordon was not undone")
	}
	c.do("PATCH", path, m{"spec": m{"taints": []any{m{"key": "gpu", "effect": "NoSchedule", "value": "old"}, m{"key": "other", "effect": "NoSchedule"}}}})
	c.act("n3", Taint, of("node", "", "gpu-1"), map[string]string{"key": "gpu", "value": "suspect"})
	c.do("PATCH", path, m{"metadata": m{"labels": m{"moved": "on"}}}) // another resourceVersion
	c.undo("n3")
	taints := c.do("GET", path, nil).list("spec", "taints")
	if len(taints) != 2 || taints[1].text("value") != "old" || taints[1].text("key") != "gpu" {
		t.Errorf("not what was: %v", taints)
	}
}

func (c *testCluster) work(t *testing.T) {
	template := m{"metadata": m{"labels": m{"app": "w"}}, "spec": m{"containers": []any{m{"name": "main", "image": "x"}}, "restartPolicy": "Always"}}
	c.do("POST", "/apis/apps/v1/namespaces/ml/deployments", m{"metadata": m{"name": "serve"}, "spec": m{"replicas": 3, "selector": m{"matchLabels": m{"app": "w"}}, "template": template}})
	p, _ := c.act("w1", Scale, of("deployment", "ml", "serve"), map[string]string{"replicas": "0"})
	if p.Class != Destructive {
		t.Errorf("pods end by it, and it is %s", p.Class)
	}
	const serve = "/apis/apps/v1/namespaces/ml/deployments/serve"
	if n := fmt.Sprint(c.get(serve, "spec", "replicas")); n != "0" {
		t.Errorf("%s replicas", n)
	}
	c.undo("w1")
	if n := fmt.Sprint(c.get(serve, "spec", "replicas")); n != "3" {
		t.Errorf("%s replicas, not what was", n)
	}
	template["spec"].(m)["restartPolicy"] = "Never"
	delete(template, "metadata")
	c.do("POST", "/apis/batch/v1/namespaces/ml/jobs", m{"metadata": m{"name": "train"}, "spec": m{"template": template}})
	c.act("w2", Suspend, of("job", "ml", "train"), nil)
	const train = "/apis/batch/v1/namespaces/ml/jobs/train"
	if c.get(train, "spec", "suspend") != true {
		t.Error("it goes on")
	}
	c.undo("w2")
	if c.get(train, "spec", "suspend") == true {
		t.Error("it does not go on")
	}
	c.do("POST", "/apis/batch/v1/namespaces/ml/cronjobs", m{"metadata": m{"name": "nightly"}, "spec": m{"schedule": "0 3 * * *", "jobTemplate": m{"spec": m{"template": template}}}})
	if p, _ := c.act("w3", Suspend, of("cronjob", "ml", "nightly"), nil); p.Class != Reversible {
		t.Errorf("nothing ends by it, and it is %s", p.Class)
	}
}

func (c *testCluster) isolate(t *testing.T) {
	c.pod("ml", "quiet", "gpu-1")
	c.pod("ml", "beside", "gpu-1")
	c.do("POST", "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies", m{"metadata": m{"name": "web"}, "spec": m{
		"podSelector": m{"matchLabels": m{"app": "quiet"}}, "ingress": []any{m{}}, "policyTypes": []any{"Ingress"},
	}})
	p, _ := c.act("i1", IsolatePod, of("pod", "ml", "quiet"), nil)
	said := strings.Join(p.Effects, "\n")
	for _, want := range []string{"policy web allows it some traffic still", "no network plugin that is known", "connections that are open may go on"} {
		if !strings.Contains(said, want) {
			t.Errorf("the plan does not say %q:\n%s", want, said)
		}
	}
	const policies = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies"
	var made kubeObject
	for _, x := range c.do("GET", policies, nil).list("items") {
		if strings.HasPrefix(x.text("metadata", "name"), "picket-isolated-") {
			made = x
		}
	}
	if made == nil || made.at("spec", "ingress") != nil || made.at("spec", "egress") != nil || len(made.at("spec", "policyTypes").([]any)) != 2 {
		t.Fatalf("%v", made)
	}
	quiet, _ := c.get("/api/v1/namespaces/ml/pods/quiet", "metadata", "labels").(map[string]any)
	beside, _ := c.get("/api/v1/namespaces/ml/pods/beside", "metadata", "labels").(map[string]any)
	if !selects(made, quiet) || selects(made, beside) {
		t.Errorf("it matches %v, and not %v", beside, quiet)
	}
	c.undo("i1")
	if code, _ := c.try("GET", policies+"/"+made.text("metadata", "name"), nil); code != http.StatusNotFound {
		t.Errorf("the policy is there: %d", code)
	}
	if after, _ := c.get("/api/v1/namespaces/ml/pods/quiet", "metadata", "labels").(map[string]any); len(after) != 1 {
		t.Errorf("labels are left: %v", after)
	}
}

func (c *testCluster) end(t *testing.T) {
	c.pod("ml", "doomed", "")
	c.act("e1", DeletePod, of("pod", "ml", "doomed"), map[string]string{"grace": "0"})
	if code, _ := c.try("GET", "/api/v1/namespaces/ml/pods/doomed", nil); code != http.StatusNotFound {
		t.Errorf("it is there: %d", code)
	}
	c.pod("ml", "free", "gpu-2")
	c.pod("ml", "guarded", "gpu-2")
	c.pod("vault", "secret", "gpu-2")
	c.do("POST", "/apis/policy/v1/namespaces/ml/poddisruptionbudgets", m{"metadata": m{"name": "one"}, "spec": m{"minAvailable": 1, "selector": m{"matchLabels": m{"app": "guarded"}}}})
	p, err := c.local.Plan(t.Context(), &Request{Kind: Drain, Target: of("node", "", "gpu-2")})
	if err != nil || len(p.Hits) != 2 || !strings.Contains(strings.Join(p.Effects, "\n"), "pod vault/secret: its namespace is protected") || !strings.Contains(strings.Join(p.Effects, "\n"), "do not allow 1 eviction") {
		t.Fatalf("%+v %v", p, err)
	}
	res, err := c.local.Do(t.Context(), &Request{ID: "e2", Kind: Drain, Target: p.Target, By: "test"})
	if err != nil || res.State != Unknown || !strings.Contains(res.Detail, "not evicted: pod ml/guarded") {
		t.Errorf("%+v %v", res, err)
	}
	const guarded = "/api/v1/namespaces/ml/pods/guarded"
	if c.get(guarded, "metadata", "deletionTimestamp") != nil {
		t.Error("a pod was evicted against its disruption budget")
	}
	if c.get("/api/v1/namespaces/ml/pods/free", "metadata", "deletionTimestamp") == nil || c.get("/api/v1/nodes/gpu-2", "spec", "unschedulable") != true {
		t.Error("it was not drained")
	}
	if c.get("/api/v1/namespaces/vault/pods/secret", "metadata", "deletionTimestamp") != nil {
		t.Error("a pod of a protected namespace was evicted")
	}
	pdb := c.do("GET", "/apis/policy/v1/namespaces/ml/poddisruptionbudgets/one", nil)
	c.do("PATCH", "/apis/policy/v1/namespaces/ml/poddisruptionbudgets/one/status", m{"status": m{
		"observedGeneration": pdb.at("metadata", "generation"), "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
	}})
	c.act("e3", Evict, of("pod", "ml", "guarded"), nil)
	if c.get(guarded, "metadata", "deletionTimestamp") == nil {
		t.Error("it was not evicted")
	}
}

func (c *testCluster) refused(t *testing.T) {
	c.pod("vault", "kept", "gpu-1")
	c.pod("ml", "hosted", "gpu-1", func(d m) { d["spec"].(m)["hostNetwork"] = true })
	c.do("POST", "/api/v1/nodes", m{"metadata": m{"name": "control", "labels": m{"node-role.kubernetes.io/control-plane": ""}}})
	for _, x := range []struct {
		kind   Kind
		target Target
		params map[string]string
		is     error
		says   string
	}{
		{DeletePod, of("pod", "vault", "kept"), nil, ErrProtected, "namespace vault is protected"},
		{DeletePod, of("pod", "kube-system", "dns"), nil, ErrProtected, "namespace kube-system is protected"},
		{Drain, of("node", "", "control"), nil, ErrProtected, "control plane"},
		{Evict, of("pod", "ml", "none"), nil, ErrGone, "there is no pod ml/none"},
		{Evict, of("pod", "ml", "../../../nodes/gpu-1"), nil, ErrInvalid, "is no name of a pod"},
		{Evict, of("node", "", "gpu-1"), nil, ErrInvalid, "it is for pod"},
		{IsolatePod, of("pod", "ml", "hosted"), nil, ErrInvalid, "its node's network"},
		{Label, of("node", "", "gpu-1"), map[string]string{"key": "node.kubernetes.io/x", "value": "y"}, ErrInvalid, "Kubernetes itself"},
		{Label, of("node", "", "gpu-1"), map[string]string{"key": "a", "value": "b", "all": "yes"}, ErrInvalid, `parameter "all"`},
		{Taint, of("node", "", "gpu-1"), map[string]string{"key": "a", "effect": "NoExecute"}, ErrInvalid, "drain heeds them"},
		{Scale, of("deployment", "ml", "serve"), map[string]string{"replicas": "-1"}, ErrInvalid, "replicas"},
		{Cordon, Target{}, nil, ErrInvalid, "wants an object of Kubernetes"},
	} {
		_, err := c.local.Plan(t.Context(), &Request{Kind: x.kind, Target: x.target, Params: x.params})
		if !errors.Is(err, x.is) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s of %s: %v", x.kind, x.target, err)
		}
	}
	c.do("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/picket-acts", nil)
	until(t, 20*time.Second, "Picket may do nothing", func() bool {
		_, err := c.local.Plan(t.Context(), &Request{Kind: Cordon, Target: of("node", "", "gpu-1")})
		return kubeCode(err) == http.StatusForbidden && strings.Contains(err.Error(), "docs/kubernetes.md")
	})
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []struct{ cluster, user, says string }{
		{"server: https://k:6443, insecure-skip-tls-verify: true", "token: s3cret", "insecure-skip-tls-verify"},
		{"server: http://k:6443", "token: s3cret", "want an https URL"},
		{"server: https://k:6443", "exec: {command: aws}", "which Picket does not run"},
		{"server: https://k:6443", "username: me", "neither token"},
		{"server: https://k:6443, certificate-authority: none.pem", "token: s3cret", "none.pem"},
		{"server: https://k:6443, certificate-authority-data: '***'", "token: s3cret", "no base64"},
		{"server: https://k:6443", "token: s3cret", ""},
	} {
		file := filepath.Join(dir, "kubeconfig")
		write(t, file, "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {"+x.cluster+"}}]\nusers: [{name: u, user: {"+x.user+"}}]\n")
		_, err := readKubeconfig(file)
		if (err == nil) != (x.says == "") || err != nil && (!strings.Contains(err.Error(), x.says) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s %s: %v", x.cluster, x.user, err)
		}
	}
	write(t, filepath.Join(dir, "bad"), "token: {s3cret")
	if _, err := readKubeconfig(filepath.Join(dir, "bad")); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
	if _, err := NewKube(KubeOptions{Dir: dir}); !errors.Is(err, ErrNoCluster) {
		t.Errorf("%v", err)
	}
}
