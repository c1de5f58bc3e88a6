package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"picket/artifact/sign"
	"picket/node"
)

type modelCmd struct {
	Sign     modelSignCmd     `cmd:"" help:"Sign a model with a key or a certificate."`
	Verify   modelVerifyCmd   `cmd:"" help:"Check that a model is what somebody trusted has signed."`
	Manifest modelManifestCmd `cmd:"" help:"Print a model's files with their digests, of the disk or of a signature."`
}

type modelSignCmd struct {
	Path        string   `arg:"" help:"The model: a directory, or one file."`
	Signature   string   `placeholder:"FILE" help:"Where the signature goes. Default: model.sig in the directory, or beside the file with .sig behind its name."`
	PrivateKey  string   `required:"" placeholder:"FILE" help:"The key in PEM, on P-256, P-384 or P-521, not encrypted."`
	Certificate string   `placeholder:"FILE" help:"The key's certificate and those up to the root, in PEM. Without: a signature by key."`
	Shards      bool     `help:"Digests for each GB instead of for each file, so that one large file takes all processors."`
	Ignore      []string `placeholder:"PATH" sep:"none" help:"Leave out a path below the model. May be given several times."`
	Links       bool     `help:"Follow symbolic links that stay within the model."`
}

func (c *modelSignCmd) Run(a *app) error {
	key, err := os.ReadFile(c.PrivateKey)
	if err != nil {
		return usage(err)
	}
	var certs []byte
	if c.Certificate != "" {
		if certs, err = os.ReadFile(c.Certificate); err != nil {
			return usage(err)
		}
	}
	signer, err := sign.NewSigner(key, certs)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", c.PrivateKey, err))
	}
	t, err := sign.OpenTree(c.Path, c.Links)
	if err != nil {
		return usage(err)
	}
	defer t.Close() //nolint:errcheck // nothing was written
	to := signatureOf(c.Path, c.Signature)
	ignore := c.Ignore
	if rel := t.Relative(to); rel != "" {
		ignore = append(ignore, rel)
	}
	bar := a.progress()
	m, err := sign.Make(a.ctx, t, sign.Options{Shards: c.Shards, Ignore: ignore, Progress: bar.of(c.Path)})
	bar.clear()
	if err != nil {
		return err
	}
	bundle, err := signer.Sign(m)
	if err != nil {
		return err
	}
	if err := writeWhole(to, bundle); err != nil {
		return err
	}
	a.printf("signed %s (digests: %d): %s\n", printable(m.Name, false), len(m.Resources), printable(to, false))
	return nil
}

type modelVerifyCmd struct {
	outputFlag
	Path        string   `arg:"" help:"The model: a directory, or one file."`
	Signature   string   `placeholder:"FILE" help:"The signature. Default: model.sig in the directory, or beside the file with .sig behind its name."`
	PublicKey   string   `placeholder:"FILE" xor:"trust" required:"" help:"The signer's public key in PEM."`
	Roots       string   `placeholder:"FILE" xor:"trust" required:"" help:"Certificates in PEM that the signer's must lead to."`
	TrustedRoot string   `placeholder:"FILE" xor:"trust" required:"" help:"A trusted_root.json of sigstore, for a signature without a key of the signer's own: authorities and logs that count."`
	Identity    string   `placeholder:"NAME" help:"With --trusted-root: the address or URI that the signer's certificate must be of."`
	Issuer      string   `placeholder:"URL" help:"With --trusted-root: who must have vouched for the identity."`
	Subject     string   `placeholder:"NAME" help:"With --roots: the name or address that the signer's certificate must be of."`
	Extra       bool     `help:"Take files that were not signed."`
	Ignore      []string `placeholder:"PATH" sep:"none" help:"Do not look at a path below the model. May be given several times."`
}

// verified is what verify prints as JSON.
type verified struct {
	Path        string            `json:"path"`
	OK          bool              `json:"ok"`
	Signer      string            `json:"signer,omitempty"`
	Refused     string            `json:"refused,omitempty"`
	Differences []sign.Difference `json:"differences"`
	Notes       []string          `json:"notes"`
}

func (c *modelVerifyCmd) Run(a *app) error {
	trust, err := c.trust()
	if err != nil {
		return usage(err)
	}
	t, err := sign.OpenTree(c.Path, false)
	if err != nil {
		return usage(err)
	}
	defer t.Close() //nolint:errcheck // nothing was written
	from := signatureOf(c.Path, c.Signature)
	bundle, err := readBundle(from)
	if err != nil {
		return err
	}
	out := verified{Path: c.Path, Differences: []sign.Difference{}, Notes: []string{}}
	s, err := sign.Open(bundle, trust)
	var refused *sign.RefusedError
	switch {
	case errors.As(err, &refused):
		out.Refused = refused.Reason
	case err != nil:
		return usage(err)
	default:
		out.Signer, out.Notes = s.Signer, append(out.Notes, s.Notes...)
		if out.Differences, err = c.compare(a, t, s.Manifest, from, &out); err != nil {
			return err
		}
	}
	out.OK = out.Refused == "" && len(out.Differences) == 0
	return c.print(a, out)
}

