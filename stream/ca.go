package stream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	year        = 365 * 24 * time.Hour
	caLife      = 10 * year
	agentLife   = 5 * year
	serverLife  = year
	renewBefore = 30 * 24 * time.Hour
)

// CA issues the certificates of the hub and of agents. Its files lie in one directory, readable by
// their owner only: ca.crt, ca.key, server.crt, server.key.
type CA struct {
	dir    string
	now    func() time.Time
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	server tls.Certificate
}

// OpenCA opens the CA in dir, or makes it. The hub's certificate is valid for localhost, this
// host's name and names, which are DNS names or addresses; it is made anew when these change or
// when it is about to expire.
func OpenCA(dir string, names []string) (*CA, error) {
	c := &CA{dir: dir, now: time.Now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making its directory: %w", err)
	}
	pair, err := c.load("ca")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = c.create()
	case err == nil:
		c.cert = pair.Leaf
		var ok bool
		if c.key, ok = pair.PrivateKey.(*ecdsa.PrivateKey); !ok || !c.cert.IsCA {
			err = fmt.Errorf("%s is not the certificate of a CA that Picket made", c.file("ca.crt"))
		}
	}
	if err != nil {
		return nil, err
	}
	return c, c.openServer(names)
}

func (c *CA) file(name string) string { return filepath.Join(c.dir, name) }

func (c *CA) load(name string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.file(name+".crt"), c.file(name+".key"))
	if err != nil {
		return pair, fmt.Errorf("reading %s and its key: %w", c.file(name+".crt"), err)
	}
	return pair, nil
}

func (c *CA) create() error {
	for _, name := range []string{"ca.crt", "ca.key"} {
		if _, err := os.Stat(c.file(name)); err == nil {
			return fmt.Errorf("%s is there without its other half: restore the directory from a backup, or move it away and enrol all agents again", c.file(name))
		}
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Picket CA"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, key, err := c.issue(t, caLife)
	if err != nil {
		return err
	}
	c.cert, c.key = cert, key
	return c.save("ca", cert, key)
}

func (c *CA) openServer(names []string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	names = append([]string{"localhost", "127.0.0.1", "::1", host}, names...)
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Picket server"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if !slices.Contains(t.DNSNames, n) {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	pair, err := c.load("server")
	if err == nil && c.covers(pair.Leaf, names) {
		c.server = pair
		return nil
	}
	cert, key, err := c.issue(t, serverLife)
	if err != nil {
		return err
	}
	if err := c.save("server", cert, key); err != nil {
		return err
	}
	c.server, err = c.load("server")
	return err
}

func (c *CA) covers(cert *x509.Certificate, names []string) bool {
	for _, n := range names {
		if cert.VerifyHostname(n) != nil {
			return false
		}
	}
	return cert.CheckSignatureFrom(c.cert) == nil && c.now().Before(cert.NotAfter.Add(-renewBefore))
}

// issue signs t, with the CA or, for the CA itself, with its own key.
func (c *CA) issue(t *x509.Certificate, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126)); err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	t.NotBefore = c.now().Add(-time.Hour) // clocks differ
	t.NotAfter = c.now().Add(life)
	if !t.IsCA {
		t.KeyUsage = x509.KeyUsageDigitalSignature
	}
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = t, key
	} else if t.NotAfter.After(parent.NotAfter) {
		t.NotAfter = parent.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func (c *CA) save(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) error {
	crt, k, err := encode(cert, key)
	if err != nil {
		return err
	}
	if err := writeFile(c.file(name+".key"), k); err != nil {
		return err
	}
	return writeFile(c.file(name+".crt"), crt)
}

func encode(cert *x509.Certificate, key *ecdsa.PrivateKey) (crt, k []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeFile writes a file that only its owner may read, in one step.
func writeFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // half a file
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// Enrol makes what the agent of that name needs to join the hub at url (tls://host:port).
func (c *CA) Enrol(name, url string) (Bundle, error) {
	if err := checkName(name); err != nil {
		return Bundle{}, err
	}
	t := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert, key, err := c.issue(t, agentLife)
	if err != nil {
		return Bundle{}, err
	}
	crt, k, err := encode(cert, key)
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{
		Name: name, URL: url, Cert: string(crt), Key: string(k),
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})),
	}
	return b, b.validate()
}

// Issued reports whether b is of this CA and good for another month.
func (c *CA) Issued(b Bundle) bool {
	pair, err := tls.X509KeyPair([]byte(b.Cert), []byte(b.Key))
	return err == nil && pair.Leaf.CheckSignatureFrom(c.cert) == nil && pair.Leaf.Subject.CommonName == b.Name &&
		c.now().Before(pair.Leaf.NotAfter.Add(-renewBefore))
}

// tlsConfig is how the hub speaks with agents.
func (c *CA) tlsConfig() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{c.server}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}
