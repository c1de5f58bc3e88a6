package ingest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/event"
)

// entry is a line of the audit log, as a kube-apiserver writes it at the level Request.
func entry(verb, user, object, status, request string) string {
	if request == "" {
		request = "null"
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/x","verb":%q,`+
		`"user":{"username":%q,"groups":["dev","system:authenticated"]},"sourceIPs":["203.0.113.9","10.0.0.1"],"userAgent":"kubectl/v1.36.0","objectRef":%s,"responseStatus":{"metadata":{},"code":%s},`+
		`"requestObject":%s,"responseObject":{"data":{"password":"c2VjcmV0"}},"requestReceivedTimestamp":"2026-11-29T10:00:00.000000Z","stageTimestamp":"2026-11-29T10:00:01.000000Z","annotations":{"authorization.k8s.io/decision":"allow"}}`,
		verb, user, object, status, request)
}

const hostilePod = `{"kind":"Pod","metadata":{"name":"debug","annotations":{"hostPath":"no"}},"spec":{"hostPID":true,"serviceAccountName":"builder","volumes":[{"name":"v","hostPath":{"path":"/var/lib/kubelet/pods"}},{"name":"d","hostPath":{"path":"/dev/../dev"}},{"name":"c","persistentVolumeClaim":{"claimName":"corpus"}}],
"containers":[{"name":"c","image":"vllm/vllm-openai:v0.11","env":[{"name":"HF_TOKEN","value":"hf_secret"}],"resources":{"limits":{"nvidia.com/gpu":"8","memory":"64Gi"},"requests":{"nvidia.com/gpu":8}},"securityContext":{"privileged":true,"capabilities":{"add":["CAP_SYS_ADMIN","NET_RAW"]}}}]}}`

