package gpu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"picket/event"
)

const (
	lookAgain   = 30 * time.Second // for a driver that was not loaded
	restartMost = 5 * time.Minute
)

// errSilent is the end of a reader that says nothing any more.
var errSilent = errors.New("the NVIDIA driver does not answer")

// followNVIDIA keeps picket-gpu running while there is a driver.
func (s *Sensor) followNVIDIA(ctx context.Context) {
	delay := time.Second
	for ctx.Err() == nil {
		if !s.nvidiaHere() {
			s.say("gpu-nvidia", false, false, "", "")
			if !wait(ctx, lookAgain) {
				return
			}
			continue
		}
		run, end := s.begin(ctx)
		began := time.Now()
		err := s.runReader(run)
		rests := run.Err() != nil
		end()
		if ctx.Err() != nil {
			return
		}
		if rests {
			s.say("gpu-nvidia", true, false, "the reader of NVIDIA GPUs rests: a GPU is being reset", "")
			continue
		}
		s.say("gpu-nvidia", true, false, text(err), "")
		if time.Since(began) > time.Minute {
			delay = time.Second
		}
		if !wait(ctx, delay) {
			return
		}
		delay = min(2*delay, restartMost)
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// runReader runs picket-gpu once, and takes what it says. A reader that hangs in the driver is
// killed; where the driver does not let it go it is waited for, so that there is never a second one.
func (s *Sensor) runReader(ctx context.Context) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	in, out := io.Pipe()
	said := &opening{}
	ended := make(chan error, 1)
	go func() {
		err := s.opt.Start(run, out, said, "--every", s.opt.Every.String(), "--library", s.opt.Library)
		_ = out.Close() // never fails
		ended <- err
	}()
	silent := false
	late := time.AfterFunc(s.patience(), func() {
		s.say("gpu-nvidia", true, false, errSilent.Error(), "")
		s.mu.Lock()
		silent = true
		s.mu.Unlock()
		stop()
		_ = in.CloseWithError(errSilent) // never fails
	})
	defer late.Stop()
	last := ""
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		var r event.GPUReading
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			last = "the reader of NVIDIA GPUs says what cannot be read"
			s.odd.Add(1)
			stop()
			break
		}
		late.Reset(s.patience())
		s.take(&r)
		last = r.Error
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		last = "the reader of NVIDIA GPUs says more than is read"
		stop()
	}
	_ = in.Close() // never fails; it ends who still writes
	err := <-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case silent:
		return errSilent
	case last != "":
		return errors.New(last)
	case err == nil:
		return errors.New("the reader of NVIDIA GPUs ended")
	}
	return fmt.Errorf("the reader of NVIDIA GPUs ended: %w%s", err, said.String())
}

// take keeps a reading as the newest.
func (s *Sensor) take(r *event.GPUReading) {
	s.odd.Add(uint64(tidy(r)))
	fine := fmt.Sprintf("%d GPUs through NVIDIA's library", len(r.Devices))
	if len(r.Devices) == 1 {
		fine = "1 GPU through NVIDIA's library"
	}
	if r.PerProcess != "" {
		fine += "; not told: " + r.PerProcess
	}
	s.say("gpu-nvidia", true, true, r.Error, fine)
	s.mu.Lock()
	s.nvidia, s.heard = *r, time.Now()
	s.see(r.Devices, s.heard)
	s.mu.Unlock()
}

// opening keeps the first words of what a program says to its standard error.
type opening struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (o *opening) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b[:min(len(b), 512-len(o.b))]...)
	return len(b), nil
}

func (o *opening) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	line, _, _ := strings.Cut(string(o.b), "\n")
	if line = plain(line); line == "" {
		return ""
	}
	return ": " + line
}
