package action

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// RollbackModel switches the link that a model is loaded by back to a version that was verified.
const RollbackModel Kind = "rollback-model"

// RollbackOptions say which versions a model may go back to.
type RollbackOptions struct {
	// Dir keeps where links led before; a directory of root's alone.
	Dir string
	// Protected are paths that no link is changed in.
	Protected []string
	// Verified returns the version that was verified last of the model that link leads to, as a path
	// of the host: not current, which is where it leads now. What it returns is switched to.
	Verified func(ctx context.Context, link, current string) (string, error)
	// Check says what is wrong with a version that a request names, nil where its signature and
	// manifest hold.
	Check func(ctx context.Context, version string) error
}

// rollback changes where a symbolic link leads, in one step: whoever opens the model gets the one
// version or the other, never neither. What has the old version open keeps it.
type rollback struct{ o RollbackOptions }

// NewRollback returns the act of switching a model back.
func NewRollback(o RollbackOptions) (Action, error) {
	if o.Verified == nil || o.Check == nil {
		return nil, errors.New("rollback-model wants to be told which versions were verified")
	}
	if err := ownDir(o.Dir); err != nil {
		return nil, fmt.Errorf("rollback-model: %w", err)
	}
	return &rollback{o}, nil
}

// switched is what is kept of a link that was changed.
type switched struct {
	Request string    `json:"request"`
	Link    string    `json:"link"`
	From    string    `json:"from"` // its text before
	To      string    `json:"to"`   // its text after
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

func (*rollback) Kind() Kind   { return RollbackModel }
func (*rollback) Class() Class { return Reversible }

// Plan says from which version to which.
func (b *rollback) Plan(ctx context.Context, r *Request) (*Plan, error) {
	p, st, from, err := b.find(r)
	if err != nil {
		return nil, err
	}
	defer p.close()
	to, err := b.version(ctx, r, p, from)
	if err != nil {
		return nil, err
	}
	file := *r.Target.File
	file.Dev, file.Inode, file.SHA256 = st.Dev, st.Ino, textSum(from)
	plan := &Plan{Target: r.Target, Class: Reversible, Hits: []string{p.path}, Undo: "the link leads to " + from + " again"}
	plan.Target.File = &file
	plan.Effects = []string{
		fmt.Sprintf("%s leads to %s, and no more to %s", p, to, from),
		"servers that have loaded the model keep what they loaded until they load it again",
	}
	return plan, nil
}

// find opens the link's place and reads it.
func (b *rollback) find(r *Request) (*place, *unix.Stat_t, string, error) {
	if r.Target.File == nil || r.Target.Process != nil || r.Target.Container != "" {
		return nil, nil, "", fmt.Errorf("%w: rollback-model wants a link, by its path on the host", ErrInvalid)
	}
	p, err := hostPlace(r.Target.File.Path)
	if err != nil {
		return nil, nil, "", err
	}
	st, text, err := b.read(p, r.Target.File)
	if err != nil {
		p.close()
		return nil, nil, "", err
	}
	return p, st, text, nil
}

func (b *rollback) read(p *place, pin *FilePin) (*unix.Stat_t, string, error) {
	guard := quarantine{QuarantineOptions{Protected: b.o.Protected}}
	if why := guard.protects(p); why != "" {
		return nil, "", fmt.Errorf("%s is %s: %w", p, why, ErrProtected)
	}
	st, err := p.stat()
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrGone, p, err)
	}
	if pin.Inode != 0 && (st.Ino != pin.Inode || pin.Dev != 0 && st.Dev != pin.Dev) {
		return nil, "", fmt.Errorf("%w: %s was changed meanwhile", ErrGone, p)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return nil, "", fmt.Errorf("%w: %s is no symbolic link: a model that is a file is put into quarantine", ErrInvalid, p)
	}
	text, err := linkText(p, p.name)
	if err == nil && pin.SHA256 != "" && pin.SHA256 != textSum(text) { // a new link often gets the inode of the old one
		err = fmt.Errorf("%w: %s leads to %s now", ErrGone, p, oneLine(text, 256))
	}
	return st, text, err
}

func textSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func linkText(p *place, name string) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(p.dir.Fd()), name, text)
	if err != nil {
		return "", fmt.Errorf("reading link %s: %w", p, err)
	}
	return string(text[:n]), nil
}

// version returns what the link shall say: the version that the request names, or the last verified.
// It is written as the link is now: relative, where it leads to the same directory or below.
func (b *rollback) version(ctx context.Context, r *Request, p *place, from string) (string, error) {
	dir := filepath.Dir(p.path)
	absolute := func(s string) string {
		if filepath.IsAbs(s) {
			return filepath.Clean(s)
		}
		return filepath.Join(dir, s)
	}
	to := r.Params["to"]
	if to == "" {
		var err error
		if to, err = b.o.Verified(ctx, p.path, absolute(from)); err != nil {
			return "", fmt.Errorf("finding the last verified version of %s: %w", p, err)
		}
	}
	to = absolute(to)
	if to == absolute(from) {
		return "", fmt.Errorf("%w: %s leads to %s already", ErrInvalid, p, to)
	}
	at, err := hostPlace(to)
	if err != nil {
		return "", fmt.Errorf("version %s: %w", to, err)
	}
	defer at.close()
	if st, err := at.stat(); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return "", fmt.Errorf("%w: version %s is not there, or a link itself", ErrInvalid, to)
	}
	if err := b.o.Check(ctx, to); err != nil {
		return "", fmt.Errorf("version %s is not one to go back to: %w", to, err)
	}
	if rest, ok := below(dir, to); ok && !filepath.IsAbs(from) {
		return filepath.Clean("./" + rest), nil
	}
	return to, nil
}

