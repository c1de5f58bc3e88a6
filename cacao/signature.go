package cacao

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for SHA-384 and SHA-512
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
)

// Signature is a signature in a playbook, or apart from it.
type Signature struct {
	Type           string     `json:"type"`
	ID             string     `json:"id"`
	CreatedBy      string     `json:"created_by,omitempty"`
	Created        Timestamp  `json:"created"`
	Modified       Timestamp  `json:"modified"`
	Revoked        bool       `json:"revoked,omitempty"`
	Signee         string     `json:"signee"`
	ValidFrom      Timestamp  `json:"valid_from,omitempty"`
	ValidUntil     Timestamp  `json:"valid_until,omitempty"`
	RelatedTo      string     `json:"related_to"`
	RelatedVersion Timestamp  `json:"related_version"`
	HashAlgorithm  string     `json:"hash_algorithm"`
	Algorithm      string     `json:"algorithm"`
	PublicKey      string     `json:"public_key,omitempty"`
	CertChain      []string   `json:"public_cert_chain,omitempty"`
	CertURL        string     `json:"cert_url,omitempty"`
	Thumbprint     string     `json:"thumbprint,omitempty"`
	Value          string     `json:"value"`
	Counter        *Signature `json:"signature,omitempty"` // countersignature
}

// Canonical returns the playbook in the canonical form of RFC 8785, without its signatures. Its hash
// names what was checked, approved and run.
func (p *Playbook) Canonical() ([]byte, error) {
	tree, _, err := p.tree()
	if err != nil {
		return nil, err
	}
	tree = maps.Clone(tree)
	delete(tree, "signatures")
	return canonical(tree)
}

func canonical(tree any) ([]byte, error) {
	if err := exact(tree); err != nil {
		return nil, err
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(data)
}

// exact refuses whole numbers that the canonical form would round: two documents would be one.
func exact(v any) error {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if errors.Is(err, strconv.ErrRange) || err == nil && (n > 1<<53 || n < -1<<53) {
			return fmt.Errorf("the number %s is not exact in the canonical form: write it as a string", v)
		}
	case object:
		for _, x := range v {
			if err := exact(x); err != nil {
				return err
			}
		}
	case []any:
		for _, x := range v {
			if err := exact(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// message returns what a signature signs: the SHA-256 of the canonical playbook, which holds this
// signature alone and it without its value, as hexadecimal text.
func message(playbook, signature object) ([]byte, error) {
	bare := maps.Clone(signature)
	delete(bare, "value")
	tree := maps.Clone(playbook)
	tree["signatures"] = []any{bare}
	text, err := canonical(tree)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return []byte(hex.EncodeToString(sum[:])), nil
}

// Thumbprint names a key: the SHA-256 of its public half in PKIX form, in hexadecimal.
func Thumbprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Sign adds a signature with a key, which must fit the algorithm. The type, what it relates to, the
// hash, the public key and the value are filled in; id, times and signee are the caller's.
func (p *Playbook) Sign(sig Signature, key crypto.Signer) error {
	sig.Type, sig.RelatedTo, sig.RelatedVersion, sig.HashAlgorithm = "jss", p.ID, p.Modified, "sha-256"
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	sig.PublicKey, sig.Value = base64.StdEncoding.EncodeToString(der), ""
	tree, _, err := p.tree()
	if err != nil {
		return err
	}
	bare, err := sig.tree()
	if err != nil {
		return err
	}
	msg, err := message(tree, bare)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	value, err := sign(sig.Algorithm, key, msg)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	sig.Value = base64.RawURLEncoding.EncodeToString(value)
	p.Signatures = append(p.Signatures, sig)
	return nil
}

func (s *Signature) tree() (object, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	tree, err := readTree(data)
	if err != nil {
		return nil, err
	}
	return tree.(object), nil
}

// hashes are the hash functions of the algorithms, by the digits of their names.
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

func sign(algorithm string, key crypto.Signer, msg []byte) ([]byte, error) {
	if err := fitting(algorithm, key.Public()); err != nil {
		return nil, err
	}
	if algorithm == "Ed25519" {
		return key.Sign(rand.Reader, msg, crypto.Hash(0))
	}
	hash := hashes[algorithm[2:]]
	h := hash.New()
	h.Write(msg)
	digest := h.Sum(nil)
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			return nil, err
		}
		out := make([]byte, 2*coordinate(&k.PublicKey))
		r.FillBytes(out[:len(out)/2])
		s.FillBytes(out[len(out)/2:])
		return out, nil
	case *rsa.PrivateKey:
		if strings.HasPrefix(algorithm, "PS") {
			return rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, hash, digest)
	}
	return nil, fmt.Errorf("a %T cannot sign with %s", key, algorithm)
}

func coordinate(k *ecdsa.PublicKey) int { return (k.Curve.Params().BitSize + 7) / 8 }

// curves are the curves that the ES algorithms are defined for, by their size.
var curves = map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}

// fitting says why a key cannot be used with an algorithm.
func fitting(algorithm string, key crypto.PublicKey) error {
	fits := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		fits = algorithm == "Ed25519"
	case *ecdsa.PublicKey:
		fits = curves[algorithm] == k.Curve.Params().BitSize
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return fmt.Errorf("the RSA key has %d bits, at least 2048 are needed", k.N.BitLen())
		}
		fits = len(algorithm) == 5 && (algorithm[:2] == "RS" || algorithm[:2] == "PS") && hashes[algorithm[2:]] != 0
	}
	if fits {
		return nil
	}
	if !knownAlgorithm(algorithm) {
		return fmt.Errorf("algorithm %q is not supported: RS, PS and ES with 256, 384 or 512, and Ed25519 are", algorithm)
	}
	return fmt.Errorf("a key of type %T does not fit algorithm %s", key, algorithm)
}

