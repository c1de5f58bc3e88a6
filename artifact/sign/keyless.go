package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Without a key of its own a signer has a certificate of minutes, for an identity that somebody vouched for, and the
// signature is in a public log. What is checked here, offline, is the part of sigstore's client specification that a
// model's bundle needs: https://github.com/sigstore/architecture-docs/blob/main/client-spec.md.
//
// The library that does all of it, sigstore-go, makes the program 15 MB larger and every process of it 7 MB, for
// protocols that nothing here speaks.

// keyless checks a certificate of sigstore's: who has it, when it was used, and that the logs saw both.
func (t Trust) keyless(b *bundle, s *Signature) (*ecdsa.PublicKey, error) {
	root, err := parseRoot(t.TrustedRoot)
	if err != nil {
		return nil, err
	}
	if t.Identity == "" || t.Issuer == "" {
		return nil, errors.New("a keyless signature is of an identity and of the issuer that vouched for it: name both")
	}
	leaf, err := b.leaf()
	if err != nil {
		return nil, err
	}
	used, err := root.logged(b, leaf)
	if err != nil {
		return nil, err
	}
	issuer, err := root.chained(leaf, used)
	if err != nil {
		return nil, err
	}
	if err := root.seen(leaf, issuer); err != nil {
		return nil, err
	}
	if err := t.identified(leaf); err != nil {
		return nil, err
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, refuse("its certificate is of a %s key: models are signed with keys on P-256, P-384 or P-521", leaf.PublicKeyAlgorithm)
	}
	s.Signer = fmt.Sprintf("identity %s (%s)", t.Identity, t.Issuer)
	s.Notes = append(s.Notes, "it was made at "+stamp(used)+", says the transparency log")
	return key, nil
}

// leaf returns the signer's certificate. Newer bundles have it alone, as those between it and a root are pinned.
func (b *bundle) leaf() (*x509.Certificate, error) {
	var raw []byte
	switch v := b.Verification; {
	case v.Certificate != nil:
		raw = v.Certificate.Raw
	case v.Chain != nil && len(v.Chain.Certificates) > 0:
		raw = v.Chain.Certificates[0].Raw
	default:
		return nil, refuse("there is no certificate in it: it was made with a key")
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, refuse("the certificate in it cannot be read: %v", err)
	}
	return c, nil
}

// chained checks that a certificate leads to a pinned root at the time of its use, and returns its issuer's.
func (r *trustedRoot) chained(leaf *x509.Certificate, at time.Time) (*x509.Certificate, error) {
	if at.Before(leaf.NotBefore) || at.After(leaf.NotAfter) {
		return nil, refuse("it was made at %s, and its certificate was good from %s to %s", stamp(at), stamp(leaf.NotBefore), stamp(leaf.NotAfter))
	}
	var last error
	for _, a := range r.Authorities {
		if !a.Valid.holds(at) {
			continue
		}
		roots, between, err := a.pools()
		if err != nil {
			return nil, err
		}
		chains, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		})
		if err == nil && len(chains[0]) > 1 {
			return chains[0][1], nil
		}
		last = err
	}
	if last == nil {
		return nil, refuse("no pinned authority was in use at %s, when it was made", stamp(at))
	}
	return nil, refuse("its certificate does not lead to a pinned root: %v", last)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

var (
	sctList    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	issuerOld  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	issuerText = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
)

// identified checks whose certificate it is: the name and who vouched for it, both.
func (t Trust) identified(leaf *x509.Certificate) error {
	names := slices.Concat(leaf.EmailAddresses, leaf.DNSNames)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	if len(names) != 1 || names[0] != t.Identity {
		return refuse("its certificate is of %q, not of %q", strings.Join(names, ", "), t.Identity)
	}
	var issuers []string
	for _, e := range leaf.Extensions {
		switch {
		case e.Id.Equal(issuerOld):
			issuers = append(issuers, string(e.Value))
		case e.Id.Equal(issuerText):
			var text string
			if rest, err := asn1.Unmarshal(e.Value, &text); err != nil || len(rest) > 0 {
				return refuse("the issuer in its certificate cannot be read")
			}
			issuers = append(issuers, text)
		}
	}
	slices.Sort(issuers)
	if issuers = slices.Compact(issuers); len(issuers) != 1 || issuers[0] != t.Issuer {
		return refuse("its identity was vouched for by %q, not by %q", strings.Join(issuers, ", "), t.Issuer)
	}
	return nil
}

