#include "textflag.h"

// Functions that do nothing, and begin as a library's do.

TEXT ·stubNop(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x0f; BYTE $0x1f; BYTE $0x44; BYTE $0x00; BYTE $0x00 // nop of five bytes
	RET

TEXT ·stubPush(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x55 // push %rbp
	BYTE $0x5d // pop %rbp
	RET

TEXT ·stubStep(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0x31; BYTE $0xc0 // xor %eax, %eax
	RET

TEXT ·stubPlaces(SB), NOSPLIT, $0-24
	LEAQ ·stubNop(SB), AX
	MOVQ AX, nop+0(FP)
	LEAQ ·stubPush(SB), AX
	MOVQ AX, push+8(FP)
	LEAQ ·stubStep(SB), AX
	MOVQ AX, step+16(FP)
	RET
