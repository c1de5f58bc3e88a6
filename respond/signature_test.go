package respond

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/cacao"
	"picket/playbooks"
	"picket/respond/action"
)

// signedBook signs a playbook with a key of its own.
func signedBook(t *testing.T, data []byte, until time.Time) (signed []byte, thumbprint string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := cacao.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	sig := cacao.Signature{
		ID: "jss--00000000-0000-4000-8000-000000000001", Created: cacao.Stamp(at), Modified: cacao.Stamp(at), Signee: "SOC", Algorithm: "Ed25519",
		ValidFrom: cacao.Stamp(at.Add(-time.Hour)), ValidUntil: cacao.Stamp(until),
	}
	if err := p.Sign(sig, private); err != nil {
		t.Fatal(err)
	}
	if signed, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	if thumbprint, err = cacao.Thumbprint(public); err != nil {
		t.Fatal(err)
	}
	return signed, thumbprint
}

func TestSignaturesOfPlaybooks(t *testing.T) {
	contain := book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""))
	kill := book(t, "http://192.0.2.1", nil, openc2("stop", "container", ""))
	signedContain, soc := signedBook(t, contain, at.Add(time.Hour))
	signedKill, socKill := signedBook(t, kill, at.Add(time.Hour))
	expired, old := signedBook(t, contain, at.Add(-time.Minute))
	tampered := []byte(strings.Replace(string(signedContain), "A test", "A fake", 1))
	policy := func(mode SignatureMode, thumbprint string, classes ...action.Class) Signatures {
		s := Signatures{Mode: mode}
		if thumbprint != "" {
			s.Keys = []TrustedKey{{Thumbprint: thumbprint, Classes: classes}}
		}
		return s
	}
	for _, c := range []struct {
		name   string
		data   []byte
		policy Signatures
		loads  string // what is said when the library is loaded
		plans  string // what is said when it is planned; "" plans
		warns  bool
	}{
		{"off", contain, policy(SignaturesOff, ""), "", "", false},
		{"unsigned, warned of", contain, policy(SignaturesWarn, ""), "it is not signed", "", true},
		{"unsigned", contain, policy(SignaturesRequire, soc, action.Observe), "it is not signed", "not found", false},
		{"signed", signedContain, policy(SignaturesRequire, soc, action.Observe, action.Reversible), "", "", false},
		{"by another", signedContain, policy(SignaturesRequire, socKill, action.Reversible), "none that respond.keys trusts", "not found", false},
		{"for less", signedContain, policy(SignaturesRequire, soc, action.Observe), "", "may authorise [observe], and this is reversible", false},
		{"for more", signedKill, policy(SignaturesRequire, socKill, action.Reversible), "", "and this is destructive", false},
		{"destructive", signedKill, policy(SignaturesRequire, socKill, action.Destructive), "", "", false},
		{"expired", expired, policy(SignaturesRequire, old, action.Reversible), "not valid any more", "not found", false},
		{"changed", tampered, policy(SignaturesRequire, soc, action.Reversible), "does not fit", "not found", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			lib, err := ReadLibrary(BuiltIn(playbooks.FS), fstest.MapFS{"test.json": &fstest.MapFile{Data: c.data}})
			if err != nil {
				t.Fatal(err)
			}
			built := len(lib.Books()) - 1
			if err := lib.Sign(c.policy, at); (err == nil) != (c.loads == "") || err != nil && !strings.Contains(err.Error(), c.loads) {
				t.Errorf("loading: %v, want %q", err, c.loads)
			}
			if n := len(lib.Books()); n < built {
				t.Errorf("%d playbooks of %d that come with the program are left", n, built)
			}
			r := newRig(t, contain, func(o *Options) { o.Library, o.Config.Signatures = lib, c.policy })
			plan, err := r.Plan(ctx, "test", "incident1", nil, nil)
			if (err == nil) != (c.plans == "") || err != nil && !strings.Contains(err.Error(), c.plans) {
				t.Fatalf("planning: %v, want %q", err, c.plans)
			}
			if err == nil && (len(plan.Warnings) > 0) != c.warns {
				t.Errorf("it warns: %v", plan.Warnings)
			}
			if _, err := r.Plan(ctx, "contain-weights", "incident1", nil, nil); err != nil && errors.Is(err, ErrNotFound) {
				t.Errorf("a playbook that comes with the program: %v", err)
			}
		})
	}
}

// A run whose playbook nobody who is trusted signed any more does not go on.
func TestAResumedRunIsHeldAgainstTheKeys(t *testing.T) {
	data, soc := signedBook(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", ""), command{"manual", "Look.", ""}, openc2("contain", "container", "")), at.Add(time.Hour))
	trust := Signatures{Mode: SignaturesRequire, Keys: []TrustedKey{{Thumbprint: soc, Classes: []action.Class{action.Reversible}}}}
	r := newRig(t, data, func(o *Options) { o.Config.Signatures = trust })
	run, err := r.Request(ctx, Request{Playbook: "test", Incident: "incident1", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 })
	o := r.o
	r.Close()
	r.Engine = start(t, o)
	if run := r.until(t, run.ID, "asking", func(run Run) bool { return len(run.Asks) == 1 }); run.State != Running {
		t.Fatalf("with the key it is %s: %s", run.State, run.Failure)
	}
	r.Close()
	o.Config.Signatures = Signatures{Mode: SignaturesRequire}
	r.Engine = start(t, o)
	got := r.ends(t, run.ID, Failed)
	if !strings.Contains(got.Failure, "signatures are required") || len(got.Holds) != 1 {
		t.Errorf("without the key: %s, holds %d", got.Failure, len(got.Holds))
	}
	if _, err := r.Undo(ctx, run.ID, "ada"); err != nil {
		t.Errorf("what it did cannot be taken back: %v", err)
	}
}
