package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The acts that set something of an object in a cluster, and set it back.
const (
	Label    Kind = "label"    // of a pod, node or what makes pods
	Annotate Kind = "annotate" // the same
	Cordon   Kind = "cordon"   // a node takes no further pods
	Uncordon Kind = "uncordon" // it takes pods again
	Taint    Kind = "taint"    // a node takes only pods that tolerate it
	Scale    Kind = "scale"    // how many pods a deployment has
	Suspend  Kind = "suspend"  // a job stands still, without its pods
)

// kubeSet sets one value of an object. What stood there is written down before, and is what Undo
// puts back, unless somebody else has changed it since.
type kubeSet struct {
	k     *kube
	kind  Kind
	kinds []string
	// want says what is set where. It is asked again with the object as it is when it is done.
	want func(r *Request, o kubeObject) (kubeChange, error)
	// effects says what follows.
	effects func(ctx context.Context, t Target, o kubeObject, c kubeChange) []string
	// ends reports whether pods end by it: what they had in memory is lost, though the value can be set
	// back; nil: never.
	ends func(t Target, o kubeObject, c kubeChange) bool
}

// kubeChange is a value at a path of an object; nil is none there. Where item is set, the value at the
// path is a list, and the change is about those in it that item holds for.
type kubeChange struct {
	path []string
	want any
	item func(any) bool
}

// now returns the value as it is.
func (c kubeChange) now(o kubeObject) any {
	v := o.at(c.path...)
	if c.item == nil {
		return v
	}
	list, _ := v.([]any)
	for _, one := range list {
		if c.item(one) {
			return one
		}
	}
	return nil
}

// where tells the value from others of the object.
func (c kubeChange) where() string {
	out := strings.Join(c.path, "\x00")
	if m, ok := c.want.(map[string]any); ok && c.item != nil {
		out += fmt.Sprintf("\x00%v\x00%v", m["key"], m["effect"])
	}
	return out
}

// patch returns the merge patch that makes the value v.
func (c kubeChange) patch(o kubeObject, v any) map[string]any {
	if c.item != nil {
		old, _ := o.at(c.path...).([]any)
		list := slices.Clone(old)
		switch at := slices.IndexFunc(list, c.item); {
		case at >= 0 && v != nil: // where it stands
			list[at] = v
		case at >= 0:
			list = slices.Delete(list, at, at+1)
		case v != nil:
			list = append(list, v)
		}
		if v = list; len(list) == 0 {
			v = nil
		}
	}
	out := map[string]any{}
	at := out
	for _, p := range c.path[:len(c.path)-1] {
		next := map[string]any{}
		at[p] = next
		at = next
	}
	at[c.path[len(c.path)-1]] = v
	return out
}

// undoesOwn says that each act takes back what it did itself, though another like it holds still.
func (*kubeSet) undoesOwn()   {}
func (a *kubeSet) Kind() Kind { return a.kind }
func (*kubeSet) Class() Class { return Reversible }

func same(x, y any) bool      { return reflect.DeepEqual(plainJSON(x), plainJSON(y)) }
func isFalse(v any) bool      { return v == nil || v == false }
func sameValue(x, y any) bool { return same(x, y) || isFalse(x) && isFalse(y) }

// params refuses parameters that an act does not know.
func params(r *Request, known ...string) error {
	for _, p := range slices.Sorted(maps.Keys(r.Params)) {
		if !slices.Contains(known, p) {
			want := "it takes none"
			if len(known) > 0 {
				want = "want " + strings.Join(known, ", ")
			}
			return fmt.Errorf("%w: parameter %q: %s", ErrInvalid, oneLine(p, 64), want)
		}
	}
	return nil
}

// plainJSON is a value as it is after it was written and read.
func plainJSON(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	_ = json.Unmarshal(b, &out) // it was just written
	return out
}

// show writes a value for people.
func show(v any) string {
	if v == nil {
		return "nothing"
	}
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", oneLine(s, 100))
	}
	b, _ := json.Marshal(v) // it was read from JSON
	return oneLine(string(b), 200)
}