// compare reads the model. Code that the signer left out is worth a note: nobody signed it.
func (c *modelVerifyCmd) compare(a *app, t *sign.Tree, m *sign.Manifest, from string, out *verified) ([]sign.Difference, error) {
	ignore, left := c.Ignore, 0
	if rel := t.Relative(from); rel != "" {
		ignore = append(ignore, rel)
	}
	bar := a.progress()
	defer bar.clear()
	diff, err := m.Compare(a.ctx, t, sign.CompareOptions{Extra: c.Extra, Ignore: ignore, Progress: bar.of(c.Path), Unchecked: func(name string) {
		if left++; left <= 20 && !strings.HasPrefix(name, ".git/") {
			out.Notes = append(out.Notes, name+" is in a path that the signer left out")
		}
	}})
	if diff == nil {
		diff = []sign.Difference{}
	}
	return diff, err
}

func (c *modelVerifyCmd) trust() (sign.Trust, error) {
	var t sign.Trust
	var err error
	switch {
	case c.TrustedRoot != "" && (c.Identity == "" || c.Issuer == ""):
		return t, errors.New("--trusted-root needs --identity and --issuer: who signed, and who vouched for that")
	case c.TrustedRoot == "" && c.Identity+c.Issuer != "":
		return t, errors.New("--identity and --issuer go with --trusted-root")
	}
	if c.PublicKey != "" {
		t.Key, err = os.ReadFile(c.PublicKey)
		return t, err
	}
	if c.TrustedRoot != "" {
		t.Identity, t.Issuer = c.Identity, c.Issuer
		t.TrustedRoot, err = os.ReadFile(c.TrustedRoot)
		return t, err
	}
	t.Subject = c.Subject
	t.Roots, err = os.ReadFile(c.Roots)
	return t, err
}

func (c *modelVerifyCmd) print(a *app, v verified) error {
	if c.json() {
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		for _, d := range v.Differences {
			a.printf("%s: %s\n", printable(d.Name, true), printable(d.What, true))
		}
		for _, n := range v.Notes {
			a.printf("note: %s\n", printable(n, true))
		}
	}
	switch {
	case v.Refused != "":
		return &sign.RefusedError{Reason: v.Refused}
	case !v.OK:
		return fmt.Errorf("%s is not what was signed (differences: %d)", c.Path, len(v.Differences))
	case !c.json():
		a.printf("%s is what was signed by the %s\n", printable(c.Path, false), printable(v.Signer, false))
	}
	return nil
}

type modelManifestCmd struct {
	outputFlag
	Path   string   `arg:"" help:"The model, or with --signed a signature."`
	Signed bool     `help:"Print what a signature says, without checking whose it is."`
	Shards bool     `help:"Digests for each GB instead of for each file."`
	Ignore []string `placeholder:"PATH" sep:"none" help:"Leave out a path below the model. May be given several times."`
}

func (c *modelManifestCmd) Run(a *app) error {
	m, err := c.manifest(a)
	if err != nil {
		return err
	}
	if c.json() {
		return a.printJSON(m)
	}
	for _, r := range m.Resources {
		a.printf("%s  %s\n", r.Digest, printable(r.Name, false))
	}
	return nil
}

func (c *modelManifestCmd) manifest(a *app) (*sign.Manifest, error) {
	if c.Signed {
		bundle, err := readBundle(c.Path)
		if err != nil {
			return nil, err
		}
		return sign.Peek(bundle)
	}
	t, err := sign.OpenTree(c.Path, false)
	if err != nil {
		return nil, usage(err)
	}
	defer t.Close() //nolint:errcheck // nothing was written
	ignore := c.Ignore
	if rel := t.Relative(signatureOf(c.Path, "")); rel != "" {
		ignore = append(ignore, rel) // as sign and verify do
	}
	bar := a.progress()
	defer bar.clear()
	return sign.Make(a.ctx, t, sign.Options{Shards: c.Shards, Ignore: ignore, Progress: bar.of(c.Path)})
}

// usage makes err one of the command line.
func usage(err error) error { return &node.Error{Err: err, Code: node.ExitUsage} }

// signatureOf returns where the signature of a model is.
func signatureOf(model, given string) string {
	switch {
	case given != "":
		return given
	case isDir(model):
		return filepath.Join(model, "model.sig")
	}
	return model + ".sig"
}

func readBundle(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &node.Error{Err: err, Hint: "name the signature with --signature, or make one with picket model sign", Code: node.ExitInput}
	}
	if !info.Mode().IsRegular() || info.Size() > sign.MaxBundle {
		return nil, &node.Error{Err: fmt.Errorf("%s is no signature: it is larger than %d MiB, or no file", path, sign.MaxBundle>>20), Code: node.ExitInput}
	}
	return os.ReadFile(path)
}

// writeWhole writes a file that others see whole or not at all.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sig-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
	}
	return err
}
