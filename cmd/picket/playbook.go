package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"picket/cacao"
	"picket/node"
)

type playbookCmd struct {
	Validate playbookValidateCmd `cmd:"" help:"Find mistakes in CACAO 2.0 playbooks."`
	Show     playbookShowCmd     `cmd:"" help:"Show the steps of a playbook as a tree, of a file or of a built-in one."`
	New      playbookNewCmd      `cmd:"" help:"Make a playbook and its runbook of a built-in one."`
	Sign     playbookSignCmd     `cmd:"" help:"Add a signature to a playbook and print it."`
	Verify   playbookVerifyCmd   `cmd:"" help:"Check the signatures of a playbook against keys that you trust."`
	Export   playbookExportCmd   `cmd:"" help:"Print a playbook of the server, as CACAO 2.0, to pass it on."`
	Import   playbookImportCmd   `cmd:"" help:"Take a playbook of others over, once it has no mistakes."`
	List     playbookListCmd     `cmd:"" help:"List the playbooks that the server can run."`
	Plan     playbookPlanCmd     `cmd:"" help:"Say what a playbook would do about an incident. Nothing is done."`
	Run      playbookRunCmd      `cmd:"" help:"Ask for a run of a playbook. What cannot be taken back waits for another person."`
	Edit     playbookEditCmd     `cmd:"" help:"Choose which targets of a plan that waits are left out. It gets another hash."`
	Approve  playbookApproveCmd  `cmd:"" help:"Approve the plan of a run."`
	Reject   playbookRejectCmd   `cmd:"" help:"Reject the plan of a run, or end a run."`
	Answer   playbookAnswerCmd   `cmd:"" help:"Answer a question of a run."`
	Undo     playbookUndoCmd     `cmd:"" help:"Take back what a run did."`
	History  playbookHistoryCmd  `cmd:"" help:"List runs, the latest first."`
	ShowRun  playbookShowRunCmd  `cmd:"" name:"show-run" help:"Tell what happened in a run."`
	Simulate playbookSimulateCmd `cmd:"" help:"Say what a playbook would have done about past incidents."`
	Stop     playbookStopCmd     `cmd:"" help:"Stop all acts of all runs at once, or let them go on."`
}

type playbookValidateCmd struct {
	outputFlag
	Files []string `arg:"" name:"file" help:"Playbooks."`
}

func (c *playbookValidateCmd) Run(a *app) error {
	type located struct {
		File string `json:"file"`
		cacao.Problem
	}
	found, bad := []located{}, 0
	for _, file := range c.Files {
		for _, p := range problemsOf(file) {
			found = append(found, located{file, p})
			if p.Severity == cacao.Error {
				bad++
			}
		}
	}
	if c.json() {
		if err := a.printJSON(found); err != nil {
			return err
		}
	} else {
		for _, f := range found {
			a.printf("%s: %s\n", printable(f.File, false), printable(f.String(), true))
		}
	}
	if bad > 0 {
		return &node.Error{Err: fmt.Errorf("%d mistakes: such a playbook must not be run", bad), Code: node.ExitFailure}
	}
	if !c.json() {
		a.printf("%d playbooks: ok\n", len(c.Files))
	}
	return nil
}

// problemsOf returns what is wrong with the playbook in a file, from it being no file at all.
func problemsOf(file string) cacao.Problems {
	p, err := readPlaybook(file)
	if found, ok := errors.AsType[cacao.Problems](err); ok {
		return found
	}
	if err != nil {
		return cacao.Problems{{Severity: cacao.Error, Message: err.Error()}}
	}
	return p.Validate()
}

