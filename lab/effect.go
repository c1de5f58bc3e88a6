package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// effects proves that the attack worked. A command's status proves nothing: what it was meant to
// bring about is looked up outside the container.
func (r *run) effects(ctx context.Context) error {
	const patience = 10 * time.Second // a connection may be closing still
	for _, v := range r.Scenario.Verify {
		began := time.Now()
		var e Effect
		for {
			var err error
			if e, err = r.effect(v); err != nil {
				return fmt.Errorf("verify the attack: %w", err)
			}
			if e.OK || time.Since(began) > patience {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		r.report.Effects = append(r.report.Effects, e)
		word := "effect"
		if !e.OK {
			word = "NO EFFECT"
		}
		r.say(word, "%s", e.Found, since(began))
	}
	return nil
}

// effect looks once.
func (r *run) effect(v Verify) (Effect, error) {
	switch {
	case v.Received != nil:
		host := expand(v.Received.Host, r.facts)
		var got int64
		for _, o := range r.box.arrived() {
			if o.Kind == "received" && o.Host == host {
				got += o.Bytes
			}
		}
		return Effect{
			Want: fmt.Sprintf("%s receives at least %d bytes", host, v.Received.BytesMin),
			OK:   got >= v.Received.BytesMin, Found: fmt.Sprintf("%s received %d bytes", host, got),
		}, nil
	case v.Login != nil:
		host := expand(v.Login.Host, r.facts)
		e := Effect{Want: "a miner signs in at " + host, Found: "no miner signed in at " + host}
		for _, o := range r.box.arrived() {
			if o.Kind == "login" && o.Host == host {
				e.OK, e.Found = true, fmt.Sprintf("a miner signed in at %s:%d", o.Host, o.Port)
			}
		}
		return e, nil
	case v.Silent != "":
		host, arrived := expand(v.Silent, r.facts), 0
		for _, o := range r.box.arrived() {
			if o.Host == host {
				arrived++
			}
		}
		e := Effect{Want: "nothing arrives at " + host, OK: arrived == 0, Found: "nothing arrived at " + host}
		if !e.OK {
			e.Found = fmt.Sprintf("%s was reached %d times", host, arrived)
		}
		return e, nil
	case v.Missing != "":
		return r.fileEffect(expand(v.Missing, r.facts), "missing")
	case v.Changed != "":
		return r.fileEffect(expand(v.Changed, r.facts), "changed")
	}
	return r.fileEffect(expand(v.Exists, r.facts), "exists")
}

// fileEffect compares a file of the running container with the image that it was started from.
func (r *run) fileEffect(name, how string) (Effect, error) {
	in, err := r.box.inside()
	if err != nil {
		return Effect{}, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	now, err := digest(in, name)
	if err != nil {
		return Effect{}, err
	}
	image, err := os.OpenRoot(filepath.Join(r.box.dir, "image"))
	if err != nil {
		return Effect{}, err
	}
	defer image.Close() //nolint:errcheck // it was only read
	before, err := digest(image, name)
	if err != nil {
		return Effect{}, err
	}
	switch {
	case how == "exists":
		e := Effect{Want: name + " is written", OK: now != nil && before == nil, Found: name + " was written"}
		if !e.OK {
			e.Found = name + " is not there"
		}
		return e, nil
	case how == "missing":
		e := Effect{Want: name + " is not written", OK: now == nil, Found: name + " was not written"}
		if !e.OK {
			e.Found = name + " is there"
		}
		return e, nil
	case before == nil:
		return Effect{}, fmt.Errorf("%s is not in the image: nothing to compare with", name)
	}
	e := Effect{Want: name + " is changed", OK: !bytes.Equal(now, before), Found: name + " was changed"}
	if !e.OK {
		e.Found = name + " is as it was"
	}
	return e, nil
}

// digest returns the file's SHA-256, or nil where there is no such file.
func digest(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(strings.TrimPrefix(name, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", name))
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
