package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

// trustedRoot is a pinned trusted_root.json of sigstore: whose certificates and logs count, and when they did.
type trustedRoot struct {
	MediaType   string      `json:"mediaType"`
	Logs        []rootLog   `json:"tlogs"`
	Authorities []authority `json:"certificateAuthorities"`
	Timestamps  []rootLog   `json:"ctlogs"` // of certificates: what was issued
}

type rootLog struct {
	URL string `json:"baseUrl"`
	Key struct {
		Raw   []byte `json:"rawBytes"`
		Valid period `json:"validFor"`
	} `json:"publicKey"`
	ID struct {
		Key []byte `json:"keyId"`
	} `json:"logId"`
}

type authority struct {
	Chain chain  `json:"certChain"` // from the issuer of signers' certificates to the root
	Valid period `json:"validFor"`
}

// period has no end where what it is about is still in use.
type period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

func (p period) holds(t time.Time) bool {
	return !t.Before(p.Start) && (p.End.IsZero() || !t.After(p.End))
}

// CheckRoot says what is wrong with a trusted_root.json.
func CheckRoot(data []byte) error {
	_, err := parseRoot(data)
	return err
}

func parseRoot(data []byte) (*trustedRoot, error) {
	var r trustedRoot
	if err := decode(data, &r); err != nil {
		return nil, fmt.Errorf("it is no trusted_root.json of sigstore: %w", err)
	}
	if len(r.Logs) == 0 || len(r.Authorities) == 0 || len(r.Timestamps) == 0 {
		return nil, fmt.Errorf("it names %d transparency logs, %d certificate authorities and %d logs of certificates, and one of each is needed", len(r.Logs), len(r.Authorities), len(r.Timestamps))
	}
	for _, l := range append(r.Logs, r.Timestamps...) {
		if _, err := x509.ParsePKIXPublicKey(l.Key.Raw); err != nil {
			return nil, fmt.Errorf("the key of the log %s: %w", l.URL, err)
		}
	}
	for _, a := range r.Authorities {
		if _, _, err := a.pools(); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// pools returns the authority's root, and what stands between it and signers.
func (a authority) pools() (roots, between *x509.CertPool, err error) {
	roots, between = x509.NewCertPool(), x509.NewCertPool()
	n := len(a.Chain.Certificates)
	if n == 0 {
		return nil, nil, fmt.Errorf("a certificate authority has no certificate")
	}
	for i, raw := range a.Chain.Certificates {
		c, err := x509.ParseCertificate(raw.Raw)
		if err != nil {
			return nil, nil, fmt.Errorf("the certificate %d of an authority: %w", i+1, err)
		}
		if i == n-1 {
			roots.AddCert(c)
		} else {
			between.AddCert(c)
		}
	}
	return roots, between, nil
}

// find returns the log with an id whose key was in use at a time.
func find(logs []rootLog, id []byte, at time.Time) (*rootLog, bool) {
	for i := range logs {
		own := sha256.Sum256(logs[i].Key.Raw)
		if (string(logs[i].ID.Key) == string(id) || string(own[:]) == string(id)) && logs[i].Key.Valid.holds(at) {
			return &logs[i], true
		}
	}
	return nil, false
}

// verify reports whether sig is the log's over text.
func (l *rootLog) verify(text, sig []byte) bool {
	k, err := x509.ParsePKIXPublicKey(l.Key.Raw)
	if err != nil {
		return false
	}
	return signedBy(k, text, sig)
}

func signedBy(k crypto.PublicKey, text, sig []byte) bool {
	switch k := k.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(text)
		return ecdsa.VerifyASN1(k, sum[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(k, text, sig)
	}
	return false // logs have keys of these two kinds
}