// seen checks that a log of certificates saw the signer's: one stamp by a pinned log is what sigstore asks for.
// RFC 6962 says what it is over: the certificate without the list of stamps, and the issuer's key.
func (r *trustedRoot) seen(leaf, issuer *x509.Certificate) error {
	i := slices.IndexFunc(leaf.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(sctList) })
	if i < 0 {
		return refuse("its certificate has no stamp of a log of certificates")
	}
	var wrapped []byte
	if rest, err := asn1.Unmarshal(leaf.Extensions[i].Value, &wrapped); err != nil || len(rest) > 0 {
		return refuse("the stamps in its certificate cannot be read")
	}
	before, err := withoutStamps(leaf.RawTBSCertificate)
	if err != nil {
		return err
	}
	keyHash := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	in := cryptobyte.String(wrapped)
	var list cryptobyte.String
	if !in.ReadUint16LengthPrefixed(&list) || !in.Empty() {
		return refuse("the stamps in its certificate cannot be read")
	}
	why := "none is by a pinned log"
	for !list.Empty() {
		var sct, extensions, sig cryptobyte.String
		var version, hash, algorithm uint8
		var id []byte
		var ms uint64
		if !list.ReadUint16LengthPrefixed(&sct) || !sct.ReadUint8(&version) || !sct.ReadBytes(&id, 32) || !sct.ReadUint64(&ms) || !sct.ReadUint16LengthPrefixed(&extensions) ||
			!sct.ReadUint8(&hash) || !sct.ReadUint8(&algorithm) || !sct.ReadUint16LengthPrefixed(&sig) || version != 0 || ms > 1<<52 {
			return refuse("the stamps in its certificate cannot be read")
		}
		log, ok := find(r.Timestamps, id, time.UnixMilli(int64(ms)))
		if !ok {
			continue
		}
		text := binary.BigEndian.AppendUint64([]byte{0, 0}, ms)
		text = append(text, 0, 1)
		text = append(text, keyHash[:]...)
		text = append(text, byte(len(before)>>16), byte(len(before)>>8), byte(len(before)))
		text = append(text, before...)
		text = append(binary.BigEndian.AppendUint16(text, uint16(len(extensions))), extensions...)
		if log.verify(text, sig) {
			return nil
		}
		why = "the one by a pinned log is not over this certificate"
	}
	return refuse("its certificate has no good stamp of a log of certificates: %s", why)
}

// withoutStamps returns what was to be signed of a certificate before stamps were added.
func withoutStamps(tbs []byte) ([]byte, error) {
	unreadable := refuse("the certificate in it cannot be read")
	in := cryptobyte.String(tbs)
	var body cryptobyte.String
	if !in.ReadASN1(&body, cryptoasn1.SEQUENCE) {
		return nil, unreadable
	}
	tag := cryptoasn1.Tag(3).Constructed().ContextSpecific()
	var out cryptobyte.Builder
	ok := true
	out.AddASN1(cryptoasn1.SEQUENCE, func(out *cryptobyte.Builder) {
		for !body.Empty() {
			var element, wrapped, list cryptobyte.String
			var is cryptoasn1.Tag
			if !body.ReadAnyASN1Element(&element, &is) {
				ok = false
				return
			}
			if is != tag {
				out.AddBytes(element)
				continue
			}
			if !element.ReadASN1(&wrapped, tag) || !wrapped.ReadASN1(&list, cryptoasn1.SEQUENCE) {
				ok = false
				return
			}
			out.AddASN1(tag, func(out *cryptobyte.Builder) {
				out.AddASN1(cryptoasn1.SEQUENCE, func(out *cryptobyte.Builder) {
					for !list.Empty() {
						var e, inner cryptobyte.String
						var id asn1.ObjectIdentifier
						if !list.ReadASN1Element(&e, cryptoasn1.SEQUENCE) {
							ok = false
							return
						}
						whole := e
						if !e.ReadASN1(&inner, cryptoasn1.SEQUENCE) || !inner.ReadASN1ObjectIdentifier(&id) {
							ok = false
							return
						}
						if !id.Equal(sctList) {
							out.AddBytes(whole)
						}
					}
				})
			})
		}
	})
	b, err := out.Bytes()
	if err != nil || !ok || len(b) >= 1<<24 {
		return nil, unreadable
	}
	return b, nil
}

// logged checks that a pinned log has the signature, and returns when it says that it came in.
func (r *trustedRoot) logged(b *bundle, leaf *x509.Certificate) (time.Time, error) {
	if n := len(b.Verification.Tlog); n != 1 {
		return time.Time{}, refuse("it has %d entries of a transparency log, and one is what is expected", n)
	}
	var e logEntry
	if err := decode(b.Verification.Tlog[0], &e); err != nil {
		return time.Time{}, refuse("its entry of the transparency log cannot be read: %v", err)
	}
	if e.Time <= 0 || len(e.Promise.Stamp) == 0 {
		return time.Time{}, refuse("its entry of the transparency log has no time that the log signed, and stamps of other authorities are not read")
	}
	at := time.Unix(int64(e.Time), 0)
	log, ok := find(r.Logs, e.LogID.Key, at)
	if !ok {
		return time.Time{}, refuse("it is in no transparency log that is pinned for %s", stamp(at))
	}
	if err := e.binds(b, leaf); err != nil {
		return time.Time{}, err
	}
	// The log signed the four in the form of RFC 8785.
	text := fmt.Sprintf(`{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":%d}`,
		base64.StdEncoding.EncodeToString(e.Body), e.Time, hex.EncodeToString(e.LogID.Key), e.Index)
	if !log.verify([]byte(text), e.Promise.Stamp) {
		return time.Time{}, refuse("the time of its entry is not signed by the transparency log")
	}
	return at, e.included(log)
}

