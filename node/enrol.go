package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"picket/stream"
)

const (
	enrolTime  = 30 * time.Second
	maxWritten = 64 << 10 // of what the program that enrols may say
)

// Enrol makes the bundle that the agent of another host joins with, and the certificate authority
// where there is none yet. An empty url is this server's own.
//
// The authority lies in the server's folder. Root does not touch what is in there, where a server
// that was taken over could lay links: it has a program without privilege do the work, and believes
// no more of its answer than that it is a bundle.
func Enrol(ctx context.Context, cfg *Config, host, url string) (stream.Bundle, error) {
	if url == "" {
		url = streamURL(cfg)
	}
	st, err := os.Lstat(cfg.dir("server"))
	if err == nil && os.Geteuid() == 0 {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 {
			return enrolAs(ctx, cfg, int(sys.Uid), host, url)
		}
	}
	ca, err := stream.OpenCA(filepath.Join(cfg.dir("server"), "ca"), cfg.Stream.Names)
	if err != nil {
		return stream.Bundle{}, err
	}
	return ca.Enrol(AgentName(host), url)
}

// enrolAs has this program, as uid, do what Enrol does.
func enrolAs(ctx context.Context, cfg *Config, uid int, host, url string) (stream.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, enrolTime)
	defer cancel()
	var out, said capped
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: see confine
		ended <- runConfined(ctx, cfg, uid, &out, &said, "server", "enrol", "--data", cfg.Data, "--config", "fd:3", "--url", url, "--", host)
	}()
	if err := <-ended; err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			err = errors.New(strings.TrimPrefix(text, "picket: "))
		}
		return stream.Bundle{}, fmt.Errorf("enrolling as user %d: %w", uid, err)
	}
	b, err := stream.ParseBundle(out.Bytes())
	if err != nil {
		return stream.Bundle{}, err
	}
	if b.Name != AgentName(host) || b.URL != url {
		return stream.Bundle{}, fmt.Errorf("the bundle is for %q at %q: want %q at %q", b.Name, b.URL, AgentName(host), url)
	}
	return b, nil
}

func runConfined(ctx context.Context, cfg *Config, uid int, out, said *capped, args ...string) error {
	cmd, err := program(cfg, uid, args...)
	if err != nil {
		return err
	}
	defer cmd.ExtraFiles[0].Close() //nolint:errcheck // it was only read
	cmd.Stdout, cmd.Stderr = out, said
	if err := confine(uid); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // gone already is as good
	defer stop()
	return errors.Join(cmd.Wait(), ctx.Err())
}

// capped keeps what is written to it, up to a bound, beyond which it fails.
type capped struct{ bytes.Buffer }

func (c *capped) Write(b []byte) (int, error) {
	if c.Len()+len(b) > maxWritten {
		return 0, fmt.Errorf("more than %d bytes were written", maxWritten)
	}
	return c.Buffer.Write(b)
}

// enrolSelf gives this host's agent its certificate, a new one at each start.
func enrolSelf(ctx context.Context, cfg *Config) error {
	b, err := Enrol(ctx, cfg, cfg.Host, streamURL(cfg))
	if err != nil {
		return fmt.Errorf("this host's certificate: %w", err)
	}
	if err := b.Write(filepath.Join(cfg.dir("agent"), "bundle.json")); err != nil {
		return fmt.Errorf("this host's certificate: %w", err)
	}
	return nil
}

func streamURL(cfg *Config) string { return "tls://" + cfg.Stream.Listen }
