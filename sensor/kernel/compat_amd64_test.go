package kernel

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"picket/event"
)

// TestCompat opens a file by int 0x80: 32-bit numbers and registers, seen at no other hook.
func TestCompat(t *testing.T) {
	r := newRecording(t, only(event.FileCreate))
	dir := realTempDir(t)
	program := filepath.Join(dir, "p")
	if err := os.WriteFile(program, compatProgram(5, filepath.Join(dir, "made")), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	if err := cmd.Run(); err != nil {
		t.Skip("this kernel runs no 32-bit system calls:", err)
	}
	e := r.find(t, event.FileCreate, func(e *event.Event) bool { return e.File.Path == filepath.Join(dir, "made") })
	if e.Process.PID != uint32(cmd.ProcessState.Pid()) || e.File.Ino != stat(t, filepath.Join(dir, "made")).Ino {
		t.Errorf("%+v by %d", e.File, e.Process.PID)
	}
}

// TestCompatCalls makes a call that is told of by name, by int 0x80.
func TestCompatCalls(t *testing.T) {
	r := newRecording(t, only(event.HostMount))
	dir := realTempDir(t)
	program := filepath.Join(dir, "p")
	if err := os.WriteFile(program, compatProgram(52, "/nowhere"), 0o700); err != nil { // umount2
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Skip("this kernel runs no 32-bit system calls:", err)
	}
	e := r.byCall(t, event.HostMount, cmd.ProcessState.Pid(), "umount2", nil)
	expect(t, e, map[string]string{"mount.target": "/nowhere", "call.flags": "MNT_FORCE|0x40", "event.errno": "22"})
}

// compatProgram is an ELF file that makes a call with a path, 0x41 and 0600 (open creates it), and
// exits with 0, or with 1 if that failed.
func compatProgram(number uint32, path string) []byte {
	const base, head = 0x400000, 64 + 56
	code := []byte{
		0xb8, 0, 0, 0, 0, // mov eax, number
		0xbb, 0, 0, 0, 0, // mov ebx, path
		0xb9, 0x41, 0, 0, 0, // mov ecx, O_WRONLY|O_CREAT; MNT_FORCE and what umount2 does not know
		0xba, 0x80, 1, 0, 0, // mov edx, 0600
		0xcd, 0x80, // int 0x80
		0xc1, 0xe8, 31, // shr eax, 31: 1 for an error
		0x89, 0xc3, // mov ebx, eax
		0xb8, 1, 0, 0, 0, // mov eax, exit
		0xcd, 0x80,
	}
	size := uint64(head + len(code) + len(path) + 1)
	binary.LittleEndian.PutUint32(code[1:], number)
	binary.LittleEndian.PutUint32(code[6:], uint32(base+head+len(code)))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + head), uint64(64), uint64(0), uint32(0), // executable, x86-64
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(4096), // one segment
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(code)
	b.WriteString(path)
	b.WriteByte(0)
	return b.Bytes()
}
