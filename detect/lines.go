package detect

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"picket/event"
	"picket/sigma"
)

// maxLine bounds a line of a recording, in bytes.
const maxLine = 4 << 20

// lines reads a recording line by line: plain, or compressed with gzip.
type lines struct {
	name  string
	count *counter // bytes that were read, before any decompression
	in    *bufio.Reader
	n     int // of the line that was read last
	buf   []byte
}

func newLines(name string, src io.Reader) (*lines, error) {
	l := &lines{name: name, count: &counter{src: src}}
	l.in = bufio.NewReaderSize(l.count, 256<<10)
	if magic, _ := l.in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zip, err := gzip.NewReader(l.in)
		if err != nil {
			return nil, fmt.Errorf("%s: not a whole gzip file: %w", name, err)
		}
		l.in = bufio.NewReaderSize(zip, 256<<10)
	}
	return l, nil
}

// next returns the next line without its end; it stays as it is until the following call. At the
// end the error is io.EOF. A *sigma.Error is about this line only: the next can be read.
func (l *lines) next() ([]byte, error) {
	l.n++
	line, err := l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.buf = append(l.buf[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.in.ReadSlice('\n')
			if len(l.buf) <= maxLine {
				l.buf = append(l.buf, line...)
			}
		}
		line = l.buf
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s:%d: the recording ends early: %w", l.name, l.n, err)
	case len(line) > maxLine:
		return nil, fault(l.name, l.n, maxLine+1, fmt.Sprintf("the line is longer than %d MiB", maxLine>>20), "split it into one record a line")
	case err != nil && len(line) == 0:
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// remark reports whether a line of a recording holds nothing to read: .events files have remarks.
func remark(line []byte) bool {
	text := bytes.TrimSpace(line)
	return len(text) == 0 || text[0] == '#'
}

// ownEvent reads one of Picket's own records, the nth event of a file, and fills in what one
// written by hand leaves out. The error is nil, or says what is wrong with the line.
func ownEvent(file string, line int, record []byte, n int) (*event.Event, *sigma.Error) {
	e, err := event.ParseRecord(record)
	if err != nil {
		return nil, fault(file, line, 1, err.Error(), "")
	}
	if e.Kind == event.KindNone {
		return nil, fault(file, line, 1, "has no event.kind", "such as process.start, file.read or net.send")
	}
	sampleDefaults(e, n)
	return e, nil
}

// counter counts the bytes that are read through it.
type counter struct {
	src io.Reader
	n   int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.src.Read(b)
	c.n += int64(n)
	return n, err
}
