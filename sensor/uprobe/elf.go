package uprobe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What is read of a file, at most: it may be anybody's.
const (
	maxSegments = 64
	maxSections = 256
	maxNames    = 64 << 10  // of the section headers' texts
	maxTable    = 16 << 20  // of a table of symbols, or its texts
	maxNotes    = 256 << 10 // of the section of static probes
	maxProbes   = 512
	maxName     = 256 // of a symbol that is looked for
	maxSymbols  = 512 // that are found
	maxTables   = 4   // of symbols: a file has two
)

var (
	errFormat = errors.New("no ELF file of 64 bits and this byte order")
	errLarge  = errors.New("its tables are larger than is read")
)

// Symbol is a function or datum of a file.
type Symbol struct {
	Address uint64 // as the file has it
	Offset  uint64 // in the file
}

// Static is a probe that who built the file put in (USDT).
type Static struct {
	Offset    uint64 // in the file
	Address   uint64
	Semaphore uint64 // offset of the counter that the program looks at; 0 where there is none
	Arguments []string
}

// Image is what is known of an ELF file.
type Image struct {
	Machine elf.Machine

	file     io.ReaderAt
	size     int64
	segments []elf.Prog64
	sections []elf.Section64
	names    []byte
}

// ReadImage reads the headers of a file. All that it reads is bounded, whatever the file says.
func ReadImage(file io.ReaderAt, size int64) (*Image, error) {
	var h elf.Header64
	if err := readAt(file, 0, &h); err != nil || string(h.Ident[:4]) != elf.ELFMAG || elf.Class(h.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(h.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, errFormat
	}
	if h.Phnum > maxSegments || h.Shnum > maxSections {
		return nil, errLarge
	}
	im := &Image{Machine: elf.Machine(h.Machine), file: file, size: size, segments: make([]elf.Prog64, h.Phnum), sections: make([]elf.Section64, h.Shnum)}
	if err := readAt(file, h.Phoff, im.segments); err != nil {
		return nil, fmt.Errorf("read the segments: %w", err)
	}
	if err := readAt(file, h.Shoff, im.sections); err != nil {
		return nil, fmt.Errorf("read the sections: %w", err)
	}
	if int(h.Shstrndx) < len(im.sections) {
		var err error
		if im.names, err = im.section(im.sections[h.Shstrndx], maxNames); err != nil {
			return nil, fmt.Errorf("read the sections' names: %w", err)
		}
	}
	return im, nil
}

func readAt(file io.ReaderAt, at uint64, into any) error {
	if at > 1<<62 {
		return io.ErrUnexpectedEOF
	}
	b := make([]byte, binary.Size(into))
	if _, err := file.ReadAt(b, int64(at)); err != nil {
		return err
	}
	return binary.Read(bytes.NewReader(b), binary.LittleEndian, into)
}

func (im *Image) section(s elf.Section64, most uint64) ([]byte, error) {
	switch {
	case elf.SectionType(s.Type) == elf.SHT_NOBITS:
		return nil, nil
	case s.Size > most || s.Off > uint64(im.size) || s.Size > uint64(im.size)-s.Off: // nothing is made room for that is not there
		return nil, errLarge
	}
	b := make([]byte, s.Size)
	_, err := im.file.ReadAt(b, int64(s.Off))
	return b, err
}

func (im *Image) named(name string) (elf.Section64, bool) {
	for _, s := range im.sections {
		if textAt(im.names, s.Name) == name {
			return s, true
		}
	}
	return elf.Section64{}, false
}

func textAt(table []byte, at uint32) string {
	if uint64(at) >= uint64(len(table)) {
		return ""
	}
	text, _, whole := bytes.Cut(table[at:], []byte{0})
	if !whole {
		return ""
	}
	return string(text)
}

// Symbols finds names in the file's tables: those that others may use, and the rest where it was not
// stripped.
func (im *Image) Symbols(wanted func(name []byte) bool) (map[string]Symbol, error) {
	out, tables := map[string]Symbol{}, 0
	for _, s := range im.sections {
		if t := elf.SectionType(s.Type); t != elf.SHT_DYNSYM && t != elf.SHT_SYMTAB || int(s.Link) >= len(im.sections) {
			continue
		}
		if tables++; tables > maxTables {
			return nil, errLarge
		}
		table, err := im.section(s, maxTable)
		if err != nil {
			return nil, fmt.Errorf("read the symbols: %w", err)
		}
		texts, err := im.section(im.sections[s.Link], maxTable)
		if err != nil {
			return nil, fmt.Errorf("read the symbols' names: %w", err)
		}
		if !im.pick(table, texts, wanted, out) {
			return nil, errLarge
		}
	}
	return out, nil
}

// pick reports false where more is found than is kept. It looks at a name no further than one that is
// looked for may be long: all symbols of a file may have the same endless one.
func (im *Image) pick(table, texts []byte, wanted func([]byte) bool, out map[string]Symbol) bool {
	for ; len(table) >= elf.Sym64Size; table = table[elf.Sym64Size:] {
		name := uint64(binary.LittleEndian.Uint32(table))
		section := binary.LittleEndian.Uint16(table[6:])
		address := binary.LittleEndian.Uint64(table[8:])
		if name >= uint64(len(texts)) || section == uint16(elf.SHN_UNDEF) || address == 0 {
			continue
		}
		text := texts[name:min(name+maxName, uint64(len(texts)))]
		n := bytes.IndexByte(text, 0)
		if n < 0 || !wanted(text[:n]) {
			continue
		}
		offset, ok := im.offset(address)
		if _, have := out[string(text[:n])]; ok && !have {
			if len(out) >= maxSymbols {
				return false
			}
			out[string(text[:n])] = Symbol{Address: address, Offset: offset}
		}
	}
	return true
}

// offset returns where in the file an address lies.
func (im *Image) offset(address uint64) (uint64, bool) {
	for _, p := range im.segments {
		if elf.ProgType(p.Type) == elf.PT_LOAD && address >= p.Vaddr && address-p.Vaddr < p.Filesz {
			return address - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// Word reads eight bytes at an address.
func (im *Image) Word(address uint64) (uint64, bool) {
	at, ok := im.offset(address)
	var v uint64
	return v, ok && readAt(im.file, at, &v) == nil
}

// Code reads the first bytes of what lies at an offset.
func (im *Image) Code(offset uint64) []byte {
	b := make([]byte, 16)
	n, _ := im.file.ReadAt(b, int64(min(offset, 1<<62))) // what there is
	return b[:n]
}

// Static finds a static probe by its provider and name. It may stand in several places.
func (im *Image) Static(provider, name string) (out []Static) {
	s, ok := im.named(".note.stapsdt")
	if !ok {
		return nil
	}
	notes, err := im.section(s, maxNotes)
	if err != nil {
		return nil
	}
	base, _ := im.named(".stapsdt.base")
	for range maxProbes {
		if len(notes) < 12 {
			break
		}
		owner, size := uint64(binary.LittleEndian.Uint32(notes)), uint64(binary.LittleEndian.Uint32(notes[4:]))
		begin := 12 + (owner+3)&^3
		end := begin + (size+3)&^3
		if end > uint64(len(notes)) {
			break
		}
		if p, ok := im.static(notes[begin:begin+size], base.Addr, provider, name); ok {
			out = append(out, p)
		}
		notes = notes[end:]
	}
	return out
}

// static reads one note: three addresses and three texts.
func (im *Image) static(note []byte, base uint64, provider, name string) (Static, bool) {
	if len(note) < 24 {
		return Static{}, false
	}
	texts := strings.SplitN(string(note[24:]), "\x00", 4)
	if len(texts) < 3 || texts[0] != provider || texts[1] != name {
		return Static{}, false
	}
	moved := uint64(0) // the file was laid out anew after the notes were written
	if base != 0 {
		moved = base - binary.LittleEndian.Uint64(note[8:])
	}
	p := Static{Address: binary.LittleEndian.Uint64(note) + moved, Arguments: strings.Fields(texts[2])}
	if at := binary.LittleEndian.Uint64(note[16:]); at != 0 {
		p.Semaphore, _ = im.offset(at + moved)
	}
	var ok bool
	p.Offset, ok = im.offset(p.Address)
	return p, ok
}

// registers are those of x86 and arm64 by the names that static probes use, with where the kernel
// keeps them (struct pt_regs).
var registers = map[elf.Machine]map[string]uint16{
	elf.EM_X86_64: {
		"%r15": 0, "%r14": 8, "%r13": 16, "%r12": 24, "%rbp": 32, "%rbx": 40, "%r11": 48, "%r10": 56, "%r9": 64, "%r8": 72,
		"%rax": 80, "%rcx": 88, "%rdx": 96, "%rsi": 104, "%rdi": 112,
	},
	elf.EM_AARCH64: func() map[string]uint16 {
		all := map[string]uint16{}
		for i := range uint16(31) {
			all["x"+strconv.Itoa(int(i))] = 8 * i
		}
		return all
	}(),
}

// Arguments returns where the kernel keeps the registers that hold a function's first arguments.
func (im *Image) Arguments() []uint16 {
	names := []string{"%rdi", "%rsi", "%rdx", "%rcx", "%r8", "%r9"}
	if im.Machine == elf.EM_AARCH64 {
		names = []string{"x0", "x1", "x2", "x3", "x4", "x5"}
	}
	out := make([]uint16, len(names))
	for i, n := range names {
		out[i] = registers[im.Machine][n]
	}
	return out
}

// Register returns where the kernel keeps the register that an argument of a static probe is in: 8@%rbx.
func (im *Image) Register(argument string) (uint16, bool) {
	size, name, ok := strings.Cut(argument, "@")
	at, known := registers[im.Machine][name]
	return at, ok && known && strings.TrimPrefix(size, "-") == "8"
}
