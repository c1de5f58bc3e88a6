#include "textflag.h"

// Functions that do nothing, and begin as a library's do.

TEXT ·stubNop(SB), NOSPLIT|NOFRAME, $0-0
	WORD $0xd503201f // nop
	RET

TEXT ·stubPush(SB), NOSPLIT|NOFRAME, $0-0
	WORD $0x14000001 // b to the next
	RET

TEXT ·stubStep(SB), NOSPLIT|NOFRAME, $0-0
	WORD $0x52800000 // mov w0, #0
	RET

TEXT ·stubPlaces(SB), NOSPLIT, $0-24
	MOVD $·stubNop(SB), R0
	MOVD R0, nop+0(FP)
	MOVD $·stubPush(SB), R0
	MOVD R0, push+8(FP)
	MOVD $·stubStep(SB), R0
	MOVD R0, step+16(FP)
	RET