// Plan has the API server try it, without doing it.
func (a *kubeSet) Plan(ctx context.Context, r *Request) (*Plan, error) {
	o, t, err := a.k.find(ctx, r, a.kinds...)
	if err != nil {
		return nil, err
	}
	c, err := a.want(r, o)
	if err != nil {
		return nil, err
	}
	was := c.now(o)
	if _, err := a.k.patch(ctx, kubeKinds[t.Object.Kind].path(t.Object), o, dryRun, c.patch(o, c.want)); err != nil && kubeCode(err) != http.StatusConflict {
		return nil, fmt.Errorf("tried without doing it: %w", err)
	}
	p := &Plan{Target: t, Class: Reversible, Hits: []string{t.Object.String()}}
	if sameValue(was, c.want) {
		p.Effects = []string{fmt.Sprintf("%s of %s is %s already: nothing changes", strings.Join(c.path, "."), t.Object, show(was))}
		if a.ends != nil {
			p.Effects = append(p.Effects, "where that is otherwise by then, and pods would end by it, nothing is done either: plan again")
		}
		p.Undo = "there is nothing to set back"
		return p, nil
	}
	p.Effects = append([]string{fmt.Sprintf("%s of %s becomes %s; it is %s", strings.Join(c.path, "."), t.Object, show(c.want), show(was))}, a.effects(ctx, t, o, c)...)
	p.Undo = fmt.Sprintf("it is set back to %s, unless somebody else has changed it by then", show(was))
	if a.ends != nil && a.ends(t, o, c) {
		p.Class = Destructive
		p.Undo += "; what the pods had in memory is lost"
	}
	return p, nil
}

