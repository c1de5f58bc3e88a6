package inventory

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"picket/artifact/sign"
	"picket/event"
)

// As a child of a test this program reads model files.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "scan" && os.Args[2] == "--worker" {
		if err := Work(os.NewFile(3, "parent"), os.Stdout, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// self runs this program as a child.
func self(ctx context.Context, in *os.File, out, said io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.WaitDelay = out, said, []*os.File{in}, time.Second
	return errors.Join(cmd.Run(), ctx.Err())
}

const evil = "cos\nsystem\n(S'id'\ntR." // a pickle

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
}

// told is what a scanner said.
type told struct {
	Path, Use, Verdict, Signature, User string
}

// watch starts a scanner and returns what it says, until the test ends.
func watch(t *testing.T, o Options) (*Scanner, <-chan told) {
	t.Helper()
	said := make(chan told, 100)
	o.Run, o.Version = self, "v"
	o.Told = func(x Sighting, a event.Artifact) {
		said <- told{filepath.Base(x.Path), a.Use, a.Verdict, a.Signature, x.Process.UID}
	}
	s := New(o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return s, said
}

func wait(t *testing.T, said <-chan told) told {
	t.Helper()
	select {
	case x := <-said:
		return x
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was said")
		return told{}
	}
}

// quiet checks that all that was seen was looked into, and nothing said.
func quiet(t *testing.T, s *Scanner, said <-chan told) {
	t.Helper()
	for i := 0; s.Waiting() > 0; i++ {
		if i > 3000 {
			t.Fatal("files wait")
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case x := <-said:
		t.Errorf("it said %+v", x)
	default:
	}
}

func self1(uid, workload string) *event.Process {
	p := &event.Process{PID: uint32(os.Getpid()), UID: uid}
	if workload != "" {
		p.Workload = &event.Workload{ID: workload}
	}
	return p
}

func TestAFileIsJudgedOnceForEachVersion(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.pt")
	write(t, file, "\x80\x04N.")
	kept := filepath.Join(dir, "kept.json")
	s, said := watch(t, Options{File: kept})
	see := func(p *event.Process, use string) { s.See(Sighting{Process: p, Path: file, Use: use}) }

	see(self1("a", "w1"), event.UseRead)
	if d := cmp.Diff(told{"x.pt", "read", "clean", "unsigned", "a"}, wait(t, said)); d != "" {
		t.Error(d)
	}
	see(self1("b", "w1"), event.UseRead) // the same workload, the same version
	quiet(t, s, said)
	see(self1("c", "w2"), event.UseRead)
	if d := cmp.Diff(told{"x.pt", "read", "clean", "unsigned", "c"}, wait(t, said)); d != "" {
		t.Error(d)
	}

	write(t, file, evil)
	see(self1("d", ""), event.UseWritten)
	if d := cmp.Diff(told{"x.pt", "written", "malicious", "unsigned", "d"}, wait(t, said)); d != "" {
		t.Error(d)
	}
	see(self1("a", "w1"), event.UseRead) // each program that loads a hostile file is told of
	see(self1("b", "w1"), event.UseRead)
	for _, who := range []string{"a", "b"} {
		if d := cmp.Diff(told{"x.pt", "read", "malicious", "unsigned", who}, wait(t, said)); d != "" {
			t.Error(d)
		}
	}
	if used := s.Used("w1"); len(used) != 1 || used[0].Artifact.Verdict != "malicious" || used[0].Format != "pickle" || len(used[0].Artifact.Digest) != 64 {
		t.Errorf("the workload uses %+v", used)
	}
	s.results.save()

	again := New(Options{Run: self, Version: "v", File: kept})
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := VersionOf(st)
	if r, ok := again.Known(v); !ok || r.Artifact.Verdict != "malicious" {
		t.Errorf("a restart forgot it: %+v %v", r, ok)
	}
	if _, ok := New(Options{Run: self, Version: "newer", File: kept}).Known(v); ok {
		t.Error("another Picket's word counts")
	}
}

func TestAFileIsLeftAloneWhileItIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ckpt.pt")
	write(t, file, evil)
	open, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := open.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !busy(r, info) {
		t.Error("a file that is open for writing is not busy")
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if busy(r, info) {
		t.Error("a file that was closed a minute after its last change is busy")
	}
	now := time.Now()
	if err := os.Chtimes(file, now, now); err != nil {
		t.Fatal(err)
	}
	if info, err = r.Stat(); err != nil || !busy(r, info) {
		t.Error("a file that was just changed is not busy")
	}
}

// A file is seen when it is opened to be written, before there is a byte in it.
func TestAFileThatIsEmptyAtFirstIsJudged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pt")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	s, said := watch(t, Options{})
	s.See(Sighting{Process: self1("a", ""), Path: file, Use: event.UseWritten})
	time.Sleep(200 * time.Millisecond) // it is looked at, and left for later
	if _, err := f.WriteString(evil); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(told{"x.pt", "written", "malicious", "unsigned", "a"}, wait(t, said)); d != "" {
		t.Error(d)
	}
}

func newKey(t *testing.T) (private, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := x509.MarshalPKCS8PrivateKey(key)
	b, err2 := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func signModel(t *testing.T, dir string, private []byte, o sign.Options) {
	t.Helper()
	tree, err := sign.OpenTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	m, err := sign.Make(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.NewSigner(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "model.sig"), string(b))
}

func TestSignatures(t *testing.T) {
	ours, public := newKey(t)
	theirs, _ := newKey(t)
	trust := []sign.Trust{{Key: public}}
	for _, tt := range []struct {
		name    string
		private []byte
		trust   []sign.Trust
		shards  bool
		change  func(dir string)
		want    string
		refusal string
	}{
		{"none", nil, trust, false, nil, event.Unsigned, ""},
		{"ours", ours, trust, false, nil, event.Signed, ""},
		{"in shards", ours, trust, true, nil, event.Signed, ""},
		{"somebody's", theirs, trust, false, nil, event.Untrusted, "it is of the key"},
		{"nobody is trusted", ours, nil, false, nil, event.Untrusted, "models.trust names none"},
		{"changed", ours, trust, false, func(dir string) { write(t, dir+"/deep/x.pt", "\x80\x04N0N.") }, event.Invalid, "another length\nnot what was signed"},
		{"changed, and somebody's", theirs, trust, false, func(dir string) { write(t, dir+"/deep/x.pt", "\x80\x04N.\x80") }, event.Invalid, "not what was signed"},
		{"not in it", ours, trust, false, func(dir string) { _ = os.Rename(dir+"/deep", dir+"/deeper"); write(t, dir+"/deep/x.pt", "\x80\x04N.") }, event.Signed, ""},
		{"broken", ours, trust, false, func(dir string) { write(t, dir+"/model.sig", "{}") }, event.Invalid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "m")
			write(t, dir+"/deep/x.pt", "\x80\x04N.")
			write(t, dir+"/config.json", "{}")
			if tt.private != nil {
				signModel(t, dir, tt.private, sign.Options{Shards: tt.shards})
			}
			if tt.change != nil {
				tt.change(dir)
			}
			s, said := watch(t, Options{Trust: tt.trust})
			s.See(Sighting{Process: self1("a", "w"), Path: dir + "/deep/x.pt", Use: event.UseRead})
			if got := wait(t, said).Signature; got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
			r := s.Used("w")[0].Artifact
			ok := tt.refusal == "" && (r.Refusal == "" || tt.want == event.Invalid)
			for part := range strings.SplitSeq(tt.refusal, "\n") {
				ok = ok || part != "" && strings.Contains(r.Refusal, part)
			}
			if !ok || (tt.want == event.Signed) != strings.HasPrefix(r.Signer, "key sha256:") {
				t.Errorf("%+v", r)
			}
			if tt.name == "somebody's" { // it comes to be trusted by another signature
				signModel(t, dir, ours, sign.Options{})
				s.Resign(dir + "/model.sig")
				s.See(Sighting{Process: self1("b", "w2"), Path: dir + "/deep/x.pt", Use: event.UseRead})
				if got := wait(t, said).Signature; got != event.Signed {
					t.Errorf("signed anew it is %q", got)
				}
			}
		})
	}
}

