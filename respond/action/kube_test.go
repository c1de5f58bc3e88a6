package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/respond/kubetest"
)

// testCluster is a real API server, and the acts on it.
type testCluster struct {
	*kubetest.Cluster
	t     *testing.T
	k     *kube
	local *Local
}

const guide = "../../docs/kubernetes.md"

func newCluster(t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{Cluster: kubetest.Start(t), t: t}
	acts, err := NewKube(KubeOptions{Config: c.Account(guide), Dir: filepath.Join(t.TempDir(), "was"), Protected: []string{"vault"}})
	if err != nil {
		t.Fatal(err)
	}
	c.k = acts[0].(*kubeSet).k
	c.local = opened(t, acts...)
	until(t, 20*time.Second, "the role counts", func() bool {
		_, err := c.k.call(t.Context(), http.MethodGet, "/api/v1/nodes/none", nil, "", nil)
		return kubeCode(err) == http.StatusNotFound
	})
	return c
}

// opened carries acts out in a directory of its own.
func opened(t *testing.T, acts ...Action) *Local {
	t.Helper()
	l, err := Open(Options{Dir: t.TempDir(), Host: "h"}, acts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	t.Cleanup(func() { end(); <-ended; _ = l.Close() })
	return l
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var until = kubetest.Until

type m = kubetest.M

func (c *testCluster) do(method, path string, body any) kubeObject {
	c.t.Helper()
	return c.Do(method, path, body)
}

func (c *testCluster) try(method, path string, body any) (int, kubeObject) {
	c.t.Helper()
	code, o := c.Try(method, path, body)
	return code, o
}

// containerOf is the id of the container of a pod.
func containerOf(pod string) string { return strings.Repeat(fmt.Sprintf("%x", pod[:1]), 32) }

// pod makes a pod, on a node where one is named, and has it run.
func (c *testCluster) pod(ns, name, node string, more ...func(m)) kubeObject {
	c.t.Helper()
	return c.Pod(ns, name, node, containerOf(name), more...)
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
	c.Namespace("ml")
	c.Namespace("vault")
	for _, n := range []string{"gpu-1", "gpu-2"} {
		c.do("POST", "/api/v1/nodes", m{"metadata": m{"name": n}, "spec": m{}})
	}
	t.Run("label", c.label)
	t.Run("node", c.node)
	t.Run("work", c.work)
	t.Run("isolate", c.isolate)
	t.Run("end", c.end)
	t.Run("changed", c.changed)
	t.Run("graver", c.graver)
	t.Run("owed", c.owed)
	t.Run("refused", c.refused)
	t.Run("role", c.role)
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
	byContainer := Target{Object: &ObjectPin{Of: Kubernetes, Kind: "pod", Container: containerOf("labelled")}}
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
	before := c.plain(path)
	c.act("n3", Taint, of("node", "", "gpu-1"), map[string]string{"key": "gpu", "value": "suspect"})
	c.do("PATCH", path, m{"metadata": m{"annotations": m{"moved": "on"}}}) // another resourceVersion
	c.undo("n3")
	c.do("PATCH", path, m{"metadata": m{"annotations": m{"moved": nil}}})
	c.isAs(path, before)
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
	c.do("POST", "/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers", m{"metadata": m{"name": "load"}, "spec": m{
		"minReplicas": 2, "maxReplicas": 9, "scaleTargetRef": m{"apiVersion": "apps/v1", "kind": "Deployment", "name": "serve"},
		"metrics": []any{m{"type": "Resource", "resource": m{"name": "cpu", "target": m{"type": "Utilization", "averageUtilization": 80}}}},
	}})
	for n, says := range map[string]string{"2": "HorizontalPodAutoscaler load sets the number anew, from 2 to 9", "0": "HorizontalPodAutoscaler load leaves it alone while it is 0"} {
		p, err := c.local.Plan(t.Context(), &Request{Kind: Scale, Target: of("deployment", "ml", "serve"), Params: map[string]string{"replicas": n}})
		if err != nil || !strings.Contains(strings.Join(p.Effects, "\n"), says) {
			t.Errorf("scale to %s: %+v %v", n, p, err)
		}
	}
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
	before := c.plain("/api/v1/namespaces/ml/pods/quiet")
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
	c.isAs("/api/v1/namespaces/ml/pods/quiet", before)

	a := newKubeIsolate(c.k)
	half := &Request{ID: "i2", Kind: IsolatePod, Target: p.Target, By: "test"} // it ended when the policy was made
	c.do("POST", policies, a.policy(half))
	if holds, said, err := a.Verify(t.Context(), half); holds || err != nil {
		t.Errorf("a pod without the label is isolated: %s %v", said, err)
	}
	if _, err := a.Undo(t.Context(), half); err != nil {
		t.Error(err)
	}
	if code, _ := c.try("GET", policies+"/"+isolatedName(half), nil); code != http.StatusNotFound {
		t.Errorf("the policy is left: %d", code)
	}
	other := &Request{ID: "i3", Kind: IsolatePod, Target: p.Target, By: "test"}
	foreign := a.policy(other)
	foreign["metadata"].(m)["annotations"] = m{}
	c.do("POST", policies, foreign)
	if _, err := a.Do(t.Context(), other); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "not of this act") {
		t.Errorf("another's policy was taken for its own: %v", err)
	}
	if err := a.remove(t.Context(), other); err != nil || c.get(policies+"/"+isolatedName(other), "metadata", "uid") == nil {
		t.Errorf("another's policy was taken away: %v", err)
	}
	c.isAs("/api/v1/namespaces/ml/pods/quiet", before)
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
	c.do("POST", "/apis/policy/v1/namespaces/ml/poddisruptionbudgets", m{"metadata": m{"name": "two"}, "spec": m{"minAvailable": 1, "selector": m{"matchLabels": m{"app": "guarded"}}}})
	if _, err := c.local.Plan(t.Context(), &Request{Kind: Evict, Target: of("pod", "ml", "guarded")}); err == nil || !strings.Contains(err.Error(), "more than one PodDisruptionBudget") {
		t.Errorf("of two budgets nothing is told: %v", err)
	}
	c.do("DELETE", "/apis/policy/v1/namespaces/ml/poddisruptionbudgets/two", nil)
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
		{DeletePod, of("pod", "picket", "agent"), nil, ErrProtected, "namespace picket is protected"}, // by its account's token
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
	c.act("p1", Label, of("pod", "ml", "hosted"), map[string]string{"key": "held", "value": "1"})
	protected := c.k.protected
	c.k.protected = append(protected, "ml")
	c.undo("p1")
	c.k.protected = protected
	if is := c.get("/api/v1/namespaces/ml/pods/hosted", "metadata", "labels", "held"); is != nil {
		t.Errorf("what was done before its namespace was protected is left: %v", is)
	}
}

// What is done is done to the very object, as it was read.
func (c *testCluster) changed(t *testing.T) {
	const path = "/api/v1/namespaces/ml/pods/moving"
	was := c.pod("ml", "moving", "gpu-1")
	c.do("PATCH", path, m{"metadata": m{"labels": m{"moved": "on"}}})
	if _, err := c.k.patch(t.Context(), path, was, nil, m{"metadata": m{"labels": m{"app": "x"}}}); kubeCode(err) != http.StatusConflict {
		t.Errorf("an object that changed since was changed: %v", err)
	}
	label := &kubeSet{k: c.k, kind: Label, kinds: []string{"pod"}, want: keyValue("labels", labelValue.MatchString)}
	tries := 0
	r := &Request{Kind: Label, Target: of("pod", "ml", "moving"), Params: map[string]string{"key": "held", "value": "1"}}
	err := label.set(t.Context(), r, func(_ kubeObject, _ Target, ch kubeChange) (any, error) {
		if tries++; tries < 3 { // between the reading and the change
			c.do("PATCH", path, m{"metadata": m{"labels": m{"moved": fmt.Sprint(tries)}}})
		}
		return ch.want, nil
	})
	if is, _ := c.get(path, "metadata", "labels").(map[string]any); err != nil || tries != 3 || is["held"] != "1" || is["moved"] != "2" {
		t.Errorf("after %d tries the labels are %v: %v", tries, is, err)
	}

	c.do("DELETE", path, m{"gracePeriodSeconds": 0})
	c.pod("ml", "moving", "gpu-1")
	anew := c.do("GET", path, nil)
	anew["metadata"].(m)["uid"] = was.uid() // of the one before, with the version of now
	if _, err := c.k.patch(t.Context(), path, anew, nil, m{"metadata": m{"labels": m{"app": "x"}}}); kubeCode(err) != http.StatusUnprocessableEntity {
		t.Errorf("an object that was made anew was changed: %v", err)
	}
	pin := &ObjectPin{Of: Kubernetes, Kind: "pod", Namespace: "ml", Name: "moving", UID: was.uid()}
	for _, kind := range []Kind{Evict, DeletePod} {
		if err := c.k.end(t.Context(), kind, pin, "0", false); !errors.Is(err, ErrGone) {
			t.Errorf("%s of a pod that was made anew: %v", kind, err)
		}
	}
	if c.get(path, "metadata", "deletionTimestamp") != nil {
		t.Error("a pod that was made anew ends")
	}
	target := Target{Object: pin}
	if res, err := c.local.Do(t.Context(), &Request{ID: "c1", Kind: Evict, Target: target, By: "test"}); err != nil || res.State != Gone {
		t.Errorf("%+v %v", res, err)
	}
}

// What was planned as no harm, and let be done as such, does none by the time that it is done.
func (c *testCluster) graver(t *testing.T) {
	for _, x := range []struct {
		id            string
		kind          Kind
		target        Target
		params        map[string]string
		path          string
		before, after m
	}{
		{"g1", Scale, of("deployment", "ml", "serve"), map[string]string{"replicas": "2"}, "/apis/apps/v1/namespaces/ml/deployments/serve", m{"replicas": 2}, m{"replicas": 5}},
		{"g2", Suspend, of("job", "ml", "train"), nil, "/apis/batch/v1/namespaces/ml/jobs/train", m{"suspend": true}, m{"suspend": false}},
	} {
		c.do("PATCH", x.path, m{"spec": x.before})
		r := &Request{ID: x.id, Kind: x.kind, Target: x.target, Params: x.params, By: "test"}
		p, err := c.local.Plan(t.Context(), r)
		if err != nil || p.Class != Reversible || !strings.Contains(strings.Join(p.Effects, "\n"), "nothing changes") {
			t.Fatalf("%+v %v", p, err)
		}
		r.Target, r.Class = p.Target, p.Class
		c.do("PATCH", x.path, m{"spec": x.after})
		act, _ := c.local.acts.Of(x.kind)
		if _, err := act.Do(t.Context(), r); !errors.Is(err, ErrGraver) {
			t.Errorf("%s: %v", x.kind, err)
		}
		if res, err := c.local.Do(t.Context(), r); err != nil || res.State != Refused || !strings.Contains(res.Detail, "plan again") {
			t.Errorf("%s: %+v %v", x.kind, res, err)
		}
		is, _ := c.get(x.path, "spec").(map[string]any)
		for k, v := range x.after {
			if !sameValue(is[k], v) {
				t.Errorf("%s: %s is %v", x.kind, k, is[k])
			}
		}
		r.ID, r.Class = x.id+"-approved", Destructive
		if res, err := c.local.Do(t.Context(), r); err != nil || res.State != Done {
			t.Errorf("%s: %+v %v", x.kind, res, err)
		}
		c.undo(r.ID)
	}
}

// Acts of two runs on the same object end in any order: when the last one has, all is as it was before
// the first.
func (c *testCluster) owed(t *testing.T) {
	const node, pod, work = "/api/v1/nodes/gpu-2", "/api/v1/namespaces/ml/pods/shared", "/apis/apps/v1/namespaces/ml/deployments/serve"
	c.pod("ml", "shared", "gpu-2")
	onNode, onPod, onWork := of("node", "", "gpu-2"), of("pod", "ml", "shared"), of("deployment", "ml", "serve")
	c.do("PATCH", node, m{"spec": m{"unschedulable": nil}}) // it was drained before
	before := map[string]string{node: c.plain(node), pod: c.plain(pod), work: c.plain(work)}
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
			if is := c.get(node, "spec", "unschedulable"); i == 0 && is != true {
				t.Errorf("%v: cordoned by the other act, it is %v", order, is)
			}
		}
		for path, was := range before {
			c.isAs(path, was)
		}
	}
}

