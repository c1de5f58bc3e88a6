package node_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/bench/public"
	"picket/detect"
	"picket/event"
	"picket/ingest"
)

// audited writes an entry of a cluster's audit log, as a kube-apiserver does at the level Request.
func audited(t *testing.T, verb, user, resource, subresource, name string, object any) []byte {
	t.Helper()
	group := map[string]string{"cronjobs": "batch", "deployments": "apps", "rolebindings": "rbac.authorization.k8s.io", "mutatingwebhookconfigurations": "admissionregistration.k8s.io", "selfsubjectrulesreviews": "authorization.k8s.io"}[resource]
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	b, err := json.Marshal(map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": fmt.Sprint(verb, resource, name), "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/ml/" + resource,
		"verb": verb, "user": map[string]any{"username": user, "groups": []string{"system:authenticated"}}, "sourceIPs": []string{"203.0.113.9"}, "userAgent": "kubectl/v1.36.0",
		"objectRef":      map[string]string{"resource": resource, "subresource": subresource, "namespace": "ml", "name": name, "apiGroup": group, "apiVersion": "v1"},
		"responseStatus": map[string]any{"metadata": map[string]any{}, "code": 200}, "requestObject": object, "requestReceivedTimestamp": now, "stageTimestamp": now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file is written as an API server writes its audit log, and what stands in it is found.
func TestTheAuditLogOfAClusterLeadsToFindings(t *testing.T) {
	p := newProgram(t)
	log := filepath.Join(p.dir, "audit.log")
	write(t, log, "")
	conf, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(conf)+fmt.Sprintf("ingest: {kubernetes: %q}\n", log))
	p.start()
	p.until(2*time.Minute, "the log is read", func() bool { return strings.Contains(string(p.log()), "an access log is read") })
	pod := map[string]any{"spec": map[string]any{
		"volumes":    []any{map[string]any{"hostPath": map[string]string{"path": "/var/lib/kubelet"}}},
		"containers": []any{map[string]any{"image": "vllm/vllm-openai", "env": []any{map[string]string{"name": "HF_TOKEN", "value": "zanzibar-heliotrope"}}, "resources": map[string]any{"limits": map[string]string{"nvidia.com/gpu": "8"}}}},
	}}
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]byte{
		audited(t, "create", "bob", "pods", "", "debug", pod), audited(t, "create", "bob", "pods", "exec", "vllm-0", nil), audited(t, "list", "bob", "secrets", "", "", nil),
		[]byte("{no entry"), audited(t, "delete", "bob", "daemonsets", "", "nvidia-device-plugin-daemonset", nil),
	} {
		if _, err := f.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]string{
		"gpu_pod_reaches_node": "bob set up pods ml/debug so that it gets at its node: kubelet;",
		"serving_pod_entered":  "bob got into the pod ml/vllm-0, which runs vllm, by exec",
		"secrets_listed":       "bob listed the secrets of ml, from 203.0.113.9",
		"gpu_operator_changed": "bob did delete with daemonsets ml/nvidia-device-plugin-daemonset",
	} {
		p.until(2*time.Minute, "the finding of "+rule, func() bool {
			all, err := p.findings(rule)
			return err == nil && len(all) == 1 && strings.Contains(all[0].Summary, want)
		})
	}
	all, err := p.findings("secrets_listed")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	var names []string
	for _, e := range all[0].Entities {
		names = append(names, string(e.Kind)+" "+e.ID)
	}
	if got := strings.Join(names, "; "); !strings.Contains(got, "address 203.0.113.9; user kubernetes/bob") {
		t.Errorf("the finding is about %s", got)
	}
	if err, _ := p.stop(syscall.SIGINT); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// The public rules about the audit log fire on entries of it, and on no others.
func TestThePublicRulesAboutClustersFire(t *testing.T) {
	dir := t.TempDir()
	for _, f := range public.Rules(t) {
		if strings.Contains(f.Name, "/application/kubernetes/audit/") {
			write(t, filepath.Join(dir, filepath.Base(f.Name)), string(f.Data))
		}
	}
	threats, err := detect.LoadThreats(detect.Collection(dir))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(threats[0].Rules); n != 16 || len(threats[0].Warnings) > 0 {
		t.Errorf("%d rules, %v", n, threats[0].Warnings)
	}
	privileged := map[string]any{"spec": map[string]any{
		"volumes":    []any{map[string]any{"hostPath": map[string]string{"path": "/"}}},
		"containers": []any{map[string]any{"securityContext": map[string]any{"capabilities": map[string]any{"add": []string{"SYS_ADMIN"}}}}},
	}}
	for _, c := range []struct {
		line []byte
		want string
	}{
		{audited(t, "create", "bob", "pods", "", "x", privileged), "Container With A hostPath Mount Created; Privileged Container Deployed"},
		{audited(t, "create", "bob", "pods", "", "x", nil), ""},
		{audited(t, "create", "bob", "pods", "exec", "x", nil), "Potential Remote Command Execution In Pod Container"},
		{audited(t, "list", "bob", "secrets", "", "", nil), "Kubernetes Secrets Enumeration"},
		{audited(t, "patch", "bob", "deployments", "", "x", nil), "Potential Sidecar Injection Into Running Deployment"},
		{audited(t, "create", "bob", "cronjobs", "", "x", nil), "Kubernetes CronJob/Job Modification"},
		{audited(t, "create", "bob", "selfsubjectrulesreviews", "", "", nil), "RBAC Permission Enumeration Attempt"},
		{audited(t, "update", "bob", "mutatingwebhookconfigurations", "", "x", nil), "Kubernetes Admission Controller Modification"},
		{audited(t, "get", "bob", "pods", "", "x", nil), ""},
	} {
		e, err := ingest.ParseAudit(c.line, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		engine, err := detect.New(detect.Options{Threats: threats, MinLevel: event.Informational})
		if err != nil {
			t.Fatal(err)
		}
		var fired []string
		for _, f := range engine.Process(e) {
			fired = append(fired, f.Rule.Title)
		}
		if got := strings.Join(fired, "; "); got != c.want {
			t.Errorf("%s: %q fire, want %q", c.line, got, c.want)
		}
	}
}
