package cacao_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"picket/cacao"
)

var at = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func trustAll(crypto.PublicKey, string) error { return nil }

func signature(algorithm string) cacao.Signature {
	return cacao.Signature{ID: "jss--" + uuid(60), Created: cacao.Stamp(at), Modified: cacao.Stamp(at), Signee: "us", Algorithm: algorithm}
}

// Note 1.6: every algorithm signs and verifies, also after a round trip; a change is noticed.
func TestSignAndVerify(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	keys := map[string]crypto.Signer{"Ed25519": edKey, "RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey, "PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for algorithm, key := range keys {
		p := parse(t, sample())
		for range 2 { // a second signature leaves the first as it is
			if err := p.Sign(signature(algorithm), key); err != nil {
				t.Fatalf("%s: %v", algorithm, err)
			}
		}
		data := marshal(t, p)
		for _, v := range verify(t, data, at, trustAll) {
			if v.Err != nil {
				t.Errorf("%s: %s: %v", algorithm, v.Pointer, v.Err)
			}
		}
		for _, edit := range [][2]string{{"kill ", "kell "}, {"1.50", "1.51"}, {`"signee":"us"`, `"signee":"me"`}} {
			changed := strings.Replace(string(data), edit[0], edit[1], 1)
			if v := verify(t, []byte(changed), at, trustAll)[0]; v.Err == nil || !strings.Contains(v.Err.Error(), "does not fit") {
				t.Errorf("%s: %v: got %v", algorithm, edit, v.Err)
			}
		}
		if err := p.Sign(signature("none"), key); err == nil {
			t.Error("algorithm none was taken")
		}
	}
}

func verify(t *testing.T, data []byte, at time.Time, trust cacao.Trust) []cacao.Verdict {
	t.Helper()
	out, err := parse(t, data).Verify(at, nil, trust)
	if err != nil || len(out) == 0 {
		t.Fatal(out, err)
	}
	return out
}

// Note 1.6: what is signed is the hash as lower-case hexadecimal text, made here step by step.
func TestSignsHexText(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	p := parse(t, sample())
	if err := p.Sign(signature("Ed25519"), key); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(marshal(t, p), &m); err != nil {
		t.Fatal(err)
	}
	delete(m["signatures"].([]any)[0].(map[string]any), "value")
	canon, err := jcs.Transform(marshal(t, m))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(canon)
	value, err := base64.RawURLEncoding.DecodeString(p.Signatures[0].Value)
	if err != nil || !ed25519.Verify(pub, []byte(hex.EncodeToString(sum[:])), value) {
		t.Error("it is not the hexadecimal text that was signed", err)
	}
}

// Note 1.6: a signature that fits may still not count.
func TestVerdicts(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	for want, edit := range map[string]func(*cacao.Signature){
		"not valid before":        func(s *cacao.Signature) { s.ValidFrom = cacao.Stamp(at.Add(time.Hour)) },
		"not valid any more":      func(s *cacao.Signature) { s.ValidUntil = cacao.Stamp(at) },
		"the signature was revok": func(s *cacao.Signature) { s.Revoked = true },
	} {
		sig := signature("Ed25519")
		edit(&sig)
		p := parse(t, sample())
		if err := p.Sign(sig, key); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, marshal(t, p), at, trustAll)[0]; v.Err == nil || !strings.Contains(v.Err.Error(), want) {
			t.Errorf("got %v, want %s", v.Err, want)
		}
	}
	p := parse(t, sample())
	if err := p.Sign(signature("Ed25519"), key); err != nil {
		t.Fatal(err)
	}
	stranger := errors.New("stranger")
	if v := verify(t, marshal(t, p), at, func(crypto.PublicKey, string) error { return stranger })[0]; !errors.Is(v.Err, stranger) {
		t.Errorf("got %v", v.Err)
	}
}

func TestNumbersThatAreNotExact(t *testing.T) {
	p := parse(t, sample(`1.50`, `9007199254740993`))
	if _, err := p.Canonical(); err == nil || !strings.Contains(err.Error(), "not exact") {
		t.Errorf("got %v", err)
	}
}