func TestWhatAClusterWasAskedIsRead(t *testing.T) {
	now := time.Date(2026, 11, 29, 10, 0, 2, 0, time.UTC)
	for name, c := range map[string]struct {
		line string
		want string // parts of the record, separated by blanks; "" is not told of
	}{
		"a pod that reaches its node": {
			entry("create", "bob", `{"resource":"pods","namespace":"ml","name":"debug","apiVersion":"v1"}`, "201", hostilePod),
			`"kubernetes.host_paths":"/var/lib/kubelet/pods;/dev/../dev;" "kubernetes.capabilities":"SYS_ADMIN;NET_RAW;" "kubernetes.gpus":"8" "kubernetes.reach":"host-pid;kubelet;device;privileged;capability;" "kubernetes.engine":"vllm" "kubernetes.claims":"corpus;" "kubernetes.service_account":"builder" "kubernetes.source.ip":"203.0.113.9" "kubernetes.decision":"allow" "_time":"2026-11-29T10:00:01Z" "kubernetes.groups":"dev;system:authenticated;"`,
		},
		"what makes pods": {
			entry("create", "bob", `{"resource":"cronjobs","apiGroup":"batch","namespace":"ml","name":"n"}`, "201", `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"image":"a","resources":{"limits":{"nvidia.com/mig-1g.10gb":2}}},{"image":"b","resources":{"limits":{"amd.com/gpu":"1"}}}]}}}}}}`),
			`"kubernetes.gpus":"3" "kubernetes.images":"a;b;"`,
		},
		"a patch in JSON": {
			entry("patch", "bob", `{"resource":"deployments","apiGroup":"apps","namespace":"ml","name":"n"}`, "200", `[{"op":"add","path":"/spec/template/spec/volumes/0","value":{"name":"h","hostPath":{"path":"/run/containerd/containerd.sock"}}},{"op":"replace","path":"/x","value":{"securityContext":{"privileged":true}}}]`),
			`"kubernetes.reach":"runtime;privileged;" "kubernetes.api_group":"apps"`,
		},
		"a claim on another namespace's volume": {
			entry("create", "bob", `{"resource":"persistentvolumeclaims","namespace":"dev","name":"c"}`, "201", `{"spec":{"dataSourceRef":{"apiGroup":"snapshot.storage.k8s.io","kind":"VolumeSnapshot","name":"corpus-1","namespace":"ml"}}}`),
			`"kubernetes.volume":"corpus-1" "kubernetes.volume_owner":"ml"`,
		},
		"a claim of its own": {
			entry("create", "bob", `{"resource":"persistentvolumeclaims","namespace":"dev","name":"c"}`, "201", `{"spec":{"dataSource":{"kind":"VolumeSnapshot","name":"own"}}}`),
			`"kubernetes.volume":"own" !volume_owner`,
		},
		"a volume by hand": {
			entry("create", "bob", `{"resource":"persistentvolumes","name":"pv"}`, "201", `{"spec":{"csi":{"driver":"d","volumeHandle":"vol-1"},"claimRef":{"namespace":"dev","name":"c"}}}`),
			`"kubernetes.volume":"vol-1" "kubernetes.volume_owner":"dev"`,
		},
		"a command in a pod, as it begins": {
			strings.NewReplacer("ResponseComplete", "ResponseStarted", "/api/v1/x", "/api/v1/namespaces/ml/pods/vllm-0/exec?command=%2Fbin%2Fsh&command=-c&command=cat+token&container=c&stdin=true").Replace(entry("get", "bob", `{"resource":"pods","subresource":"exec","namespace":"ml","name":"vllm-0"}`, "101", "")),
			`"kubernetes.uri":"/api/v1/namespaces/ml/pods/vllm-0/exec?command=%2Fbin%2Fsh\u0026command\u0026container=c\u0026stdin=true" "kubernetes.engine":"vllm" "kubernetes.stage":"ResponseStarted"`,
		},
		"its end":                      {entry("get", "bob", `{"resource":"pods","subresource":"exec","namespace":"ml","name":"vllm-0"}`, "101", ""), ""},
		"what a controller reads":      {entry("list", "system:kube-scheduler", `{"resource":"pods"}`, "200", ""), ""},
		"secrets that one reads":       {entry("list", "system:kube-scheduler", `{"resource":"secrets"}`, "200", ""), `"kubernetes.verb":"list"`},
		"what a controller was denied": {entry("list", "system:kube-scheduler", `{"resource":"pods"}`, "403", ""), `"kubernetes.status":"403"`},
		"a lease":                      {entry("update", "system:node:n1", `{"resource":"leases","name":"n1"}`, "200", ""), ""},
		"nesting without an end": {
			entry("create", "bob", `{"resource":"pods","namespace":"ml"}`, "201", `{"a":`+strings.Repeat(`[`, 500)+strings.Repeat(`]`, 500)+`,"spec":{"hostPID":true}}`),
			`"kubernetes.reach":"host-pid;" "event.truncated":"true"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := ParseAudit([]byte(c.line), now)
			if err != nil || (e == nil) != (c.want == "") {
				t.Fatalf("%+v, %v", e, err)
			}
			if e == nil {
				return
			}
			record := string(e.AppendRecord(nil))
			for want := range strings.SplitSeq(c.want, " ") {
				if not, ok := strings.CutPrefix(want, "!"); ok == strings.Contains(record, not) && not != "" {
					t.Errorf("%s: %v in\n%s", not, !ok, record)
				}
			}
			for _, secret := range []string{"hf_secret", "c2VjcmV0", "cat+token"} {
				if strings.Contains(record, secret) {
					t.Errorf("it keeps %q: %s", secret, record)
				}
			}
			back, err := event.ParseRecord([]byte(record))
			if err != nil || back.ID() != e.ID() {
				t.Errorf("read back: %v", err)
			}
		})
	}
}

func TestWhatIsNoEntryIsRefused(t *testing.T) {
	for _, line := range []string{"", "x", "{}", `{"kind":"Event","apiVersion":"v1","verb":"get"}`, `{"kind":"Event","apiVersion":"audit.k8s.io/v1"}`, `{"kind":1}`} {
		if e, err := ParseAudit([]byte(line), time.Now()); err == nil {
			t.Errorf("%s: %+v", line, e)
		}
	}
}

// A line may have megabytes, and one that is longer hides nothing behind it.
func TestTheAuditLogIsFollowed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	write(t, name, 0, "")
	var told []*event.Event
	now := time.Now()
	r := New(Options{Audit: []string{name}, Told: func(e *event.Event) { told = append(told, e) }, Now: func() time.Time { return now }})
	t.Cleanup(r.close)
	r.find(now)
	line := func(verb, name string, size int) string {
		s := entry(verb, "bob", `{"resource":"pods","namespace":"ml","name":"`+name+`"}`, "200", `{"metadata":{"annotations":{"a":"`+strings.Repeat("x", size)+`"}}}`)
		return strings.Replace(s, "a-1", name, 1) + "\n"
	}
	write(t, name, os.O_APPEND, line("create", "small", 0)+line("create", "large", 3<<20)+line("create", "beyond", maxAudit)+"no entry\n"+strings.Repeat(line("list", "many", 0), 40)+line("delete", "last", 0))
	for range 20 {
		now = now.Add(time.Second)
		r.find(now)
		r.read(now)
	}
	var got []string
	for _, e := range told {
		got = append(got, fmt.Sprintf("%s %s %d", e.Kubernetes.Verb, e.Kubernetes.Name, e.Count))
	}
	if want := "create small 0; create large 0; list many 0; delete last 0; list many 39"; strings.Join(got, "; ") != want {
		t.Errorf("told of %q, want %q", strings.Join(got, "; "), want)
	}
	if s := r.Sources(); len(s) != 1 || s[0].Refused != 2 || s[0].Requests != 43 || s[0].Engine != "kubernetes" {
		t.Errorf("%+v", s)
	}
}

func FuzzParseAudit(f *testing.F) {
	f.Add([]byte(entry("create", "bob", `{"resource":"pods"}`, "201", hostilePod)))
	f.Add([]byte(entry("patch", "bob", `{"resource":"pods"}`, "200", `[{"value":[[{"capabilities":{"add":["ALL"]}}]]}]`)))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseAudit(line, time.Now())
		if err != nil || e == nil {
			return
		}
		if b := e.AppendRecord(nil); !json.Valid(b) || len(b) > 32<<10 {
			t.Errorf("%d bytes: %s", len(b), b)
		}
	})
}
