package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newKey returns a key, private and public in PEM.
func newKey(t testing.TB, curve elliptic.Curve) (key *ecdsa.PrivateKey, private, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

// newModel writes a model and opens it.
func newModel(t testing.TB) (dir string, tree *Tree) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "llama")
	for name, text := range map[string]string{
		"config.json": `{}`, "weights/part-1.safetensors": "one", "weights/part-2.safetensors": "two", "empty": "",
		".git/HEAD": "ref", ".gitattributes": "* lfs",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	tree, err := OpenTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return dir, tree
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// signed makes the manifest of a model and signs it.
func signed(t testing.TB, tree *Tree, private, certs []byte, o Options) []byte {
	t.Helper()
	m, err := Make(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(private, certs)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignAndVerify(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		for _, shards := range []bool{false, true} {
			t.Run(fmt.Sprint(curve.Params().Name, " shards ", shards), func(t *testing.T) {
				_, tree := newModel(t)
				_, private, public := newKey(t, curve)
				b := signed(t, tree, private, nil, Options{Shards: shards})
				s, err := Open(b, Trust{Key: public})
				if err != nil {
					t.Fatal(err)
				}
				if n := len(s.Manifest.Resources); n != 4 || s.Manifest.Name != "llama" || len(s.Notes) != 0 {
					t.Errorf("%d files of %s, notes %q", n, s.Manifest.Name, s.Notes)
				}
				if diff, err := s.Manifest.Compare(t.Context(), tree, CompareOptions{}); err != nil || len(diff) != 0 {
					t.Errorf("%v %v", diff, err)
				}
				_, _, other := newKey(t, curve)
				wantRefused(t, b, Trust{Key: other}, "it is of the key")
			})
		}
	}
}

func wantRefused(t *testing.T, bundle []byte, trust Trust, why string) {
	t.Helper()
	_, err := Open(bundle, trust)
	var r *RefusedError
	if !errors.As(err, &r) || !strings.Contains(r.Reason, why) {
		t.Errorf("got %v, want it refused as %q", err, why)
	}
}

// The statement's shape is fixed by the format; this is what another implementation would read.
func TestTheBundleIsAsTheFormatSays(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "m", "a"), "abc")
	tree, err := OpenTree(filepath.Join(dir, "m"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	_, private, _ := newKey(t, elliptic.P256())
	var b struct {
		MediaType            string
		VerificationMaterial struct {
			PublicKey   struct{ Hint string }
			TlogEntries []any
		}
		DsseEnvelope struct {
			Payload, PayloadType string
			Signatures           []struct{ Sig, Keyid string }
		}
	}
	if err := json.Unmarshal(signed(t, tree, private, nil, Options{}), &b); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(b.DsseEnvelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	abc := sha256.Sum256([]byte("abc"))
	all := sha256.Sum256(abc[:])
	want := map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"name": "m", "digest": map[string]any{"sha256": fmt.Sprintf("%x", all)}}},
		"predicateType": "https://model_signing/signature/v1.0",
		"predicate": map[string]any{
			"serialization": map[string]any{
				"method": "files", "hash_type": "sha256", "allow_symlinks": false,
				"ignore_paths": []any{".git", ".gitattributes", ".github", ".gitignore"},
			},
			"resources": []any{map[string]any{"name": "a", "algorithm": "sha256", "digest": fmt.Sprintf("%x", abc)}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if b.MediaType != bundleType || b.DsseEnvelope.PayloadType != payloadType || len(b.DsseEnvelope.Signatures) != 1 ||
		len(b.VerificationMaterial.PublicKey.Hint) != 64 || b.VerificationMaterial.TlogEntries == nil {
		t.Errorf("%+v", b)
	}
}

func TestCompareSaysWhatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		o      CompareOptions
		want   []Difference
	}{
		"changed": {
			func(t *testing.T, dir string) { write(t, dir+"/config.json", "{ }") },
			CompareOptions{},
			[]Difference{{"config.json", "changed: it has another digest than what was signed"}},
		},
		"missing": {func(t *testing.T, dir string) { _ = os.Remove(dir + "/empty") }, CompareOptions{}, []Difference{{"empty", "missing"}}},
		"extra": {
			func(t *testing.T, dir string) { write(t, dir+"/weights/x.py", "") },
			CompareOptions{},
			[]Difference{{"weights/x.py", "extra: it was not signed"}},
		},
		"extra, taken":   {func(t *testing.T, dir string) { write(t, dir+"/weights/x.py", "") }, CompareOptions{Extra: true}, nil},
		"extra, ignored": {func(t *testing.T, dir string) { write(t, dir+"/new/x.py", "") }, CompareOptions{Ignore: []string{"new"}}, nil},
		"git":            {func(t *testing.T, dir string) { write(t, dir+"/.git/HEAD", "other") }, CompareOptions{}, nil},
		"a link": {
			func(t *testing.T, dir string) { _ = os.Symlink("config.json", dir+"/link") },
			CompareOptions{},
			[]Difference{{"link", "is a symbolic link"}},
		},
		"a file becomes a link": {func(t *testing.T, dir string) {
			_ = os.Rename(dir+"/config.json", dir+"/.git/c")
			_ = os.Symlink(".git/c", dir+"/config.json")
		}, CompareOptions{}, []Difference{{"config.json", "is a symbolic link"}, {"config.json", "missing"}}},
		"a FIFO": {
			func(t *testing.T, dir string) { _ = syscall.Mkfifo(dir+"/pipe", 0o600) },
			CompareOptions{},
			[]Difference{{"pipe", "is no file: p---------"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, shards := range []bool{false, true} {
				dir, tree := newModel(t)
				m, err := Make(t.Context(), tree, Options{Shards: shards})
				if err != nil {
					t.Fatal(err)
				}
				c.change(t, dir)
				got, err := m.Compare(t.Context(), tree, c.o)
				if err != nil {
					t.Fatal(err)
				}
				for i := range got { // a shard is missing where a file is
					got[i].Name, _, _ = strings.Cut(got[i].Name, ":")
				}
				if shards && name == "changed" {
					continue // it is another shard: below
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("shards %v: %s", shards, d)
				}
			}
		})
	}
}

func TestShards(t *testing.T) {
	dir, tree := newModel(t)
	write(t, dir+"/weights/big", "0123456789")
	m := &Manifest{Name: "llama", Serialization: Serialization{Method: Shards, HashType: "blake3", ShardSize: "4.0", IgnorePaths: []string{".git", ".gitattributes"}}}
	pieces, err := tree.pieces([]string{"empty", "weights/big"}, m.Serialization)
	if err != nil {
		t.Fatal(err)
	}
	if m.Resources, err = tree.digests(t.Context(), pieces, m.Serialization, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range m.Resources {
		names = append(names, r.Name+" "+r.Algorithm)
	}
	want := []string{"empty:0:0 blake3-sharded-4", "weights/big:0:4 blake3-sharded-4", "weights/big:4:8 blake3-sharded-4", "weights/big:8:10 blake3-sharded-4"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	write(t, dir+"/weights/big", "0123x5678")
	got, err := m.Compare(t.Context(), tree, CompareOptions{Extra: true})
	if err != nil {
		t.Fatal(err)
	}
	wantDiff := []Difference{
		{"weights/big:4:8", "changed: it has another digest than what was signed"},
		{"weights/big:8:10", "missing"},
		{"weights/big:8:9", "changed: it is longer than what was signed"},
	}
	if d := cmp.Diff(wantDiff, got); d != "" {
		t.Error(d)
	}
}

func TestOneFile(t *testing.T) {
	at := filepath.Join(t.TempDir(), "model.gguf")
	write(t, at, "GGUF")
	tree, err := OpenTree(at, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	_, private, public := newKey(t, elliptic.P256())
	s, err := Open(signed(t, tree, private, nil, Options{}), Trust{Key: public})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Manifest.Resources; len(r) != 1 || r[0].Name != "." || s.Manifest.Name != "model.gguf" {
		t.Errorf("%+v", s.Manifest)
	}
	if diff, err := s.Manifest.Compare(t.Context(), tree, CompareOptions{}); err != nil || len(diff) > 0 {
		t.Errorf("%v %v", diff, err)
	}
	write(t, at, "GGUX")
	if diff, err := s.Manifest.Compare(t.Context(), tree, CompareOptions{}); err != nil || len(diff) != 1 {
		t.Errorf("%v %v", diff, err)
	}
}

// certificate makes a certificate of a key, signed by another's.
func certificate(t *testing.T, name string, key *ecdsa.PrivateKey, by *x509.Certificate, byKey *ecdsa.PrivateKey, change func(*x509.Certificate)) (*x509.Certificate, []byte) {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC),
	}
	if by == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.NotAfter = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
		by, byKey = c, key
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	_, tree := newModel(t)
	rootKey, _, _ := newKey(t, elliptic.P384())
	root, rootPEM := certificate(t, "the root", rootKey, nil, nil, nil)
	key, private, public := newKey(t, elliptic.P256())
	_, leafPEM := certificate(t, "release", key, root, rootKey, func(c *x509.Certificate) { c.EmailAddresses = []string{"release@example.org"} })
	b := signed(t, tree, private, leafPEM, Options{})

	// The certificate was good for ten minutes in 2020, when it was made: that is what is asked.
	for _, trust := range []Trust{{Roots: rootPEM}, {Roots: rootPEM, Subject: "release"}, {Roots: rootPEM, Subject: "release@example.org"}} {
		if s, err := Open(b, trust); err != nil || !strings.Contains(s.Signer, "release") {
			t.Errorf("%v %v", s, err)
		}
	}
	wantRefused(t, b, Trust{Roots: rootPEM, Subject: "someone"}, "not of someone")
	wantRefused(t, b, Trust{Key: public}, "not made with a key alone")
	strangerKey, _, _ := newKey(t, elliptic.P384())
	_, stranger := certificate(t, "the root", strangerKey, nil, nil, nil)
	wantRefused(t, b, Trust{Roots: stranger}, "does not lead to a trusted one")
	_, wrong := certificate(t, "server", key, root, rootKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })
	wantRefused(t, signed(t, tree, private, wrong, Options{}), Trust{Roots: rootPEM}, "not for signatures")
	if _, err := NewSigner(private, rootPEM); err == nil {
		t.Error("it signs with the certificate of another key")
	}
	if _, err := Open(b, Trust{}); err == nil {
		t.Error("it trusts nobody and yet takes it")
	}
}

// forge signs a statement that no writer of ours makes.
func forge(t *testing.T, key *ecdsa.PrivateKey, payload string, change func(*bundle)) []byte {
	t.Helper()
	b := bundle{MediaType: bundleType, Envelope: envelope{[]byte(payload), payloadType, []signature{{}}}}
	b.Verification.PublicKey = &publicKey{}
	b.Verification.Tlog = []tlogEntry{}
	sum := sha256.Sum256(pae([]byte(payload)))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	b.Envelope.Signatures[0].Sig = sig
	if change != nil {
		change(&b)
	}
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// statementOf writes a statement of resources whose digests are all zero.
func statementOf(serialization string, names ...string) string {
	var list []string
	h := sha256.New()
	for _, n := range names {
		algorithm := "sha256"
		if strings.Contains(serialization, "shards") {
			algorithm = "sha256-sharded-8"
		}
		h.Write(make([]byte, 32))
		list = append(list, fmt.Sprintf(`{"name":%q,"algorithm":%q,"digest":"%064d"}`, n, algorithm, 0))
	}
	return fmt.Sprintf(`{"_type":%q,"subject":[{"name":"m","digest":{"sha256":"%x"}}],"predicateType":%q,"predicate":{"serialization":%s,"resources":[%s]}}`,
		statementType, h.Sum(nil), predicateType, serialization, strings.Join(list, ","))
}

func TestRefused(t *testing.T) {
	const plain = `{"method":"files","hash_type":"sha256","allow_symlinks":false}`
	key, _, public := newKey(t, elliptic.P256())
	trust := Trust{Key: public}
	if s, err := Open(forge(t, key, statementOf(plain, "a", "b"), nil), trust); err != nil || len(s.Notes) != 1 {
		t.Fatalf("what is not wrong is refused too: %v %v", s, err)
	}
	good := statementOf(plain, "a")
	for name, c := range map[string]struct {
		payload string
		change  func(*bundle)
		why     string
	}{
		"up":              {statementOf(plain, "../a"), nil, "not a path below"},
		"absolute":        {statementOf(plain, "/etc/passwd"), nil, "not a path below"},
		"not clean":       {statementOf(plain, "a/../b"), nil, "not a path below"},
		"backslash":       {statementOf(plain, `a\b`), nil, "not a path below"},
		"twice":           {statementOf(plain, "a", "a"), nil, "listed twice"},
		"none":            {statementOf(plain), nil, "covers no file"},
		"hash":            {statementOf(`{"method":"files","hash_type":"md5"}`, "a"), nil, "none of sha256"},
		"method":          {statementOf(`{"method":"tree","hash_type":"sha256"}`, "a"), nil, "neither files nor shards"},
		"shard":           {statementOf(`{"method":"shards","hash_type":"sha256","shard_size":8.0}`, "a"), nil, "path:start:end"},
		"shard size":      {statementOf(`{"method":"shards","hash_type":"sha256","shard_size":0.5}`, "a:0:1"), nil, "no number of bytes"},
		"root":            {strings.Replace(good, `"sha256":"`, `"sha256":"0`, 1), nil, "its digest of all files"},
		"other algorithm": {strings.Replace(good, `"algorithm":"sha256"`, `"algorithm":"blake3"`, 1), nil, "the manifest says"},
		"predicate":       {strings.Replace(good, predicateType, "https://slsa.dev/provenance/v1", 1), nil, "not to sign a model"},
		"statement":       {strings.Replace(good, statementType, "x", 1), nil, "not an in-toto statement"},
		"name twice":      {strings.Replace(good, `{"_type"`, `{"_type":"x","_type"`, 1), nil, "comes twice"},
		"more behind":     {good + "{}", nil, "something follows"},
		"subjects":        {strings.Replace(good, `"subject":[`, `"subject":[{"name":"x","digest":{}},`, 1), nil, "one subject"},
		"payload type":    {good, func(b *bundle) { b.Envelope.Type = "text/plain" }, "of type"},
		"two signatures":  {good, func(b *bundle) { b.Envelope.Signatures = append(b.Envelope.Signatures, signature{}) }, "2 signatures"},
		"changed after":   {good, func(b *bundle) { b.Envelope.Payload = append(b.Envelope.Payload, ' ') }, "not by this key"},
		"no signature":    {good, func(b *bundle) { b.Envelope.Signatures[0].Sig = nil }, "not by this key"},
		"media type":      {good, func(b *bundle) { b.MediaType = "application/json" }, "mediaType"},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, forge(t, key, c.payload, c.change), trust, c.why) })
	}
	wantRefused(t, []byte("{"), trust, "no sigstore bundle")
	wantRefused(t, bytes.Repeat([]byte(`[`), 100), trust, "nested too deep")
}

