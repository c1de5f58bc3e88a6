package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authorities are those of a test: what sigstore runs as Fulcio, a log of certificates, and Rekor.
type authorities struct {
	t         testing.TB
	root      *x509.Certificate
	between   *x509.Certificate
	key       *ecdsa.PrivateKey // of between
	certLog   *ecdsa.PrivateKey
	log       *ecdsa.PrivateKey
	rootStart time.Time
}

const (
	identity = "https://github.com/example/model/.github/workflows/release.yml@refs/heads/main"
	vouched  = "https://token.actions.githubusercontent.com"
)

var signedAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newAuthorities(t testing.TB) *authorities {
	a := &authorities{t: t, rootStart: signedAt.Add(-time.Hour)}
	rootKey, _, _ := newKey(t, elliptic.P384())
	a.key, _, _ = newKey(t, elliptic.P384())
	a.certLog, _, _ = newKey(t, elliptic.P256())
	a.log, _, _ = newKey(t, elliptic.P256())
	ca := func(name string, n int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: a.rootStart, NotAfter: signedAt.AddDate(10, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		}
	}
	a.root = a.issue(ca("root", 1), ca("root", 1), &rootKey.PublicKey, rootKey)
	a.between = a.issue(ca("between", 2), a.root, &a.key.PublicKey, rootKey)
	return a
}

func (a *authorities) issue(c, by *x509.Certificate, key *ecdsa.PublicKey, byKey *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, byKey)
	if err != nil {
		a.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *authorities) sign(key *ecdsa.PrivateKey, text []byte) []byte {
	a.t.Helper()
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return sig
}

func spki(t testing.TB, key *ecdsa.PrivateKey) (der []byte, id [32]byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der, sha256.Sum256(der)
}

// trusted is the pinned file.
func (a *authorities) trusted() []byte {
	a.t.Helper()
	log := func(key *ecdsa.PrivateKey) map[string]any {
		der, id := spki(a.t, key)
		return map[string]any{
			"baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256", "logId": map[string]any{"keyId": id[:]},
			"publicKey": map[string]any{"rawBytes": der, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": map[string]any{"start": a.rootStart}},
		}
	}
	b, err := json.Marshal(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs":     []any{log(a.log)}, "ctlogs": []any{log(a.certLog)},
		"certificateAuthorities": []any{map[string]any{
			"certChain": map[string]any{"certificates": []any{map[string]any{"rawBytes": a.between.Raw}, map[string]any{"rawBytes": a.root.Raw}}},
			"validFor":  map[string]any{"start": a.rootStart},
		}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// forged is how a test makes a bundle that is not right. Each field that is set changes one thing.
type forged struct {
	leaf       func(*x509.Certificate)
	noStamp    bool              // of the log of certificates
	stampBy    *ecdsa.PrivateKey // the same, by another
	at         time.Time         // the time that Rekor signs
	promisedAt time.Time         // the time that it says it signed
	promiseBy  *ecdsa.PrivateKey
	headBy     *ecdsa.PrivateKey
	body       func(string) string
	proof      func(*logEntry)
	signer     *ecdsa.PrivateKey // of the payload; the certificate is of another
	entries    int
}

// bundle signs what tree holds without a key of its own.
func (a *authorities) bundle(m *Manifest, f forged) []byte {
	t := a.t
	t.Helper()
	key, _, _ := newKey(t, elliptic.P256())
	where, _ := url.Parse(identity)
	text, _ := asn1.Marshal(vouched)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: signedAt.Add(-time.Minute), NotAfter: signedAt.Add(9 * time.Minute), URIs: []*url.URL{where},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: issuerOld, Value: []byte(vouched)}, {Id: issuerText, Value: text}},
	}
	if f.leaf != nil {
		f.leaf(template)
	}
	leaf := a.issue(template, a.between, &key.PublicKey, a.key)
	if !f.noStamp {
		by := a.certLog
		if f.stampBy != nil {
			by = f.stampBy
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: sctList, Value: a.stamp(leaf, by)})
		leaf = a.issue(template, a.between, &key.PublicKey, a.key)
	}
	payload, err := m.statement()
	if err != nil {
		t.Fatal(err)
	}
	signer := key
	if f.signer != nil {
		signer = f.signer
	}
	sig := a.sign(signer, pae(payload))
	entry := a.entry(payload, sig, leaf, f)
	b := bundle{MediaType: bundleType, Envelope: envelope{payload, payloadType, []signature{{Sig: sig}}}}
	b.Verification.Certificate = &rawCert{leaf.Raw}
	b.Verification.Tlog = []tlogEntry{}
	for range 1 + f.entries {
		b.Verification.Tlog = append(b.Verification.Tlog, entry)
	}
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stamp is that of a log over a certificate without it.
func (a *authorities) stamp(leaf *x509.Certificate, by *ecdsa.PrivateKey) []byte {
	tbs := leaf.RawTBSCertificate
	_, id := spki(a.t, by)
	ms := uint64(signedAt.Add(-time.Minute).UnixMilli())
	issuer := sha256.Sum256(a.between.RawSubjectPublicKeyInfo)
	text := binary.BigEndian.AppendUint64([]byte{0, 0}, ms)
	text = append(append(text, 0, 1), issuer[:]...)
	text = append(append(text, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs))), tbs...)
	text = append(text, 0, 0)
	sig := a.sign(by, text)
	sct := append([]byte{0}, id[:]...)
	sct = append(binary.BigEndian.AppendUint64(sct, ms), 0, 0, 4, 3)
	sct = append(binary.BigEndian.AppendUint16(sct, uint16(len(sig))), sig...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(sct))), sct...)
	list = append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...)
	der, _ := asn1.Marshal(list)
	return der
}

