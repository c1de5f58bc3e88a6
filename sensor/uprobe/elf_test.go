package uprobe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// wholeImage goes through all that is read of a file.
func wholeImage(b []byte, names ...string) (map[string]Symbol, *Image, error) {
	im, err := ReadImage(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	im.Static("python", "audit")
	symbols, err := im.Symbols(func(n []byte) bool { return len(names) == 0 || slices.Contains(names, string(n)) })
	for _, s := range symbols {
		im.Entry(s)
		im.Word(s.Address)
	}
	return symbols, im, err
}

// libc returns the path of the host's C library.
func libc(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*-linux-gnu/libc.so.6", "/lib64/libc.so.6"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("no C library is where it is looked for")
	return ""
}

func TestWhereASymbolLies(t *testing.T) {
	path := libc(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, im, err := wholeImage(b, "getpid")
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s elf.Symbol) bool { return s.Name == "getpid" })
	text := f.Section(".text")
	want := Symbol{Address: all[i].Value, Offset: all[i].Value - text.Addr + text.Offset}
	if got["getpid"] != want {
		t.Errorf("%+v, want %+v", got["getpid"], want)
	}
	if code := im.Code(want.Offset); !bytes.Equal(code, b[want.Offset:want.Offset+16]) {
		t.Errorf("code % x", code)
	}
}

func TestFilesThatAreNoneAreRefused(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(self[:1<<20])
		copy(b[at:], to)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":               nil,
		"text":                  []byte("#!/bin/sh\necho not a program, and longer than the header of one is\n"),
		"of 32 bits":            change(4, 1),
		"of the other order":    change(5, 2),
		"cut behind its header": self[:64],
		"too many sections":     change(60, 0xff, 0xff),
		"segments at the end":   change(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"sections nowhere":      change(40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if _, _, err := wholeImage(b); err == nil {
			t.Errorf("%s was taken for a program", name)
		}
	}
}

// A table that claims to be larger than the file makes nobody find room for it.
func TestATableIsNoLargerThanItsFile(t *testing.T) {
	im := &Image{file: bytes.NewReader(make([]byte, 100)), size: 100}
	for _, s := range []elf.Section64{{Size: 1 << 62}, {Size: 101}, {Off: 99, Size: 2}, {Off: 1 << 63, Size: 1}} {
		if b, err := im.section(s, maxTable); err == nil {
			t.Errorf("%+v gave %d bytes", s, len(b))
		}
	}
}

// A file whose symbols all have the same endless name, or names without end, takes nobody's time or memory.
func TestHostileSymbolsAreBounded(t *testing.T) {
	const n = 600_000
	im := &Image{segments: []elf.Prog64{{Type: uint32(elf.PT_LOAD), Vaddr: 1, Filesz: 1 << 30}}}
	table := make([]byte, n*elf.Sym64Size)
	for i := range n {
		binary.LittleEndian.PutUint16(table[i*elf.Sym64Size+6:], 1)
		binary.LittleEndian.PutUint64(table[i*elf.Sym64Size+8:], 1)
	}
	began := time.Now()
	longest := 0
	if !im.pick(table, bytes.Repeat([]byte("x"), maxTable), func(b []byte) bool { longest = max(longest, len(b)); return true }, map[string]Symbol{}) || longest > maxName {
		t.Errorf("a name of %d bytes was looked at", longest)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	var texts []byte
	for i := range 2 * maxSymbols {
		binary.LittleEndian.PutUint32(table[i*elf.Sym64Size:], uint32(len(texts)))
		texts = fmt.Appendf(texts, "cuMemcpy_v%d\x00", i)
	}
	out := map[string]Symbol{}
	if im.pick(table, texts, func([]byte) bool { return true }, out) || len(out) > maxSymbols {
		t.Errorf("%d symbols are kept, and no word of the rest", len(out))
	}
}

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		machine elf.Machine
		code    []byte
		want    Class
	}{
		{elf.EM_X86_64, []byte{0x0f, 0x1f, 0x44, 0, 0}, Nop5},
		{elf.EM_X86_64, []byte{0x0f, 0x1f, 0x40, 0, 0}, Nop},
		{elf.EM_X86_64, []byte{0x90, 0x49, 0x83, 0xbe, 0xe0}, Nop},
		{elf.EM_X86_64, []byte{0x55, 0x48, 0x89, 0xe5, 0}, Push},
		{elf.EM_X86_64, []byte{0x41, 0x57, 0x48, 0x89, 0xe5}, Push},
		{elf.EM_X86_64, []byte{0xe9, 1, 2, 3, 4}, Push},
		{elf.EM_X86_64, []byte{0x31, 0xc0, 0xc3, 0, 0}, Step},
		{elf.EM_X86_64, []byte{0x48, 0x81, 0xec, 0xd8, 0}, Step},
		{elf.EM_X86_64, []byte{0x55}, Step},
		{elf.EM_AARCH64, []byte{0x1f, 0x20, 0x03, 0xd5}, Nop},
		{elf.EM_AARCH64, []byte{0xfd, 0x7b, 0xbf, 0xa9}, Step},
		{elf.EM_AARCH64, nil, Step},
	} {
		if got := ClassOf(c.machine, c.code); got != c.want {
			t.Errorf("%v % x: %s, want %s", c.machine, c.code, got, c.want)
		}
	}
	im := &Image{Machine: elf.EM_X86_64, file: bytes.NewReader(append(bytes.Clone(endbr64), 0x55, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))}
	if at, class := im.Entry(Symbol{}); at != 4 || class != Push {
		t.Errorf("behind endbr64: %d, %s", at, class)
	}
}

func FuzzReadImage(f *testing.F) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self[:4096])
	f.Add([]byte(elf.ELFMAG + "\x02\x01\x01"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _, _ = wholeImage(b) })
}