// readPlaybook reads a playbook that is no larger than what is parsed.
func readPlaybook(file string) (*cacao.Playbook, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	if st.Size() > cacao.MaxSize {
		return nil, fmt.Errorf("playbook %s has %d bytes, at most %d are read", file, st.Size(), cacao.MaxSize)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	return cacao.Parse(data)
}

type playbookSignCmd struct {
	Key    string        `required:"" placeholder:"FILE" help:"Private key in PEM (PKCS #8): Ed25519, ECDSA or RSA."`
	Signee string        `required:"" help:"Who signs."`
	For    time.Duration `help:"How long the signature is valid. Default: without end."`
	File   string        `arg:"" help:"The playbook. The signed one is printed; the file stays as it is."`
}

func (c *playbookSignCmd) Run(a *app) error {
	p, err := readPlaybook(c.File)
	if err != nil {
		return err
	}
	if bad := p.Validate().Errors(); len(bad) > 0 {
		return fmt.Errorf("what has mistakes is not signed:\n%w", bad)
	}
	key, algorithm, err := privateKey(c.Key)
	if err != nil {
		return err
	}
	now := time.Now()
	sig := cacao.Signature{
		ID: "jss--" + newUUID(), Created: cacao.Stamp(now), Modified: cacao.Stamp(now),
		Signee: c.Signee, Algorithm: algorithm, ValidFrom: cacao.Stamp(now),
	}
	if c.For > 0 {
		sig.ValidUntil = cacao.Stamp(now.Add(c.For))
	}
	if err := p.Sign(sig, key); err != nil {
		return err
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	a.printf("%s\n", data)
	return nil
}

// privateKey reads a private key and says which algorithm it signs with.
func privateKey(file string) (crypto.Signer, string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, "", fmt.Errorf("key %s is no PEM: make one with openssl genpkey -algorithm ed25519", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "", fmt.Errorf("key %s: %w", file, err)
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k, "Ed25519", nil
	case *rsa.PrivateKey:
		return k, "RS256", nil
	case *ecdsa.PrivateKey:
		name, known := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
		if known {
			return k, name, nil
		}
	}
	return nil, "", fmt.Errorf("key %s: no algorithm of CACAO signs with a %T of this kind", file, key)
}

type playbookVerifyCmd struct {
	outputFlag
	Key  []string `required:"" placeholder:"FILE" help:"Public keys that you trust, in PEM. One signature of one of them is enough."`
	File string   `arg:"" help:"The playbook."`
}

func (c *playbookVerifyCmd) Run(a *app) error {
	p, err := readPlaybook(c.File)
	if err != nil {
		return err
	}
	trusted := map[string]crypto.PublicKey{}
	for _, file := range c.Key {
		key, err := publicKey(file)
		if err != nil {
			return err
		}
		name, err := cacao.Thumbprint(key)
		if err != nil {
			return fmt.Errorf("key %s: %w", file, err)
		}
		trusted[name] = key
	}
	keys := func(name string) (crypto.PublicKey, bool) { k, ok := trusted[strings.ToLower(name)]; return k, ok }
	now := time.Now()
	verdicts, err := p.Verify(now, keys, func(_ crypto.PublicKey, name string) error {
		if _, ok := trusted[name]; !ok {
			return fmt.Errorf("it fits, but key %s is none that you trust", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	good, err := c.print(a, verdicts)
	if err != nil {
		return err
	}
	if !good {
		return errors.New("no signature of a trusted key: the playbook may be anybody's")
	}
	return p.Runnable(now)
}

// print prints the verdicts and says whether one of them is good.
func (c *playbookVerifyCmd) print(a *app, verdicts []cacao.Verdict) (bool, error) {
	type row struct {
		cacao.Verdict
		Error string `json:"error,omitempty"`
	}
	good, rows := false, []row{}
	for _, v := range verdicts {
		r := row{Verdict: v}
		if v.Err != nil {
			r.Error = v.Err.Error()
		}
		good = good || v.Err == nil
		rows = append(rows, r)
	}
	if c.json() {
		return good, a.printJSON(rows)
	}
	for _, r := range rows {
		word := "ok"
		if r.Error != "" {
			word = r.Error
		}
		a.printf("%s: %s, %s: %s\n", r.Pointer, printable(r.Signee, false), printable(r.Algorithm, false), printable(word, false))
		if r.Thumbprint != "" {
			a.printf("  key %s\n", r.Thumbprint)
		}
	}
	return good, nil
}

func publicKey(file string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("key %s is no PEM", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	return key, nil
}
