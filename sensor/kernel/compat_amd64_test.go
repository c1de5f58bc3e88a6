package kernel

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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
	binary.LittleEndian.PutUint32(code[1:], number)
	binary.LittleEndian.PutUint32(code[6:], dataAfter(code))
	return elfProgram(code, append([]byte(path), 0))
}

const elfBase, elfHead = 0x400000, 64 + 56

// dataAfter is the address of what follows the code of an elfProgram.
func dataAfter(code []byte) uint32 { return elfBase + elfHead + uint32(len(code)) }

// elfProgram is an ELF file of one segment, which begins with the code.
func elfProgram(code, data []byte) []byte {
	size := uint64(elfHead + len(code) + len(data))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), uint16(62), uint32(1), uint64(elfBase + elfHead), uint64(64), uint64(0), uint32(0), // executable, x86-64
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(elfBase), uint64(elfBase), size, size, uint64(4096), // one segment
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(code)
	b.Write(data)
	return b.Bytes()
}

// TestSocketcall binds, listens and accepts by socketcall(2), which 64-bit programs reach by int 0x80.
func TestSocketcall(t *testing.T) {
	r := newRecording(t, only(event.NetBind, event.NetListen, event.NetAccept))
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := free.Addr().(*net.TCPAddr).AddrPort()
	_ = free.Close()
	program := filepath.Join(realTempDir(t), "p")
	if err := os.WriteFile(program, socketcallProgram(where.Port()), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp4", where.String())
		if err == nil {
			_ = c.Close()
			break
		}
		select {
		case err := <-ended:
			t.Skip("this kernel runs no 32-bit system calls:", err)
		default:
		}
		if time.Since(start) > 10*time.Second*slow() {
			_ = cmd.Process.Kill()
			t.Fatal("nothing listens:", err)
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, k := range []event.Kind{event.NetBind, event.NetListen, event.NetAccept} {
		e := r.find(t, k, func(e *event.Event) bool { return int(e.Process.PID) == cmd.ProcessState.Pid() })
		if e.Net.Local != where || e.Net.Protocol != "tcp" {
			t.Errorf("%v: %+v, want %v", k, e.Net, where)
		}
	}
}

// socketcallProgram makes a socket, which is descriptor 3, binds it to a port of 127.0.0.1, listens,
// accepts one connection and ends.
func socketcallProgram(port uint16) []byte {
	var code []byte
	for range 4 {
		code = append(code,
			0xb8, 102, 0, 0, 0, // mov eax, socketcall
			0xbb, 0, 0, 0, 0, // mov ebx, which
			0xb9, 0, 0, 0, 0, // mov ecx, arguments
			0xcd, 0x80) // int 0x80
	}
	each := len(code) / 4
	code = append(code, 0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80) // exit(0)
	at := dataAfter(code)
	data := []byte{2, 0, byte(port >> 8), byte(port), 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	for i, call := range [][]uint32{{1, 2, 1, 0}, {2, 3, at, 16}, {4, 3, 8, 0}, {5, 3, 0, 0}} {
		binary.LittleEndian.PutUint32(code[i*each+6:], call[0])
		binary.LittleEndian.PutUint32(code[i*each+11:], at+uint32(len(data)))
		for _, arg := range call[1:] {
			data = binary.LittleEndian.AppendUint32(data, arg)
		}
	}
	return elfProgram(code, data)
}
