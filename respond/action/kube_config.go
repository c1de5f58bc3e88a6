package action

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrNoCluster says that no cluster is configured, and that this program does not run in one.
var ErrNoCluster = errors.New("no Kubernetes cluster: name a kubeconfig, or run in a pod with a service account")

// serviceAccount is where a pod finds its own account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// cluster is how an API server is reached, and as whom.
type cluster struct {
	server    string // URL, without a slash at the end
	tls       *tls.Config
	token     string
	tokenFile string // read at each request: what is in it is renewed
	namespace string // that this program runs in, or its account is of; "": none
}

// inCluster reads the account of the pod that this program runs in.
func inCluster(env func(string) (string, bool)) (*cluster, error) {
	if env == nil {
		return nil, ErrNoCluster
	}
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNoCluster
	}
	roots, err := rootsOf(os.ReadFile(filepath.Join(serviceAccount, "ca.crt")))
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	ns, err := os.ReadFile(filepath.Join(serviceAccount, "namespace"))
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	return &cluster{
		server: "https://" + net.JoinHostPort(host, port), tokenFile: filepath.Join(serviceAccount, "token"),
		tls: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, namespace: strings.TrimSpace(string(ns)),
	}, nil
}

func rootsOf(pem []byte, err error) (*x509.CertPool, error) {
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate of an authority in PEM")
	}
	return roots, nil
}

// kubeconfig is the file, as far as it is read.
type kubeconfig struct {
	Current  string `yaml:"current-context"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string      `yaml:"name"`
		Cluster kubeCluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string   `yaml:"name"`
		User kubeUser `yaml:"user"`
	} `yaml:"users"`
}

type kubeCluster struct {
	Server   string `yaml:"server"`
	CA       string `yaml:"certificate-authority"`
	CAData   string `yaml:"certificate-authority-data"`
	Name     string `yaml:"tls-server-name"`
	Insecure bool   `yaml:"insecure-skip-tls-verify"`
}

type kubeUser struct {
	Token     string    `yaml:"token"`
	TokenFile string    `yaml:"tokenFile"`
	Cert      string    `yaml:"client-certificate"`
	CertData  string    `yaml:"client-certificate-data"`
	Key       string    `yaml:"client-key"`
	KeyData   string    `yaml:"client-key-data"`
	Exec      yaml.Node `yaml:"exec"`
	Provider  yaml.Node `yaml:"auth-provider"`
}

// readKubeconfig reads the cluster and the user of a kubeconfig's current context.
func readKubeconfig(file string) (*cluster, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: it is no YAML of a kubeconfig", file) // the error may quote a secret
	}
	c, err := k.current(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return c, nil
}

func (k *kubeconfig) current(dir string) (*cluster, error) {
	for _, x := range k.Contexts {
		if x.Name != k.Current {
			continue
		}
		for _, c := range k.Clusters {
			for _, u := range k.Users {
				if c.Name == x.Context.Cluster && u.Name == x.Context.User {
					return joinKube(dir, c.Cluster, u.User)
				}
			}
		}
		return nil, fmt.Errorf("context %q names a cluster or a user that is not in it", x.Name)
	}
	return nil, fmt.Errorf("there is no context %q, which current-context names", k.Current)
}

func joinKube(dir string, c kubeCluster, u kubeUser) (*cluster, error) {
	at, err := url.Parse(c.Server)
	switch {
	case err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil:
		return nil, errors.New("server: want an https URL")
	case c.Insecure:
		return nil, errors.New("insecure-skip-tls-verify: whoever stands between would be given the token; name certificate-authority")
	case !u.Exec.IsZero() || !u.Provider.IsZero():
		return nil, errors.New("the user signs in by a program (exec or auth-provider), which Picket does not run: name a token, a tokenFile or a client certificate")
	}
	out := &cluster{server: strings.TrimRight(c.Server, "/"), token: u.Token, tls: &tls.Config{ServerName: c.Name, MinVersion: tls.VersionTLS12}}
	if u.TokenFile != "" {
		out.tokenFile = beside(dir, u.TokenFile)
	}
	if out.namespace, err = out.account(); err != nil {
		return nil, err
	}
	if c.CA != "" || c.CAData != "" {
		if out.tls.RootCAs, err = rootsOf(inlineOr(dir, c.CAData, c.CA)); err != nil {
			return nil, fmt.Errorf("certificate-authority: %w", err)
		}
	}
	if u.Cert != "" || u.CertData != "" {
		cert, err1 := inlineOr(dir, u.CertData, u.Cert)
		key, err2 := inlineOr(dir, u.KeyData, u.Key)
		pair, err3 := tls.X509KeyPair(cert, key)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("client-certificate: %w", err)
		}
		if err3 != nil {
			return nil, errors.New("client-certificate and client-key do not go together")
		}
		out.tls.Certificates = []tls.Certificate{pair}
	}
	if out.token == "" && out.tokenFile == "" && out.tls.Certificates == nil {
		return nil, errors.New("the user has neither token, tokenFile nor client certificate")
	}
	return out, nil
}

// bearer returns the token of now, "" where it goes by a certificate.
func (c *cluster) bearer() (string, error) {
	if c.tokenFile == "" {
		return c.token, nil
	}
	b, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// account returns the namespace of the service account that the token is of, "" where it is of none: what
// Picket runs by is there.
func (c *cluster) account() (string, error) {
	token, err := c.bearer()
	part := strings.Split(token, ".")
	if err != nil || len(part) != 3 {
		return "", err
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if b, err := base64.RawURLEncoding.DecodeString(part[1]); err != nil || json.Unmarshal(b, &claims) != nil {
		return "", nil // a token of another kind
	}
	who, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:")
	if !ok {
		return "", nil
	}
	ns, _, _ := strings.Cut(who, ":")
	return ns, nil
}

func beside(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// inlineOr returns what stands in a file in base64, or what another file has.
func inlineOr(dir, data, file string) ([]byte, error) {
	if data == "" {
		return os.ReadFile(beside(dir, file))
	}
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, errors.New("its data is no base64")
	}
	return b, nil
}
