package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"picket/event"
)

const (
	maxAudit  = 8 << 20 // bytes of a line: an object may have 3 MiB, and stand there twice
	maxListed = 1 << 10 // bytes of a list that is kept
	auditLate = 10 * time.Minute
)

// alikeAudit is what two entries have in common that are told of together.
type alikeAudit struct {
	user, source, verb, resource, subresource, namespace, name string
	status                                                     int64
}

func (a alikeAudit) asker() who { return who{a.source, a.user} }

func (a alikeAudit) wider() alikeAudit {
	a.namespace, a.name = "", ""
	return a
}

// entry reads an entry of the audit log. What changes something, or goes on, is told by itself.
func (s *source) entry(now time.Time, line []byte, told func(*event.Event)) {
	e, err := ParseAudit(line, now)
	switch {
	case err != nil:
		s.Refused++
	case e != nil:
		s.tellOf(now, e, told)
	}
}

// tellOf tells of an entry, alone or later with others.
func (s *source) tellOf(now time.Time, e *event.Event, told func(*event.Event)) {
	s.Requests++
	k := e.Kubernetes
	key := alikeAudit{k.User, k.Source, k.Verb, k.Resource, k.Subresource, k.Namespace, k.Name, k.Status.N}
	single := k.Verb != "get" && k.Verb != "list" && k.Verb != "watch" || k.Stage == "ResponseStarted"
	tell := s.tellEntry(told)
	// Who floods the log with changes must not hide one of another kind among them.
	taken := s.entries.take(now, key, single, *e, tell)
	if !taken && single {
		taken = s.entries.take(now, key, false, *e, tell)
	}
	if !taken {
		s.Dropped++
	}
}

// tellEntry tells of an entry of the audit log, or of several that are alike by the last of them.
func (s *source) tellEntry(told func(*event.Event)) func(time.Time, event.Event, uint32) {
	return func(_ time.Time, e event.Event, count uint32) {
		if count > 1 {
			e.Count = count
		}
		told(&e)
	}
}

// auditLine is what is read of an entry of the audit log, audit.k8s.io/v1. The object of the answer,
// which may hold secrets, is not even decoded.
type auditLine struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	URI        string `json:"requestURI"`
	Verb       string `json:"verb"`
	User       struct {
		Name   string   `json:"username"`
		Groups []string `json:"groups"`
	} `json:"user"`
	Impersonated struct {
		Name string `json:"username"`
	} `json:"impersonatedUser"`
	Sources   []string `json:"sourceIPs"`
	UserAgent string   `json:"userAgent"`
	Object    struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Group       string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Status struct {
		Code int64 `json:"code"`
	} `json:"responseStatus"`
	Request     json.RawMessage `json:"requestObject"`
	Stamp       string          `json:"stageTimestamp"`
	Annotations struct {
		Decision string `json:"authorization.k8s.io/decision"`
	} `json:"annotations"`
}

var errAudit = errors.New("not an entry of a Kubernetes audit log (audit.k8s.io)")

// ParseAudit reads an entry of the audit log of Kubernetes. It returns nil for one that is not told of:
// the beginning of a request whose end is told, and what the cluster's own parts read all the time.
func ParseAudit(line []byte, now time.Time) (*event.Event, error) {
	return parseAudit(line, now, false)
}

