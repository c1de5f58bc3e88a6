package uprobe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Class is how the kernel goes over the instruction that a probe stands on.
type Class string

// From the cheapest to the dearest; picket doctor and bench/cuda measure them.
const (
	Nop5 Class = "nop5"        // of five bytes: newer kernels of x86 put a call there, and nothing traps
	Nop  Class = "nop"         // nothing to do behind the trap
	Push Class = "push"        // a push, jump or call: done by the kernel itself
	Step Class = "single-step" // the processor runs it alone and traps
)

// ClassOf looks at the first instruction.
func ClassOf(machine elf.Machine, code []byte) Class {
	if machine == elf.EM_AARCH64 {
		return classOfARM(code)
	}
	switch {
	case len(code) < 5:
		return Step
	case bytes.HasPrefix(code, []byte{0x0f, 0x1f, 0x44, 0, 0}):
		return Nop5
	case code[0] == 0x90, bytes.HasPrefix(code, []byte{0x0f, 0x1f}), bytes.HasPrefix(code, []byte{0x66, 0x90}), bytes.HasPrefix(code, []byte{0x66, 0x0f, 0x1f}):
		return Nop
	case code[0]&^7 == 0x50, code[0] == 0x41 && code[1]&^7 == 0x50, code[0] == 0xe8, code[0] == 0xe9, code[0] == 0xeb:
		return Push
	}
	return Step
}

func classOfARM(code []byte) Class {
	if len(code) < 4 {
		return Step
	}
	switch w := binary.LittleEndian.Uint32(code); {
	case w == 0xd503201f: // nop
		return Nop
	case w>>26 == 0x05, w>>26 == 0x25: // b, bl
		return Push
	}
	return Step
}

// endbr64 stands first in functions that are built for Intel's tracking of indirect branches.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// Entry returns where to put the probe of a function, and its class. Behind endbr64 the registers and
// the stack are as they were before it.
func (im *Image) Entry(s Symbol) (uint64, Class) {
	code, at := im.Code(s.Offset), s.Offset
	if im.Machine == elf.EM_X86_64 && bytes.HasPrefix(code, endbr64) {
		at += uint64(len(endbr64))
		code = code[len(endbr64):]
	}
	return at, ClassOf(im.Machine, code)
}