// logEntry is an entry of Rekor's, version 1.
type logEntry struct {
	Index number `json:"logIndex"`
	LogID struct {
		Key []byte `json:"keyId"`
	} `json:"logId"`
	Kind struct {
		Kind    string `json:"kind"`
		Version string `json:"version"`
	} `json:"kindVersion"`
	Time    number `json:"integratedTime"`
	Promise struct {
		Stamp []byte `json:"signedEntryTimestamp"`
	} `json:"inclusionPromise"`
	Proof struct {
		Index      number   `json:"logIndex"`
		Root       []byte   `json:"rootHash"`
		Size       number   `json:"treeSize"`
		Hashes     [][]byte `json:"hashes"`
		Checkpoint struct {
			Envelope string `json:"envelope"`
		} `json:"checkpoint"`
	} `json:"inclusionProof"`
	Body []byte `json:"canonicalizedBody"`
}

// number is one that JSON of protobuf writes as a text.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*n = number(v)
	return err
}

// binds checks that the entry is about this signature, by this certificate, over this payload.
func (e *logEntry) binds(b *bundle, leaf *x509.Certificate) error {
	var body struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
		Spec    struct {
			Payload struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"payloadHash"`
			Signatures []struct {
				Sig      string `json:"signature"`
				Verifier []byte `json:"verifier"`
			} `json:"signatures"`
		} `json:"spec"`
	}
	if err := decode(e.Body, &body); err != nil {
		return refuse("its entry of the transparency log cannot be read: %v", err)
	}
	if body.Kind != "dsse" || body.Version != "0.0.1" {
		return refuse("its entry of the transparency log is of the kind %s %s, and models' are of dsse 0.0.1", body.Kind, body.Version)
	}
	sum := sha256.Sum256(b.Envelope.Payload)
	sigs := body.Spec.Signatures
	if body.Spec.Payload.Algorithm != "sha256" || !same(body.Spec.Payload.Value, hex.EncodeToString(sum[:])) || len(sigs) != 1 ||
		sigs[0].Sig != base64.StdEncoding.EncodeToString(b.Envelope.Signatures[0].Sig) {
		return refuse("its entry of the transparency log is about another signature")
	}
	if p, rest := pem.Decode(sigs[0].Verifier); p == nil || len(bytes.TrimSpace(rest)) > 0 || !bytes.Equal(p.Bytes, leaf.Raw) {
		return refuse("its entry of the transparency log is about another certificate")
	}
	return nil
}

// included checks the proof that the entry is in the log's tree, as RFC 9162 says in 2.1.3.2, and that the log signed
// the tree's head.
func (e *logEntry) included(log *rootLog) error {
	p := &e.Proof
	bad := refuse("the proof that the transparency log has it does not hold")
	if p.Index < 0 || p.Size <= p.Index || len(p.Hashes) > 64 {
		return bad
	}
	hash := func(parts ...[]byte) []byte {
		h := sha256.New()
		for _, x := range parts {
			_, _ = h.Write(x) // a hash does not fail
		}
		return h.Sum(nil)
	}
	at, last, sum := p.Index, p.Size-1, hash([]byte{0}, e.Body)
	for _, sibling := range p.Hashes {
		if last == 0 || len(sibling) != sha256.Size {
			return bad
		}
		if at&1 == 1 || at == last {
			sum = hash([]byte{1}, sibling, sum)
			for at&1 == 0 && at != 0 {
				at, last = at>>1, last>>1
			}
		} else {
			sum = hash([]byte{1}, sum, sibling)
		}
		at, last = at>>1, last>>1
	}
	if last != 0 || !bytes.Equal(sum, p.Root) {
		return bad
	}
	return e.head(log)
}

// head checks the signed head of the tree: lines of text, an empty one, and signatures.
func (e *logEntry) head(log *rootLog) error {
	text, sigs, ok := strings.Cut(e.Proof.Checkpoint.Envelope, "\n\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) < 3 || len(e.Proof.Checkpoint.Envelope) > 1<<16 {
		return refuse("the signed head of the transparency log cannot be read")
	}
	if lines[1] != fmt.Sprint(e.Proof.Size) || lines[2] != base64.StdEncoding.EncodeToString(e.Proof.Root) {
		return refuse("the signed head of the transparency log is of another tree than the proof")
	}
	own := sha256.Sum256(log.Key.Raw)
	for line := range strings.Lines(sigs) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "—" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(fields[2])
		if err == nil && len(raw) > 4 && bytes.Equal(raw[:4], own[:4]) && log.verify([]byte(text+"\n"), raw[4:]) {
			return nil
		}
	}
	return refuse("the head of the transparency log is not signed by it")
}
