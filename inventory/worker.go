package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"picket/artifact"
	"picket/event"
)

// A model file may be made to break what reads it. So a child without privilege reads it, with bounds on
// its memory and time. The child opens nothing: it is handed descriptors, one message a file.

const (
	workerMemory  = 3 << 30 // of address space; Go reserves more than it uses
	workerTime    = 11 * time.Minute
	workerSilence = 2 * time.Minute // without a word while it hashes, which takes as long as the file is large
	maxAnswer     = 8 << 20         // bytes that a child may say of one file, its ticks aside
	maxRequest    = 32 << 10
	maxSignatures = 6
)

// Run starts this program again with args, where what it reads can do no harm: its descriptor 3 is in.
// It returns when the program ended.
type Run func(ctx context.Context, in *os.File, out, said io.Writer, args ...string) error

// Job is a file to judge.
type Job struct {
	Name string
	File *os.File
	// Identify asks for the digest and the signature's state too, for which the file is read whole.
	Identify   bool
	Rate       int64       // bytes a second that are read at most; 0: no bound
	Trust      *os.File    // sign.Trust as a list in JSON
	Signatures []Signature // that may cover the file, the nearest first
	// Judged is called with the report before the file is read whole; may be nil.
	Judged func(artifact.Report)
	Tick   func(read int64) // called every few MiB; may be nil
}

// Signature is one that may cover a file.
type Signature struct {
	Name string // the file's, in the model that was signed
	File *os.File
}

// request is a message to the child. Its descriptors are the file, the trust and the signatures.
type request struct {
	Name     string   `json:"name"`
	Identify bool     `json:"identify,omitempty"`
	Rate     int64    `json:"rate,omitempty"`
	Signed   []string `json:"signed,omitempty"`
}

// answer is what the child writes for each file, after any number of ticks: the report and, where it
// was asked for, what the file is.
type answer struct {
	Tick     int64            `json:"tick,omitempty"`
	Report   *artifact.Report `json:"report,omitempty"`
	Identity *identity        `json:"identity,omitempty"`
}

// identity is what a file is beside its verdict.
type identity struct {
	Digest    string `json:"digest,omitempty"` // "" where the file changed while it was read
	Signature string `json:"signature,omitempty"`
	Signer    string `json:"signer,omitempty"`
	Refusal   string `json:"refusal,omitempty"`
}

// Worker is a child that judges files.
type Worker struct {
	conn *net.UnixConn
	in   *bounded
	dec  *json.Decoder
	stop context.CancelFunc
	done chan error
}

// StartWorker starts a child: this program with args, which must come to call Work.
func StartWorker(ctx context.Context, run Run, args ...string) (*Worker, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reaching the scanner: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "scanner"), os.NewFile(uintptr(fds[1]), "scanner")
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own
	if err != nil {
		_ = theirs.Close() // the error says more
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r, w := io.Pipe()
	in := &bounded{r: r}
	worker := &Worker{conn: conn.(*net.UnixConn), in: in, dec: json.NewDecoder(in), stop: stop, done: make(chan error, 1)} //nolint:forcetypeassert // a socket pair
	go func() {
		err := run(ctx, theirs, w, io.Discard, args...)
		_ = theirs.Close()
		_ = w.CloseWithError(io.ErrUnexpectedEOF) // never fails
		worker.done <- err
	}()
	return worker, nil
}

// Close ends the child, and says how it ended.
func (w *Worker) Close() error {
	_ = w.conn.Close() // tells the child to end
	w.stop()
	err := <-w.done
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("it took longer than %v, or was not wanted any more", workerTime)
	}
	return err
}

// Judge hands a file to the child and waits for what it says. After an error the child is of no use.
func (w *Worker) Judge(j Job) (artifact.Report, event.Artifact, error) {
	late := time.AfterFunc(workerTime, w.stop)
	defer late.Stop()
	if err := w.send(j); err != nil {
		return artifact.Report{}, event.Artifact{}, err
	}
	var report *artifact.Report
	w.in.left = maxAnswer
	for {
		var a answer
		if err := w.dec.Decode(&a); err != nil {
			return artifact.Report{}, event.Artifact{}, err
		}
		switch {
		case a.Report != nil:
			report = a.Report
			late.Reset(workerSilence)
			if !j.Identify {
				return *report, event.Artifact{}, nil
			}
			if j.Judged != nil {
				j.Judged(*report)
			}
		case a.Identity != nil && report != nil:
			return *report, a.Identity.artifact(report), nil
		default:
			w.in.left = max(w.in.left, maxAnswer/2) // ticks are as many as the file is large
			if report != nil {
				late.Reset(workerSilence)
			}
			if j.Tick != nil {
				j.Tick(a.Tick)
			}
		}
	}
}

func (w *Worker) send(j Job) error {
	q := request{Name: j.Name[:min(len(j.Name), 4096)], Identify: j.Identify, Rate: j.Rate}
	fds := []int{int(j.File.Fd())}
	if j.Identify {
		fds = append(fds, int(j.Trust.Fd()))
		for _, s := range j.Signatures[:min(len(j.Signatures), maxSignatures)] {
			q.Signed, fds = append(q.Signed, s.Name), append(fds, int(s.File.Fd()))
		}
	}
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if len(b) > maxRequest {
		return fmt.Errorf("the path of %d bytes is too long", len(j.Name))
	}
	_, _, err = w.conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	return err
}

// artifact puts together what the child said. Its words count for nothing more than words: whoever
// took it over may have chosen them.
func (i *identity) artifact(r *artifact.Report) event.Artifact {
	a := event.Artifact{Digest: i.Digest, Verdict: r.Verdict.String(), Issue: worst(*r), Signature: i.Signature, Signer: clip(i.Signer), Refusal: clip(i.Refusal)}
	if !hexDigest(a.Digest) {
		a.Digest = ""
	}
	if !slices.Contains([]string{event.Unsigned, event.Signed, event.Invalid, event.Untrusted}, a.Signature) {
		a.Signature = ""
	}
	return a
}

func hexDigest(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}

// bounded ends what says too much.
type bounded struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the scanner says too much")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
