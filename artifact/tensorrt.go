package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// tensorRTFormat is a plan of TensorRT. Its kernels run on the GPU and are not judged. Libraries of plugins that it
// may carry, and the lean runtime of one that other versions read, are native code for the host: TensorRT writes them
// to a file and loads them when the plan is read, before it looks at anything else (NVIDIA's documentation calls a plan
// an executable artifact, docs.nvidia.com/deeplearning/tensorrt, Security Considerations).
func tensorRTFormat() format {
	return format{name: "tensorrt", sniff: sniffTensorRT, scan: func(s *scan, p *part) {
		s.issue(p, Issue{Rule: "unsupported", Verdict: Unsupported, Text: "A TensorRT engine is code for a GPU, which was not judged."})
		hostCode(s, p)
	}}
}

// sniffTensorRT knows a plan, and one behind its length and JSON about it, as exporters put it.
func sniffTensorRT(head []byte, p *part) bool {
	if len(head) < 8 || bytes.HasPrefix(head, []byte(planMagic)) {
		return bytes.HasPrefix(head, []byte(planMagic))
	}
	n := binary.LittleEndian.Uint32(head)
	if head[4] != '{' || n > aboutMost {
		return false
	}
	b := make([]byte, len(planMagic))
	_, _ = p.ReadAt(b, 4+int64(n)) // what is not there is no plan
	return string(b) == planMagic
}

const (
	planMagic = "ftrt"
	aboutMost = 1 << 20 // bytes of JSON before a plan
)

const (
	machineCUDA = 190 // of an ELF file for NVIDIA's GPUs
	headerELF   = 20  // bytes up to its machine
	hostMost    = 16  // libraries that are told of one by one
	pieceSize   = 256 << 10
)

// hostCode tells of native code for the host that lies in a part.
func hostCode(s *scan, p *part) {
	buf, have, told := make([]byte, pieceSize), 0, 0
	for off := int64(0); !s.over; {
		n, err := p.ReadAt(buf[have:], off+int64(have))
		piece := buf[:have+n]
		last := err != nil || n == 0
		for _, at := range nativeAt(piece, last) {
			if told++; told <= hostMost {
				s.issue(p, Issue{
					Rule: "tensorrt-host-code", Verdict: Suspicious, Offset: off + int64(at.offset), Name: at.what,
					Text: fmt.Sprintf("It carries %s, native code that TensorRT loads into the program when the engine is read.", at.what),
				})
			}
		}
		if last {
			if err != nil && !errors.Is(err, io.EOF) {
				s.broken(p, off, "tensorrt", err)
			}
			return
		}
		have = copy(buf, piece[max(0, len(piece)-tailNative):])
		off += int64(len(piece) - have)
	}
}

// tailNative is how much of a piece is looked at again with the next: a header may lie across. No header that
// begins before it is told twice, as nativeAt leaves those that begin in it to the next.
const tailNative = 1024

type native struct {
	offset int
	what   string
}

// nativeAt finds headers of libraries for the host that begin in a piece, but for its end where more follows.
func nativeAt(b []byte, last bool) (out []native) {
	end := len(b)
	if !last {
		end = max(0, end-tailNative)
	}
	for at := 0; ; at += 4 {
		i := bytes.Index(b[at:], []byte("\x7fELF"))
		if i < 0 || at+i >= end {
			break
		}
		at += i
		h := b[at:]
		if len(h) < headerELF || h[4] < 1 || h[4] > 2 || h[5] != 1 || h[6] != 1 {
			continue
		}
		kind, machine := binary.LittleEndian.Uint16(h[16:]), binary.LittleEndian.Uint16(h[18:])
		if (kind == 2 || kind == 3) && machine != machineCUDA {
			out = append(out, native{at, "an ELF library"})
		}
	}
	for at := 0; ; at += 2 {
		i := bytes.Index(b[at:], []byte("MZ"))
		if i < 0 || at+i >= end {
			return out
		}
		at += i
		h := b[at:]
		if len(h) < 0x40 {
			continue
		}
		if pe := binary.LittleEndian.Uint32(h[0x3c:]); pe >= 0x40 && int64(pe)+4 <= int64(min(len(h), tailNative)) && string(h[pe:pe+4]) == "PE\x00\x00" {
			out = append(out, native{at, "a Windows library"})
		}
	}
}
