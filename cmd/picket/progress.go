package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// progressBar shows how far a recording was read. It is silent where nobody would see it.
type progressBar struct {
	w     io.Writer
	name  string
	size  int64
	shown int64 // what it said last: percent, or MB where the size is unknown
	any   bool
}

// progress returns a bar on standard error, if that is a terminal.
func (a *app) progress() *progressBar {
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progressBar{w: f}
	}
	return &progressBar{}
}

// begin starts anew for a recording of size bytes, 0 if that is not known.
func (b *progressBar) begin(name string, size int64) {
	b.name, b.size, b.shown = short(printable(name, false), 40), size, -1
}

func (b *progressBar) show(done int64) {
	if b.w == nil {
		return
	}
	const width = 30
	if b.size == 0 {
		if mb := done >> 20; mb != b.shown {
			b.shown, b.any = mb, true
			fmt.Fprintf(b.w, "\r%s  %d MB\x1b[K", b.name, mb) //nolint:errcheck // nowhere left to report to
		}
		return
	}
	if percent := min(100, done*100/b.size); percent != b.shown {
		b.shown, b.any = percent, true
		full := int(percent) * width / 100
		fmt.Fprintf(b.w, "\r%s  [%s%s] %3d %%\x1b[K", b.name, strings.Repeat("=", full), strings.Repeat(" ", width-full), percent) //nolint:errcheck // nowhere left to report to
	}
}

// clear takes the bar off the terminal.
func (b *progressBar) clear() {
	if b.any {
		b.any, b.shown = false, -1
		fmt.Fprint(b.w, "\r\x1b[K") //nolint:errcheck // nowhere left to report to
	}
}

// of begins a bar and returns what moves it.
func (b *progressBar) of(name string) func(done, total int64) {
	return func(done, total int64) {
		if b.size != total || b.name == "" {
			b.begin(name, total)
		}
		b.show(done)
	}
}