func knownAlgorithm(a string) bool {
	return a == "Ed25519" || curves[a] != 0 || len(a) == 5 && (a[:2] == "RS" || a[:2] == "PS") && hashes[a[2:]] != 0
}

// verify says why value is no signature of msg with a key.
func verify(algorithm string, key crypto.PublicKey, msg, value []byte) error {
	if err := fitting(algorithm, key); err != nil {
		return err
	}
	wrong := errors.New("the signature does not fit the playbook: one of them was changed, or another key signed")
	if k, ok := key.(ed25519.PublicKey); ok {
		if !ed25519.Verify(k, msg, value) {
			return wrong
		}
		return nil
	}
	hash := hashes[algorithm[2:]]
	h := hash.New()
	h.Write(msg)
	digest := h.Sum(nil)
	ok := false
	switch k := key.(type) {
	case *ecdsa.PublicKey: // r and s, one behind the other
		half := coordinate(k)
		ok = len(value) == 2*half && ecdsa.Verify(k, digest, new(big.Int).SetBytes(value[:half]), new(big.Int).SetBytes(value[half:]))
	case *rsa.PublicKey:
		if strings.HasPrefix(algorithm, "PS") {
			ok = rsa.VerifyPSS(k, hash, digest, value, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(k, hash, digest, value) == nil
		}
	}
	if !ok {
		return wrong
	}
	return nil
}

// key returns the public key that a signature carries.
func (s *Signature) key() (crypto.PublicKey, error) {
	if s.PublicKey != "" {
		return parseKey(s.PublicKey)
	}
	der, err := decode64(s.CertChain[0])
	if err != nil {
		return nil, fmt.Errorf("public_cert_chain: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("public_cert_chain: %w", err)
	}
	return cert.PublicKey, nil
}

// parseKey reads a public key in PKIX form, as PEM or as the base64 of it.
func parseKey(text string) (crypto.PublicKey, error) {
	der := []byte(nil)
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der = block.Bytes
	} else {
		var err error
		if der, err = decode64(text); err != nil {
			return nil, fmt.Errorf("public_key is neither PEM nor base64: %w", err)
		}
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("public_key: %w", err)
	}
	return key, nil
}

// decode64 reads base64 of either alphabet, padded or not.
func decode64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "").Replace(s), "=")
	return base64.RawStdEncoding.DecodeString(s)
}