// entry is one of Rekor's: the third of a tree of five.
func (a *authorities) entry(payload, sig []byte, leaf *x509.Certificate, f forged) tlogEntry {
	t := a.t
	sum := sha256.Sum256(payload)
	verifier := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	body := fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"00"},"payloadHash":{"algorithm":"sha256","value":%q},"signatures":[{"signature":%q,"verifier":%q}]}}`,
		hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sig), base64.StdEncoding.EncodeToString(verifier))
	if f.body != nil {
		body = f.body(body)
	}
	hash := func(prefix byte, parts ...[]byte) []byte {
		s := sha256.Sum256(append([]byte{prefix}, bytes.Join(parts, nil)...))
		return s[:]
	}
	var leaves [5][]byte
	for i := range leaves {
		leaves[i] = hash(0, []byte{byte(i)})
	}
	leaves[2] = hash(0, []byte(body))
	left := hash(1, leaves[0], leaves[1])
	root := hash(1, hash(1, left, hash(1, leaves[2], leaves[3])), leaves[4])
	at := signedAt
	if !f.at.IsZero() {
		at = f.at
	}
	_, id := spki(t, a.log)
	var e logEntry
	e.Index, e.Time, e.Body, e.LogID.Key = 1002, number(at.Unix()), []byte(body), id[:]
	e.Kind.Kind, e.Kind.Version = "dsse", "0.0.1"
	e.Proof.Index, e.Proof.Size, e.Proof.Root, e.Proof.Hashes = 2, 5, root, [][]byte{leaves[3], left, leaves[4]}
	by := a.log
	if f.promiseBy != nil {
		by = f.promiseBy
	}
	e.Promise.Stamp = a.sign(by, fmt.Appendf(nil, `{"body":"%s","integratedTime":%d,"logID":"%x","logIndex":1002}`, base64.StdEncoding.EncodeToString(e.Body), e.Time, id))
	if !f.promisedAt.IsZero() {
		e.Time = number(f.promisedAt.Unix())
	}
	head := fmt.Sprintf("log.example - 1\n5\n%s\n", base64.StdEncoding.EncodeToString(root))
	by = a.log
	if f.headBy != nil {
		by = f.headBy
	}
	e.Proof.Checkpoint.Envelope = head + "\n— log.example " + base64.StdEncoding.EncodeToString(append(id[:4:4], a.sign(by, []byte(head))...)) + "\n"
	if f.proof != nil {
		f.proof(&e)
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeyless(t *testing.T) {
	_, tree := newModel(t)
	m, err := Make(t.Context(), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, other := newAuthorities(t), newAuthorities(t)
	trust := Trust{TrustedRoot: a.trusted(), Identity: identity, Issuer: vouched}
	good := a.bundle(m, forged{})
	s, err := Open(good, trust)
	if err != nil {
		t.Fatal(err)
	}
	if want := "identity " + identity + " (" + vouched + ")"; s.Signer != want || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "2026-03-04T05:06:07Z") || s.Manifest.Digest != m.Digest {
		t.Errorf("signer %q of %s, %q", s.Signer, s.Manifest.Digest, s.Notes)
	}
	if diff, err := s.Manifest.Compare(t.Context(), tree, CompareOptions{}); err != nil || len(diff) > 0 {
		t.Errorf("%v %v", diff, err)
	}
	with := func(change func(*Trust)) Trust { x := trust; change(&x); return x }
	for why, x := range map[string]Trust{
		`not of "release@example.org"`:          with(func(x *Trust) { x.Identity = "release@example.org" }),
		`not of "` + identity[:len(identity)-1]: with(func(x *Trust) { x.Identity = identity[:len(identity)-1] }),
		`not by "https://accounts.example"`:     with(func(x *Trust) { x.Issuer = "https://accounts.example" }),
		"in no transparency log that is pinned": with(func(x *Trust) { x.TrustedRoot = other.trusted() }),
		"does not lead to a pinned root": with(func(x *Trust) {
			x.TrustedRoot = (&authorities{t: t, root: other.root, between: other.between, log: a.log, certLog: a.certLog, rootStart: a.rootStart}).trusted()
		}),
		"none is by a pinned log": with(func(x *Trust) {
			x.TrustedRoot = (&authorities{t: t, root: a.root, between: a.between, log: a.log, certLog: other.certLog, rootStart: a.rootStart}).trusted()
		}),
		"pinned for 2026-03-04": with(func(x *Trust) {
			x.TrustedRoot = (&authorities{t: t, root: a.root, between: a.between, log: a.log, certLog: a.certLog, rootStart: signedAt.Add(time.Hour)}).trusted()
		}),
	} {
		wantRefused(t, good, x, why)
	}
	stranger, _, _ := newKey(t, elliptic.P256())
	late := signedAt.Add(time.Hour)
	for _, c := range []struct {
		why string
		f   forged
	}{
		{"its certificate was good from", forged{at: late}},
		{"its certificate was good from", forged{at: signedAt.Add(-10 * time.Minute)}},
		{"not signed by the transparency log", forged{at: late, promisedAt: signedAt}},
		{"not signed by the transparency log", forged{promiseBy: stranger}},
		{"has no stamp of a log of certificates", forged{noStamp: true}},
		{"none is by a pinned log", forged{stampBy: stranger}},
		{"is not signed by it", forged{headBy: stranger}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Hashes[0] = make([]byte, 32) }}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Hashes = e.Proof.Hashes[:2] }}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Hashes = nil }}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Index = 3 }}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Index, e.Proof.Size = 0, 0 }}},
		{"does not hold", forged{proof: func(e *logEntry) { e.Proof.Hashes = append(e.Proof.Hashes, make([]byte, 32)) }}},
		{"of another tree", forged{proof: func(e *logEntry) {
			e.Proof.Checkpoint.Envelope = strings.Replace(e.Proof.Checkpoint.Envelope, "\n5\n", "\n6\n", 1)
		}}},
		{"cannot be read", forged{proof: func(e *logEntry) { e.Proof.Checkpoint.Envelope = "" }}},
		{"has no time that the log signed", forged{proof: func(e *logEntry) { e.Time = 0 }}},
		{"has no time that the log signed", forged{proof: func(e *logEntry) { e.Promise.Stamp = nil }}},
		{"about another signature", forged{body: func(s string) string { return strings.Replace(s, `"signature":"`, `"signature":"AA`, 1) }}},
		{"about another signature", forged{body: func(s string) string {
			return strings.Replace(s, `payloadHash":{"algorithm":"sha256","value":"`, `payloadHash":{"algorithm":"sha256","value":"00`, 1)
		}}},
		{"about another certificate", forged{body: func(s string) string {
			before, _, _ := strings.Cut(s, `"verifier"`)
			return before + `"verifier":""}]}}`
		}}},
		{"of the kind hashedrekord", forged{body: func(s string) string { return strings.Replace(s, "dsse", "hashedrekord", 1) }}},
		{"has 2 entries", forged{entries: 1}},
		{"not by this key", forged{signer: stranger}},
		{"is of \"\"", forged{leaf: func(c *x509.Certificate) { c.URIs = nil }}},
		{"is of \"release@example.org, " + identity, forged{leaf: func(c *x509.Certificate) { c.EmailAddresses = []string{"release@example.org"} }}},
		{"was vouched for by \"\"", forged{leaf: func(c *x509.Certificate) { c.ExtraExtensions = nil }}},
		{"was vouched for by \"" + vouched + ", https://x\"", forged{leaf: func(c *x509.Certificate) { c.ExtraExtensions[0].Value = []byte("https://x") }}},
		{"does not lead to a pinned root", forged{leaf: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }}},
	} {
		t.Run(c.why, func(t *testing.T) { wantRefused(t, a.bundle(m, c.f), trust, c.why) })
	}
}

