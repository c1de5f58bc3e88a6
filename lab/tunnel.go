package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// tunnelPath is where the image has its tunnel: the picket executable again.
const tunnelPath = "/usr/local/bin/chisel"

// isTunnel reports whether the process was started by the name chisel.
func isTunnel(args []string) bool { return len(args) > 0 && filepath.Base(args[0]) == "chisel" }

// tunnel is as much of a reverse tunnel as shows one: chisel client http://HOST:PORT R:PORT calls out and hands what a
// service of the container answers to whoever is at the other end. It ends with that answer.
func tunnel(args []string) error {
	if err := inSandbox(); err != nil {
		return err
	}
	if len(args) != 4 || args[1] != "client" || !strings.HasPrefix(args[3], "R:") {
		return errors.New("want: chisel client http://HOST:PORT R:PORT")
	}
	out, err := net.DialTimeout("tcp4", strings.TrimPrefix(args[2], "http://"), 5*time.Second)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the process ends here
	in, err := net.DialTimeout("tcp4", "127.0.0.1:"+args[3][2:], 5*time.Second)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // the process ends here
	if _, err := io.WriteString(in, "GET /v1/models HTTP/1.0\r\n\r\n"); err != nil {
		return fmt.Errorf("ask the service: %w", err)
	}
	_, err = io.Copy(out, in)
	return err
}
