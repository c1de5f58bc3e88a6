package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"picket/event"
)

// The acts that end pods, and the one that cuts a pod off.
const (
	Evict      Kind = "evict"       // a pod ends, where its disruption budget allows it
	DeletePod  Kind = "delete-pod"  // a pod ends, whatever its budget says
	Drain      Kind = "drain"       // a node takes no further pods, and its pods are evicted
	IsolatePod Kind = "isolate-pod" // a NetworkPolicy matches the one pod
)

func kubeEnds(k *kube) []Action {
	return []Action{&kubeEnd{k, Evict}, &kubeEnd{k, DeletePod}, &kubeDrain{k}, newKubeIsolate(k)}
}

const mirrorPod = "kubernetes.io/config.mirror"

// kubeEnd ends one pod.
type kubeEnd struct {
	k    *kube
	kind Kind
}

func (a *kubeEnd) Kind() Kind { return a.kind }
func (*kubeEnd) Class() Class { return Destructive }

var graceSeconds = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})$`)

// end asks the API server to end a pod, of which it must still be this one.
func (k *kube) end(ctx context.Context, kind Kind, pin *ObjectPin, grace string, dry bool) error {
	options := map[string]any{"preconditions": map[string]any{"uid": pin.UID}}
	if grace != "" {
		options["gracePeriodSeconds"] = json.Number(grace)
	}
	var query url.Values
	if dry {
		options["dryRun"], query = dryRun["dryRun"], dryRun
	}
	path := kubeKinds["pod"].path(pin)
	var err error
	if kind == DeletePod {
		_, err = k.call(ctx, http.MethodDelete, path, query, "application/json", options)
	} else {
		_, err = k.call(ctx, http.MethodPost, path+"/eviction", query, "application/json", map[string]any{
			"apiVersion": "policy/v1", "kind": "Eviction",
			"metadata": map[string]any{"name": pin.Name, "namespace": pin.Namespace}, "deleteOptions": options,
		})
	}
	if kubeCode(err) == http.StatusConflict { // which a UID that is another's is too
		if now, look := k.call(ctx, http.MethodGet, path, nil, "", nil); look == nil && now.uid() != pin.UID {
			return fmt.Errorf("%s was made anew: %w", pin, ErrGone)
		}
	}
	return err
}

// budgeted reports whether a disruption budget kept a pod from being evicted.
func budgeted(err error) bool {
	e, ok := errors.AsType[*kubeError](err)
	return ok && e.budget
}

// Plan has the API server try it.
func (a *kubeEnd) Plan(ctx context.Context, r *Request) (*Plan, error) {
	o, t, err := a.k.find(ctx, r, "pod")
	if err != nil {
		return nil, err
	}
	if err := params(r, "grace"); err != nil {
		return nil, err
	}
	if g := r.Params["grace"]; g != "" && !graceSeconds.MatchString(g) {
		return nil, fmt.Errorf("%w: grace %q: want seconds, up to 9999", ErrInvalid, oneLine(g, 64))
	}
	if o.at("metadata", "annotations", mirrorPod) != nil {
		return nil, fmt.Errorf("%w: %s is a static pod, which its node starts from a file: ending it here does nothing", ErrInvalid, t.Object)
	}
	p := &Plan{Target: t, Class: Destructive, Hits: []string{t.Object.String()}, Effects: []string{t.Object.String() + " ends: what it holds in memory is lost"}}
	if kind, name := o.owner(); kind != "" {
		p.Effects = append(p.Effects, fmt.Sprintf("%s %s makes another one in its place; scale or suspend what keeps it, if that must not be", kind, oneLine(name, 253)))
	} else {
		p.Effects = append(p.Effects, "nothing makes another one in its place")
	}
	switch err := a.k.end(ctx, a.kind, t.Object, r.Params["grace"], true); {
	case budgeted(err):
		p.Effects = append(p.Effects, "a disruption budget does not allow it now: "+err.Error())
	case err != nil:
		return nil, fmt.Errorf("tried without doing it: %w", err)
	}
	return p, nil
}

// evictFor is how long a disruption budget is waited for.
const evictFor = 20 * time.Second

// Do ends the pod.
func (a *kubeEnd) Do(ctx context.Context, r *Request) (*Result, error) {
	err := a.k.endWithin(ctx, a.kind, r.Target.Object, r.Params["grace"], time.Now().Add(evictFor))
	if err != nil {
		return a.k.failed(err)
	}
	return &Result{State: Done, Detail: r.Target.Object.String() + " ends"}, nil
}

// endWithin tries again while a budget does not allow it.
func (k *kube) endWithin(ctx context.Context, kind Kind, pin *ObjectPin, grace string, until time.Time) error {
	for {
		err := k.end(ctx, kind, pin, grace, false)
		if !budgeted(err) {
			return err
		}
		wait := 2 * time.Second
		if time.Now().Add(wait).After(until) {
			return fmt.Errorf("a disruption budget does not allow it: %w", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Verify looks whether the pod is there.
func (a *kubeEnd) Verify(ctx context.Context, r *Request) (bool, string, error) {
	o, t, err := a.k.find(ctx, r, "pod")
	switch {
	case errors.Is(err, ErrGone):
		return true, err.Error(), nil
	case err != nil:
		return false, "", err
	case o.at("metadata", "deletionTimestamp") != nil:
		return true, t.Object.String() + " is ending", nil
	}
	return false, t.Object.String() + " is there still", nil
}

func (a *kubeEnd) Undo(context.Context, *Request) (*Result, error) {
	return nil, fmt.Errorf("%w: a pod that ended cannot be brought back", ErrInvalid)
}

// kubeDrain takes all pods from a node that can be taken.
type kubeDrain struct{ k *kube }

func (*kubeDrain) Kind() Kind   { return Drain }
func (*kubeDrain) Class() Class { return Destructive }

// pods returns those of a node that a drain evicts, and says which stay, and why.
func (a *kubeDrain) pods(ctx context.Context, node string) (leave []*ObjectPin, stay []string, err error) {
	all, err := a.k.list(ctx, "/api/v1/pods", url.Values{"fieldSelector": {"spec.nodeName=" + node}})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range all {
		pin := &ObjectPin{Of: Kubernetes, Kind: "pod", Namespace: p.text("metadata", "namespace"), Name: p.text("metadata", "name"), UID: p.uid()}
		kind, name := p.owner()
		phase := p.text("status", "phase")
		switch {
		case phase == "Succeeded" || phase == "Failed" || p.at("metadata", "deletionTimestamp") != nil:
		case slices.Contains(a.k.protected, pin.Namespace):
			stay = append(stay, pin.String()+": its namespace is protected")
		case p.at("metadata", "annotations", mirrorPod) != nil:
			stay = append(stay, pin.String()+": a static pod of the node")
		case kind == "DaemonSet":
			stay = append(stay, pin.String()+": of DaemonSet "+oneLine(name, 253))
		default:
			leave = append(leave, pin)
		}
	}
	return leave, stay, nil
}

func names(pins []*ObjectPin) []string {
	var out []string
	for i, p := range pins {
		if i == maxHits {
			return append(out, fmt.Sprintf("and %d more", len(pins)-maxHits))
		}
		out = append(out, p.String())
	}
	return out
}

// Plan names the pods.
func (a *kubeDrain) Plan(ctx context.Context, r *Request) (*Plan, error) {
	o, t, err := a.k.find(ctx, r, "node")
	if err != nil {
		return nil, err
	}
	if err := params(r); err != nil {
		return nil, err
	}
	if labels, _ := o.at("metadata", "labels").(map[string]any); labels != nil {
		if _, control := labels["node-role.kubernetes.io/control-plane"]; control {
			return nil, fmt.Errorf("node %s holds the cluster's control plane: %w", t.Object.Name, ErrProtected)
		}
	}
	leave, stay, err := a.pods(ctx, t.Object.Name)
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: t, Class: Destructive, Hits: names(leave), Effects: []string{
		fmt.Sprintf("%s takes no further pods, and %s are evicted, each when its disruption budget allows it", t.Object, count(len(leave), "pod", "pods")),
		"it stays cordoned: uncordon lets pods come again",
	}}
	for i, s := range stay {
		if i == 20 {
			p.Effects = append(p.Effects, fmt.Sprintf("%d more stay", len(stay)-20))
			break
		}
		p.Effects = append(p.Effects, "stays: "+s)
	}
	blocked := 0
	for _, pin := range leave[:min(len(leave), maxHits)] {
		switch err := a.k.end(ctx, Evict, pin, "", true); {
		case budgeted(err):
			blocked++
		case err != nil && !errors.Is(err, ErrGone):
			return nil, fmt.Errorf("tried without doing it: %w", err)
		}
	}
	if blocked > 0 {
		p.Effects = append(p.Effects, fmt.Sprintf("disruption budgets do not allow %s of them now", count(blocked, "eviction", "evictions")))
	}
	return p, nil
}

// drainFor is how long a drain waits for disruption budgets, all together.
const drainFor = 35 * time.Second

// Do cordons the node and evicts what is on it.
func (a *kubeDrain) Do(ctx context.Context, r *Request) (*Result, error) {
	cordon := &kubeSet{k: a.k, kind: Cordon, kinds: []string{"node"}, want: func(*Request, kubeObject) (kubeChange, error) {
		return kubeChange{path: []string{"spec", "unschedulable"}, want: true}, nil
	}}
	if err := cordon.set(ctx, r, func(_ kubeObject, _ Target, c kubeChange) (any, error) { return c.want, nil }); err != nil {
		return a.k.failed(err)
	}
	leave, stay, err := a.pods(ctx, r.Target.Object.Name)
	if err != nil {
		return &Result{State: Unknown, Detail: r.Target.Object.String() + " is cordoned; its pods cannot be listed: " + err.Error()}, nil
	}
	until := time.Now().Add(drainFor)
	var left []string
	for _, pin := range leave {
		if err := a.k.endWithin(ctx, Evict, pin, "", until); err != nil && !errors.Is(err, ErrGone) {
			left = append(left, fmt.Sprintf("%s (%v)", pin, err))
		}
	}
	said := fmt.Sprintf("%s is cordoned; of %s %d end; %d stay by what they are", r.Target.Object, count(len(leave), "pod", "pods"), len(leave)-len(left), len(stay))
	if len(left) > 0 {
		return &Result{State: Unknown, Detail: said + "; not evicted: " + oneLine(strings.Join(left, "; "), 1000)}, nil
	}
	return &Result{State: Done, Detail: said}, nil
}

// Verify looks what is left on the node.
func (a *kubeDrain) Verify(ctx context.Context, r *Request) (bool, string, error) {
	o, t, err := a.k.find(ctx, r, "node")
	if errors.Is(err, ErrGone) {
		return true, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	leave, _, err := a.pods(ctx, t.Object.Name)
	if err != nil {
		return false, "", err
	}
	if o.at("spec", "unschedulable") != true {
		return false, t.Object.String() + " takes pods", nil
	}
	return len(leave) == 0, fmt.Sprintf("%s is cordoned and has %s left to evict", t.Object, count(len(leave), "pod", "pods")), nil
}

func (a *kubeDrain) Undo(context.Context, *Request) (*Result, error) {
	return nil, fmt.Errorf("%w: pods that ended cannot be brought back; uncordon lets others come", ErrInvalid)
}

// kubeIsolate cuts one pod off by a NetworkPolicy that only it has the label for.
type kubeIsolate struct {
	k     *kube
	label *kubeSet
}

func newKubeIsolate(k *kube) *kubeIsolate {
	a := &kubeIsolate{k: k}
	a.label = &kubeSet{k: k, kind: IsolatePod, kinds: []string{"pod"}, want: func(r *Request, _ kubeObject) (kubeChange, error) {
		return kubeChange{path: []string{"metadata", "labels", isolatedLabel(r)}, want: "true"}, params(r)
	}, effects: noEffects}
	return a
}

func isolatedName(r *Request) string {
	return "picket-isolated-" + event.HashID("isolate-pod", r.ID)[:16]
}

func isolatedLabel(r *Request) string {
	return "picket/" + strings.TrimPrefix(isolatedName(r), "picket-")
}

const actAnnotation = "picket/act"

func (*kubeIsolate) undoesOwn()                {} // each act has a policy and a label of its own
func (*kubeIsolate) Kind() Kind                { return IsolatePod }
func (*kubeIsolate) Class() Class              { return Reversible }
func (*kubeIsolate) DefaultTTL() time.Duration { return time.Hour }

func policiesPath(ns string) string {
	return "/apis/networking.k8s.io/v1/namespaces/" + ns + "/networkpolicies"
}

// policy is the NetworkPolicy of a request: nothing passes to or from what has its label.
func (a *kubeIsolate) policy(r *Request) map[string]any {
	return map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{
			"name": isolatedName(r), "namespace": r.Target.Object.Namespace,
			"labels":      map[string]any{"app.kubernetes.io/managed-by": "picket"},
			"annotations": map[string]any{actAnnotation: r.ID},
		},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]any{isolatedLabel(r): "true"}},
			"policyTypes": []string{"Ingress", "Egress"},
		},
	}
}

// Plan has the API server try both, and says what may still pass.
func (a *kubeIsolate) Plan(ctx context.Context, r *Request) (*Plan, error) {
	o, t, err := a.k.find(ctx, r, "pod")
	if err != nil {
		return nil, err
	}
	if err := params(r); err != nil {
		return nil, err
	}
	if o.at("spec", "hostNetwork") == true {
		return nil, fmt.Errorf("%w: %s uses its node's network, for which no NetworkPolicy counts: isolate its container on the node", ErrInvalid, t.Object)
	}
	pinned := *r
	pinned.Target = t
	if _, err := a.k.call(ctx, http.MethodPost, policiesPath(t.Object.Namespace), dryRun, "application/json", a.policy(&pinned)); err != nil && kubeCode(err) != http.StatusConflict {
		return nil, fmt.Errorf("tried without doing it: %w", err)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} { // what it is read back and undone by
		if _, err := a.k.call(ctx, method, policiesPath(t.Object.Namespace)+"/"+isolatedName(r), dryRun, "", nil); err != nil && !errors.Is(err, ErrGone) {
			return nil, fmt.Errorf("tried without doing it: %w", err)
		}
	}
	if _, err := a.label.Plan(ctx, &pinned); err != nil {
		return nil, err
	}
	open, err := a.allowed(ctx, o, t.Object.Namespace)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Target: t, Class: Reversible, Hits: []string{t.Object.String()}, Undo: "the label and the policy are taken away",
		Effects: []string{
			"a NetworkPolicy that matches " + t.Object.String() + " alone, by a label that it gets, lets nothing pass to or from it",
			a.plugin(ctx),
			"connections that are open may go on, as the network plugin has it: isolate on its node stops those too",
		},
	}
	for _, name := range open {
		p.Effects = append(p.Effects, fmt.Sprintf("policy %s allows it some traffic still: policies add up, and none takes away what another allows", oneLine(name, 253)))
	}
	return p, nil
}

// allowed names the policies that select a pod and allow something.
func (a *kubeIsolate) allowed(ctx context.Context, pod kubeObject, ns string) ([]string, error) {
	all, err := a.k.list(ctx, policiesPath(ns), nil)
	if err != nil {
		return nil, err
	}
	labels, _ := pod.at("metadata", "labels").(map[string]any)
	var out []string
	for _, p := range all {
		allows := len(p.list("spec", "ingress")) > 0 || len(p.list("spec", "egress")) > 0
		if allows && selects(p, labels) {
			out = append(out, p.text("metadata", "name"))
		}
	}
	return out, nil
}

// selects reports whether a policy's selector fits labels. One with expressions is taken to fit: that
// is said once too often rather than not at all.
func selects(p kubeObject, labels map[string]any) bool {
	want, _ := p.at("spec", "podSelector", "matchLabels").(map[string]any)
	for key, v := range want {
		if labels[key] != v {
			return false
		}
	}
	return true
}

// plugins are network plugins that enforce NetworkPolicies, by the DaemonSet that they run as.
var plugins = []string{"calico-node", "cilium", "antrea-agent", "weave-net", "kube-router", "canal", "azure-npm", "ovnkube-node", "kube-network-policies"}

// plugin says whether anything in the cluster is known to enforce NetworkPolicies: the API server takes
// them in any case.
func (a *kubeIsolate) plugin(ctx context.Context) string {
	found := ""
	err := a.k.each(ctx, "/apis/apps/v1/daemonsets", nil, func(d kubeObject) bool {
		if name := d.text("metadata", "name"); slices.Contains(plugins, name) {
			found = name
		}
		return found == ""
	})
	switch {
	case err != nil:
		return "whether the network plugin enforces NetworkPolicies cannot be told: " + err.Error()
	case found != "":
		return found + " runs in the cluster, which enforces NetworkPolicies"
	}
	return "no network plugin that is known to enforce NetworkPolicies runs in the cluster: it may do nothing"
}

// Do makes the policy, which matches nothing, and then gives the pod its label.
func (a *kubeIsolate) Do(ctx context.Context, r *Request) (*Result, error) {
	if r.Target.Object == nil {
		return nil, fmt.Errorf("%w: it is not pinned", ErrInvalid)
	}
	path := policiesPath(r.Target.Object.Namespace)
	_, err := a.k.call(ctx, http.MethodPost, path, nil, "application/json", a.policy(r))
	if kubeCode(err) == http.StatusConflict {
		var there kubeObject
		if there, err = a.k.call(ctx, http.MethodGet, path+"/"+isolatedName(r), nil, "", nil); err == nil && there.text("metadata", "annotations", actAnnotation) != r.ID {
			err = fmt.Errorf("%w: there is a policy %s that is not of this act", ErrInvalid, isolatedName(r))
		}
	}
	if err != nil {
		return a.k.failed(err)
	}
	res, err := a.label.Do(ctx, r)
	if err != nil { // the label is not there: nor shall the policy be
		return nil, errors.Join(err, a.remove(ctx, r))
	}
	if res.State == Done {
		res.Detail = fmt.Sprintf("NetworkPolicy %s/%s matches %s alone and allows nothing", r.Target.Object.Namespace, isolatedName(r), r.Target.Object)
	}
	return res, nil
}

// remove takes the policy away, if it is of this act.
func (a *kubeIsolate) remove(ctx context.Context, r *Request) error {
	path := policiesPath(r.Target.Object.Namespace) + "/" + isolatedName(r)
	there, err := a.k.call(ctx, http.MethodGet, path, nil, "", nil)
	if kubeCode(err) == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if there.text("metadata", "annotations", actAnnotation) != r.ID {
		return nil
	}
	_, err = a.k.call(ctx, http.MethodDelete, path, nil, "application/json", map[string]any{"preconditions": map[string]any{"uid": there.uid()}})
	if kubeCode(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// Verify reads the policy and the label back.
func (a *kubeIsolate) Verify(ctx context.Context, r *Request) (bool, string, error) {
	o, t, err := a.k.find(ctx, r, "pod")
	if errors.Is(err, ErrGone) {
		return false, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	there, err := a.k.call(ctx, http.MethodGet, policiesPath(t.Object.Namespace)+"/"+isolatedName(r), nil, "", nil)
	switch {
	case kubeCode(err) == http.StatusNotFound:
		return false, "its policy is not there", nil
	case err != nil:
		return false, "", err
	case !same(there.at("spec"), a.policy(r)["spec"]):
		return false, "its policy is another than was made", nil
	case o.at("metadata", "labels", isolatedLabel(r)) != "true":
		return false, t.Object.String() + " does not have the policy's label", nil
	}
	return true, fmt.Sprintf("policy %s matches %s", isolatedName(r), t.Object), nil
}

// Undo takes the label and the policy away.
func (a *kubeIsolate) Undo(ctx context.Context, r *Request) (*Result, error) {
	if r.Target.Object == nil || r.Target.Object.Namespace == "" {
		return &Result{State: Undone, Detail: "nothing was changed"}, nil
	}
	res, err := a.label.Undo(ctx, r)
	if err == nil {
		err = a.remove(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	res.Detail = "policy " + isolatedName(r) + " is gone; " + res.Detail
	return res, nil
}