// set makes the value what it should be, on the object as it was read: one that changed meanwhile is
// read again.
func (a *kubeSet) set(ctx context.Context, r *Request, do func(o kubeObject, t Target, c kubeChange) (any, error)) error {
	for try := 0; ; try++ {
		o, t, err := a.k.find(ctx, r, a.kinds...)
		if err != nil {
			return err
		}
		c, err := a.want(r, o)
		if err != nil {
			return err
		}
		v, err := do(o, t, c)
		if err != nil {
			return err
		}
		_, err = a.k.patch(ctx, kubeKinds[t.Object.Kind].path(t.Object), o, nil, c.patch(o, v))
		if kubeCode(err) != http.StatusConflict || try == 9 {
			return err
		}
		select {
		case <-time.After(time.Duration(try+1) * 20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Do sets the value.
func (a *kubeSet) Do(ctx context.Context, r *Request) (*Result, error) {
	said := ""
	err := a.set(ctx, r, func(o kubeObject, t Target, c kubeChange) (any, error) {
		w := was{Request: r.ID, Object: t.Object, Path: c.where(), Was: c.now(o), Want: c.want, By: r.By}
		said = fmt.Sprintf("%s of %s is %s, before %s", strings.Join(c.path, "."), t.Object, show(c.want), show(w.Was))
		if !sameValue(w.Was, w.Want) && a.ends != nil && a.ends(t, o, c) && r.graver(Destructive) {
			return nil, fmt.Errorf("%s of %s is %s now, and pods would end by it: %w", strings.Join(c.path, "."), t.Object, show(w.Was), ErrGraver)
		}
		return c.want, a.k.was.keep(&w)
	})
	if err != nil {
		res, err := a.k.failed(err)
		if err != nil { // nothing was set: nothing is owed
			a.k.was.forget(r.ID)
		}
		return res, err
	}
	return &Result{State: Done, Detail: said}, nil
}

// failed says how an act came out whose last call went wrong: where no answer came, nobody knows.
func (k *kube) failed(err error) (*Result, error) {
	if stateOf(err) != Failed || errors.Is(err, ErrInvalid) || kubeCode(err) != 0 && kubeCode(err) < 500 {
		return nil, err
	}
	return &Result{State: Unknown, Detail: err.Error()}, nil
}

// Verify reads the value.
func (a *kubeSet) Verify(ctx context.Context, r *Request) (bool, string, error) {
	o, t, err := a.k.find(ctx, r, a.kinds...)
	if errors.Is(err, ErrGone) {
		return false, err.Error(), nil
	}
	if err != nil {
		return false, "", err
	}
	c, err := a.want(r, o)
	if err != nil {
		return false, "", err
	}
	is := c.now(o)
	return sameValue(is, c.want), fmt.Sprintf("%s of %s is %s", strings.Join(c.path, "."), t.Object, show(is)), nil
}

// Undo sets back what stood there.
func (a *kubeSet) Undo(ctx context.Context, r *Request) (*Result, error) {
	return a.k.was.undo(r.ID, func(w *was) (said string, err error) {
		errLeft := errors.New("left")
		pinned, back, k := *r, *a, *a.k
		pinned.Target.Object = w.Object
		k.protected, back.k = nil, &k // what was done before a namespace was protected is taken back all the same
		err = back.set(ctx, &pinned, func(o kubeObject, t Target, c kubeChange) (any, error) {
			at := fmt.Sprintf("%s of %s is ", strings.Join(c.path, "."), t.Object)
			switch is := c.now(o); {
			case sameValue(is, w.Was):
				said = at + show(is) + ", as before"
				return nil, errLeft
			case !sameValue(is, w.Want):
				said = at + show(is) + ", which somebody else set since: it stays"
				return nil, errLeft
			}
			said = at + show(w.Was) + " again"
			return w.Was, nil
		})
		if errors.Is(err, errLeft) {
			err = nil
		}
		return said, err
	})
}

var (
	labelKey    = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue  = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	replicasNum = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})$`)
)

// ownKey refuses keys by which Kubernetes itself goes.
func ownKey(key string) error {
	domain, _, has := strings.Cut(key, "/")
	switch {
	case !labelKey.MatchString(key):
		return fmt.Errorf("%w: key %q is none of a label or an annotation", ErrInvalid, oneLine(key, 100))
	case has && (domain == "kubernetes.io" || domain == "k8s.io" || strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io")):
		return fmt.Errorf("%w: %s is a key of Kubernetes itself", ErrInvalid, key)
	}
	return nil
}

func keyValue(field string, check func(string) bool) func(*Request, kubeObject) (kubeChange, error) {
	return func(r *Request, _ kubeObject) (kubeChange, error) {
		if err := params(r, "key", "value"); err != nil {
			return kubeChange{}, err
		}
		key, value := r.Params["key"], r.Params["value"]
		if err := ownKey(key); err != nil {
			return kubeChange{}, err
		}
		if !check(value) {
			return kubeChange{}, fmt.Errorf("%w: value %q: want letters, digits and - _ . for a label, and up to 1000 bytes for an annotation", ErrInvalid, oneLine(value, 100))
		}
		return kubeChange{path: []string{"metadata", field, key}, want: value}, nil
	}
}

func unschedulable(want any) func(*Request, kubeObject) (kubeChange, error) {
	return func(r *Request, _ kubeObject) (kubeChange, error) {
		return kubeChange{path: []string{"spec", "unschedulable"}, want: want}, params(r)
	}
}

func wantTaint(r *Request, _ kubeObject) (kubeChange, error) {
	if err := params(r, "key", "value", "effect"); err != nil {
		return kubeChange{}, err
	}
	key, value, effect := r.Params["key"], r.Params["value"], r.Params["effect"]
	if effect == "" {
		effect = "NoSchedule"
	}
	if err := ownKey(key); err != nil {
		return kubeChange{}, err
	}
	if effect != "NoSchedule" && effect != "PreferNoSchedule" || !labelValue.MatchString(value) {
		return kubeChange{}, fmt.Errorf("%w: effect %q with value %q: want NoSchedule or PreferNoSchedule, and a value such as a label's; NoExecute would end pods whatever their disruption budgets say: drain heeds them", ErrInvalid, oneLine(effect, 64), oneLine(value, 64))
	}
	want := map[string]any{"key": key, "effect": effect}
	if value != "" {
		want["value"] = value
	}
	return kubeChange{path: []string{"spec", "taints"}, want: want, item: func(v any) bool {
		m, _ := v.(map[string]any)
		return m["key"] == key && m["effect"] == effect
	}}, nil
}

func wantReplicas(r *Request, _ kubeObject) (kubeChange, error) {
	if err := params(r, "replicas"); err != nil {
		return kubeChange{}, err
	}
	n := r.Params["replicas"]
	if !replicasNum.MatchString(n) {
		return kubeChange{}, fmt.Errorf("%w: replicas %q: want a number from 0 to 9999", ErrInvalid, oneLine(n, 64))
	}
	return kubeChange{path: []string{"spec", "replicas"}, want: json.Number(n)}, nil
}

func noEffects(context.Context, Target, kubeObject, kubeChange) []string { return nil }

// fewer reports whether a number of pods becomes smaller.
func fewer(_ Target, o kubeObject, c kubeChange) bool {
	is, _ := c.now(o).(json.Number)
	n, err1 := is.Int64()
	want, err2 := c.want.(json.Number).Int64()
	return err1 != nil || err2 != nil || want < n
}

// scalers says which autoscalers set the number of an object's pods too.
func (k *kube) scalers(ctx context.Context, t Target, c kubeChange) (out []string) {
	all, err := k.list(ctx, "/apis/autoscaling/v2/namespaces/"+t.Object.Namespace+"/horizontalpodautoscalers", nil)
	if err != nil {
		return []string{"whether an autoscaler sets the number anew cannot be told: " + err.Error()}
	}
	for _, h := range all {
		if !strings.EqualFold(h.text("spec", "scaleTargetRef", "kind"), t.Object.Kind) || h.text("spec", "scaleTargetRef", "name") != t.Object.Name {
			continue
		}
		name, least := oneLine(h.text("metadata", "name"), 253), h.at("spec", "minReplicas")
		if same(c.want, 0) && !same(least, 0) {
			out = append(out, fmt.Sprintf("HorizontalPodAutoscaler %s leaves it alone while it is 0", name))
			continue
		}
		out = append(out, fmt.Sprintf("HorizontalPodAutoscaler %s sets the number anew, from %s to %s as the load is: change that one, or scale to 0, which it leaves alone unless its least is 0", name, show(least), show(h.at("spec", "maxReplicas"))))
	}
	return out
}

func kubeSets(k *kube) []Action {
	anything := []string{"pod", "node", "deployment", "statefulset", "replicaset", "job", "cronjob"}
	return []Action{
		&kubeSet{k: k, kind: Label, kinds: anything, want: keyValue("labels", labelValue.MatchString), effects: func(context.Context, Target, kubeObject, kubeChange) []string {
			return []string{"services, policies and controllers that select by this label see it"}
		}},
		&kubeSet{k: k, kind: Annotate, kinds: anything, want: keyValue("annotations", func(s string) bool { return len(s) <= 1000 }), effects: noEffects},
		&kubeSet{k: k, kind: Cordon, kinds: []string{"node"}, want: unschedulable(true), effects: func(context.Context, Target, kubeObject, kubeChange) []string {
			return []string{"no further pod is placed there; those that run go on"}
		}},
		&kubeSet{k: k, kind: Uncordon, kinds: []string{"node"}, want: unschedulable(nil), effects: func(context.Context, Target, kubeObject, kubeChange) []string {
			return []string{"pods are placed there again"}
		}},
		&kubeSet{k: k, kind: Taint, kinds: []string{"node"}, want: wantTaint, effects: func(context.Context, Target, kubeObject, kubeChange) []string {
			return []string{"only pods that tolerate it are placed there; those that run go on"}
		}},
		&kubeSet{k: k, kind: Scale, kinds: []string{"deployment", "statefulset", "replicaset"}, want: wantReplicas, ends: fewer, effects: func(ctx context.Context, t Target, o kubeObject, c kubeChange) []string {
			out := []string{"where there are fewer, pods end"}
			if kind, name := o.owner(); kind != "" {
				out = append(out, fmt.Sprintf("%s %s keeps it, and may set the number anew: scale that one", kind, oneLine(name, 253)))
			}
			return append(out, k.scalers(ctx, t, c)...)
		}},
		&kubeSet{
			k: k, kind: Suspend, kinds: []string{"job", "cronjob"}, ends: func(t Target, _ kubeObject, _ kubeChange) bool { return t.Object.Kind == "job" },
			want: func(r *Request, _ kubeObject) (kubeChange, error) {
				return kubeChange{path: []string{"spec", "suspend"}, want: true}, params(r)
			},
			effects: func(_ context.Context, t Target, o kubeObject, _ kubeChange) []string {
				if t.Object.Kind == "cronjob" {
					return []string{"no further job begins; those that run go on"}
				}
				return []string{fmt.Sprintf("its %s active pods end; they begin anew when it goes on", show(o.at("status", "active")))}
			},
		},
	}
}
