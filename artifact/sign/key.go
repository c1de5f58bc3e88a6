package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// Signer is who signs: a key, with certificates or without.
type Signer struct {
	key   *ecdsa.PrivateKey
	certs []*x509.Certificate // the signer's first
}

// NewSigner takes a private key in PEM, and for a signature by certificate the signer's certificate
// and those between it and the root, in PEM too.
func NewSigner(key, certs []byte) (*Signer, error) {
	k, err := parsePrivate(key)
	if err != nil {
		return nil, err
	}
	s := &Signer{key: k}
	if len(certs) == 0 {
		return s, nil
	}
	if s.certs, err = parseCerts(certs); err != nil {
		return nil, err
	}
	if !k.PublicKey.Equal(s.certs[0].PublicKey) {
		return nil, errors.New("the first certificate is of another key")
	}
	return s, nil
}

// Sign returns the bundle that says that m is the signer's.
func (s *Signer) Sign(m *Manifest) ([]byte, error) {
	payload, err := m.statement()
	if err != nil {
		return nil, err
	}
	sum, err := digestFor(&s.key.PublicKey, pae(payload))
	if err != nil {
		return nil, err
	}
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum)
	if err != nil {
		return nil, err
	}
	b := bundle{MediaType: bundleType, Envelope: envelope{payload, payloadType, []signature{{Sig: sig}}}}
	b.Verification.Tlog = []tlogEntry{}
	if len(s.certs) == 0 {
		hint, err := hint(&s.key.PublicKey)
		if err != nil {
			return nil, err
		}
		b.Verification.PublicKey = &publicKey{Hint: hint}
	} else {
		b.Verification.Chain = &chain{}
		for _, c := range s.certs {
			b.Verification.Chain.Certificates = append(b.Verification.Chain.Certificates, rawCert{c.Raw})
		}
	}
	return json.Marshal(b)
}

// digestFor hashes text as goes with the curve of a key.
func digestFor(key *ecdsa.PublicKey, text []byte) ([]byte, error) {
	switch key.Curve {
	case elliptic.P256():
		sum := sha256.Sum256(text)
		return sum[:], nil
	case elliptic.P384():
		sum := sha512.Sum384(text)
		return sum[:], nil
	case elliptic.P521():
		sum := sha512.Sum512(text)
		return sum[:], nil
	}
	return nil, refuse("a key on the curve %s, which is none of P-256, P-384, P-521", key.Curve.Params().Name)
}

// hint is what a bundle names a key by.
func hint(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return hex.EncodeToString(sum[:]), nil
}

func parsePrivate(text []byte) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			if ec, ok := k.(*ecdsa.PrivateKey); ok {
				return ec, nil
			}
			return nil, fmt.Errorf("the key is a %T: models are signed with keys on P-256, P-384 or P-521", k)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the key is encrypted: decrypt it first, as with openssl pkey, into a file that only you can read")
		}
	}
	return nil, errors.New("there is no private key in PEM")
}

func parsePublic(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("there is no public key in PEM")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T: models are signed with keys on P-256, P-384 or P-521", k)
	}
	return ec, nil
}

func parseCerts(text []byte) (out []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a %s among the certificates", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return out, nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
