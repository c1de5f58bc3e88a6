package node_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/respond/kubetest"
)

// signedPair writes a certificate that signs itself, with its key.
func signedPair(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "picket"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

// A real API server sends its audit log, and what is asked of it is found. Who reads what it sends has no
// rights.
func TestAClusterSendsItsAuditLog(t *testing.T) {
	p := newProgram(t)
	at, token := freePort(t), "0123456789abcdef0123456789abcdef"
	in := func(name string) string { return filepath.Join(p.dir, name) }
	write(t, in("token"), token+"\n")
	signedPair(t, in("audit.crt"), in("audit.key"))
	write(t, in("policy.yaml"), "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"+
		"  - {level: None, resources: [{group: coordination.k8s.io, resources: [leases]}, {group: \"\", resources: [events]}]}\n"+
		"  - {level: Metadata, resources: [{group: \"\", resources: [secrets, configmaps]}]}\n  - {level: Metadata, verbs: [get, list, watch]}\n  - {level: Request}\n")
	write(t, in("webhook.yaml"), fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: p, cluster: {server: \"https://%s\", certificate-authority: %s}}]\n"+
		"users: [{name: p, user: {tokenFile: %s}}]\ncontexts: [{name: p, context: {cluster: p, user: p}}]\ncurrent-context: p\n", at, in("audit.crt"), in("token")))
	conf, err := os.ReadFile(p.configFile())
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.configFile(), string(conf)+fmt.Sprintf("ingest: {audit: {listen: %q, certificate: %s, key: %s, token: %s}}\n", at, in("audit.crt"), in("audit.key"), in("token")))
	c := kubetest.Start(t, "--audit-policy-file", in("policy.yaml"), "--audit-webhook-config-file", in("webhook.yaml"), "--audit-webhook-initial-backoff", "1s", "--audit-webhook-batch-max-wait", "1s")
	p.start()
	p.until(2*time.Minute, "audit logs are taken", func() bool { return strings.Contains(string(p.log()), "taking audit logs of Kubernetes") })

	c.Namespace("ml")
	c.Do(http.MethodPost, "/api/v1/namespaces/ml/pods", kubetest.M{
		"metadata": kubetest.M{"name": "debug"},
		"spec": kubetest.M{
			"volumes":    []any{kubetest.M{"name": "v", "hostPath": kubetest.M{"path": "/var/lib/kubelet"}}},
			"containers": []any{kubetest.M{"name": "c", "image": "vllm/vllm-openai", "resources": kubetest.M{"limits": kubetest.M{"nvidia.com/gpu": "8"}}}},
		},
	})
	c.Do(http.MethodGet, "/api/v1/namespaces/ml/secrets", nil)
	for rule, want := range map[string]string{
		"gpu_pod_reaches_node": "admin set up pods ml/debug so that it gets at its node: kubelet;",
		"secrets_listed":       "admin listed the secrets of ml, from 127.0.0.1",
	} {
		p.until(3*time.Minute, "the finding of "+rule, func() bool {
			all, err := p.findings(rule)
			return err == nil && len(all) == 1 && strings.Contains(all[0].Summary, want)
		})
	}
	readers := 0
	for _, dir := range all(filepath.Glob("/proc/[0-9]*")) {
		line, err := os.ReadFile(dir + "/cmdline")
		if exe, _ := os.Readlink(dir + "/exe"); err != nil || exe != p.bin || !strings.HasSuffix(string(line), "\x00--audit-receiver\x00") {
			continue
		}
		readers++
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("no %q in its status:\n%s", want, status)
			}
		}
		if strings.Contains(string(status), "Uid:\t0") || bytes.Contains(line, []byte(token)) {
			t.Errorf("it runs as root, or its command line holds the token: %q", line)
		}
	}
	if readers != 1 {
		t.Errorf("%d receivers", readers)
	}
	if err, _ := p.stop(syscall.SIGINT); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if bytes.Contains(p.log(), []byte(token)) {
		t.Error("the log holds the token")
	}
}