// parseAudit reads an entry. One of a list has no kind of its own: the list has it.
func parseAudit(line []byte, now time.Time, ofList bool) (*event.Event, error) {
	var a auditLine
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, err
	}
	if ofList && a.Kind == "" && a.APIVersion == "" {
		a.Kind, a.APIVersion = "Event", "audit.k8s.io/v1"
	}
	if a.Kind != "Event" || !strings.HasPrefix(a.APIVersion, "audit.k8s.io/") || a.Verb == "" {
		return nil, errAudit
	}
	if !a.matters() {
		return nil, nil
	}
	k := &event.Kubernetes{
		AuditID: printable(a.AuditID, maxText), Stage: printable(a.Stage, maxText), Verb: printable(a.Verb, maxText), URI: auditURI(a.URI),
		User: printable(a.User.Name, maxText), Impersonated: printable(a.Impersonated.Name, maxText), UserAgent: printable(a.UserAgent, maxText),
		APIGroup: printable(a.Object.Group, maxText), Resource: printable(a.Object.Resource, maxText), Subresource: printable(a.Object.Subresource, maxText),
		Namespace: printable(a.Object.Namespace, maxText), Name: printable(a.Object.Name, maxText), Decision: printable(a.Annotations.Decision, maxText),
	}
	for _, g := range a.User.Groups {
		k.Groups = listed(k.Groups, g)
	}
	if len(a.Sources) > 0 {
		if client, ok := address(a.Sources[0]); ok {
			k.Source = client.Addr().Unmap().WithZone("").String()
		}
	}
	if a.Status.Code > 0 && a.Status.Code < 1000 {
		k.Status = event.Measured(a.Status.Code)
	}
	e := &event.Event{Kind: event.KubernetesAudit, Time: now, Kubernetes: k}
	if at, err := time.Parse(time.RFC3339Nano, a.Stamp); err == nil && !at.After(now) && now.Sub(at) <= auditLate {
		e.Time = at.UTC()
	}
	switch a.Verb {
	case "create", "update", "patch":
		o := &object8s{k: k}
		o.read(a.Request)
		e.Truncated = o.cut
	}
	if k.Engine == "" && (k.Resource == "pods" || k.Subresource != "") {
		k.Engine = engineIn(k.Name)
	}
	return e, nil
}

// matters reports whether an entry is told of.
func (a *auditLine) matters() bool {
	goesOn := a.Verb == "watch" || a.Object.Subresource == "exec" || a.Object.Subresource == "attach" || a.Object.Subresource == "portforward" || a.Object.Subresource == "proxy"
	switch a.Stage {
	case "ResponseComplete", "Panic":
		if goesOn && a.Status.Code < 400 && (a.Status.Code != 200 || a.Verb == "watch") {
			return false // told of when it began
		}
	case "ResponseStarted":
		if !goesOn {
			return false
		}
	default:
		return false
	}
	if a.Status.Code == 401 || a.Status.Code == 403 || a.Object.Resource == "secrets" || a.Object.Subresource != "" && goesOn {
		return true
	}
	own := strings.HasPrefix(a.User.Name, "system:node:") || strings.HasPrefix(a.User.Name, "system:kube-") || a.User.Name == "system:apiserver" ||
		strings.HasPrefix(a.User.Name, "system:serviceaccount:kube-system:")
	switch a.Verb {
	case "get", "list", "watch":
		return !own && a.Object.Resource != ""
	}
	return !own || a.Object.Resource != "leases" && a.Object.Resource != "events" && a.Object.Subresource != "status" && a.Object.Resource != "endpoints" &&
		a.Object.Resource != "endpointslices" && a.Object.Resource != "tokenreviews" && a.Object.Resource != "subjectaccessreviews"
}

