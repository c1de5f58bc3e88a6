package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"picket/artifact"
	"picket/artifact/sign"
	"picket/event"
)

// Work is the child of a Worker: it judges the files that come through in, and writes answers to out,
// until the parent is done. Callables that match allow are trusted.
func Work(in *os.File, out io.Writer, allow []string) error {
	// Where a limit cannot be set, that of the parent and those of the scan still hold.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: workerMemory, Max: workerMemory})
	debug.SetMemoryLimit(workerMemory / 4)
	c, err := net.FileConn(in)
	if err != nil {
		return fmt.Errorf("--worker is for picket itself: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("--worker is for picket itself")
	}
	w := &work{enc: json.NewEncoder(out), allow: allow}
	msg, rights := make([]byte, maxRequest), make([]byte, unix.CmsgSpace(4*(2+maxSignatures)))
	for {
		n, k, _, _, err := conn.ReadMsgUnix(msg, rights)
		if n == 0 || err != nil {
			return nil //nolint:nilerr // the parent is done
		}
		files, err := received(rights[:k])
		if err != nil {
			return err
		}
		var q request
		if err = json.Unmarshal(msg[:n], &q); err == nil && q.Identify && len(files) != 2+len(q.Signed) {
			err = fmt.Errorf("%d descriptors came", len(files))
		}
		if err == nil {
			err = w.one(q, files)
		}
		for _, f := range files {
			_ = f.Close() // it was only read
		}
		if err != nil {
			return err
		}
	}
}

func received(rights []byte) ([]*os.File, error) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(msgs) != 1 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return nil, errors.Join(errors.New("no descriptor came"), err)
	}
	var out []*os.File
	for _, fd := range fds {
		out = append(out, os.NewFile(uintptr(fd), "model"))
	}
	return out, nil
}

// work is what the child keeps from file to file.
type work struct {
	enc   *json.Encoder
	allow []string
	pace  pace
}

func (w *work) tick(n int64) { _ = w.enc.Encode(answer{Tick: n}) } // a parent that is gone ends us

// one judges a file, and says so where it changed meanwhile.
func (w *work) one(q request, files []*os.File) error {
	f := files[0]
	before, err := f.Stat()
	if err != nil {
		return err
	}
	limitCPU(before.Size())
	w.pace.rate = q.Rate
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_NOREUSE) // reading it again is left to who uses it
	src := paced{f, before.Size(), &w.pace}
	r := artifact.Scan(q.Name, src, artifact.Options{Allow: w.allow, Now: time.Now, Tick: w.tick})
	same, err := unchanged(f, before)
	if err != nil {
		return err
	}
	if !same {
		r.Verdict = max(r.Verdict, artifact.Failed)
		r.Issues = append(r.Issues, artifact.Issue{Rule: "changed", Verdict: artifact.Failed, Offset: -1, Text: "The file changed while it was read: scan it again."})
	}
	if err := w.enc.Encode(answer{Report: &r}); err != nil || !q.Identify {
		return err
	}
	id := identity{}
	if same {
		if id, err = w.identify(src, q.Signed, files[1], files[2:]); err != nil {
			return err
		}
		if same, err = unchanged(f, before); err != nil {
			return err
		}
	}
	if !same {
		id = identity{}
	}
	return w.enc.Encode(answer{Identity: &id})
}

func unchanged(f *os.File, before os.FileInfo) (bool, error) {
	after, err := f.Stat()
	if err != nil {
		return false, err
	}
	was, _ := VersionOf(before)
	is, _ := VersionOf(after)
	is.CTime = was.CTime // a link or a mode may change it
	return is == was, nil
}

