package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownSocket checks that the program at the other end of a socket runs as the owner of the directory
// that the socket lies in. The owner may lay a link there, to have root talk to another program.
// Where it does not hold, the connection is closed.
func ownSocket(conn net.Conn, path string) error {
	err := func() error {
		var dir unix.Stat_t
		if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
			return &os.PathError{Op: "stat", Path: filepath.Dir(path), Err: err}
		}
		sock, ok := conn.(*net.UnixConn)
		if !ok {
			return errors.New("not a Unix socket")
		}
		raw, err := sock.SyscallConn()
		if err != nil {
			return err
		}
		var peer *unix.Ucred
		var perr error
		if err := raw.Control(func(fd uintptr) {
			peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		}); err != nil {
			return err
		}
		if perr != nil {
			return perr
		}
		if peer.Uid != dir.Uid {
			return fmt.Errorf("who listens at %s runs as user %d, and the directory belongs to user %d: this is not the server", path, peer.Uid, dir.Uid)
		}
		return nil
	}()
	if err != nil {
		_ = conn.Close() // the error says more
	}
	return err
}
