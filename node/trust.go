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

// readTrust reads the keys and certificates whose signatures of models count.
func readTrust(files []string) ([]sign.Trust, error) {
	var out []sign.Trust
	for _, name := range files {
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

func trustIn(name string) (t sign.Trust, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return t, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxTrust {
		return t, fmt.Errorf("it is no file of at most %d bytes", maxTrust)
	}
	b, err := os.ReadFile(name)
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