// identify reads the file once, for its digest and for all signatures.
func (w *work) identify(src paced, names []string, trust *os.File, signatures []*os.File) (identity, error) {
	var trusted []sign.Trust
	b, err := io.ReadAll(io.NewSectionReader(trust, 0, 8<<20))
	if err == nil {
		err = json.Unmarshal(b, &trusted)
	}
	if err != nil {
		return identity{}, fmt.Errorf("what is trusted: %w", err)
	}
	var claims []claim
	to := []io.Writer{}
	for i, f := range signatures {
		c := open(f, names[i], src.size, trusted)
		if c.check != nil {
			to = append(to, c.check)
		}
		claims = append(claims, c)
	}
	h := sha256.New()
	buf, done := make([]byte, 1<<20), int64(0)
	for done < src.size {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), src.size-done)], done)
		if n == 0 && err != nil {
			return identity{}, nil //nolint:nilerr // it became shorter, or cannot be read: it has no digest
		}
		_, _ = h.Write(buf[:n]) // a hash does not fail
		for _, x := range to {
			_, _ = x.Write(buf[:n]) // as above
		}
		if done += int64(n); done%(8<<20) == 0 {
			w.tick(done)
		}
	}
	id := settle(claims)
	id.Digest = hex.EncodeToString(h.Sum(nil))
	return id, nil
}

// claim is a signature that is said to cover a file.
type claim struct {
	check   *sign.FileCheck // nil where refusal says enough
	trusted bool
	identity
}

// open reads a signature, and says whether it is of somebody who is trusted.
func open(f *os.File, name string, size int64, trusted []sign.Trust) claim {
	c := claim{identity: identity{Signature: event.Untrusted, Refusal: "nobody is trusted: models.trust names none, nor does models.keyless"}}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, sign.MaxBundle/4))
	if err != nil {
		return claim{identity: identity{Signature: event.Invalid, Refusal: "it cannot be read: " + err.Error()}}
	}
	var m *sign.Manifest
	for _, t := range trusted {
		s, err := sign.Open(data, t)
		if err != nil {
			c.Refusal = reason(err)
			continue
		}
		m, c.trusted, c.identity = s.Manifest, true, identity{Signature: event.Signed, Signer: s.Signer}
		break
	}
	if m == nil {
		if m, err = sign.Peek(data); err != nil {
			return claim{identity: identity{Signature: event.Invalid, Refusal: reason(err)}}
		}
	}
	if c.check, err = m.CheckFile(name, size); err != nil {
		return claim{identity: identity{Signature: event.Invalid, Refusal: reason(err)}}
	}
	return c
}

// reason is why a signature does not count.
func reason(err error) string {
	if r, ok := errors.AsType[*sign.RefusedError](err); ok {
		return r.Reason
	}
	return err.Error()
}

// settle says what a file's signatures come to, once it was read: the best counts, as an old or foreign
// one beside it takes nothing from a good one.
func settle(claims []claim) identity {
	best := identity{Signature: event.Unsigned}
	for _, c := range slices.Backward(claims) { // of equal ones the nearest stands

		if c.check != nil && !c.check.Same() {
			c.identity = identity{Signature: event.Invalid, Refusal: "the file is not what was signed"}
		}
		if rank(c.Signature) >= rank(best.Signature) {
			best = c.identity
		}
	}
	return best
}

func rank(signature string) int {
	switch signature {
	case event.Signed:
		return 3
	case event.Invalid:
		return 2
	case event.Untrusted:
		return 1
	}
	return 0
}

// paced is a file that is read no faster than its pace.
type paced struct {
	f    *os.File
	size int64
	pace *pace
}

// Size implements artifact.Source.
func (p paced) Size() int64 { return p.size }

// ReadAt implements io.ReaderAt.
func (p paced) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.f.ReadAt(b, off)
	p.pace.took(n)
	return n, err
}

// pace bounds bytes a second, over all files.
type pace struct {
	rate  int64
	free  time.Time // when what was read so far is paid for
	owing int64     // bytes not counted in free yet
}

// took waits for what was read to be within the budget.
func (p *pace) took(n int) {
	if p.rate <= 0 {
		return
	}
	if p.owing += int64(n); p.owing < p.rate/20 {
		return
	}
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(p.owing) / float64(p.rate) * float64(time.Second)))
	p.owing = 0
	time.Sleep(time.Until(p.free))
}

// limitCPU gives the child as much more CPU time as one file may take: to judge it, and to hash it at
// a tenth of what a processor hashes in a second.
func limitCPU(size int64) {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used) // at worst the parent's clock ends it
	most := uint64(used.Utime.Sec+used.Stime.Sec) + uint64(workerTime/time.Second) + uint64(size/(30<<20))
	_ = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY})
}
