package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// entry is a member of a ZIP as its central directory, or its local header, has it.
type entry struct {
	name         string
	flags        uint16
	method       uint16
	crc          uint32
	packed, size int64
	header       int64 // offset of the local header
	data         int64 // offset of the bytes
}

func (e entry) end() int64 { return e.data + e.packed }

const (
	flagEncrypted  = 1
	flagDescriptor = 8
	stored         = 0
	deflated       = 8

	endSize   = 22
	endSearch = endSize + 1<<16
	endsMost  = 1000 // end records
)

// directory is where the central directory of a ZIP lies.
type directory struct {
	at, size int64
	count    uint64
	end      int64   // of the end record: where its signature stands
	tail     int64   // bytes behind the end record and its comment
	ends     []int64 // where signatures of end records stand
	lead     int64   // bytes before the archive, by which its offsets are short
}

// findDirectory reads the end record as Python does: the last signature in the file's last 64 KiB.
func findDirectory(p *part, size int64) (d directory, err error) {
	from := max(0, size-endSearch)
	tail := make([]byte, size-from)
	if n, err := p.ReadAt(tail, from); n < len(tail) {
		return d, cutShort(err)
	}
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < endSize {
		return d, errors.New("it has no end record")
	}
	for i := 0; len(d.ends) < endsMost; i += 4 {
		next := bytes.Index(tail[i:], []byte("PK\x05\x06"))
		if next < 0 {
			break
		}
		i += next
		d.ends = append(d.ends, from+int64(i))
	}
	rec := tail[at:]
	d.end = from + int64(at)
	d.tail = int64(len(rec)) - endSize - int64(binary.LittleEndian.Uint16(rec[20:]))
	d.count = uint64(binary.LittleEndian.Uint16(rec[10:]))
	d.size, d.at = int64(binary.LittleEndian.Uint32(rec[12:])), int64(binary.LittleEndian.Uint32(rec[16:]))
	stop := d.end
	if at64, ok := d.zip64(p); ok {
		stop = at64
	}
	d.lead = stop - d.size - d.at
	if d.lead < 0 || d.size < 0 || d.at < 0 {
		return d, fmt.Errorf("its directory of %d bytes at %d does not fit before its end at %d", d.size, d.at, stop)
	}
	return d, nil
}

// zip64 takes the larger numbers of a ZIP64 end record, if there is one, and returns where it stands.
func (d *directory) zip64(p *part) (int64, bool) {
	var loc [20]byte
	if n, _ := p.ReadAt(loc[:], d.end-20); d.end < 20 || n < 20 || string(loc[:4]) != "PK\x06\x07" {
		return 0, false
	}
	for _, at := range []int64{int64(binary.LittleEndian.Uint64(loc[8:])), d.end - 20 - 56} { // the second where bytes stand before the archive
		var rec [56]byte
		if at < 0 {
			continue
		}
		if n, _ := p.ReadAt(rec[:], at); n == 56 && string(rec[:4]) == "PK\x06\x06" {
			d.count = binary.LittleEndian.Uint64(rec[32:])
			d.size, d.at = int64(binary.LittleEndian.Uint64(rec[40:])), int64(binary.LittleEndian.Uint64(rec[48:]))
			return at, true
		}
	}
	return 0, false
}

// entries calls f with each entry of the central directory, with the offset of its record.
func (d *directory) entries(p *part, f func(e entry, at int64) bool) error {
	w := newWindow(p, d.at+d.lead, 64<<10)
	stop := d.at + d.lead + d.size
	for w.at() < stop {
		at := w.at()
		b, err := w.take(46)
		if err != nil {
			return err
		}
		if string(b[:4]) != "PK\x01\x02" {
			return fmt.Errorf("at %d of its directory stands no entry", at)
		}
		e := entry{
			flags: binary.LittleEndian.Uint16(b[8:]), method: binary.LittleEndian.Uint16(b[10:]), crc: binary.LittleEndian.Uint32(b[16:]),
			packed: int64(binary.LittleEndian.Uint32(b[20:])), size: int64(binary.LittleEndian.Uint32(b[24:])), header: int64(binary.LittleEndian.Uint32(b[42:])),
		}
		nameLen, extraLen, noteLen := int(binary.LittleEndian.Uint16(b[28:])), int(binary.LittleEndian.Uint16(b[30:])), binary.LittleEndian.Uint16(b[32:])
		if nameLen > 4096 || extraLen > 32<<10 {
			return fmt.Errorf("an entry at %d has a name of %d bytes", at, nameLen)
		}
		name, err := w.take(nameLen)
		if err != nil {
			return err
		}
		e.name = string(name)
		extra, err := w.take(extraLen)
		if err != nil {
			return err
		}
		e.large(extra)
		if err := w.skip(uint64(noteLen)); err != nil {
			return err
		}
		e.header += d.lead
		if !f(e, at) {
			return nil
		}
	}
	return nil
}

// large takes the numbers that do not fit 32 bits from the ZIP64 field.
func (e *entry) large(extra []byte) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if n > len(extra)-4 {
			return
		}
		field := extra[4 : 4+n]
		extra = extra[4+n:]
		if id != 1 {
			continue
		}
		for _, v := range []*int64{&e.size, &e.packed, &e.header} {
			if *v == 1<<32-1 && len(field) >= 8 {
				*v = int64(binary.LittleEndian.Uint64(field) &^ (1 << 63))
				field = field[8:]
			}
		}
	}
}

// local reads the local header at off.
func local(p *part, off int64) (e entry, err error) {
	var b [30]byte
	if n, err := p.ReadAt(b[:], off); n < len(b) {
		return e, cutShort(err)
	}
	if string(b[:4]) != "PK\x03\x04" {
		return e, fmt.Errorf("at %d stands no local header", off)
	}
	e = entry{
		flags: binary.LittleEndian.Uint16(b[6:]), method: binary.LittleEndian.Uint16(b[8:]), crc: binary.LittleEndian.Uint32(b[14:]),
		packed: int64(binary.LittleEndian.Uint32(b[18:])), size: int64(binary.LittleEndian.Uint32(b[22:])), header: off,
	}
	rest := make([]byte, int(binary.LittleEndian.Uint16(b[26:]))+int(binary.LittleEndian.Uint16(b[28:])))
	if n, err := p.ReadAt(rest, off+30); n < len(rest) && !errors.Is(err, io.EOF) || n < int(binary.LittleEndian.Uint16(b[26:])) {
		return e, cutShort(err)
	}
	nameLen := int(binary.LittleEndian.Uint16(b[26:]))
	e.name = string(rest[:nameLen])
	e.large(rest[nameLen:])
	e.header, e.data = off, off+30+int64(len(rest))
	return e, nil
}