// Do switches the link.
func (b *rollback) Do(ctx context.Context, r *Request) (*Result, error) {
	p, st, from, err := b.find(r)
	if err != nil {
		return outcome(r, err), nil
	}
	defer p.close()
	to, err := b.version(ctx, r, p, from)
	if err != nil {
		return outcome(r, err), nil
	}
	was := &switched{Request: r.ID, Link: p.path, From: from, To: to, UID: int(st.Uid), GID: int(st.Gid), At: time.Now().UTC(), By: r.By, Reason: r.Reason}
	if err := writeJSON(b.file(r.ID), was); err != nil {
		return outcome(r, err), nil
	}
	if err := swapLink(p, from, to, was); err != nil {
		_ = os.Remove(b.file(r.ID))
		return outcome(r, err), nil
	}
	res := &Result{ID: r.ID, State: Done, At: was.At, Detail: fmt.Sprintf("%s leads to %s, before to %s", p, to, from)}
	if r.TTL > 0 {
		res.Until = was.At.Add(r.TTL)
	}
	return res, nil
}

// swapLink puts a link that says to in the place of one that says from. The two change places, so
// that a link that was changed meanwhile is seen, and gets its place again.
func swapLink(p *place, from, to string, was *switched) error {
	dir, aside := int(p.dir.Fd()), asideName(was.Request)
	_ = unix.Unlinkat(dir, aside, 0) // of one that was cut short
	if err := unix.Symlinkat(to, dir, aside); err != nil {
		return fmt.Errorf("making a link in %s: %w", filepath.Dir(p.path), err)
	}
	defer unix.Unlinkat(dir, aside, 0) //nolint:errcheck // it holds what the manifest says
	if err := unix.Fchownat(dir, aside, was.UID, was.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("giving the link its owner: %w", err)
	}
	swap := func() error { return unix.Renameat2(dir, aside, dir, p.name, unix.RENAME_EXCHANGE) }
	if err := swap(); err != nil {
		return fmt.Errorf("switching %s: %w", p, err)
	}
	if text, err := linkText(p, aside); err != nil || text != from {
		return errors.Join(fmt.Errorf("%w: %s was changed meanwhile", ErrGone, p), swap())
	}
	return p.dir.Sync()
}

// Verify says whether the link leads to the version that it was switched to.
func (b *rollback) Verify(_ context.Context, r *Request) (bool, string, error) {
	was, err := b.kept(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return false, "no link was switched", nil
	}
	if err != nil {
		return false, "", err
	}
	p, err := hostPlace(was.Link)
	if err != nil {
		return false, err.Error(), nil
	}
	defer p.close()
	text, err := linkText(p, p.name)
	if err != nil {
		return false, err.Error(), nil
	}
	return text == was.To, fmt.Sprintf("%s leads to %s", p, oneLine(text, 256)), nil
}

// Undo lets the link lead where it led before, unless someone else has changed it since.
func (b *rollback) Undo(_ context.Context, r *Request) (*Result, error) {
	was, err := b.kept(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return &Result{ID: r.ID, State: Undone, At: time.Now(), Detail: "no link is switched"}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := hostPlace(was.Link)
	if err != nil {
		return outcome(r, err), nil
	}
	defer p.close()
	said := fmt.Sprintf("%s leads to %s again", p, was.From)
	text, err := linkText(p, p.name)
	switch {
	case err != nil || text == was.From:
	case text != was.To: // tried again and again, each try would put the old link there for a moment
		said = fmt.Sprintf("%s leads to %s, which somebody else set since: it stays", p, oneLine(text, 256))
	default:
		err = swapLink(p, was.To, was.From, was)
	}
	if err != nil {
		return &Result{ID: r.ID, State: Failed, At: time.Now(), Detail: err.Error()}, nil
	}
	_ = os.Remove(b.file(r.ID))
	return &Result{ID: r.ID, State: Undone, At: time.Now(), Detail: said}, nil
}

func (b *rollback) file(id string) string { return filepath.Join(b.o.Dir, fileID(id)+".json") }

func (b *rollback) kept(id string) (*switched, error) {
	text, err := os.ReadFile(b.file(id))
	if err != nil {
		return nil, err
	}
	was := &switched{}
	if err := json.Unmarshal(text, was); err != nil {
		return nil, fmt.Errorf("reading %s: %w", b.file(id), err)
	}
	return was, nil
}