// TestStampIsOverTheCertificate: one of another certificate of the same signer does not count.
func TestStampIsOverTheCertificate(t *testing.T) {
	a := newAuthorities(t)
	key, _, _ := newKey(t, elliptic.P256())
	c := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: signedAt, NotAfter: signedAt.Add(time.Minute), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	first := a.issue(c, a.between, &key.PublicKey, a.key)
	c.SerialNumber = big.NewInt(8)
	c.ExtraExtensions = []pkix.Extension{{Id: sctList, Value: a.stamp(first, a.certLog)}}
	root, err := parseRoot(a.trusted())
	if err != nil {
		t.Fatal(err)
	}
	if err := root.seen(a.issue(c, a.between, &key.PublicKey, a.key), a.between); err == nil || !strings.Contains(err.Error(), "not over this certificate") {
		t.Errorf("got %v", err)
	}
}

func TestTrustedRootIsChecked(t *testing.T) {
	a := newAuthorities(t)
	for text, why := range map[string]string{
		"":             "no trusted_root.json",
		"{}":           "one of each is needed",
		`{"tlogs": 3}`: "no trusted_root.json",
		strings.Replace(string(a.trusted()), `"tlogs"`, `"logs"`, 1):                                                  "one of each is needed",
		strings.Replace(string(a.trusted()), `"rawBytes":"MF`, `"rawBytes":"NF`, 1):                                   "key of the log",
		strings.Replace(string(a.trusted()), `"certificates":[{"rawBytes":"MI`, `"certificates":[{"rawBytes":"NI`, 1): "certificate 1",
	} {
		if err := CheckRoot([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.40s: %v, want %s", text, err, why)
		}
	}
	if _, err := Open([]byte("{}"), Trust{TrustedRoot: a.trusted(), Key: []byte("x")}); err == nil {
		t.Error("two kinds of trust pass")
	}
	_, tree := newModel(t)
	m, err := Make(t.Context(), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []Trust{{TrustedRoot: a.trusted(), Identity: identity}, {TrustedRoot: a.trusted(), Issuer: vouched}} {
		if _, err := Open(a.bundle(m, forged{}), x); err == nil || !strings.Contains(err.Error(), "name both") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzKeyless(f *testing.F) {
	_, tree := newModel(f)
	m, err := Make(f.Context(), tree, Options{})
	if err != nil {
		f.Fatal(err)
	}
	a := newAuthorities(f)
	trust := Trust{TrustedRoot: a.trusted(), Identity: identity, Issuer: vouched}
	f.Add(a.bundle(m, forged{}))
	f.Add(a.bundle(m, forged{noStamp: true}))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Open(b, trust) })
}
