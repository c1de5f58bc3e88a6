package node

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"picket/artifact/sign"
)

const maxTrust = 1 << 20 // bytes of one file

// readTrust reads the keys, certificates and identities whose signatures of models count.
func readTrust(m Models) ([]sign.Trust, error) {
	var out []sign.Trust
	for i, k := range m.Keyless {
		t, err := k.trust()
		if err != nil {
			return nil, &Error{
				Err:  fmt.Errorf("models.keyless: entry %d: %w", i+1, err),
				Hint: "give identity, issuer and root, a trusted_root.json, as picket model verify takes them", Code: ExitConfig,
			}
		}
		out = append(out, t)
	}
	for _, name := range m.Trust {
		t, err := trustIn(name)
		if err != nil {
			return nil, &Error{
				Err:  fmt.Errorf("models.trust: %s: %w", name, err),
				Hint: "name a public key or certificates in PEM, as picket model verify takes them", Code: ExitConfig,
			}
		}
		out = append(out, t)
	}
	return out, nil
}

func (k Keyless) trust() (t sign.Trust, err error) {
	if k.Identity == "" || k.Issuer == "" || k.Root == "" {
		return t, errors.New("identity, issuer and root must all be there")
	}
	t.Identity, t.Issuer = k.Identity, k.Issuer
	if t.TrustedRoot, err = readSmall(k.Root); err != nil {
		return t, err
	}
	if err = sign.CheckRoot(t.TrustedRoot); err != nil {
		err = fmt.Errorf("%s: %w", k.Root, err)
	}
	return t, err
}

// readSmall reads a file that holds what is trusted.
func readSmall(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxTrust {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, maxTrust)
	}
	return os.ReadFile(name)
}

func trustIn(name string) (t sign.Trust, err error) {
	b, err := readSmall(name)
	if err != nil {
		return t, err
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
		return t, errors.New("it holds no PEM")
	case block.Type == "PUBLIC KEY":
		_, err = x509.ParsePKIXPublicKey(block.Bytes)
		t.Key = b
	case block.Type == "CERTIFICATE":
		_, err = x509.ParseCertificate(block.Bytes)
		t.Roots = b
	default:
		err = fmt.Errorf("it holds a %s", block.Type)
	}
	return t, err
}