// auditURI keeps the path, the names of the query's parameters, and of commands that are run in a
// container the program: its arguments may be secrets.
func auditURI(s string) string {
	s = printable(s, 2*maxText)
	p, query, found := strings.Cut(s, "?")
	if !found {
		return p
	}
	var out []string
	program := false
	for one := range strings.SplitSeq(query, "&") {
		name, v, _ := strings.Cut(one, "=")
		if name == "command" && !program {
			program = true
			out = append(out, one)
			continue
		}
		if v != "" && name != "command" && (name == "container" || name == "stdin" || name == "tty") {
			out = append(out, one)
			continue
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return p + "?" + strings.Join(out, "&")
}

// listed adds a name to a list whose parts have a semicolon behind them, once.
func listed(list, name string) string {
	name = strings.ReplaceAll(printable(name, maxText), ";", ",")
	if name == "" || strings.Contains(";"+list, ";"+name+";") || len(list)+len(name) > maxListed {
		return list
	}
	return list + name + ";"
}

// object8s reads what is of interest out of an object that was handed in, of whatever kind: a pod, what
// makes pods, a patch of either, a volume. Parts are known by their names and those around them, so
// that kinds which nobody has heard of yet are read too.
type object8s struct {
	k            *event.Kubernetes
	dec          *json.Decoder
	limits, asks int64
	owner        string
	cut          bool
}

const maxNested = 64 // objects in objects; what lies deeper is passed over

func (o *object8s) read(raw []byte) {
	if len(raw) == 0 {
		return
	}
	o.dec = json.NewDecoder(bytes.NewReader(raw))
	o.dec.UseNumber()
	if o.value("", "", 0) != nil {
		o.cut = true
	}
	if n := max(o.limits, o.asks); n > 0 {
		o.k.GPUs = event.Measured(min(n, 1<<20))
	}
	if o.owner != "" && o.owner != o.k.Namespace {
		o.k.VolumeOwner = o.owner
	}
}

// value reads one value: key is its name, of the object's whose name is parent.
func (o *object8s) value(key, parent string, depth int) error {
	tok, err := o.dec.Token()
	if err != nil {
		return err
	}
	switch t := tok.(type) {
	case json.Delim:
		if depth >= maxNested {
			o.cut = true
			return o.skip()
		}
		for o.dec.More() {
			name, of := key, parent
			if t == '{' {
				tok, err := o.dec.Token()
				if err != nil {
					return err
				}
				name, _ = tok.(string)
				of = key
			}
			if err := o.value(name, of, depth+1); err != nil {
				return err
			}
		}
		_, err = o.dec.Token()
		return err
	case string:
		o.text(key, parent, t)
	case json.Number:
		o.amount(key, parent, t.String())
	case bool:
		if t {
			o.flag(key)
		}
	}
	return nil
}

// skip reads to the end of the object or list that began.
func (o *object8s) skip() error {
	for open := 1; open > 0; {
		tok, err := o.dec.Token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
	return nil
}

func (o *object8s) text(key, parent, s string) {
	k := o.k
	switch {
	case key == "path" && parent == "hostPath":
		k.HostPaths = listed(k.HostPaths, s)
		for _, r := range reachOf(s) {
			k.Reach = listed(k.Reach, r)
		}
	case key == "add" && parent == "capabilities":
		s = strings.TrimPrefix(strings.ToUpper(s), "CAP_")
		k.Capabilities = listed(k.Capabilities, s)
		if slices.Contains([]string{"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF"}, s) {
			k.Reach = listed(k.Reach, "capability")
		}
	case key == "image":
		k.Images = listed(k.Images, s)
		if k.Engine == "" {
			k.Engine = engineIn(s)
		}
	case key == "claimName" && parent == "persistentVolumeClaim":
		k.Claims = listed(k.Claims, s)
	case key == "serviceAccountName":
		k.ServiceAccount = printable(s, maxText)
	case parent == "dataSource" || parent == "dataSourceRef":
		switch key {
		case "name":
			k.Volume = printable(s, maxText)
		case "namespace":
			o.owner = printable(s, maxText)
		}
	case key == "persistentVolumeClaimName" && parent == "source" || key == "snapshotHandle" && parent == "source" || key == "volumeHandle" && parent != "status":
		k.Volume = printable(s, maxText)
	case key == "namespace" && (parent == "claimRef" || parent == "volumeSnapshotRef" || parent == "from" && k.Resource == "referencegrants"):
		o.owner = printable(s, maxText)
	case key == "name" && parent == "metadata" && k.Name == "", key == "generateName" && parent == "metadata" && k.Name == "":
		k.Name = printable(s, maxText)
	default:
		o.amount(key, parent, s)
	}
}

// amount adds up GPUs: limits and requests of containers say the same, as a rule.
func (o *object8s) amount(key, parent, s string) {
	if parent != "limits" && parent != "requests" || !gpuResource(key) {
		return
	}
	n := int64(0)
	for _, c := range []byte(s[:min(len(s), 7)]) {
		if c < '0' || c > '9' {
			return
		}
		n = n*10 + int64(c-'0')
	}
	if parent == "limits" {
		o.limits += n
	} else {
		o.asks += n
	}
}

// gpuResource reports whether a resource is a GPU or a part of one, as device plugins name them.
func gpuResource(name string) bool {
	domain, kind, _ := strings.Cut(name, "/")
	switch domain {
	case "nvidia.com":
		return kind == "gpu" || kind == "gpu.shared" || strings.HasPrefix(kind, "mig-")
	case "amd.com", "gpu.intel.com", "aliyun.com", "cloud.google.com", "habana.ai", "aws.amazon.com", "google.com":
		return kind == "gpu" || kind == "i915" || kind == "xe" || kind == "gpu-mem" || kind == "gaudi" || kind == "neuron" || kind == "neuroncore" || kind == "tpu"
	}
	return false
}

func (o *object8s) flag(key string) {
	reach := map[string]string{"privileged": "privileged", "hostPID": "host-pid", "hostIPC": "host-ipc", "hostNetwork": "host-network"}[key]
	if reach != "" {
		o.k.Reach = listed(o.k.Reach, reach)
	}
}

// reachOf says what a mount of a path of the node lets a pod get at.
func reachOf(s string) (reach []string) {
	s = path.Clean("/" + s)
	holds := func(what string) bool {
		return s == "/" || s == what || strings.HasPrefix(what, s+"/") || strings.HasPrefix(s, what+"/")
	}
	for _, of := range []string{"/etc", "/root", "/proc", "/sys", "/boot", "/usr", "/bin", "/sbin"} {
		if s == "/" || s == of || strings.HasPrefix(s, of+"/") {
			reach = append(reach, "root")
			break
		}
	}
	if s == "/dev" || strings.HasPrefix(s, "/dev/") && s != "/dev/shm" && s != "/dev/null" || s == "/" {
		reach = append(reach, "device")
	}
	if holds("/var/lib/kubelet") {
		reach = append(reach, "kubelet")
	}
	for _, socket := range []string{"/run/containerd", "/run/docker.sock", "/run/crio", "/run/k3s/containerd"} {
		if holds(socket) || holds("/var"+socket) {
			return append(reach, "runtime")
		}
	}
	return reach
}

// enginesByName are AI engines as images and pods name them.
var enginesByName = []struct{ part, engine string }{
	{"vllm", "vllm"},
	{"sglang", "sglang"},
	{"tritonserver", "triton"},
	{"text-generation-inference", "tgi"},
	{"ollama", "ollama"},
	{"llama.cpp", "llama.cpp"},
	{"llama-server", "llama.cpp"},
	{"llama-cpp", "llama.cpp"},
	{"torchserve", "torchserve"},
	{"kserve", "kserve"},
	{"rayproject/ray", "ray"},
	{"raycluster", "ray"},
	{"jupyter", "jupyter"},
	{"mlflow", "mlflow"},
	{"litellm", "litellm"},
	{"langflow", "langflow"},
	{"flowise", "flowise"},
	{"lmdeploy", "lmdeploy"},
	{"tensorrt", "tensorrt-llm"},
	{"text-embeddings-inference", "tei"},
	{"open-webui", "open-webui"},
	{"comfyui", "comfyui"},
	{"pytorch", "pytorch"},
}

func engineIn(name string) string {
	name = strings.ToLower(name)
	for _, e := range enginesByName {
		if strings.Contains(name, e.part) {
			return e.engine
		}
	}
	return ""
}