// Writers before v1.0 signed what Python prints of the payload, with a capital V before it.
func TestTheFormBeforeOne(t *testing.T) {
	key, _, public := newKey(t, elliptic.P384())
	payload := []byte(fmt.Sprintf(`{"_type":%q,"subject":[{"name":"it's","digest":{"sha256":"%064d"}}],"predicateType":%q,"predicate":{}}`, statementType, 0, digestsType) + "\n")
	sum := sha256.Sum256([]byte(fmt.Sprintf("DSSEV1 %d %s %d b'%s\\n'", len(payloadType), payloadType, len(payload),
		strings.ReplaceAll(strings.TrimSuffix(string(payload), "\n"), "'", `\'`))))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	b := bundle{MediaType: bundleType, Envelope: envelope{payload, payloadType, []signature{{Sig: sig}}}}
	b.Verification.PublicKey = &publicKey{}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(text, Trust{Key: public})
	if err != nil || len(s.Notes) != 2 || len(s.Manifest.Resources) != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestMakeRefusesWhatNoSignatureCovers(t *testing.T) {
	dir, tree := newModel(t)
	if err := os.Symlink("/etc/passwd", dir+"/weights/link"); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), tree, Options{}); err == nil || !strings.Contains(err.Error(), "weights/link is a symbolic link") {
		t.Error(err)
	}
	links, err := OpenTree(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	if _, err := Make(t.Context(), links, Options{}); err == nil || !strings.Contains(err.Error(), "out of the model") {
		t.Error(err)
	}
	if err := os.Remove(dir + "/weights/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../config.json", dir+"/weights/link"); err != nil {
		t.Fatal(err)
	}
	if m, err := Make(t.Context(), links, Options{}); err != nil || len(m.Resources) != 5 {
		t.Errorf("%v %v", m, err)
	}
	empty, err := OpenTree(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, err := Make(t.Context(), empty, Options{}); err == nil {
		t.Error("it signs nothing")
	}
}

func FuzzOpen(f *testing.F) {
	for _, serialization := range []string{`{"method":"files","hash_type":"sha256"}`, `{"method":"shards","hash_type":"sha256","shard_size":8.0}`} {
		for _, name := range []string{"a", "a:0:8", "../a"} {
			b, err := json.Marshal(bundle{MediaType: bundleType, Envelope: envelope{[]byte(statementOf(serialization, name)), payloadType, []signature{{}}}})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add([]byte(statementOf(serialization, name)))
		}
	}
	_, _, public := newKey(f, elliptic.P256())
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Open(data, Trust{Key: public}); err == nil {
			t.Error("it takes what this key never signed")
		}
		for _, m := range []func([]byte) (*Manifest, error){Peek, parseStatement} {
			m, err := m(data)
			if err != nil {
				continue
			}
			for _, r := range m.Resources {
				if strings.HasPrefix(r.Name, "/") || r.Name == ".." || strings.HasPrefix(r.Name, "../") {
					t.Errorf("%q leaves the model", r.Name)
				}
			}
		}
	})
}

