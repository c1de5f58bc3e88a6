// Package kubetest runs a real kube-apiserver on an etcd, for tests of what is done in a cluster. It has no
// kubelets, schedulers and controllers: a pod is where and what a test makes it.
package kubetest

import (
	"bytes"
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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Cluster is an API server that ends with its test.
type Cluster struct {
	t     *testing.T
	dir   string
	url   string
	ca    []byte
	admin *http.Client
}

// M is an object, or a part of one, as JSON.
type M = map[string]any

const adminToken = "admin-token"

// Start starts an API server, with further arguments, and waits until it is ready, or skips the test with what
// is missing; where PICKET_REQUIRE names kube it fails.
func Start(t *testing.T, more ...string) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("a kube-apiserver takes half a minute to start: not in -short")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	found, _ := filepath.Glob(filepath.Join(cache, "picket", "kube-apiserver-v*[0-9]")) // the pattern is sound
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		etcd = filepath.Join(cache, "picket", "etcd")
	}
	if _, err := os.Stat(etcd); err != nil || len(found) == 0 {
		const missing = "there is no kube-apiserver and etcd to test with: tools/kube.sh builds them"
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "kube") { //nolint:forbidigo // a test's wish
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	c := &Cluster{t: t, dir: t.TempDir()}
	at := func(port string) string { return "http://127.0.0.1:" + port }
	client, peer, secure := FreePort(t), FreePort(t), FreePort(t)
	c.url = "https://127.0.0.1:" + secure
	c.run(etcd, "--data-dir", c.file("etcd"), "--listen-client-urls", at(client), "--advertise-client-urls", at(client),
		"--listen-peer-urls", at(peer), "--initial-advertise-peer-urls", at(peer), "--initial-cluster", "default="+at(peer), "--unsafe-no-fsync")
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key := c.file("sa.key")
	c.write(key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(pair)}))
	c.write(c.file("tokens"), []byte(adminToken+",admin,1,system:masters\n"))
	// Without controllers there are no default service accounts, which pods would have to have.
	c.run(found[len(found)-1], append([]string{
		"--etcd-servers", at(client), "--secure-port", secure, "--bind-address", "127.0.0.1", "--cert-dir", c.file("certs"),
		"--token-auth-file", c.file("tokens"), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24",
		"--service-account-issuer", "https://picket.test", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--disable-admission-plugins", "ServiceAccount",
	}, more...)...)
	Until(t, 3*time.Minute, "the API server is ready", c.ready)
	return c
}

func (c *Cluster) ready() bool {
	var err error
	if c.ca, err = os.ReadFile(c.file("certs/apiserver.crt")); err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.ca)
	c.admin = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 20 * time.Second}
	code, _ := c.Try(http.MethodGet, "/readyz", nil)
	return code == http.StatusOK
}

func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) write(file string, text []byte) {
	c.t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// FreePort is one of loopback that nothing listens on.
func FreePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it served its purpose
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// run runs a program that ends with the test.
func (c *Cluster) run(name string, args ...string) {
	c.t.Helper()
	log, err := os.Create(c.file(filepath.Base(name) + ".log"))
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

// Until waits until something is so.
func Until(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", most, what)
		}
	}
}

// Try makes a call as the administrator. Its code is 0 where no answer came.
func (c *Cluster) Try(method, path string, body any) (code int, answer M) {
	c.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.admin.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	_ = dec.Decode(&answer) // /readyz says ok, and no JSON
	return resp.StatusCode, answer
}

// Do makes a call as the administrator that must come through.
func (c *Cluster) Do(method, path string, body any) M {
	c.t.Helper()
	code, o := c.Try(method, path, body)
	if code < 200 || code > 299 {
		c.t.Fatalf("%s %s: %d %v", method, path, code, o)
	}
	return o
}

// Namespace makes a namespace.
func (c *Cluster) Namespace(name string) {
	c.t.Helper()
	c.Do(http.MethodPost, "/api/v1/namespaces", M{"metadata": M{"name": name}})
}

// Pod makes a pod with a label app, on a node where one is named, and has it run.
func (c *Cluster) Pod(ns, name, node, container string, more ...func(M)) M {
	c.t.Helper()
	spec := M{"containers": []any{M{"name": "main", "image": "x"}}, "nodeName": node, "automountServiceAccountToken": false}
	doc := M{"metadata": M{"name": name, "labels": M{"app": name}}, "spec": spec}
	for _, f := range more {
		f(doc)
	}
	c.Do(http.MethodPost, "/api/v1/namespaces/"+ns+"/pods", doc)
	return c.Do(http.MethodPatch, "/api/v1/namespaces/"+ns+"/pods/"+name+"/status", M{"status": M{
		"phase":             "Running",
		"containerStatuses": []any{M{"name": "main", "containerID": "containerd://" + container, "image": "x", "imageID": "", "ready": true, "restartCount": 0}},
	}})
}

const (
	rbac  = "/apis/rbac.authorization.k8s.io/v1"
	owner = "picket" // the namespace and the name of Picket's account, as the guide has them
)

// Account makes the service account of the guide, with the role that stands there and nothing more, and
// returns a kubeconfig whose user it is.
func (c *Cluster) Account(guide string) (kubeconfig string) {
	c.t.Helper()
	c.Namespace(owner)
	c.Do(http.MethodPost, "/api/v1/namespaces/"+owner+"/serviceaccounts", M{"metadata": M{"name": owner}})
	role, binding := c.Role(guide)
	c.Do(http.MethodPost, rbac+"/clusterroles", role)
	c.Do(http.MethodPost, rbac+"/clusterrolebindings", binding)
	token := c.Do(http.MethodPost, "/api/v1/namespaces/"+owner+"/serviceaccounts/"+owner+"/token", M{"spec": M{"expirationSeconds": 3600}})
	secret, _ := token["status"].(M)["token"].(string)
	c.write(c.file("token"), []byte(secret+"\n"))
	kubeconfig = c.file("kubeconfig")
	c.write(kubeconfig, fmt.Appendf(nil, `
current-context: test
contexts: [{name: test, context: {cluster: test, user: picket}}]
clusters: [{name: test, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: picket, user: {tokenFile: token}}]
`, c.url, base64.StdEncoding.EncodeToString(c.ca)))
	return kubeconfig
}

// Role returns the role that stands in the guide, and its binding.
func (c *Cluster) Role(guide string) (role, binding M) {
	c.t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		c.t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(apiVersion: rbac.authorization.k8s.io/v1\n.*?)```").FindSubmatch(text)
	if found == nil {
		c.t.Fatalf("%s has no role", guide)
	}
	for dec := yaml.NewDecoder(bytes.NewReader(found[1])); ; {
		var doc M
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return role, binding
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if doc["kind"] == "ClusterRole" {
			role = doc
		} else {
			binding = doc
		}
	}
}

// SetRole gives Picket another role.
func (c *Cluster) SetRole(role M) {
	c.t.Helper()
	name, _ := role["metadata"].(M)["name"].(string)
	c.Do(http.MethodPut, rbac+"/clusterroles/"+name, role)
}
