package stream

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
)

// Bundle is all that an agent needs to join: keep it as secret as a password.
type Bundle struct {
	Name string `json:"name"` // the agent's, as in its certificate
	URL  string `json:"url"`  // of the hub: tls://host:port
	CA   string `json:"ca"`   // PEM, as the next two
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// ReadBundle reads a bundle from a file.
func ReadBundle(name string) (Bundle, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return Bundle{}, fmt.Errorf("reading the agent's certificate bundle: %w", err)
	}
	out, err := ParseBundle(b)
	if err != nil {
		return Bundle{}, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// ParseBundle reads what String wrote.
func ParseBundle(src []byte) (Bundle, error) {
	var b Bundle
	if err := json.Unmarshal(src, &b); err != nil {
		return Bundle{}, fmt.Errorf("not a certificate bundle: %w", err)
	}
	return b, b.validate()
}

// String returns the bundle as one JSON object, key included.
func (b Bundle) String() string {
	out, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return "" // strings always encode
	}
	return string(out)
}

// Write writes the bundle to a file that only its owner may read.
func (b Bundle) Write(name string) error { return writeFile(name, []byte(b.String()+"\n")) }

// Serial returns the serial number of the bundle's certificate, by which it can be revoked.
func (b Bundle) Serial() string {
	pair, err := tls.X509KeyPair([]byte(b.Cert), []byte(b.Key))
	if err != nil {
		return ""
	}
	return pair.Leaf.SerialNumber.Text(16)
}

func (b Bundle) validate() error {
	if err := checkName(b.Name); err != nil {
		return fmt.Errorf("certificate bundle: %w", err)
	}
	if u, err := url.Parse(b.URL); err != nil || u.Scheme != "tls" && u.Scheme != "nats" || u.Host == "" {
		return fmt.Errorf("certificate bundle: bad hub address %q: want tls://host:port", b.URL)
	}
	_, err := b.tlsConfig()
	return err
}

// tlsConfig is how the agent speaks with the hub.
func (b Bundle) tlsConfig() (*tls.Config, error) {
	pair, err := tls.X509KeyPair([]byte(b.Cert), []byte(b.Key))
	if err != nil {
		return nil, fmt.Errorf("certificate bundle: certificate and key: %w", err)
	}
	if cn := pair.Leaf.Subject.CommonName; cn != b.Name {
		return nil, fmt.Errorf("certificate bundle: it is for %q, its certificate for %q", b.Name, cn)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(b.CA)) {
		return nil, errors.New("certificate bundle: it holds no certificate of the CA")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13}, nil
}
