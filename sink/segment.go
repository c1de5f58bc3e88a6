package sink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A segment is a file of records, one after the other:
//
//	magic                                       8 bytes, once
//	length of the payload                       4 bytes, little endian
//	CRC-32C of what follows                     4
//	sequence number, one more than the one before 8
//	when it was appended, Unix nanoseconds      8
//	payload
//
// The file's name is its first sequence number in hexadecimal.
const (
	magic     = "PKTOBX1\n"
	frameHead = 24
	maxFrame  = 4 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errBroken  = errors.New("broken record")
)

// entry is a record of the outbox.
type entry struct {
	seq  uint64
	at   time.Time
	data []byte
}

func appendFrame(dst []byte, e entry) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.data)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, e.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.at.UnixNano()))
	dst = append(dst, e.data...)
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

// readFrame reads the record at off. It returns io.EOF where the file ends just there, and errBroken
// for anything that is not a whole, sound record.
func readFrame(r io.ReaderAt, off int64) (entry, int64, error) {
	var head [frameHead]byte
	n, err := r.ReadAt(head[:], off)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return entry{}, off, io.EOF
	case n < frameHead && errors.Is(err, io.EOF):
		return entry{}, off, errBroken
	case n < frameHead:
		return entry{}, off, err
	}
	size := binary.LittleEndian.Uint32(head[0:])
	if size > maxFrame {
		return entry{}, off, errBroken
	}
	data := make([]byte, size)
	if n, err := r.ReadAt(data, off+frameHead); n < len(data) {
		if errors.Is(err, io.EOF) {
			return entry{}, off, errBroken
		}
		return entry{}, off, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, data)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return entry{}, off, errBroken
	}
	e := entry{
		seq:  binary.LittleEndian.Uint64(head[8:]),
		at:   time.Unix(0, int64(binary.LittleEndian.Uint64(head[16:]))),
		data: data,
	}
	return e, off + frameHead + int64(size), nil
}

// scan walks a segment and returns where its sound part ends and the sequence number after it. want
// is the number of its first record.
func scan(r io.ReaderAt, want uint64) (end int64, next uint64, err error) {
	var m [len(magic)]byte
	if n, err := r.ReadAt(m[:], 0); n < len(m) && err != nil && !errors.Is(err, io.EOF) {
		return 0, want, err
	}
	if string(m[:]) != magic {
		return 0, want, errBroken
	}
	end, next = int64(len(magic)), want
	for {
		e, off, err := readFrame(r, end)
		switch {
		case errors.Is(err, io.EOF):
			return end, next, nil
		case err != nil:
			return end, next, err
		case e.seq != next:
			return end, next, errBroken
		}
		end, next = off, next+1
	}
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x.log", first) }

// createSegment makes an empty segment that a crash cannot leave half made.
func createSegment(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(magic); err != nil {
		_ = f.Close()
		_ = os.Remove(name)
		return nil, err
	}
	return f, nil
}