// plain is an object without what counts its changes.
func (c *testCluster) plain(path string) string {
	c.t.Helper()
	o := c.do("GET", path, nil)
	meta := o["metadata"].(m)
	for _, k := range []string{"resourceVersion", "generation", "managedFields"} {
		delete(meta, k)
	}
	b, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func (c *testCluster) isAs(path, before string) {
	c.t.Helper()
	if is := c.plain(path); is != before {
		c.t.Errorf("%s is not as it was:\n%s\nand was\n%s", path, is, before)
	}
}

// Each line of the guide's role is needed, and what one is missing for is refused when it is planned.
func (c *testCluster) role(t *testing.T) {
	c.pod("ml", "subject", "gpu-1")
	pod, node, work := of("pod", "ml", "subject"), of("node", "", "gpu-1"), of("deployment", "ml", "serve")
	set, scale := map[string]string{"key": "a", "value": "b"}, map[string]string{"replicas": "1"}
	whole, _ := c.Role(guide)
	all := []string{"/api/v1/namespaces/ml/pods/subject", "/api/v1/nodes/gpu-1", "/apis/apps/v1/namespaces/ml/deployments/serve", "/apis/batch/v1/namespaces/ml/jobs/train"}
	before := map[string]string{}
	for _, path := range all {
		before[path] = c.plain(path)
	}
	for _, x := range []struct {
		resource, verb string
		kind           Kind
		target         Target
		params         map[string]string
		told           bool // that it is missing; nothing is refused for it
	}{
		{"pods", "get", Label, pod, set, false},
		{"pods", "list", Drain, node, nil, false},
		{"pods", "patch", Annotate, pod, set, false},
		{"pods", "delete", DeletePod, pod, nil, false},
		{"pods/eviction", "create", Evict, pod, nil, false},
		{"nodes", "get", Cordon, node, nil, false},
		{"nodes", "patch", Taint, node, set, false},
		{"deployments", "get", Scale, work, scale, false},
		{"deployments", "patch", Scale, work, scale, false},
		{"jobs", "patch", Suspend, of("job", "ml", "train"), nil, false},
		{"cronjobs", "patch", Suspend, of("cronjob", "ml", "nightly"), nil, false},
		{"networkpolicies", "get", IsolatePod, pod, nil, false},
		{"networkpolicies", "list", IsolatePod, pod, nil, false},
		{"networkpolicies", "create", IsolatePod, pod, nil, false},
		{"networkpolicies", "delete", IsolatePod, pod, nil, false},
		{"daemonsets", "list", IsolatePod, pod, nil, true},
		{"horizontalpodautoscalers", "list", Scale, work, scale, true},
	} {
		c.SetRole(lacking(whole, x.resource, x.verb))
		until(t, 20*time.Second, fmt.Sprintf("without %s %s", x.verb, x.resource), func() bool {
			p, err := c.local.Plan(t.Context(), &Request{Kind: x.kind, Target: x.target, Params: x.params})
			if x.told {
				return err == nil && strings.Contains(strings.Join(p.Effects, "\n"), "cannot be told")
			}
			says := fmt.Sprintf("cannot %s resource %q", x.verb, x.resource)
			return kubeCode(err) == http.StatusForbidden && strings.Contains(err.Error(), says) && strings.Contains(err.Error(), "docs/kubernetes.md")
		})
	}
	c.SetRole(whole)
	until(t, 20*time.Second, "with the whole role", func() bool {
		p, err := c.local.Plan(t.Context(), &Request{Kind: Scale, Target: work, Params: scale})
		return err == nil && !strings.Contains(strings.Join(p.Effects, "\n"), "cannot be told")
	})
	for _, kind := range []Kind{Label, DeletePod, Evict, IsolatePod} { // and a plan changes nothing
		params := map[string]string{}
		if kind == Label {
			params = set
		}
		if _, err := c.local.Plan(t.Context(), &Request{Kind: kind, Target: pod, Params: params}); err != nil {
			t.Error(err)
		}
	}
	for _, kind := range []Kind{Cordon, Drain} {
		if _, err := c.local.Plan(t.Context(), &Request{Kind: kind, Target: node}); err != nil {
			t.Error(err)
		}
	}
	for _, path := range all {
		c.isAs(path, before[path])
	}
}

// lacking is a role that lacks a verb of a resource.
func lacking(role m, resource, verb string) m {
	var rules []any
	for _, r := range role["rules"].([]any) {
		rule := r.(m)
		for _, res := range rule["resources"].([]any) {
			verbs := slices.Clone(rule["verbs"].([]any))
			if res == resource {
				verbs = slices.DeleteFunc(verbs, func(v any) bool { return v == verb })
			}
			if len(verbs) > 0 {
				rules = append(rules, m{"apiGroups": rule["apiGroups"], "resources": []any{res}, "verbs": verbs})
			}
		}
	}
	return m{"apiVersion": role["apiVersion"], "kind": role["kind"], "metadata": role["metadata"], "rules": rules}
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
