package respond

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"picket/cacao"
	"picket/respond/action"
)

// SignatureMode says what is done about a playbook that nobody who is trusted signed.
type SignatureMode string

// The modes: nothing, it is said in the plan, it is not run.
const (
	SignaturesOff     SignatureMode = "off"
	SignaturesWarn    SignatureMode = "warn"
	SignaturesRequire SignatureMode = "require"
)

// Signatures says whose playbooks are run. Those that come with the program are part of it and need none.
type Signatures struct {
	Mode SignatureMode // "" is off
	Keys []TrustedKey
}

// TrustedKey is a key whose signatures count.
type TrustedKey struct {
	Thumbprint string           // as [cacao.Thumbprint] gives it
	Key        crypto.PublicKey // nil where signatures carry the key
	Classes    []action.Class   // of plans that it may authorise
}

// Check says what is wrong with the policy.
func (s Signatures) Check() error {
	if !slices.Contains([]SignatureMode{"", SignaturesOff, SignaturesWarn, SignaturesRequire}, s.Mode) {
		return fmt.Errorf("%q: want off, warn or require", s.Mode)
	}
	for i, k := range s.Keys {
		if err := k.Check(); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	return nil
}

// Check says what is wrong with a key.
func (k TrustedKey) Check() error {
	if len(k.Thumbprint) != 64 || strings.Trim(k.Thumbprint, "0123456789abcdef") != "" {
		return errors.New("want a thumbprint of 64 hexadecimal digits: picket playbook verify prints those of signatures")
	}
	if len(k.Classes) == 0 {
		return errors.New("say what it may authorise: classes, of observe, reversible and destructive")
	}
	for _, c := range k.Classes {
		if !slices.Contains(classes, c) {
			return fmt.Errorf("class %q: want observe, reversible or destructive", c)
		}
	}
	return nil
}

func (s Signatures) off() bool { return s.Mode == "" || s.Mode == SignaturesOff }

// judge says why a playbook may not be run with a plan of a class; "" asks for no class.
func (s Signatures) judge(p *cacao.Playbook, class action.Class, at time.Time) error {
	if len(p.Signatures) == 0 {
		return errors.New("it is not signed")
	}
	find := func(name string) *TrustedKey {
		for i := range s.Keys {
			if s.Keys[i].Thumbprint == strings.ToLower(name) {
				return &s.Keys[i]
			}
		}
		return nil
	}
	keys := func(name string) (crypto.PublicKey, bool) {
		k := find(name)
		return k.public(), k.public() != nil
	}
	verdicts, err := p.Verify(at, keys, func(_ crypto.PublicKey, name string) error {
		switch k := find(name); {
		case k == nil:
			return fmt.Errorf("key %s is none that respond.keys trusts", name)
		case class != "" && !slices.Contains(k.Classes, class):
			return fmt.Errorf("key %s may authorise %v, and this is %s", name, k.Classes, class)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var why []string
	for _, v := range verdicts {
		if v.Err == nil {
			return nil
		}
		why = append(why, fmt.Sprintf("%s of %s: %v", v.Pointer, v.Signee, v.Err))
	}
	return errors.New("no signature counts: " + strings.Join(why, "; "))
}

func (k *TrustedKey) public() crypto.PublicKey {
	if k == nil {
		return nil
	}
	return k.Key
}

// Sign holds the library against a policy: what nobody who is trusted signed is told in the error, which
// joins all of it, and where the policy requires signatures is taken out.
func (l *Library) Sign(s Signatures, at time.Time) error {
	if s.off() {
		return nil
	}
	var errs []error
	l.books = slices.DeleteFunc(l.books, func(b *Book) bool {
		if b.BuiltIn {
			return false
		}
		err := s.judge(b.Playbook, "", at)
		if err != nil {
			errs = append(errs, fmt.Errorf("playbook %s: %w", b.File, err))
		}
		return err != nil && s.Mode == SignaturesRequire
	})
	return errors.Join(errs...)
}

// signed says why playbooks may not be run together with a plan of a class.
func (e *Engine) signed(all []*cacao.Playbook, class action.Class) error {
	if e.o.Config.Signatures.off() {
		return nil
	}
	for _, p := range all {
		hash, err := p.Hash()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(e.o.Library.books, func(b *Book) bool { return b.BuiltIn && b.Hash == hash }) {
			continue
		}
		if err := e.o.Config.Signatures.judge(p, class, e.o.Now()); err != nil {
			return fmt.Errorf("%s (%s): %w", p.Name, p.ID, err)
		}
	}
	return nil
}

// builtIn marks a file system whose playbooks are part of the program.
type builtIn struct{ fs.FS }

// BuiltIn says that the playbooks of a file system are part of the program.
func BuiltIn(f fs.FS) fs.FS { return builtIn{f} }
