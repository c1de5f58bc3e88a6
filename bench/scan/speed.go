package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"picket/artifact"
)

// speed measures what the scanner takes for large files, and prints it beside the limits.
func speed() error {
	dir, err := os.MkdirTemp("", "picket-bench-scan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system's temporary directory is tidied anyway
	const groups = 1_250_000
	var b bytes.Buffer
	b.WriteString("\x80\x04](")
	for i := range groups { // K n, a short text, TUPLE2, MEMOIZE: what a table of numbers and names is
		b.WriteString("K" + string([]byte{byte(i)}) + "\x8c\x04abcd\x86\x94")
	}
	b.WriteString("e.")
	if err := measure("a pickle of 5 million opcodes", dir, func(f *os.File) (int64, error) {
		n, err := f.Write(b.Bytes())
		return int64(n), err
	}, func(d time.Duration) string {
		rate := 4 * groups / d.Seconds() / 1e6
		return fmt.Sprintf("%.1f million opcodes/s (goal 15)", rate)
	}); err != nil {
		return err
	}
	b.Reset()
	const giant = 10 << 30
	if err := measure("10 GiB of safetensors, a hole in the file", dir, func(f *os.File) (int64, error) {
		head := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, giant, giant)
		_, err := f.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...))
		if err != nil {
			return 0, err
		}
		return giant + int64(len(head)) + 8, f.Truncate(giant + int64(len(head)) + 8)
	}, func(time.Duration) string { return "goal 50 ms" }); err != nil {
		return err
	}
	return measure("600 MiB of torch, tensors as they are", dir, func(f *os.File) (int64, error) {
		return bigTorch(f, 600<<20)
	}, func(time.Duration) string { return "goal 100 ms" })
}

// bigTorch writes an archive with tensors of n bytes that are holes in the file.
func bigTorch(f *os.File, n int64) (int64, error) {
	whole := zipped("m/data.pkl", "\x80\x02}.", "m/data/0", strings.Repeat("\x00", 8), "m/version", "3\n")
	// The eight bytes become n: in the local header, in the directory, and where the directory is.
	b := []byte(whole)
	local := bytes.Index(b, []byte("m/data/0")) - 30
	grow := uint32(n - 8)
	add := func(at int) {
		binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+grow)
	}
	central := bytes.LastIndex(b, []byte("m/data/0")) - 46
	last := bytes.LastIndex(b, []byte("m/version")) - 46
	end := bytes.LastIndex(b, []byte("PK\x05\x06"))
	for _, at := range []int{local + 18, local + 22, central + 20, central + 24, last + 42, end + 16} {
		add(at)
	}
	data := local + 30 + len("m/data/0") + 8
	if _, err := f.Write(b[:data]); err != nil {
		return 0, err
	}
	_, err := f.WriteAt(b[data:], int64(data)+int64(grow))
	return int64(len(b)) + int64(grow), err
}

// measure scans a file three times and prints the fastest, with the memory that the scan took at most.
func measure(what, dir string, make func(*os.File) (int64, error), say func(time.Duration) string) error {
	f, err := os.Create(filepath.Join(dir, "model"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it is removed
	size, err := make(f)
	if err != nil {
		return err
	}
	best := time.Hour
	var most uint64
	var r artifact.Report
	src := &counted{SectionReader: io.NewSectionReader(f, 0, size)}
	for range 3 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		src.n = 0
		began := time.Now()
		r = artifact.Scan("model", src, artifact.Options{})
		best = min(best, time.Since(began))
		runtime.ReadMemStats(&after)
		most = max(most, after.TotalAlloc-before.TotalAlloc)
	}
	fmt.Printf("%s (%d MiB): %v, %s; %.1f MiB read, %.1f MiB allocated in all, %s\n", what, size>>20, best.Round(10*time.Microsecond),
		say(best), float64(src.n)/(1<<20), float64(most)/(1<<20), r.Verdict)
	return nil
}

// counted counts the bytes that are read.
type counted struct {
	*io.SectionReader
	n int64
}

// ReadAt implements io.ReaderAt.
func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.SectionReader.ReadAt(b, off)
	c.n += int64(n)
	return n, err
}
