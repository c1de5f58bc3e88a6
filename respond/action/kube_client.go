package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kubernetes is what target.object.of says of objects in a cluster.
const Kubernetes = "kubernetes"

// KubeOptions say which cluster is acted on, and what in it is not.
type KubeOptions struct {
	// Config is a kubeconfig; "" takes the account of the pod that this program runs in.
	Config string
	// Dir keeps what objects were before they were changed; a directory of this user's alone.
	Dir string
	// Protected are namespaces in which nothing is done, beside kube-system and Picket's own.
	Protected []string
	// Env looks a variable of the environment up.
	Env func(name string) (string, bool)
}

// kube speaks to an API server, in the few calls that acts need: objects stay as the server wrote them, so
// that no field that this version does not know gets lost on the way.
type kube struct {
	*cluster
	http      *http.Client
	was       wasDir
	protected []string
}

const (
	kubeTime   = 20 * time.Second // for one call
	kubeAnswer = 32 << 20
	kubePage   = 500 // objects in one answer
	kubePages  = 100
	kubeTries  = 3 // beside the first, where the API server has too much to do
)

// NewKube returns the acts on a cluster. ErrNoCluster says that none is configured.
func NewKube(o KubeOptions) ([]Action, error) {
	var c *cluster
	var err error
	if o.Config == "" {
		c, err = inCluster(o.Env)
	} else {
		c, err = readKubeconfig(o.Config)
	}
	if err != nil {
		return nil, err
	}
	if err := ownDir(o.Dir); err != nil {
		return nil, fmt.Errorf("acts on Kubernetes: %w", err)
	}
	k := &kube{cluster: c, was: wasDir(o.Dir), protected: append([]string{"kube-system"}, o.Protected...)}
	if c.namespace != "" {
		k.protected = append(k.protected, c.namespace)
	}
	k.http = &http.Client{
		Timeout:       kubeTime,
		Transport:     &http.Transport{TLSClientConfig: c.tls, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return append(kubeSets(k), kubeEnds(k)...), nil
}

// kubeKind is where objects of a kind are.
type kubeKind struct {
	api        string
	plural     string
	namespaced bool
}

var kubeKinds = map[string]kubeKind{
	"pod":         {"/api/v1", "pods", true},
	"node":        {"/api/v1", "nodes", false},
	"deployment":  {"/apis/apps/v1", "deployments", true},
	"statefulset": {"/apis/apps/v1", "statefulsets", true},
	"replicaset":  {"/apis/apps/v1", "replicasets", true},
	"job":         {"/apis/batch/v1", "jobs", true},
	"cronjob":     {"/apis/batch/v1", "cronjobs", true},
}

var (
	kubeName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	kubeSpace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
)

// path returns the URL path of an object, whose names were checked.
func (k kubeKind) path(o *ObjectPin) string {
	if !k.namespaced {
		return k.api + "/" + k.plural + "/" + o.Name
	}
	return k.api + "/namespaces/" + o.Namespace + "/" + k.plural + "/" + o.Name
}

// kubeObject is an object as the API server has it, with numbers as they were written.
type kubeObject map[string]any

// at returns what stands at a path, nil where nothing does.
func (o kubeObject) at(path ...string) any {
	var v any = map[string]any(o)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (o kubeObject) text(path ...string) string {
	s, _ := o.at(path...).(string)
	return s
}

func (o kubeObject) list(path ...string) []kubeObject {
	all, _ := o.at(path...).([]any)
	var out []kubeObject
	for _, v := range all {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (o kubeObject) uid() string { return o.text("metadata", "uid") }

// owner names what keeps an object in being.
func (o kubeObject) owner() (kind, name string) {
	for _, r := range o.list("metadata", "ownerReferences") {
		if r.at("controller") == true {
			return r.text("kind"), r.text("name")
		}
	}
	return "", ""
}

// kubeError is an answer of the API server that is none of success.
type kubeError struct {
	code    int
	tried   string
	message string
	budget  bool          // a disruption budget does not allow it
	after   time.Duration // that the API server wants to be left alone
}

// Is makes an object that is not found one that is gone.
func (e *kubeError) Is(target error) bool { return target == ErrGone && e.code == http.StatusNotFound }

func (e *kubeError) Error() string {
	hint := ""
	switch e.code {
	case http.StatusUnauthorized:
		hint = "; the token or certificate of Picket is not taken"
	case http.StatusForbidden:
		hint = "; the role that Picket needs is in docs/kubernetes.md"
	}
	return fmt.Sprintf("%s: the API server answers %d: %s%s", e.tried, e.code, e.message, hint)
}

func kubeCode(err error) int {
	if e, ok := errors.AsType[*kubeError](err); ok {
		return e.code
	}
	return 0
}

// call makes a request and reads the object in its answer. Where the API server has too much to do, which
// is not what a disruption budget says, it is asked again: nothing was done then.
func (k *kube) call(ctx context.Context, method, path string, query url.Values, kind string, body any) (kubeObject, error) {
	for try := 0; ; try++ {
		o, err := k.once(ctx, method, path, query, kind, body)
		e, _ := errors.AsType[*kubeError](err)
		if e == nil || e.code != http.StatusTooManyRequests || e.budget || try == kubeTries {
			return o, err
		}
		select {
		case <-time.After(min(max(e.after, time.Second), 5*time.Second)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (k *kube) once(ctx context.Context, method, path string, query url.Values, kind string, body any) (kubeObject, error) {
	tried := method + " " + path
	var send []byte
	if body != nil {
		var err error
		if send, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("%s: %w", tried, err)
		}
	}
	at := k.server + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(send))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "picket")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	token, err := k.bearer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := k.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	return k.read(resp, tried)
}

func (k *kube) read(resp *http.Response, tried string) (kubeObject, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, kubeAnswer))
	var out kubeObject
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		err = dec.Decode(&out)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := &kubeError{code: resp.StatusCode, tried: tried, message: oneLine(out.text("message"), 500)}
		for _, c := range out.list("details", "causes") {
			e.budget = e.budget || c.text("reason") == "DisruptionBudget"
		}
		if e.message == "" {
			e.message = resp.Status
		}
		if n, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s"); err == nil {
			e.after = n
		}
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the answer is not understood: %w", tried, err)
	}
	return out, nil
}

// list returns all objects that a path and a query name. It is for few; each is for those of a cluster.
func (k *kube) list(ctx context.Context, path string, query url.Values) ([]kubeObject, error) {
	var out []kubeObject
	err := k.each(ctx, path, query, func(o kubeObject) bool { out = append(out, o); return true })
	return out, err
}

// each hands the objects that a path and a query name to f, page by page, until it returns false. One
// page is held at a time: the pods of a large cluster take gigabytes.
func (k *kube) each(ctx context.Context, path string, query url.Values, f func(kubeObject) bool) error {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", fmt.Sprint(kubePage))
	for range kubePages {
		page, err := k.call(ctx, http.MethodGet, path, query, "", nil)
		if err != nil {
			return err
		}
		for _, o := range page.list("items") {
			if !f(o) {
				return nil
			}
		}
		next := page.text("metadata", "continue")
		if next == "" {
			return nil
		}
		query.Set("continue", next)
	}
	return fmt.Errorf("GET %s: more than %d objects", path, kubePage*kubePages)
}

var dryRun = url.Values{"dryRun": {"All"}}

// patch changes an object that is still the one that was read, or fails with 409.
func (k *kube) patch(ctx context.Context, path string, was kubeObject, query url.Values, change map[string]any) (kubeObject, error) {
	meta, _ := change["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["uid"], meta["resourceVersion"] = was.uid(), was.text("metadata", "resourceVersion")
	change["metadata"] = meta
	return k.call(ctx, http.MethodPatch, path, query, "application/merge-patch+json", change)
}

// find returns a request's object as it is now, and its target pinned to it.
func (k *kube) find(ctx context.Context, r *Request, kinds ...string) (kubeObject, Target, error) {
	t := r.Target
	if t.Object == nil || t.Object.Of != Kubernetes || t.Process != nil || t.File != nil || t.Cgroup != "" || t.Container != "" {
		return nil, t, fmt.Errorf("%w: %s wants an object of Kubernetes", ErrInvalid, r.Kind)
	}
	pin := *t.Object
	kind, known := kubeKinds[pin.Kind]
	if !known || !slices.Contains(kinds, pin.Kind) {
		return nil, t, fmt.Errorf("%w: %s is not for a %q: it is for %s", ErrInvalid, r.Kind, oneLine(pin.Kind, 64), strings.Join(kinds, ", "))
	}
	if pin.Name == "" && pin.Container != "" && pin.Kind == "pod" {
		if err := k.byContainer(ctx, &pin); err != nil {
			return nil, t, err
		}
	}
	if !kubeName.MatchString(pin.Name) || kind.namespaced != (pin.Namespace != "") || kind.namespaced && !kubeSpace.MatchString(pin.Namespace) {
		return nil, t, fmt.Errorf("%w: %q in namespace %q is no name of a %s", ErrInvalid, oneLine(pin.Name, 100), oneLine(pin.Namespace, 100), pin.Kind)
	}
	if slices.Contains(k.protected, pin.Namespace) {
		return nil, t, fmt.Errorf("namespace %s is protected: %w", pin.Namespace, ErrProtected)
	}
	o, err := k.call(ctx, http.MethodGet, kind.path(&pin), nil, "", nil)
	if kubeCode(err) == http.StatusNotFound {
		return nil, t, fmt.Errorf("there is no %s: %w", &pin, ErrGone)
	}
	if err != nil {
		return nil, t, err
	}
	if pin.UID != "" && pin.UID != o.uid() {
		return nil, t, fmt.Errorf("%s was made anew: %w", &pin, ErrGone)
	}
	pin.UID = o.uid()
	t.Object = &pin
	return o, t, nil
}

// byContainer finds the pod that a container is of.
func (k *kube) byContainer(ctx context.Context, pin *ObjectPin) error {
	if !containerID.MatchString(pin.Container) || len(pin.Container) < 12 {
		return fmt.Errorf("%w: container %q: want its id", ErrInvalid, pin.Container)
	}
	found := false
	err := k.each(ctx, "/api/v1/pods", nil, func(p kubeObject) bool {
		for _, which := range []string{"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"} {
			for _, c := range p.list("status", which) {
				_, id, _ := strings.Cut(c.text("containerID"), "://")
				if id == pin.Container || shortID.MatchString(pin.Container) && strings.HasPrefix(id, pin.Container) {
					pin.Namespace, pin.Name, pin.UID = p.text("metadata", "namespace"), p.text("metadata", "name"), p.uid()
					found = true
					return false
				}
			}
		}
		return true
	})
	if err == nil && !found {
		err = fmt.Errorf("no pod has the container %s: %w", pin.Container, ErrGone)
	}
	return err
}
