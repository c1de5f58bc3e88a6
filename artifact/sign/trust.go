package sign

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
)

// Trust is whose signatures count: exactly one of a key, roots and a trusted root is set.
type Trust struct {
	Key     []byte // public key in PEM
	Roots   []byte // certificates in PEM that a signer's certificate must lead to
	Subject string // of the signer's certificate: a name in it, or its common name; "" for any below the roots

	// For signatures without a key of the signer's own: a trusted_root.json of sigstore, and who signed, both.
	TrustedRoot []byte `json:",omitempty"`
	Identity    string `json:",omitempty"` // the one name in the signer's certificate: an address or URI
	Issuer      string `json:",omitempty"` // who vouched for it
}

// Signature is what a bundle that counts says.
type Signature struct {
	Manifest *Manifest
	Signer   string   // for a person: the key's digest, or the subject of the certificate
	Notes    []string // what a person may want to know, such as an old form
}

// Open checks that a bundle was signed by who is trusted, and returns what was signed. The model is
// not looked at: that is Manifest.Compare. An error of type *RefusedError says why it does not count.
func Open(data []byte, t Trust) (*Signature, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, err
	}
	s := &Signature{}
	key, err := t.key(b, s)
	if err != nil {
		return nil, err
	}
	if err := b.verify(key, s); err != nil {
		return nil, err
	}
	s.Manifest, err = parseStatement(b.Envelope.Payload)
	return s, err
}

// Peek returns what a bundle says was signed, without checking by whom.
func Peek(data []byte) (*Manifest, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, err
	}
	return parseStatement(b.Envelope.Payload)
}

// key returns the key that must have signed.
func (t Trust) key(b *bundle, s *Signature) (*ecdsa.PublicKey, error) {
	switch given := [3]bool{len(t.Key) > 0, len(t.Roots) > 0, len(t.TrustedRoot) > 0}; given {
	case [3]bool{true, false, false}:
		return t.plain(b, s)
	case [3]bool{false, true, false}:
		return t.certified(b, s)
	case [3]bool{false, false, true}:
		return t.keyless(b, s)
	}
	return nil, errors.New("trust takes a public key, root certificates or a trusted root, one of them")
}

func (t Trust) plain(b *bundle, s *Signature) (*ecdsa.PublicKey, error) {
	key, err := parsePublic(t.Key)
	if err != nil {
		return nil, err
	}
	if b.Verification.PublicKey == nil {
		return nil, refuse("it was not made with a key alone: check it with the signer's root certificates or identity")
	}
	own, err := hint(key)
	if err != nil {
		return nil, err
	}
	s.Signer = "key sha256:" + own
	switch given := b.Verification.PublicKey.Hint; {
	case given == "":
		s.Notes = append(s.Notes, "it does not say which key it is of")
	case !same(given, own):
		return nil, refuse("it is of the key sha256:%s, not of sha256:%s", given, own)
	}
	return key, nil
}

// certified checks the signer's certificate as of when it was made: that is the only time that a
// bundle without a time stamp proves.
func (t Trust) certified(b *bundle, s *Signature) (*ecdsa.PublicKey, error) {
	anchors, err := parseCerts(t.Roots)
	if err != nil {
		return nil, err
	}
	if b.Verification.Chain == nil || len(b.Verification.Chain.Certificates) == 0 {
		return nil, refuse("there is no certificate in it")
	}
	if len(b.Verification.Chain.Certificates) > 16 {
		return nil, refuse("there are more than 16 certificates in it")
	}
	var certs []*x509.Certificate
	for _, raw := range b.Verification.Chain.Certificates {
		c, err := x509.ParseCertificate(raw.Raw)
		if err != nil {
			return nil, refuse("a certificate in it cannot be read: %v", err)
		}
		certs = append(certs, c)
	}
	leaf := certs[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range anchors {
		roots.AddCert(c)
	}
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, refuse("its certificate does not lead to a trusted one: %v", err)
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return nil, refuse("its certificate is not for signatures")
	}
	if t.Subject != "" && !named(leaf, t.Subject) {
		return nil, refuse("its certificate is of %s, not of %s", leaf.Subject, t.Subject)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, refuse("its certificate is of a %s key: models are signed with keys on P-256, P-384 or P-521", leaf.PublicKeyAlgorithm)
	}
	s.Signer = "certificate of " + leaf.Subject.String()
	return key, nil
}

// named reports whether a certificate is of name.
func named(c *x509.Certificate, name string) bool {
	if c.Subject.CommonName == name || slices.Contains(c.DNSNames, name) || slices.Contains(c.EmailAddresses, name) {
		return true
	}
	for _, u := range c.URIs {
		if u.String() == name {
			return true
		}
	}
	return false
}

// verify checks the signature over the payload, in today's form or in that before v1.0.
func (b *bundle) verify(key *ecdsa.PublicKey, s *Signature) error {
	sig := b.Envelope.Signatures[0].Sig
	sum, err := digestFor(key, pae(b.Envelope.Payload))
	if err != nil {
		return err
	}
	if ecdsa.VerifyASN1(key, sum, sig) {
		return nil
	}
	old := sha256.Sum256(oldPAE(b.Envelope.Payload))
	if ecdsa.VerifyASN1(key, old[:], sig) {
		s.Notes = append(s.Notes, "it has the form before v1.0")
		return nil
	}
	return refuse("it is not by this key over these digests")
}