// Pipes, directories, links out and what is gone end nothing, and the next file is judged.
func TestWhatIsNoModelFileIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mkfifo", dir+"/pipe.pt").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.Mkdir(dir+"/dir.pt", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", dir+"/link.pt"); err != nil {
		t.Fatal(err)
	}
	s, said := watch(t, Options{})
	for _, name := range []string{"pipe.pt", "dir.pt", "link.pt", "gone.pt"} {
		s.See(Sighting{Process: self1("a", "w"), Path: dir + "/" + name, Use: event.UseRead})
	}
	quiet(t, s, said)
	write(t, dir+"/good.pt", "\x80\x04N.")
	s.See(Sighting{Process: self1("a", "w"), Path: dir + "/good.pt", Use: event.UseRead})
	if got := wait(t, said); got.Path != "good.pt" || got.Verdict != "clean" {
		t.Errorf("%+v", got)
	}
}

func TestTheQueueIsBoundedAndLossIsCounted(t *testing.T) {
	s := New(Options{Run: self})
	for i := range maxQueue + 5 {
		s.See(Sighting{Process: self1("a", ""), Path: fmt.Sprintf("/m/%d.pt", i), Use: event.UseRead})
	}
	if n := s.Waiting(); n != maxQueue {
		t.Errorf("%d wait, want %d", n, maxQueue)
	}
	if n := counted(t, s); n != 5 {
		t.Errorf("%v were counted as dropped, want 5", n)
	}
}

func TestReadingKeepsToItsBudget(t *testing.T) {
	p := pace{rate: 10 << 20}
	begun := time.Now()
	for range 30 {
		p.took(100 << 10) // 3 MB of 10 MB a second
	}
	if took := time.Since(begun); took < 250*time.Millisecond {
		t.Errorf("it took %v, the budget wants 0.3 s", took)
	}
}

func TestResultsAreBounded(t *testing.T) {
	r := loadResults("", "", nil)
	at := time.Unix(1, 0)
	for i := range maxResults + 10 {
		r.put(Result{Version: Version{Ino: uint64(i + 1)}, Seen: at.Add(time.Duration(i))})
	}
	if _, ok := r.get(Version{Ino: 1}); ok || len(r.all) != maxResults {
		t.Errorf("%d are kept, the oldest among them: %v", len(r.all), ok)
	}
}

func TestJudged(t *testing.T) {
	for path, want := range map[string][2]bool{ // outside a model, in one
		"/m/a.safetensors": {true, true}, "/m/A.PT": {true, true}, "/m/pytorch_model.bin": {false, true}, "/m/config.json": {false, true},
		"/home/u/notes.txt": {false, false}, "/usr/lib/python3/dist-packages/x.pth": {false, false}, "/opt/v/lib/python3.11/site-packages/a.pkl": {false, false},
		"/root/.cache/huggingface/hub/models--a--b/blobs/00ff": {true, true}, "/root/.ollama/models/blobs/sha256-00": {true, true}, "/m/.pt/x": {false, false},
	} {
		if got := [2]bool{Judged(path, false), Judged(path, true)}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func counted(t *testing.T, s *Scanner) float64 {
	t.Helper()
	var m dto.Metric
	if err := s.m.dropped.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
