package cacao

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Trust says what a key that signed a playbook may authorise, or why it may nothing. It is asked only
// about signatures that fit; a key in the document proves nothing before it is answered.
type Trust func(key crypto.PublicKey, thumbprint string) error

// Verdict is what became of one signature.
type Verdict struct {
	Pointer    string `json:"pointer"`
	Signee     string `json:"signee"`
	Algorithm  string `json:"algorithm"`
	Thumbprint string `json:"thumbprint,omitempty"`
	Err        error  `json:"-"`
}

// Keys finds the public key for a thumbprint that a signature names without carrying the key.
type Keys func(thumbprint string) (crypto.PublicKey, bool)

// Verify judges each signature in the playbook at a time: that it fits, relates to this version, is in
// its window, was not revoked, and that its key is trusted. Nothing is fetched: a signature that only
// names a URL cannot be verified. Countersignatures are not judged.
func (p *Playbook) Verify(at time.Time, keys Keys, trust Trust) ([]Verdict, error) {
	tree, _, err := p.tree()
	if err != nil {
		return nil, err
	}
	list, _ := tree["signatures"].([]any)
	out := make([]Verdict, len(p.Signatures))
	for i := range p.Signatures {
		raw, _ := list[i].(object)
		out[i] = p.judge(tree, raw, &p.Signatures[i], at, keys, trust)
		out[i].Pointer = join("/signatures", i)
	}
	return out, nil
}

func (p *Playbook) judge(tree, raw object, s *Signature, at time.Time, keys Keys, trust Trust) Verdict {
	v := Verdict{Signee: s.Signee, Algorithm: s.Algorithm}
	key, err := p.signer(s, keys)
	if err != nil {
		v.Err = err
		return v
	}
	if v.Thumbprint, v.Err = Thumbprint(key); v.Err != nil {
		return v
	}
	v.Err = func() error {
		value, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s.Value, "="))
		if err != nil {
			return fmt.Errorf("value is no base64url: %w", err)
		}
		msg, err := message(tree, raw)
		if err != nil {
			return err
		}
		if err := verify(s.Algorithm, key, msg, value); err != nil {
			return err
		}
		if err := p.current(s, at); err != nil {
			return err
		}
		return trust(key, v.Thumbprint)
	}()
	return v
}

// signer finds the key of a signature.
func (p *Playbook) signer(s *Signature, keys Keys) (crypto.PublicKey, error) {
	switch {
	case s.PublicKey != "" || len(s.CertChain) > 0:
		return s.key()
	case s.Thumbprint != "" && keys != nil:
		if key, found := keys(s.Thumbprint); found {
			return key, nil
		}
		return nil, fmt.Errorf("no key with thumbprint %s is known", s.Thumbprint)
	case s.CertURL != "":
		return nil, errors.New("the signature names a certificate by URL, and nothing is fetched: have it carry its key")
	}
	return nil, errors.New("the signature carries no key")
}

// current says why a signature that fits does not count.
func (p *Playbook) current(s *Signature, at time.Time) error {
	switch {
	case s.Revoked:
		return errors.New("the signature was revoked")
	case s.RelatedTo != p.ID:
		return fmt.Errorf("the signature is of %s", s.RelatedTo)
	case s.RelatedVersion != p.Modified:
		return fmt.Errorf("the signature is of the version of %s, the playbook is of %s", s.RelatedVersion, p.Modified)
	case !strings.EqualFold(strings.ReplaceAll(s.HashAlgorithm, "-", ""), "sha256"):
		return fmt.Errorf("hash_algorithm %q is not supported: sha-256 is", s.HashAlgorithm)
	}
	return within(s.ValidFrom, s.ValidUntil, at)
}

// sigs checks the form of the signatures; whether they fit, Verify says.
func (c *checker) sigs() {
	for i := range c.p.Signatures {
		s, ptr := &c.p.Signatures[i], join("/signatures", i)
		if s.Type != "jss" {
			c.err(join(ptr, "type"), fmt.Sprintf("the type of a signature is jss, not %q", s.Type), "")
		}
		given := 0
		for _, has := range []bool{s.PublicKey != "", len(s.CertChain) > 0, s.CertURL != "", s.Thumbprint != ""} {
			if has {
				given++
			}
		}
		if given != 1 {
			c.err(ptr, "a signature has one of public_key, public_cert_chain, cert_url and thumbprint", "")
		}
		if s.RelatedTo != c.p.ID {
			c.err(join(ptr, "related_to"), "is not the id of this playbook", "")
		}
		if s.RelatedVersion != c.p.Modified {
			c.warn(join(ptr, "related_version"), "the signature is of another version: modified differs", "sign this version")
		}
		if !knownAlgorithm(s.Algorithm) {
			c.warn(join(ptr, "algorithm"), fmt.Sprintf("algorithm %q cannot be verified here", s.Algorithm), "")
		}
		c.order(join(ptr, "valid_until"), s.ValidFrom, s.ValidUntil, false, "valid_until is not after valid_from")
	}
}