// cache lays a model out as a cache of Hugging Face does, and returns its snapshot.
func cache(t *testing.T, files map[string]string) (snapshot string) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "models--a--b")
	snapshot = filepath.Join(repo, "snapshots", "0123")
	n := 0
	for name, text := range files {
		n++
		blob := filepath.Join(repo, "blobs", fmt.Sprintf("%040d", n))
		link := filepath.Join(snapshot, name)
		for _, dir := range []string{filepath.Dir(blob), filepath.Dir(link)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(blob, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		to, err := filepath.Rel(filepath.Dir(link), blob)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	return snapshot
}

// A snapshot is signed as its links reach it, and no link leads out of the repository in the cache.
func TestASnapshotInACacheIsSigned(t *testing.T) {
	snapshot := cache(t, map[string]string{"config.json": "{}", "deep/model.safetensors": "weights"})
	digests := func(at string, links bool) ([]Resource, error) {
		tree, err := OpenTree(at, links)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		m, err := Make(t.Context(), tree, Options{})
		if err != nil {
			return nil, err
		}
		return m.Resources, nil
	}
	got, err := digests(snapshot, true)
	if err != nil || len(got) != 2 || got[0].Name != "config.json" || got[1].Name != "deep/model.safetensors" {
		t.Fatalf("%v %v", got, err)
	}
	if _, err := digests(snapshot, false); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("without links: %v", err)
	}
	if got, err := digests(snapshot+"/config.json", true); err != nil || len(got) != 1 || got[0].Name != "." {
		t.Errorf("one file: %v %v", got, err)
	}
	other := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(snapshot))), "other")
	if err := os.WriteFile(other, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"/etc/passwd", "../../../other", other, "../../blobs/gone"} {
		if err := os.Symlink(to, snapshot+"/out.pt"); err != nil {
			t.Fatal(err)
		}
		if _, err := digests(snapshot, true); err == nil || !strings.Contains(err.Error(), "out of the model") {
			t.Errorf("a link to %s: %v", to, err)
		}
		if err := os.Remove(snapshot + "/out.pt"); err != nil {
			t.Fatal(err)
		}
	}
}
