package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// record is what the spool keeps and the hub gets: one message.
//
// On disk, little endian: length of the rest after the checksum, CRC-32C of that rest, the count,
// the length of the id, the id, the payload.
type record struct {
	id      string // derived from the payload
	count   uint32 // events in it
	payload []byte
}

const (
	recordHead = 8
	recordMin  = 5 // count and id length
	maxID      = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that a record was not written to its end, or was damaged.
var errTorn = errors.New("record is cut off or damaged")

func (r *record) size() int { return recordHead + recordMin + len(r.id) + len(r.payload) }

// appendRecord appends r as it stands on disk.
func appendRecord(dst []byte, r *record) ([]byte, error) {
	if len(r.id) > maxID {
		return dst, fmt.Errorf("record id of %d bytes: want at most %d", len(r.id), maxID)
	}
	if len(r.payload) > MaxPayload {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(r.payload), MaxPayload)
	}
	at := len(dst)
	dst = append(dst, make([]byte, recordHead)...)
	dst = binary.LittleEndian.AppendUint32(dst, r.count)
	dst = append(dst, byte(len(r.id)))
	dst = append(append(dst, r.id...), r.payload...)
	body := dst[at+recordHead:]
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(body, castagnoli))
	return dst, nil
}

// readRecord reads the record at off. It returns io.EOF at the end, and errTorn for bytes that are
// not a whole record.
func readRecord(r io.ReaderAt, off int64) (rec record, next int64, err error) {
	var head [recordHead]byte
	n, err := r.ReadAt(head[:], off)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return rec, off, io.EOF
	case n < len(head) && errors.Is(err, io.EOF):
		return rec, off, errTorn
	case n < len(head):
		return rec, off, fmt.Errorf("reading the spool: %w", err)
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size < recordMin || size > recordMin+maxID+MaxPayload {
		return rec, off, errTorn
	}
	body := make([]byte, size)
	if n, err := r.ReadAt(body, off+recordHead); n < len(body) {
		if errors.Is(err, io.EOF) {
			return rec, off, errTorn
		}
		return rec, off, fmt.Errorf("reading the spool: %w", err)
	}
	idLen := int(body[4])
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) || recordMin+idLen > len(body) {
		return rec, off, errTorn
	}
	rec.count = binary.LittleEndian.Uint32(body)
	rec.id = string(body[recordMin : recordMin+idLen])
	rec.payload = body[recordMin+idLen:]
	return rec, off + recordHead + int64(size), nil
}
