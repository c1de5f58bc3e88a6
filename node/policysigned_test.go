package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picket/artifact/sign"
	"picket/event"
	"picket/inventory"
)

// signer makes a key, and signs a file by it.
func signer(t *testing.T) (public []byte, signs func(file string)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	public = encode("PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	private := encode("PRIVATE KEY", der, err)
	return public, func(file string) {
		t.Helper()
		tree, err := sign.OpenTree(file, false)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		m, err := sign.Make(t.Context(), tree, sign.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sign.NewSigner(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Sign(m)
		if err == nil {
			err = os.WriteFile(file+".sig", b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// scanned gives policies a scanner that trusts a key, and what becomes of the sightings that are told.
func (p *policed) scanned(t *testing.T, public []byte) {
	t.Helper()
	p.scanner = inventory.New(inventory.Options{
		Trust: []sign.Trust{{Key: public}},
		Run: func(ctx context.Context, in *os.File, out, said io.Writer, args ...string) error {
			cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
			cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.WaitDelay = out, said, []*os.File{in}, time.Second
			return errors.Join(cmd.Run(), ctx.Err())
		},
		Told: func(x inventory.Sighting, _ event.Artifact) { t.Errorf("somebody is told of %+v", x) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.scanner.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// reads lets a real process in the cgroup read a file.
func (p *policed) reads(t *testing.T, file string) bool {
	t.Helper()
	dir, err := os.Open(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("cat", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Operation not permitted") {
		t.Fatalf("%v: %s", err, out)
	}
	return err == nil
}

// A workload loads what is signed by who is trusted, as it was signed, and nothing else.
func TestAModelThatIsNotSignedIsNotLoaded(t *testing.T) {
	dir := t.TempDir()
	good, foreign, ours, plain := dir+"/good.safetensors", dir+"/foreign.safetensors", dir+"/unsigned.safetensors", dir+"/README.md"
	header := `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`
	model := string([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}) + header + "abcd"
	for _, f := range []string{good, foreign, ours, plain} {
		if err := os.WriteFile(f, []byte(model), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	public, signs := signer(t)
	_, stranger := signer(t)
	signs(good)
	stranger(foreign)
	rest := "mode: enforce\nmodels: {paths: [" + dir + "], require: signed, unknown: hold}\n"
	p := newPoliced(t, rest)
	p.scanned(t, public)
	p.meet(&event.Process{PID: uint32(os.Getpid()), CgroupPath: p.group})
	if s, err := ReadPolicyStatus(p.cfg); err != nil || s.Rungs["signed"] != "fanotify" || len(s.Refused) > 0 {
		t.Fatalf("status %+v, %v", s, err)
	}
	try := func(what, file string, want bool) {
		t.Helper()
		if got := p.reads(t, file); got != want {
			t.Errorf("%s: read %t, want %t", what, got, want)
		}
	}
	try("signed", good, true)
	try("signed by somebody else", foreign, false)
	try("unsigned", ours, false)
	try("no model", plain, true)
	for file, what := range map[string]string{foreign: "untrusted", ours: "unsigned"} {
		told := func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.ContainsFunc(p.events, func(e event.Event) bool {
				return e.File.Path == file && e.Policy.Action == event.ActionDenied && e.Policy.Rung == "fanotify" && strings.Contains(e.Breach(), "it would have loaded "+file+", which is "+what)
			})
		}
		for start := time.Now(); !told(); time.Sleep(5 * time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("%s: it was not told", file)
			}
		}
	}

	// The file is changed after it was signed, and signed anew.
	if err := os.WriteFile(good, []byte(strings.Replace(model, "abcd", "evil", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	try("changed after it was signed", good, false)
	signs(good)
	p.scanner.Resign(good + ".sig") // as the sensor sees it written
	try("signed again", good, true)

	// Another identity is asked for, nothing is, and the policy only observes.
	change := func(rest string) {
		t.Helper()
		p.write(t, rest)
		p.reload(t.Context())
		if len(p.wrong) > 0 {
			t.Fatal(p.wrong)
		}
	}
	change(strings.Replace(rest, "unknown: hold", "by: [release@example.org]", 1))
	try("signed by another than is asked for", good, false)
	change(strings.Replace(rest, "enforce", "observe", 1))
	try("observed", ours, true)
	change(rest)
	try("enforced again", ours, false)
	if err := StopEnforcing(p.cfg); err != nil {
		t.Fatal(err)
	}
	p.reload(t.Context())
	try("stopped", ours, true)
}

// Where files that are not judged are allowed they pass once, and the next open knows them.
func TestAModelThatIsNotJudgedPassesOnce(t *testing.T) {
	dir := t.TempDir()
	p := newPoliced(t, "mode: enforce\nmodels: {paths: ["+dir+"], require: signed}\n")
	public, _ := signer(t)
	p.scanned(t, public)
	p.meet(&event.Process{PID: uint32(os.Getpid()), CgroupPath: p.group})
	later := filepath.Join(dir, "later.pt")
	if err := os.WriteFile(later, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !p.reads(t, later) {
		t.Error("it was refused before it was judged")
	}
	for start := time.Now(); p.reads(t, later); time.Sleep(100 * time.Millisecond) {
		if time.Since(start) > 60*time.Second {
			t.Fatal("it is read a minute later")
		}
	}
}

// What lies there when a workload comes under a policy is judged before it opens it.
func TestModelsAreJudgedBeforeTheyAreOpened(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "deep", "there.pt")
	if err := os.Mkdir(filepath.Dir(there), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(there, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := newPoliced(t, "mode: enforce\nmodels: {paths: ["+dir+"], require: signed}\n")
	public, _ := signer(t)
	p.scanned(t, public)
	p.meet(&event.Process{PID: uint32(os.Getpid()), CgroupPath: p.group})
	known := func() bool {
		st, err := os.Stat(there)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := inventory.VersionOf(st)
		_, ok := p.scanner.Known(v)
		return ok
	}
	for start := time.Now(); !known(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 60*time.Second {
			t.Fatal("it was not judged")
		}
	}
	if p.reads(t, there) {
		t.Error("its first open is not refused")
	}
}

// In a cache of Hugging Face a file is opened by a link, and what is asked about is the blob.
func TestAModelInACacheThatIsNotSignedIsNotLoaded(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "models--a--b")
	snapshot := filepath.Join(repo, "snapshots", "0123")
	for _, dir := range []string{repo + "/blobs", snapshot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(repo+"/blobs/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) string {
		t.Helper()
		if err := os.Symlink(to, snapshot+"/"+name); err != nil {
			t.Fatal(err)
		}
		return snapshot + "/" + name
	}
	blob("aa", "\x80\x04N.")
	good := link("../../blobs/aa", "model.pt")
	public, signs := signer(t)
	signs(good)
	blob("bb", "\x80\x04N0N.")
	late := link("../../blobs/bb", "late.pt")
	p := newPoliced(t, "mode: enforce\nmodels: {paths: ["+snapshot+"], require: signed, unknown: hold}\n")
	p.scanned(t, public)
	p.meet(&event.Process{PID: uint32(os.Getpid()), CgroupPath: p.group})
	try := func(what, file string, want bool) {
		t.Helper()
		if got := p.reads(t, file); got != want {
			t.Errorf("%s: read %t, want %t", what, got, want)
		}
	}
	try("signed", good, true)
	try("signed, by the blob's own path", repo+"/blobs/aa", true)
	try("unsigned", late, false)
	try("unsigned, by the blob's own path", repo+"/blobs/bb", false)
	blob("aa", "\x80\x04N00N.")
	try("changed after it was signed", good, false)
}
